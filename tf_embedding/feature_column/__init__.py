# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Feature columns without a vocabulary, for TensorFlow's own columns and layers.

>>> import tensorflow as tf, tf_embedding as te
>>> items = te.feature_column.categorical_column_with_embedding("item", dtype=tf.int64)
>>> tf.feature_column.embedding_column(items, dimension=4).variable_shape.as_list()
[4]
"""

from tf_embedding.feature_column.categorical import (
    categorical_column_with_embedding,
    sequence_categorical_column_with_embedding,
)
from tf_embedding.feature_column.embedding import embedding_column

__all__ = [
    "categorical_column_with_embedding",
    "embedding_column",
    "sequence_categorical_column_with_embedding",
]
