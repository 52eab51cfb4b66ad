# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""setuptools' build backend, plus: ask for TensorFlow only where there is none.

setup.py compiles against the TensorFlow of the environment that pip installs
into (find_tf.py). Only if that has none must pip put one into the isolated
build environment; so it is never downloaded twice, nor where it already is.
The compiler is looked for first: better one line now than after a download.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Optional

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import cxx  # noqa: E402
import find_tf  # noqa: E402

_TENSORFLOW = [
    "tensorflow-cpu>=2.15,<2.22; platform_machine == 'x86_64'",
    "tensorflow>=2.15,<2.22; platform_machine != 'x86_64'",
]

_Settings = Optional[dict[str, Any]]


def tensorflow_if_missing() -> list[str]:
    """What pip must install to build against; a missing compiler ends it here."""
    cxx.compiler()
    return [] if find_tf.present() else _TENSORFLOW


def get_requires_for_build_wheel(config_settings: _Settings = None) -> list[str]:
    extra = tensorflow_if_missing()
    return extra + list(build_meta.get_requires_for_build_wheel(config_settings))


def get_requires_for_build_editable(config_settings: _Settings = None) -> list[str]:
    extra = tensorflow_if_missing()
    return extra + list(build_meta.get_requires_for_build_editable(config_settings))
