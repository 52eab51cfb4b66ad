# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Embeddings without a vocabulary for stock TensorFlow.

An `EmbeddingVariable` maps any int64 key to a row, a vector and its optimizer
state, that is born when the key is first trained:

>>> import tensorflow as tf
>>> import tf_embedding as te
>>> users = te.EmbeddingVariable(dim=4, initializer="zeros", name="users")
>>> te.nn.embedding_lookup(users, [7, 2**62]).shape.as_list()
[2, 4]
>>> int(users.size())
0

`tf_embedding.layers`, `tf_embedding.optimizers` and `tf_embedding.callbacks`,
attributes that load when they are first used, hold the Keras face. They follow
`tf.keras`: Keras 3 where that is Keras 3, else Keras 2; the packages
`tf_embedding.keras3` and `tf_embedding.keras2` name one of them outright.
`tf_embedding.feature_column`, `tf_embedding.estimator` and `tf_embedding.io` load in
the same way. Importing this package imports no Keras and changes nothing in
TensorFlow but its list of known ops.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

from tf_embedding import (
    checkpoint,
    config,
    eviction,
    export,
    hashing,
    initializers,
    inputs,
    monitoring,
    nn,
    options,
    parts,
    rules,
    stats,
    sysconfig,
    train,
)
from tf_embedding.config import FeatureConfig, TableConfig
from tf_embedding.delta import DeltaCheckpoint
from tf_embedding.eviction import (
    CapacityEvict,
    FrequencyEvict,
    GlobalStepEvict,
    L2WeightEvict,
    TimeEvict,
)
from tf_embedding.get_variable import get_embedding_variable
from tf_embedding.monitoring import report
from tf_embedding.options import (
    CacheStrategy,
    CBFFilter,
    CheckpointOption,
    CounterFilter,
    EmbeddingVariableOption,
    InitializerOption,
    ProbabilisticFilter,
    StorageOption,
    StorageType,
)
from tf_embedding.stats import Histogram, TableStats, TopKeys
from tf_embedding.variable import EmbeddingVariable, EvictedRows, Rows

if TYPE_CHECKING:
    from tf_embedding import estimator as estimator
    from tf_embedding import feature_column as feature_column
    from tf_embedding import io as io
    from tf_embedding.keras3 import callbacks as callbacks
    from tf_embedding.keras3 import layers as layers
    from tf_embedding.keras3 import optimizers as optimizers

__all__ = [
    "CBFFilter",
    "CacheStrategy",
    "CapacityEvict",
    "CheckpointOption",
    "CounterFilter",
    "DeltaCheckpoint",
    "EmbeddingVariable",
    "EmbeddingVariableOption",
    "EvictedRows",
    "FeatureConfig",
    "FrequencyEvict",
    "GlobalStepEvict",
    "Histogram",
    "InitializerOption",
    "L2WeightEvict",
    "ProbabilisticFilter",
    "Rows",
    "StorageOption",
    "StorageType",
    "TableConfig",
    "TableStats",
    "TimeEvict",
    "TopKeys",
    "callbacks",
    "checkpoint",
    "config",
    "estimator",
    "eviction",
    "export",
    "feature_column",
    "get_embedding_variable",
    "hashing",
    "initializers",
    "inputs",
    "io",
    "layers",
    "monitoring",
    "nn",
    "optimizers",
    "options",
    "parts",
    "report",
    "rules",
    "stats",
    "sysconfig",
    "train",
]

_KERAS_MODULES = ("callbacks", "layers", "optimizers")
_LAZY_MODULES = ("estimator", "feature_column", "io")


def __getattr__(name: str) -> Any:
    if name in _LAZY_MODULES:
        return importlib.import_module(f"tf_embedding.{name}")
    if name not in _KERAS_MODULES:
        raise AttributeError(f"module 'tf_embedding' has no attribute {name!r}")
    from tf_embedding import _keras_version

    package = "keras3" if _keras_version.is_keras_3() else "keras2"
    return importlib.import_module(f"tf_embedding.{package}.{name}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_KERAS_MODULES, *_LAZY_MODULES])
