# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""`tf.estimator`, also where TensorFlow no longer has it.

The names are those of `tf.estimator`; `tf_embedding.estimator.v1` has those of
`tf.compat.v1.estimator`, whose canned estimators take the optimizers of
`te.train` (the others do by `canned_optimizer`).

TensorFlow 2.15 has all this itself. For 2.16 and newer it comes from the package
tensorflow_estimator 2.15 (`pip install 'tf-embedding[estimator]'`), made to load
there by stand-ins for what TensorFlow took out (_compat.py); they are registered
when this module is first used, not by `import tf_embedding`.

Canned estimators are written with Keras 2: from TensorFlow 2.16 on they need
TF_USE_LEGACY_KERAS=1 in the environment, before TensorFlow is imported, and the
package tf_keras. An estimator with a model_fn of one's own needs neither.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from tf_embedding import _keras_version
from tf_embedding.estimator import _compat

_PREFIXES = ("DNN", "Linear", "Baseline")


def _api(version: str) -> ModuleType:
    _compat.install()
    try:
        return importlib.import_module(f"tensorflow_estimator._api.{version}.estimator")
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("tensorflow_estimator"):
            raise
        raise ImportError(
            "tf_embedding.estimator needs the package tensorflow_estimator, which is not "
            "installed: pip install tensorflow-estimator==2.15.0"
        ) from error


class _V1(ModuleType):
    """As `tf_embedding.estimator`: the names of `tf.compat.v1.estimator`."""

    def __getattr__(self, name: str) -> Any:
        return _find("v1", name)

    def __dir__(self) -> list[str]:
        return dir(_api("v1"))


v1 = _V1(f"{__name__}.v1", _V1.__doc__)


def _find(version: str, name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(_api(version), name)
    if name.startswith(_PREFIXES) and _keras_version.is_keras_3():
        raise RuntimeError(
            f"tf_embedding.estimator.{name} is written with Keras 2, but tf.keras is Keras 3. "
            "Install tf_keras and set TF_USE_LEGACY_KERAS=1 before TensorFlow is imported; an "
            "Estimator with a model_fn of your own works as it is"
        )
    return found


def __getattr__(name: str) -> Any:
    if name == "canned_optimizer":
        # It loads Keras 2.
        return importlib.import_module(f"{__name__}._canned").canned_optimizer
    return _find("v2", name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(_api("v2"))})
