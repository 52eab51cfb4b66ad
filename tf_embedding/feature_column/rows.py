# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which embedding variable a column reads, and where it is made.

Three kinds of owner keep the rows of a column:

* a layer of Keras 2 (`DenseFeatures`, `SequenceFeatures`): among its weights, so
  that it is trained and checkpointed with them;
* `te.layers.DenseFeatures` of Keras 3, by a state manager of its own (`make_rows`);
* a v1 graph: in the collections of the graph, named after the variable scope.

A stock column makes a dense weight of one row and looks ids up in it. The rows
take its place: they are found by the weight, which itself is never read, and is
taken out of what is trained.
"""

from __future__ import annotations

import re
import sys
from types import FrameType
from typing import Any, Iterator, NamedTuple, Optional

import tensorflow as tf
from tensorflow.python.feature_column import feature_column as fc_v1
from tensorflow.python.feature_column import feature_column_v2 as fc_v2

from tf_embedding.variable import EmbeddingVariable

# Where a stock weight keeps the rows that stand for it.
_ATTRIBUTE = "_tf_embedding_rows"


class RowsHandle(NamedTuple):
    """What a state manager that knows rows returns in place of a stock weight."""

    rows: Any


def _frames() -> Iterator[FrameType]:
    frame: Optional[FrameType] = sys._getframe(2)
    while frame is not None:
        yield frame
        frame = frame.f_back


def calling_column() -> Any:
    """The stock column or layer whose method is running and that holds a categorical column.

    A categorical column is not told who uses it, and the call stack is the one
    place that says. Wrappers (weighted, sequence) are passed over.

    Returns:
      The object, or None: a linear model, or a call by hand.
    """
    kinds = (
        fc_v2.EmbeddingColumn,
        fc_v2.SharedEmbeddingColumn,
        fc_v2.IndicatorColumn,
        fc_v1._EmbeddingColumn,
        fc_v1._SharedEmbeddingColumn,
        fc_v1._IndicatorColumn,
    )
    for frame in _frames():
        owner = frame.f_locals.get("self")
        if type(owner) in kinds:
            return owner
    return None


class _Settings(NamedTuple):
    """What the stock column says of its weight."""

    name: str
    initializer: Any
    ckpt_to_load_from: Optional[str]


def _settings() -> _Settings:
    owner = calling_column()
    if owner is None:
        # A linear model: its weights begin at zero.
        return _Settings("linear", "zeros", None)
    if isinstance(owner, fc_v2.SharedEmbeddingColumn):
        creator = owner.shared_embedding_column_creator
        return _Settings(owner.name, creator._initializer, creator._ckpt_to_load_from)
    return _Settings(owner.name, owner.initializer, owner.ckpt_to_load_from)


def refuse_checkpoint(ckpt_to_load_from: Optional[str], column: str) -> None:
    """Raises ValueError if a stock column is to load its weight from a checkpoint."""
    if ckpt_to_load_from is not None:
        raise ValueError(
            f"ckpt_to_load_from is {ckpt_to_load_from!r}, but TensorFlow's embedding column would "
            f"load a dense weight, not the rows of {column!r}. Use "
            "te.feature_column.embedding_column, which loads rows"
        )


def of_weight(weight: Any, column: Any, state_manager: Any) -> Any:
    """The rows that stand for the weight of a stock column or linear model.

    Args:
      weight: the dense weight [1, dim], a list of one, or a `RowsHandle`.
      column: the categorical column.
      state_manager: of the layer, or None.

    Returns:
      The embedding variable, made on first use with the initializer, the name and
      the trainable flag of the weight.

    Raises:
      ValueError: the stock column has settings that rows cannot have.
    """
    if isinstance(weight, RowsHandle):
        return weight.rows
    parts = weight if isinstance(weight, (list, tuple)) else list(_parts(weight))
    (part,) = parts
    rows = getattr(part, _ATTRIBUTE, None)
    if rows is None:
        settings = _settings()
        refuse_checkpoint(settings.ckpt_to_load_from, column.name)
        rows = make(
            column,
            state_manager,
            resource=settings.name,
            dim=int(part.shape[-1]),
            initializer=settings.initializer,
            # The place of the weight, and a name that is not its own.
            name=re.sub(r"(/part_0)?:0$", "", part.name) + "_rows",
            trainable=bool(part.trainable),
        )
        _retire(part, getattr(state_manager, "_layer", None))
        setattr(part, _ATTRIBUTE, rows)
    return rows


def _parts(weight: Any) -> Any:
    if isinstance(weight, tf.compat.v1.Variable) or hasattr(weight, "handle"):
        return [weight]
    return weight  # A PartitionedVariable: of one part, as the weight has one row.


def _retire(weight: Any, layer: Any) -> None:
    """Takes a weight that is never read out of what is trained."""
    weight._trainable = False
    if layer is not None:
        for i, other in enumerate(layer._trainable_weights):
            if other is weight:
                del layer._trainable_weights[i]
                layer._non_trainable_weights.append(weight)
                break
    with tf.init_scope():
        if not tf.executing_eagerly():
            key = tf.compat.v1.GraphKeys.TRAINABLE_VARIABLES
            trainable = tf.compat.v1.get_collection_ref(key)
            trainable[:] = [other for other in trainable if other is not weight]


def make(
    column: Any,
    state_manager: Any,
    resource: str,
    dim: int,
    initializer: Any,
    name: str,
    trainable: bool,
) -> Any:
    """Makes the rows of a column where its consumer keeps variables.

    Args:
      column: the categorical column.
      state_manager: of the layer, or None for the graph.
      resource: the name of the rows among the column's resources in the layer.
      dim: the length of a row.
      initializer: see `tf_embedding.initializers.get`.
      name: of the variable, absolute.
      trainable: whether the rows train.

    Returns:
      The embedding variable.
    """
    options: dict[str, Any] = {
        "dim": dim,
        "initializer": initializer,
        "name": name,
        "trainable": trainable,
        "num_parts": column.partition_num or 1,
        "ev_option": column.ev_option,
    }
    if hasattr(state_manager, "make_rows"):
        return state_manager.make_rows(options)
    with tf.init_scope():
        in_graph = not tf.executing_eagerly()
    if in_graph:
        # The name is absolute: no name scope is to come before it.
        with tf.init_scope(), tf.compat.v1.name_scope(None):
            rows = EmbeddingVariable(**options)
    elif state_manager is None:
        rows = EmbeddingVariable(**options)
    else:
        from tf_embedding.keras2 import _keras

        rows = _keras.LayerVariable(**options)
    layer = getattr(state_manager, "_layer", None)
    if layer is not None:
        state_manager.add_resource(column, resource, rows)
        if not any(other is rows for other in layer.weights):
            kept = layer._trainable_weights if trainable else layer._non_trainable_weights
            kept.append(rows)
    return rows
