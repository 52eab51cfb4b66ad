# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""What every test runs under: which Keras, which package, how much log.

tests/keras3 needs a TensorFlow whose tf.keras is Keras 3 (2.16 and newer);
tests/keras2 needs one whose tf.keras is Keras 2, or the package tf_keras;
tests/estimator needs the package tensorflow_estimator and what tests/keras2 does. The
end of pytest's output says what was left out and why.
"""

from __future__ import annotations

import importlib.util
import os
from typing import Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import pytest  # noqa: E402
import tensorflow as tf  # noqa: E402

# Here, before a test adds a folder to sys.path: the tests are for the package
# that is installed, and the source tree may hold one without its library.
import tf_embedding  # noqa: E402

# The Keras 2 of TensorFlow 2.15 has TensorFlow's version, and does not say so.
_KERAS = getattr(tf.keras, "__version__", tf.__version__)
_KERAS_3 = int(_KERAS.split(".")[0]) >= 3

_left_out = {}
if not _KERAS_3:
    _left_out["keras3"] = "tf.keras is %s; install TensorFlow 2.16 or newer" % _KERAS
elif importlib.util.find_spec("tf_keras") is None:
    _left_out["keras2"] = (
        "tf.keras is %s and there is no tf_keras; pip install --no-deps 'tf_keras==%s.*'"
        % (_KERAS, ".".join(tf.__version__.split(".")[:2]))
    )


if importlib.util.find_spec("tensorflow_estimator") is None:
    _left_out["estimator"] = (
        "there is no tensorflow_estimator; pip install tensorflow-estimator==2.15.0"
    )
elif "keras2" in _left_out:
    _left_out["estimator"] = "canned estimators need tf_keras, as tests/keras2 does"

collect_ignore = sorted(_left_out)


@pytest.fixture(autouse=True, scope="session")
def _away_from_the_sources(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Runs in an empty folder: "python -c" of a child looks there first, and in
    the source tree it would find a package without its library."""
    before = os.getcwd()
    os.chdir(tmp_path_factory.mktemp("cwd"))
    yield
    os.chdir(before)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Names the versions under test, and the tests that cannot run with them.

    At the end and not in pytest's header, which -q takes away.
    """
    terminalreporter.write_line(
        "tf_embedding %s (%s), TensorFlow %s, tf.keras %s"
        % (
            tf_embedding.__version__,
            os.path.dirname(os.path.abspath(tf_embedding.__file__)),
            tf.__version__,
            _KERAS,
        )
    )
    for item in sorted(_left_out.items()):
        terminalreporter.write_line("left out: tests/%s: %s" % item)
