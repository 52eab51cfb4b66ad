# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the documentation and the docstrings say is so: examples run, tables agree."""

from __future__ import annotations

import ast
import dataclasses
import doctest
import importlib
import importlib.util
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import Any, Iterator

import pytest
import tensorflow as tf
from tensorflow.python.ops import resource_variable_ops

import tf_embedding as te
from tf_embedding import (
    checkpoint,
    config,
    eviction,
    get_variable,
    hashing,
    hooks,
    initializers,
    inputs,
    io,
    monitoring,
    nn,
    options,
    parts,
    rules,
    sysconfig,
    train,
    variable,
)

# Resolved: under Bazel this file is a link into the repository, and not all that
# the documentation links to is beside the link.
ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]

KERAS_3 = int(getattr(tf.keras, "__version__", "2").split(".")[0]) >= 3
HAS_KERAS_2 = not KERAS_3 or importlib.util.find_spec("tf_keras") is not None

MODULES = [
    te,
    *(checkpoint, config, eviction, get_variable, hashing, hooks, initializers, inputs, io),
    *(monitoring, nn),
    *(options, parts, rules, sysconfig, train, variable),
]
KERAS_MODULES = [
    f"tf_embedding.{face}.{module}"
    for face, there in (("keras3", KERAS_3), ("keras2", HAS_KERAS_2))
    if there
    for module in ("layers", "optimizers", "feature_layers", "callbacks")
]
EXPORT_MODULES = [
    f"tf_embedding.export.{module}"
    for module in ("index", "initial", "pooling", "rows", "saved_model")
]
FEATURE_COLUMN_MODULES = [
    "tf_embedding.feature_column",
    "tf_embedding.feature_column.categorical",
    "tf_embedding.feature_column.embedding",
]


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


# Docstrings.


@pytest.mark.parametrize(
    "name",
    [m.__name__ for m in MODULES] + KERAS_MODULES + EXPORT_MODULES + FEATURE_COLUMN_MODULES,
)
def test_docstring_examples(name: str) -> None:
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted > 0
    assert result.failed == 0


def public(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """The classes and functions that a module defines for its users."""
    for name, value in vars(module).items():
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__:
            if inspect.isclass(value) or inspect.isfunction(value):
                yield f"{module.__name__}.{name}", value


def members(cls: type) -> Iterator[tuple[str, Any]]:
    for name, value in vars(cls).items():
        if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
            yield name, value


def everything_public() -> dict[str, Any]:
    found = {f"tf_embedding.{name}": getattr(te, name) for name in te.__all__}
    for module in MODULES[1:]:
        found.update(public(module))
    for name in KERAS_MODULES + EXPORT_MODULES + FEATURE_COLUMN_MODULES:
        found.update(public(importlib.import_module(name)))
    return found


def test_everything_public_has_a_docstring() -> None:
    # inspect.getdoc would take a base class' text; a dataclass makes one up.
    silent = [
        name
        for name, value in everything_public().items()
        if not value.__doc__ or value.__doc__.startswith(f"{name.rsplit('.', 1)[-1]}(")
    ]
    assert silent == []


def test_methods_of_the_variable_have_docstrings() -> None:
    # What a resource variable has, under TensorFlow's own documentation.
    base = resource_variable_ops.BaseResourceVariable
    assert issubclass(te.EmbeddingVariable, base)
    silent = [
        f"{cls.__name__}.{name}"
        for cls in te.EmbeddingVariable.__mro__
        if cls.__module__.startswith("tf_embedding")
        for name, value in members(cls)
        if not value.__doc__ and not hasattr(base, name)
    ]
    assert silent == []


def documented_defaults(text: str) -> Iterator[tuple[str, Any]]:
    """(argument, value) of each "argument: ... Defaults to value." of a docstring."""
    for entry in re.split(r"\n(?=\s*\w+: )", inspect.cleandoc(text)):
        name = re.match(r"\s*(\w+): ", entry)
        value = re.search(r"[Dd]efaults?\s+to\s+(\S+?)[.,;]?(?=\s|$)", entry)
        if name and value:
            yield name.group(1), ast.literal_eval(value.group(1))


def test_the_search_for_defaults_finds_them() -> None:
    text = 'Args:\n  a: one. Defaults to 0.5.\n  b: two\n    lines. Defaults to "x".\n  c: three.'
    assert list(documented_defaults(text)) == [("a", 0.5), ("b", "x")]


def test_documented_defaults_are_those_of_the_signature() -> None:
    checked = 0
    for name, value in everything_public().items():
        texts = [value.__doc__ or ""]
        if inspect.isclass(value):
            texts.append(value.__init__.__doc__ or "")
        if inspect.ismodule(value):
            continue
        parameters = inspect.signature(value).parameters
        for text in texts:
            for argument, default in documented_defaults(text):
                assert parameters[argument].default == default, f"{argument} of {name}"
                checked += 1
    assert checked > 0 or not KERAS_3


# Pages.

_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>keras2|keras3) -->\n+)?^```python\n(?P<code>.*?)^```$", re.M | re.S
)


