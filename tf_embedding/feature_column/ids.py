# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Ids that say which column they come from, and where TensorFlow's lookups send them.

A stock embedding column looks the ids of its categorical column up in a dense
weight of its own. The ids of an open vocabulary come as `ColumnIds`, a kind of
`tf.SparseTensor`, and TensorFlow's type dispatch hands every stock lookup of such
ids to this package, by a public mechanism; nothing is patched. The dense weight
then only says which rows are meant: see rows.py.
"""

from __future__ import annotations

import inspect
from typing import Any, Callable

import tensorflow as tf

from tf_embedding import nn
from tf_embedding.feature_column import rows
from tf_embedding.variable import EmbeddingVariable


class ColumnIds(tf.SparseTensor):  # type: ignore[misc]
    """int64 keys, sparse, with the categorical column that made them.

    Attributes:
      column: the categorical column.
      state_manager: that of the layer which asked for them, or None under
        `tf.compat.v1.feature_column.input_layer` and `linear_model`.
    """

    column: Any = None
    state_manager: Any = None

    def plain(self) -> tf.SparseTensor:
        """The same ids, as any other sparse tensor."""
        return tf.SparseTensor(self.indices, self.values, self.dense_shape)


def tag(ids: tf.SparseTensor, column: Any, state_manager: Any) -> ColumnIds:
    """Says of sparse int64 keys which column they are of."""
    tagged = ColumnIds(ids.indices, ids.values, ids.dense_shape)
    tagged.column = column
    tagged.state_manager = state_manager
    return tagged


def _register(
    api: Callable[..., Any], argument: str, handler: Callable[..., Any], kind: type = ColumnIds
) -> None:
    # A handler must have the very signature of the API.
    signature = inspect.signature(api)
    arguments = ", ".join(
        name if p.default is p.empty else f"{name}={p.default!r}"
        for name, p in signature.parameters.items()
    )
    values = ", ".join(f"{name}={name}" for name in signature.parameters)
    namespace: dict[str, Any] = {"handler": handler}
    exec(f"def dispatched({arguments}): return handler(dict({values}))", namespace)
    tf.experimental.dispatch_for_api(api, {argument: kind})(namespace["dispatched"])


def _safe_lookup(arguments: dict[str, Any]) -> tf.Tensor:
    ids = arguments["sparse_ids"]
    weight = arguments["embedding_weights"]
    return nn.safe_embedding_lookup_sparse(
        rows.of_weight(weight, ids.column, ids.state_manager),
        ids.plain(),
        arguments["sparse_weights"],
        combiner=arguments["combiner"] or "mean",
        default_id=arguments["default_id"],
        max_norm=arguments["max_norm"],
        name=arguments["name"],
    )


def _lookup(arguments: dict[str, Any]) -> tf.Tensor:
    ids = arguments["sp_ids"]
    return nn.embedding_lookup_sparse(
        rows.of_weight(arguments["params"], ids.column, ids.state_manager),
        ids.plain(),
        arguments["sp_weights"],
        combiner=arguments["combiner"],
        max_norm=arguments["max_norm"],
        name=arguments["name"],
    )


def _reshape(arguments: dict[str, Any]) -> ColumnIds:
    ids = arguments["sp_input"]
    moved = tf.sparse.reshape(ids.plain(), arguments["shape"], arguments["name"])
    return tag(moved, ids.column, ids.state_manager)


def _size(arguments: dict[str, Any]) -> tf.Tensor:
    variable = arguments["input"]
    return tf.cast(variable.size() * variable.dim, arguments["out_type"], arguments["name"])


def _zero_fraction(arguments: dict[str, Any]) -> tf.Tensor:
    return tf.math.zero_fraction(arguments["value"].export().values, arguments["name"])


_register(tf.nn.safe_embedding_lookup_sparse, "sparse_ids", _safe_lookup)
_register(tf.compat.v1.nn.safe_embedding_lookup_sparse, "sparse_ids", _safe_lookup)
_register(tf.nn.embedding_lookup_sparse, "sp_ids", _lookup)
_register(tf.compat.v1.nn.embedding_lookup_sparse, "sp_ids", _lookup)
_register(tf.sparse.reshape, "sp_input", _reshape)
# Canned linear estimators sum up all the weights of their model: how many are zero.
_register(tf.compat.v1.size, "input", _size, EmbeddingVariable)
_register(tf.math.zero_fraction, "value", _zero_fraction, EmbeddingVariable)
