# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""What tensorflow_estimator 2.15 imports from TensorFlow and 2.16 and newer lack.

TensorFlow 2.16 took out `tf.estimator` and, with it, three modules for TPU
embeddings, one for the distribution coordinator, and the name under which
estimators export their symbols. `install` registers stand-ins for those that are
missing, and nothing that is there is changed. What a stand-in stands for raises
NotImplementedError when it is used: TPUs and the coordinator.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any, NoReturn


def _unsupported(*args: Any, **kwargs: Any) -> NoReturn:
    raise NotImplementedError(
        "TensorFlow 2.16 and newer have no TPU embedding for estimators and no distribution "
        "coordinator. Train on one machine, or under TensorFlow 2.15"
    )


class _Unsupported:
    """Stands for a class."""

    __init__ = _unsupported


_TPU_CLASSES = (
    "AdagradMomentumParameters",
    "AdagradParameters",
    "AdamParameters",
    "EnqueueData",
    "FeatureConfig",
    "FtrlParameters",
    "MomentumParameters",
    "ProximalAdagradParameters",
    "RMSPropParameters",
    "RaggedEnqueueData",
    "StochasticGradientDescentParameters",
    "TPUEmbedding",
    "TableConfig",
)

_MODULES: dict[str, dict[str, Any]] = {
    "tensorflow.python.distribute.estimator_training": {
        "estimator_evaluate": _unsupported,
        "estimator_train": _unsupported,
        "init_run_config": _unsupported,
        "should_run_distribute_coordinator": lambda config: False,
        "train_and_evaluate": _unsupported,
    },
    "tensorflow.python.tpu.session_support": {"start_worker_watchdog": _unsupported},
    "tensorflow.python.tpu.tpu_embedding": {
        name: type(name, (_Unsupported,), {}) for name in _TPU_CLASSES
    },
    "tensorflow.python.tpu.tpu_embedding_gradient": {
        "create_dummy_table_variables": _unsupported,
        "get_gradients_through_dummy_table_variables": _unsupported,
        "hook_dummy_table_variables_to_activations": _unsupported,
    },
}


def _register(name: str, content: dict[str, Any]) -> None:
    try:
        importlib.import_module(name)
    except ImportError:
        module = types.ModuleType(name, "A stand-in by tf_embedding.estimator.")
        vars(module).update(content)
        sys.modules[name] = module
        parent, _, leaf = name.rpartition(".")
        setattr(importlib.import_module(parent), leaf, module)


def install() -> None:
    """Registers what is missing; a second call finds nothing missing."""
    for name, content in _MODULES.items():
        _register(name, content)
    from tensorflow.python.util import tf_export

    if not hasattr(tf_export, "ESTIMATOR_API_NAME"):
        tf_export.ESTIMATOR_API_NAME = "estimator"
        tf_export.API_ATTRS["estimator"] = tf_export._Attributes(
            "_estimator_api_names", "_estimator_api_constants"
        )
        tf_export.API_ATTRS_V1["estimator"] = tf_export._Attributes(
            "_estimator_api_names_v1", "_estimator_api_constants_v1"
        )
