#!/usr/bin/env bash
# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Checks style and types, in a virtual environment of its own: ruff, mypy
# --strict on the package, clang-format. "tools/lint.sh --fix" formats the C++.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=.venv/lint
[ -x $venv/bin/pip ] || "${PYTHON:-python3}" -m venv $venv
$venv/bin/pip install --quiet --disable-pip-version-check -r tools/lint_requirements.txt

mapfile -t sources < <(find cc tests/cc benchmarks -name '*.h' -o -name '*.cc' -o -name '*.inc' \
  -o -name '*.cu' -o -name '*.cuh' | sort)
if [ "${1:-}" = --fix ]; then
  $venv/bin/clang-format -i "${sources[@]}"
  exit
fi
failed=0
$venv/bin/ruff check . || failed=1
$venv/bin/mypy || failed=1
$venv/bin/clang-format --dry-run -Werror "${sources[@]}" || failed=1
exit $failed
