# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""docs/tools.md: each command and each print prints what the page says.

Run as a program it writes what commands print into the page.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tools.md"
_BLOCK = re.compile(r"^```(python|console)\n(.*?)^```$", re.M | re.S)


def run_page() -> str:
    """The page, with what its commands print now."""
    from tf_embedding.tools import main

    names: dict[str, Any] = {}

    def block(match: re.Match[str]) -> str:
        kind, text = match.groups()
        if kind == "python":
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(text, names)
            said = re.findall(r"^print\(.*\)  # (.*)$", text, re.M)
            assert printed.getvalue().splitlines() == said
            return match[0]
        out = []
        for line in text.splitlines():
            if line.startswith("$ "):
                printed = io.StringIO()
                with contextlib.redirect_stdout(printed):
                    main.main(shlex.split(line[2:]))
                out.append(f"{line}\n{printed.getvalue()}")
        return "```console\n" + "".join(out) + "```"

    return _BLOCK.sub(block, PAGE.read_text())


def test_commands_print_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert PAGE.read_text().count("```console") > 8
    assert run_page() == PAGE.read_text()


if __name__ == "__main__":
    os.chdir(tempfile.mkdtemp())
    sys.path.insert(0, str(PAGE.parents[1]))
    page = run_page()
    PAGE.write_text(page)
