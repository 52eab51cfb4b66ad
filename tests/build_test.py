# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""The built library, the finders behind it, and what they say when they fail."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

import tf_embedding

# Not resolved: under Bazel this file is a link out of the tree that is tested.
ROOT = Path(os.path.abspath(__file__)).parent.parent
FINDERS = ROOT / "third_party" / "python"
PACKAGE = Path(os.path.abspath(tf_embedding.__file__)).parent
LIBRARY = PACKAGE / "_ops.so"

sys.path.insert(0, str(FINDERS))
import cxx  # noqa: E402
import find_cuda  # noqa: E402
import find_tf  # noqa: E402

needs_binutils = pytest.mark.skipif(not shutil.which("nm"), reason="binutils is not installed")


def run(*command: object, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs command with TensorFlow's log off and environment on top of ours."""
    env = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3", **environment)
    return subprocess.run(
        [str(word) for word in command], env=env, capture_output=True, text=True, cwd=cwd
    )


# The library.


def test_library_is_small() -> None:
    assert LIBRARY.stat().st_size <= 5 << 20


@needs_binutils
def test_library_exports_nothing() -> None:
    assert run("nm", "-D", "--defined-only", LIBRARY).stdout.split() == []


@needs_binutils
def test_library_takes_only_tensorflow_and_the_system() -> None:
    undefined = run("nm", "-D", "--undefined-only", LIBRARY).stdout.split()
    # TensorFlow's GPU build exports cuda* stubs; to bind to them is a mistake.
    assert [s for s in undefined if re.match(r"_*(cuda|cu[A-Z]|Py)", s)] == []
    needed = re.findall(r"NEEDED.*\[(.*)\]", run("readelf", "-d", LIBRARY).stdout)
    system = r"(lib(c|dl|gcc_s|m|pthread|rt|stdc\+\+)|ld-linux[^.]*)\.so\.\d+"
    others = [name for name in needed if not re.fullmatch(system, name)]
    assert others == [find_tf.FRAMEWORK]


def test_build_info_names_this_tensorflow() -> None:
    from tf_embedding import _build_info

    assert _build_info.TF_VERSION == tf.__version__


def _import_built_for(version: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Imports a copy of the package that says it was built for version."""
    copy = folder / "tf_embedding"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    info = copy / "_build_info.py"
    text = info.read_text()
    info.unlink()  # Under Bazel a read-only file.
    info.write_text(text.replace(tf.__version__, version))
    # -c puts the working directory before everything else.
    code = "import tf_embedding as te; print(te.__file__)"
    return run(sys.executable, "-c", code, cwd=folder)


def test_other_minor_version_is_an_import_error(tmp_path: Path) -> None:
    result = _import_built_for("2.3.1", tmp_path)
    assert result.returncode == 1
    # The message may have several lines; nothing comes after it.
    message = result.stderr[result.stderr.rindex("ImportError") :]
    assert "2.3.1" in message and tf.__version__ in message, message
    assert "pip install" in message, message


def test_other_patch_version_loads(tmp_path: Path) -> None:
    result = _import_built_for(".".join(tf.__version__.split(".")[:2]) + ".99", tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(str(tmp_path))


# What is missing.


def _one_line(result: subprocess.CompletedProcess[str]) -> str:
    """The only line that a command which failed has written."""
    assert result.returncode == 1, result
    lines = (result.stdout + result.stderr).strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.parametrize("name", ["no-such-compiler", "no-such-compiler -pipe"])
def test_no_compiler_is_one_line(name: str) -> None:
    pytest.importorskip("setuptools", minversion="77")
    message = _one_line(run(sys.executable, "setup.py", "-q", "build_ext", CXX=name))
    assert "no-such-compiler not found" in message
    assert "apt-get install g++" in message and "CXX" in message


def test_no_compiler_is_said_before_any_download() -> None:
    pytest.importorskip("setuptools", minversion="77")
    code = "import backend; backend.tensorflow_if_missing()"
    result = run(sys.executable, "-c", code, CXX="no-such-compiler", PYTHONPATH=str(FINDERS))
    assert result.returncode == 1
    assert "apt-get install g++" in result.stderr.strip().splitlines()[-1]
    assert "Traceback" not in result.stderr


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A Python without TensorFlow, and a PYTHONPATH with setuptools alone."""
    setuptools = pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("bare")
    made = run(sys.executable, "-m", "venv", "--without-pip", folder / "venv")
    assert made.returncode == 0, made.stderr
    site = folder / "site"
    site.mkdir()
    installed = Path(setuptools.__file__).parent
    for name in ("setuptools", "_distutils_hack", "pkg_resources"):
        if (installed.parent / name).exists():
            (site / name).symlink_to(installed.parent / name)
    return str(folder / "venv" / "bin" / "python"), str(site)


def test_no_tensorflow_is_one_line(bare: tuple[str, str]) -> None:
    python, path = bare
    for command in (["setup.py", "-q", "build_ext"], ["third_party/python/find_tf.py"]):
        message = _one_line(run(python, *command, PYTHONPATH=path))
        assert "no TensorFlow" in message and python in message
        assert "pip install tensorflow-cpu" in message


def test_broken_tensorflow_is_one_line(bare: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "tensorflow.py").write_text("raise ImportError('half of it is missing')\n")
    message = _one_line(run(bare[0], FINDERS / "find_tf.py", PYTHONPATH=str(tmp_path)))
    assert "half of it is missing" in message and "reinstall" in message


def test_tensorflow_is_asked_for_only_where_it_is_not(bare: tuple[str, str]) -> None:
    code = "import backend; print(backend.tensorflow_if_missing())"
    here = run(sys.executable, "-c", code, PYTHONPATH=str(FINDERS))
    assert here.returncode == 0, here.stderr
    assert here.stdout.strip() == "[]"
    python, path = bare
    there = run(python, "-c", code, PYTHONPATH=os.pathsep.join([str(FINDERS), path]))
    assert there.returncode == 0, there.stderr
    assert "tensorflow-cpu>=2.15" in there.stdout


def test_dependencies_do_not_name_tensorflow() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    assert re.findall(r"^dependencies = (.*)$", text, re.MULTILINE) == ['["absl-py", "numpy"]']


# Other processors.


def _x86_only(text: str) -> list[tuple[int, str]]:
    """Lines that only an x86 compiler takes, outside of #if defined(__x86_64__)."""
    guards: list[str] = []
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.strip()
        if re.match(r"#\s*if", words):
            guards.append(words)
        elif re.match(r"#\s*el", words):
            guards[-1] = words
        elif re.match(r"#\s*endif", words):
            guards.pop()
        elif re.match(r"#\s*include\s*<(\w+mmintrin|x86intrin|cpuid|immintrin)\.h>", words) or (
            re.match(r"#\s*pragma\s+(GCC|clang)\s.*target", words)
        ):
            if not any("__x86_64__" in guard for guard in guards):
                found.append((number, words))
    return found


def test_the_search_for_unguarded_lines_finds_them() -> None:
    include = "#include <immintrin.h>\n"
    assert _x86_only("#if defined(__x86_64__)\n" + include + "#endif\n") == []
    assert _x86_only("#if defined(__x86_64__)\n#else\n" + include + "#endif\n") == [
        (3, include.strip())
    ]
    assert _x86_only('#pragma GCC target("avx2")\n')


def test_no_unguarded_x86_header() -> None:
    sources = [p for p in (ROOT / "cc").rglob("*") if p.suffix in (".cc", ".h", ".inc")]
    assert sources
    found = {str(p.relative_to(ROOT)): _x86_only(p.read_text()) for p in sources}
    assert {path: lines for path, lines in found.items() if lines} == {}


@pytest.mark.parametrize("machine,flag", [("x86_64", True), ("aarch64", False)])
def test_march_is_for_x86_only(machine: str, flag: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cxx.platform, "machine", lambda: machine)
    assert any(f.startswith("-march") for f in cxx.core_flags()) == flag


def test_every_object_is_compiled_without_contraction() -> None:
    assert "-ffp-contract=off" in cxx.core_flags()
    assert "-ffp-contract=off" in cxx.tf_flags({"cflags": []})


def test_cuda_can_be_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_EMBEDDING_CUDA", "0")
    assert find_cuda.find() is None


# Only what changed is compiled again.


def test_only_what_is_stale_is_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cxx, "ROOT", str(tmp_path))
    sources = {
        "a.cc": '#include "a.h"\nint A() { return kA; }\n',
        "a.h": "constexpr int kA = 1;\n",
        "b.cc": "int B() { return 2; }\n",
    }
    for name, text in sources.items():
        (tmp_path / name).write_text(text)
        os.utime(tmp_path / name, (0, 0))
    objects = [str(tmp_path / "build" / name) for name in ("a.o", "b.o")]

    def build(*flags: str) -> int:
        command = cxx.compiler() + ["-I.", *flags]
        return cxx.compile_all(
            [cxx.Job("a.cc", objects[0], command), cxx.Job("b.cc", objects[1], command)]
        )

    assert build() == 2
    assert build() == 0
    os.utime(tmp_path / "a.h")  # Not later than the object, so that is made older.
    os.utime(objects[0], (1, 1))
    assert build() == 1
    assert build() == 0
    assert build("-O1") == 2
    os.remove(objects[1])
    assert build("-O1") == 1
    (tmp_path / "b.cc").write_text("int B() { return }\n")
    os.utime(objects[1], (1, 1))
    with pytest.raises(SystemExit, match="compiling b.cc failed"):
        build("-O1")
    (tmp_path / "b.cc").write_text(sources["b.cc"])
    assert build("-O1") == 1
    assert build("-O1") == 0


def test_a_precompiled_header_is_used_and_renewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cxx, "ROOT", str(tmp_path))
    header, source = tmp_path / "all.h", tmp_path / "a.cc"
    header.write_text("constexpr int kA = 1;\n")
    source.write_text('static_assert(kA == 1, "");\n')
    for path in (header, source):
        os.utime(path, (0, 0))
    made, folder = str(tmp_path / "a.o"), str(tmp_path / "build")
    command = cxx.compiler() + ["-I."]

    def build() -> int:
        options = cxx.precompiled("all.h", folder, command)
        if not options:
            pytest.skip("the compiler is not g++")
        return cxx.compile_all([cxx.Job("a.cc", made, command + options)])

    assert build() == 1
    used = subprocess.run(
        [*command, *cxx.precompiled("all.h", folder, command), "-H", "-c", "a.cc", "-o", made],
        cwd=tmp_path,
        text=True,
        capture_output=True,
    )
    assert re.search(r"^! .*all_of_all.h.gch$", used.stderr, re.MULTILINE)
    assert build() == 0
    for path in (made, folder + "/all_of_all.h.gch"):
        os.utime(path, (1, 1))
    os.utime(header)
    assert build() == 1
    assert build() == 0


def test_another_compiler_gets_no_precompiled_header(tmp_path: Path) -> None:
    other = tmp_path / "c++"
    other.write_text("#!/bin/sh\necho Other C++ 1.0\n")
    other.chmod(0o755)
    assert cxx.precompiled("cc/core/hash.h", str(tmp_path / "build"), [str(other)]) == []


def test_a_program_is_linked_again_when_an_object_is_newer(tmp_path: Path) -> None:
    source, program = tmp_path / "main.cc", str(tmp_path / "main")
    source.write_text("int main() { return 0; }\n")
    job = cxx.Job(str(source), str(tmp_path / "main.o"), cxx.compiler())
    cxx.compile_all([job])
    cxx.link(program, cxx.compiler(), [job.object], [])
    assert subprocess.run([program]).returncode == 0
    os.utime(program, (1, 1))
    cxx.link(program, cxx.compiler(), [job.object], [])
    assert os.stat(program).st_mtime > 1
