#!/usr/bin/env bash
# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
#
# Makes a virtual environment, installs the package and runs its tests, in a
# process for each processor that takes file after file. Arguments go to pytest.
#
#   TF_VERSION=2.15.1 tools/run_tests.sh [tests/rules_test.py ...]
#
# Needs Python 3.9 or newer and g++. TF_VERSION and PYTHON: environment.sh.
set -euo pipefail
. "$(dirname "$0")/environment.sh"
environment cpu,test
# Where tf.keras is Keras 3, tests/keras2 and tests/estimator need tf_keras. It requires the package
# "tensorflow", which would be put over tensorflow-cpu: hence --no-deps.
minor=$("$VENV/bin/python" -c '
from importlib import metadata
names = ("tensorflow-cpu", "tensorflow")
found = [d.version for d in metadata.distributions() if d.metadata["Name"].replace("_", "-") in names]
print(".".join(found[0].split(".")[:2]))')
if [ "${minor#*.}" -ge 16 ]; then
  "$VENV/bin/pip" install --quiet --disable-pip-version-check --no-deps "tf_keras==$minor.*"
fi
TF_CPP_MIN_LOG_LEVEL=${TF_CPP_MIN_LOG_LEVEL:-2} exec "$VENV/bin/pytest" \
  -q -p no:cacheprovider -n auto --dist loadfile "$@"