def blocks(page: Path) -> list[str]:
    """The Python blocks of a page that this Keras can run, each at its own line."""
    text = page.read_text()
    here = "keras3" if KERAS_3 else "keras2"
    found = []
    for match in _BLOCK.finditer(text):
        if match["mark"] in (None, here):
            found.append("\n" * text.count("\n", 0, match.start("code")) + match["code"])
    return found


def test_every_python_block_is_found() -> None:
    for page in PAGES:
        text = page.read_text()
        assert text.count("```python") == len(_BLOCK.findall(text)), page_name(page)


def printed(code: str) -> list[str]:
    """What a block says it prints: the comment of each print, up to "  (", if any."""
    comments = re.findall(r"^print\(.*\)  # (.*)$", code, re.M)
    return [comment.split("  (")[0] for comment in comments]


@pytest.mark.parametrize(
    "page",
    # Where commands stand between them: tests/tools/page_test.py.
    [p for p in PAGES if "```python" in p.read_text() and "```console" not in p.read_text()],
    ids=page_name,
)
def test_blocks_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    try:
        for code in blocks(page):
            capsys.readouterr()
            exec(compile(code, page_name(page), "exec"), namespace)
            assert capsys.readouterr().out.splitlines() == printed(code)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")


def links(page: Path) -> Iterator[str]:
    # Code has brackets of its own.
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    text = re.sub(r"`[^`\n]*`|<!--.*?-->", "", text, flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+://|mailto:", target):
            yield target


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", page.read_text(), re.M):
        words = re.sub(r"[^\w\- ]", "", heading.lower())
        found.add(words.replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in links(page):
        path, _, anchor = target.partition("#")
        file = (page.parent / path) if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


def test_tests_that_the_pages_name_exist() -> None:
    named = 0
    for page in PAGES:
        text = page.read_text()
        for path, name in re.findall(r"`(tests/\S+?\.(?:py|cc))(?:::(\w+))?`", text):
            source = (ROOT / path).read_text()
            if name:
                python = rf"^ *def {name}\(|^{name} ="
                pattern = rf"TEST\({name}\)" if path.endswith(".cc") else python
                assert re.search(pattern, source, re.M), f"{page_name(page)}: {path}::{name}"
            named += 1
    assert named > 20


def test_files_that_the_pages_name_exist() -> None:
    for page in PAGES:
        for path in re.findall(r"`((?:cc|tools|examples|third_party)/[\w./-]+)`", page.read_text()):
            assert (ROOT / path).exists(), f"{page_name(page)}: {path}"


# The tables of docs/optimizers.md.


def rule_cells() -> dict[str, tuple[str, str]]:
    """By rule: the call and the slots in the table of rules."""
    text = (ROOT / "docs" / "optimizers.md").read_text()
    found = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        call = re.fullmatch(r"`((\w+)\(.*\))`", cells[0])
        if line.startswith("|") and call and hasattr(rules, call.group(2)):
            found[call.group(2)] = (call.group(1), cells[-1])
    return found


def test_the_table_of_rules_is_complete() -> None:
    assert list(rule_cells()) == [cls.__name__ for cls in rules.ALL]


@pytest.mark.parametrize("cls", rules.ALL, ids=lambda cls: cls.__name__)
def test_rules_are_as_the_table_says(cls: type[rules.Rule]) -> None:
    call, slots = rule_cells()[cls.__name__]
    assert eval(call, vars(rules)) == cls()
    named = [keyword.arg for keyword in ast.parse(call, mode="eval").body.keywords]  # type: ignore[attr-defined]
    assert named == [field.name for field in dataclasses.fields(cls)]
    core = rules.core_rules()[cls().core_name]
    want = [*(core["vector_slots"] or ()), *(f"{s} (1)" for s in core["scalar_slots"] or ())]
    # In brackets: what the rule has with other hyper-parameters only.
    assert re.sub(r"\s*\[.*\]", "", slots) == (", ".join(want) or "none")
