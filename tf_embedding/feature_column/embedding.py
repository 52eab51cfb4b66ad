# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""The embedding column whose only weights are its rows."""

from __future__ import annotations

import math
from typing import Any, Callable, Optional

import tensorflow as tf
from tensorflow.python.feature_column import feature_column_v2 as fc_v2
from tensorflow.python.feature_column import serialization

from tf_embedding import config, initializers, nn
from tf_embedding.feature_column import rows
from tf_embedding.feature_column.categorical import base_of
from tf_embedding.get_variable import get_embedding_variable

_RESOURCE = "embedding_weights"


@serialization.register_feature_column
class DynamicEmbeddingColumn(fc_v2.EmbeddingColumn):  # type: ignore[misc]
    """See `embedding_column`."""

    def create_state(self, state_manager: Any) -> None:
        """Makes the rows where the layer keeps its weights."""
        scope = tf.compat.v1.get_variable_scope().name or tf.get_current_name_scope()
        made = rows.make(
            base_of(self.categorical_column),
            state_manager,
            resource=self.name,
            dim=self.dimension,
            initializer=self.initializer,
            name="/".join(filter(None, (scope, _RESOURCE))),
            trainable=self.trainable and getattr(state_manager, "_trainable", True),
        )
        state_manager.add_resource(self, _RESOURCE, rows.RowsHandle(made))

    def _look_up(self, variable: Any, sparse_tensors: Any) -> tf.Tensor:
        if self.ckpt_to_load_from is not None:
            if tf.executing_eagerly() or variable._initializer_op is None:
                raise ValueError(
                    f"ckpt_to_load_from of column {self.name!r} is {self.ckpt_to_load_from!r}, "
                    "which is for v1 graphs. Restore the layer by tf.train.Checkpoint"
                )
            tf.compat.v1.train.init_from_checkpoint(
                self.ckpt_to_load_from, {self.tensor_name_in_ckpt: variable}
            )
        ids = sparse_tensors.id_tensor.plain()
        look_up: Callable[..., tf.Tensor] = nn.safe_embedding_lookup_sparse
        rank = ids.dense_shape.shape[0]
        if not self.use_safe_embedding_lookup and rank is not None and rank <= 2:
            look_up = nn.embedding_lookup_sparse
        return look_up(
            variable,
            ids,
            sparse_tensors.weight_tensor,
            combiner=self.combiner,
            max_norm=self.max_norm,
            name=f"{self.name}_weights",
        )

    def _get_dense_tensor_internal(self, sparse_tensors: Any, state_manager: Any) -> tf.Tensor:
        handle = state_manager.get_resource(self, _RESOURCE)
        return self._look_up(handle.rows, sparse_tensors)

    def _old_get_dense_tensor_internal(
        self, sparse_tensors: Any, weight_collections: Any, trainable: Any
    ) -> tf.Tensor:
        column: Any = base_of(self.categorical_column)
        parts = column.partition_num
        variable = get_embedding_variable(
            _RESOURCE,
            self.dimension,
            initializer=self.initializer,
            trainable=self.trainable and trainable is not False,
            collections=weight_collections,
            partitioner=parts and tf.compat.v1.fixed_size_partitioner(parts),
            ev_option=column.ev_option,
        )
        return self._look_up(variable, sparse_tensors)


def embedding_column(
    categorical_column: Any,
    dimension: int,
    combiner: str = "mean",
    initializer: Any = None,
    ckpt_to_load_from: Optional[str] = None,
    tensor_name_in_ckpt: Optional[str] = None,
    max_norm: Optional[float] = None,
    trainable: bool = True,
    use_safe_embedding_lookup: bool = True,
) -> DynamicEmbeddingColumn:
    """`tf.feature_column.embedding_column` whose only weights are the rows.

    TensorFlow's own works on the same categorical columns, with a dense weight of one
    row, never read or trained, beside them.

    Args:
      categorical_column: made by `categorical_column_with_embedding` or
        `sequence_categorical_column_with_embedding`, weighted or not.
      dimension: the length of a row, 1 to 4096.
      combiner: "sum", "mean" or "sqrtn" of the rows of an example.
      initializer: of the rows, see `te.initializers.get`; None for a truncated normal
        of standard deviation 1 / sqrt(dimension), as in TensorFlow.
      ckpt_to_load_from: a checkpoint whose rows to begin with, in v1 graphs; None for
        none.
      tensor_name_in_ckpt: the name of the embedding variable in that checkpoint.
      max_norm: if given, each row is first clipped to this L2 norm.
      trainable: whether the rows train.
      use_safe_embedding_lookup: whether ids with weights not above 0 are left out, as
        in TensorFlow; both ways an example without ids gets zeros.

    Returns:
      The column.

    Raises:
      TypeError: the categorical column has a vocabulary.
      ValueError: an argument is out of its range.

    >>> import tensorflow as tf, tf_embedding as te
    >>> items = te.feature_column.categorical_column_with_embedding("item", tf.int64)
    >>> embedding_column(items, dimension=8).name
    'item_embedding'
    """
    if base_of(categorical_column) is None:
        raise TypeError(
            f"categorical_column is {categorical_column!r}; it must be made by "
            "categorical_column_with_embedding or sequence_categorical_column_with_embedding. "
            "For one with a vocabulary use tf.feature_column.embedding_column"
        )
    dimension = config.check_dim(dimension)
    config.check_combiner(combiner)
    config.check_max_norm(max_norm)
    if (ckpt_to_load_from is None) != (tensor_name_in_ckpt is None):
        raise ValueError(
            f"ckpt_to_load_from is {ckpt_to_load_from!r} and tensor_name_in_ckpt is "
            f"{tensor_name_in_ckpt!r}; give both or neither"
        )
    if initializer is None:
        initializer = tf.compat.v1.truncated_normal_initializer(stddev=1 / math.sqrt(dimension))
    elif not callable(initializer):
        initializers.get(initializer, dimension)  # Raises now what it would raise later.
    return DynamicEmbeddingColumn(
        categorical_column=categorical_column,
        dimension=dimension,
        combiner=combiner,
        initializer=initializer,
        ckpt_to_load_from=ckpt_to_load_from,
        tensor_name_in_ckpt=tensor_name_in_ckpt,
        max_norm=max_norm,
        trainable=trainable,
        use_safe_embedding_lookup=use_safe_embedding_lookup,
    )
