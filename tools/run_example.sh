#!/usr/bin/env bash
# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Makes a virtual environment, installs the package and trains the click model
# of examples/ctr on the data that comes with it. Arguments go to train.py.
#
#   tools/run_example.sh [--model=deepfm ...]
#
# Needs Python 3.9 or newer and g++. TF_VERSION and PYTHON: environment.sh.
set -euo pipefail
. "$(dirname "$0")/environment.sh"
environment cpu,examples
TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-2} exec "$VENV/bin/python" examples/ctr/train.py "$@"
