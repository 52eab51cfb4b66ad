# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Sourced by run_example.sh and run_tests.sh. "environment EXTRAS" makes a
# virtual environment under .venv (or takes the one that is there), installs
# TensorFlow and this package with EXTRAS into it, and sets VENV.
#
#   TF_VERSION  TensorFlow to install; default 2.21.0, or the newest that there
#               is for Python 3.9
#   PYTHON      interpreter to start from; default the first of python3,
#               python3.13 ... python3.9 that this TensorFlow has a wheel for

cd "$(dirname "$0")/.."

# Minor versions of Python 3 that TensorFlow 2.$1 has wheels for: "lowest highest".
_pythons() {
  if [ "$1" -ge 21 ]; then echo 10 13
  elif [ "$1" -ge 20 ]; then echo 9 13
  elif [ "$1" -ge 16 ]; then echo 9 12
  else echo 9 11; fi
}

_find_python() {
  local lowest=9 highest=13 minor name found
  if [ -n "${TF_VERSION:-}" ]; then
    minor=${TF_VERSION#*.}
    read -r lowest highest <<< "$(_pythons "${minor%%.*}")"
  fi
  for name in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10 python3.9}; do
    found=$("$name" -c 'import sys; print(sys.version_info[0] * 100 + sys.version_info[1])' \
      2>/dev/null) || continue
    if [ "$found" -ge $((300 + lowest)) ] && [ "$found" -le $((300 + highest)) ]; then
      echo "$name"
      return
    fi
  done
  echo "tf_embedding: TensorFlow ${TF_VERSION:-2.15 to 2.21} needs a Python from 3.$lowest to" \
    "3.$highest and there is none; install one or name it in PYTHON." >&2
  return 1
}

environment() {
  local extras=$1 python tag tensorflow=tensorflow-cpu
  python=$(_find_python) || exit 1
  tag=$("$python" -c 'import sys; print("py3%d" % sys.version_info[1])')
  if [ -z "${TF_VERSION:-}" ] && [ "$tag" != py39 ]; then TF_VERSION=2.21.0; fi
  if [ "$(uname -m)" != x86_64 ]; then tensorflow=tensorflow; fi
  if [ -n "${TF_VERSION:-}" ]; then tensorflow="$tensorflow==$TF_VERSION"
  else tensorflow="$tensorflow>=2.15,<2.22"; fi

  VENV=$PWD/.venv/tf${TF_VERSION:-newest}-$tag
  if [ ! -x "$VENV/bin/pip" ] && ! "$python" -m venv "$VENV"; then
    rm -rf "$VENV"
    echo "tf_embedding: $python cannot make a virtual environment;" \
      "apt-get install python3-venv (Debian, Ubuntu)." >&2
    exit 1
  fi
  # TensorFlow first: the package is then built against it, in an isolated
  # build environment that needs none of its own.
  "$VENV/bin/pip" install --quiet --disable-pip-version-check "$tensorflow"
  "$VENV/bin/pip" install --quiet --disable-pip-version-check ".[$extras]"
}
