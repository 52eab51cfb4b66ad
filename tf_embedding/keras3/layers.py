# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Keras 3 layers over `te.EmbeddingVariable`: a row for every id, from the first gradient on.

The rows train with the compiled optimizer, stock or of `te.optimizers`: by the
fused rule of the same name, hyper-parameters and learning rate. `optimizer=` on
a layer (a name, a stock or a te optimizer) overrides that for its rows; then
hyper-parameters, clipping and learning rate are its own, and the step is the
compiled optimizer's.

Ids are int32, int64 or strings (hashed, see `te.hashing`); all values are
legal. Rows are float32 under every dtype policy, outputs have the compute
dtype. XLA cannot run the lookups, so `jit_compile="auto"` resolves to False.

>>> import keras, numpy as np
>>> from tf_embedding.keras3 import layers
>>> model = keras.Sequential([
...     keras.Input((3,), dtype="int64"),
...     layers.EmbeddingBag(4, combiner="sum"),
...     keras.layers.Dense(1),
... ])
>>> model.compile("adagrad", "mse")
>>> ids = np.array([[1, 2, 3], [3, -4, 2**60]])
>>> history = model.fit(ids, np.ones((2, 1)), verbose=0)
>>> int(model.layers[0].variable.size())
5
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Optional

import keras
import tensorflow as tf

from tf_embedding import inputs as inputs_lib
from tf_embedding import nn, options
from tf_embedding.config import (
    FeatureConfig,
    TableConfig,
    check_combiner,
    check_concat,
    check_inputs,
    tables_of,
)
from tf_embedding.keras3.tables_layer import TablesLayer
from tf_embedding.variable import EmbeddingVariable

__all__ = ["DenseFeatures", "Embedding", "EmbeddingBag", "EmbeddingTables"]  # noqa: F822

_register = keras.saving.register_keras_serializable(package="tf_embedding")


def __getattr__(name: str) -> Any:
    if name != "DenseFeatures":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # It loads tf.feature_column, which most models do not need.
    from tf_embedding.keras3.feature_layers import DenseFeatures

    return DenseFeatures


def _serialized(value: Any) -> Any:
    """An argument as get_config gives it: names stay, objects become dicts."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, options.EmbeddingVariableOption):
        return options.to_config(value)
    return keras.saving.serialize_keras_object(value)


def _deserialized(value: Any) -> Any:
    """The inverse of `_serialized`."""
    if isinstance(value, Mapping) and "option" in value:
        return options.from_config(value)
    if isinstance(value, Mapping):
        return keras.saving.deserialize_keras_object(dict(value))
    return value


def _fields(config: Any) -> dict[str, Any]:
    """The fields of a dataclass for get_config, but a feature's table."""
    return {
        field.name: _serialized(getattr(config, field.name))
        for field in dataclasses.fields(config)
        if field.name != "table"
    }


@_register
class NotPadding(keras.Operation):  # type: ignore[misc]
    """The mask of ids: False where 0 or, for strings, empty. A node of functional models."""

    def call(self, ids: Any) -> Any:
        """bool, the structure of the ids."""
        return tf.not_equal(ids, "" if ids.dtype == tf.string else 0)

    def compute_output_spec(self, ids: Any) -> keras.KerasTensor:
        """The output of a symbolic call."""
        return keras.KerasTensor(ids.shape, dtype="bool", ragged=ids.ragged)


class _OneTableLayer(TablesLayer):
    """A layer with one table and its arguments."""

    def __init__(
        self,
        dim: int,
        initializer: Any = "uniform",
        optimizer: Any = None,
        seed: Optional[int] = None,
        ev_option: Optional[options.EmbeddingVariableOption] = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        table = TableConfig(
            dim=dim,
            name=self.name,
            initializer=_deserialized(initializer),
            optimizer=_deserialized(optimizer),
            seed=seed,
            ev_option=_deserialized(ev_option),
        )
        self._set_tables([table])

    @property
    def variable(self) -> EmbeddingVariable:
        """The `te.EmbeddingVariable`, once the layer is built."""
        if not self._rows:
            raise ValueError(
                f"Layer {self.name!r} has no table before it is built. Call it on ids, or call "
                "build(None)."
            )
        return self._rows[0].rows

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        table = self._tables[0]
        return {
            **super().get_config(),
            "dim": table.dim,
            "initializer": _serialized(table.initializer),
            "optimizer": _serialized(table.optimizer),
            "seed": table.seed,
            "ev_option": _serialized(table.ev_option),
        }


@_register
class Embedding(_OneTableLayer):
    """Turns ids into vectors, as keras.layers.Embedding without a vocabulary.

    Args:
      dim: length of a vector, 1 to 4096.
      initializer: of new rows, see `te.EmbeddingVariable`. Defaults to "uniform".
      optimizer: for these rows; None for the compiled one. Defaults to None.
      mask_zero: whether id 0 (for strings: "") is padding, which the mask of the
        output leaves out. The id has its row all the same. Defaults to False.
      seed: of the initial rows; None draws one. Defaults to None.
      ev_option: more options of the rows, see `te.EmbeddingVariableOption`: which ids
        earn one, which rows go. Defaults to None.
      **kwargs: `name`, `dtype`, `trainable` as of any Keras layer.

    Input: ids, dense of any shape, or ragged.
    Output: the compute dtype, one axis of `dim` more than the ids.

    Raises:
      ValueError: an argument out of its range; an `optimizer` that rows cannot have.

    >>> import tensorflow as tf, tf_embedding as te
    >>> layer = te.layers.Embedding(4, initializer="ones")
    >>> layer(tf.constant([["red", "blue"]])).shape
    TensorShape([1, 2, 4])
    """

    def __init__(
        self,
        dim: int,
        initializer: Any = "uniform",
        optimizer: Any = None,
        mask_zero: bool = False,
        seed: Optional[int] = None,
        ev_option: Optional[options.EmbeddingVariableOption] = None,
        **kwargs: Any,
    ):
        super().__init__(dim, initializer, optimizer, seed, ev_option, **kwargs)
        self.mask_zero = mask_zero
        self.supports_masking = mask_zero

    def call(self, ids: Any) -> Any:
        """Looks ids up; never changes the table."""
        if isinstance(ids, tf.SparseTensor):
            raise self._no_sparse()
        self._refuse_ids("ids", ids)
        found = nn.embedding_lookup(self.variable, inputs_lib.to_keys(ids))
        return tf.cast(found, self.compute_dtype)

    def _no_sparse(self) -> TypeError:
        return TypeError(
            f"Layer {self.name!r} takes dense or ragged ids, not a SparseTensor. "
            "Use te.layers.EmbeddingBag, which pools them, or tf.RaggedTensor.from_sparse(ids)."
        )

    def compute_mask(self, ids: Any, mask: Any = None) -> Any:
        """bool, the shape of the ids: False where padding. None without mask_zero."""
        if not self.mask_zero:
            return None
        return NotPadding()(ids)

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        """The shape of the ids and `dim`."""
        return (*input_shape, self._tables[0].dim)

    def compute_output_spec(self, ids: Any) -> keras.KerasTensor:
        """The output of a symbolic call: ragged ids give ragged vectors."""
        if ids.sparse:
            raise self._no_sparse()
        self._refuse_ids("ids", ids)
        shape = self.compute_output_shape(ids.shape)
        return keras.KerasTensor(shape, dtype=self.compute_dtype, ragged=ids.ragged)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "mask_zero": self.mask_zero}


@_register
class EmbeddingBag(_OneTableLayer):
    """Pools the vectors of a bag of ids into one, in one op.

    Args:
      dim: length of a vector, 1 to 4096.
      combiner: "sum", "mean" (divided by the sum of the weights) or "sqrtn" (by the
        root of the sum of their squares). Defaults to "mean".
      initializer: of new rows, see `te.EmbeddingVariable`. Defaults to "uniform".
      optimizer: for these rows; None for the compiled one. Defaults to None.
      seed: of the initial rows; None draws one. Defaults to None.
      ev_option: more options of the rows, see `te.EmbeddingVariableOption`: which ids
        earn one, which rows go. Defaults to None.
      **kwargs: `name`, `dtype`, `trainable` as of any Keras layer.

    Input: ids, dense [batch, n] or [batch] (bags of one), sparse [batch, n] or ragged
      [batch, None]; and `weights`, of the same structure, if any.
    Output: the compute dtype, [batch, dim]; zeros for an empty bag.

    Raises:
      ValueError: an argument out of its range; an `optimizer` that rows cannot have.

    >>> import tensorflow as tf, tf_embedding as te
    >>> layer = te.layers.EmbeddingBag(2, combiner="sum", initializer="ones")
    >>> layer(tf.ragged.constant([[5, 6, 7], []])).numpy().tolist()
    [[3.0, 3.0], [0.0, 0.0]]
    """

    def __init__(
        self,
        dim: int,
        combiner: str = "mean",
        initializer: Any = "uniform",
        optimizer: Any = None,
        seed: Optional[int] = None,
        ev_option: Optional[options.EmbeddingVariableOption] = None,
        **kwargs: Any,
    ):
        check_combiner(combiner)
        super().__init__(dim, initializer, optimizer, seed, ev_option, **kwargs)
        self.combiner = combiner

    def call(self, ids: Any, weights: Any = None) -> Any:
        """Looks bags up; never changes the table."""
        self._refuse_ids("ids", ids)
        bags = inputs_lib.to_bags(ids, weights)
        (pooled,) = nn.pooled_lookup([self.variable], [bags], [self.combiner])
        return tf.cast(pooled, self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        """[batch, dim]."""
        return (input_shape[0], self._tables[0].dim)

    def compute_output_spec(self, ids: Any, weights: Any = None) -> keras.KerasTensor:
        """The output of a symbolic call: dense whatever the ids."""
        self._refuse_ids("ids", ids)
        return keras.KerasTensor(self.compute_output_shape(ids.shape), dtype=self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "combiner": self.combiner}


@_register
class EmbeddingTables(TablesLayer):
    """Looks many features up in their tables, all bags in one op.

    Features with the same `te.TableConfig` object share its rows. A feature without
    combiner is looked up id by id, as `Embedding` does.

    Args:
      features: `te.FeatureConfig`s of distinct names. The `optimizer` of a
        table is what it is in `Embedding`.
      concat: whether the output is one tensor, the vectors of all features side by
        side, each of which needs a combiner. Where every feature is one id an example
        it saves the pass through memory of a `Concatenate` layer.
      **kwargs: `name`, `dtype`, `trainable` as of any Keras layer.

    Input: a dict from feature name to ids, as of `EmbeddingBag`, or of `Embedding`
      where the feature has no combiner; other names are ignored. `weights`: a
      dict for those features that have weights, if any.
    Output: a dict from feature name to vectors of the compute dtype; with concat one
      tensor [batch, sum of dims], in the order of the features.

    Raises:
      TypeError: concat is no bool.
      ValueError: no feature, a name twice, two tables of one name, an optimizer
        that rows cannot have, concat and a feature without combiner; when called,
        ids missing, weights for a feature that is unknown or has no combiner.

    >>> import tensorflow as tf, tf_embedding as te
    >>> items = te.TableConfig(name="items", dim=4)
    >>> layer = te.layers.EmbeddingTables([
    ...     te.FeatureConfig("clicked", items),
    ...     te.FeatureConfig("shown", items, combiner=None)])
    >>> found = layer({"clicked": tf.constant([[1, 2], [3, 4]]), "shown": tf.constant([5, 6])})
    >>> {name: tuple(vectors.shape) for name, vectors in found.items()}
    {'clicked': (2, 4), 'shown': (2, 4)}
    >>> users = te.TableConfig(name="users", dim=2)
    >>> features = [te.FeatureConfig("item", items), te.FeatureConfig("user", users)]
    >>> wide = te.layers.EmbeddingTables(features, concat=True)
    >>> tuple(wide({"item": tf.constant([1, 2]), "user": tf.constant([7, 7])}).shape)
    (2, 6)
    """

    def __init__(self, features: Sequence[FeatureConfig], concat: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.features = features = tuple(features)
        check_concat(concat, features)
        self.concat = concat
        tables, self._table_index = tables_of(features)
        self._set_tables(tables)

    @property
    def variables_by_feature(self) -> dict[str, EmbeddingVariable]:
        """From feature name to its `te.EmbeddingVariable`, once the layer is built."""
        if not self._rows:
            raise ValueError(
                f"Layer {self.name!r} has no tables before it is built. Call it on ids, or call "
                "build(None)."
            )
        return {name: self._rows[i].rows for name, i in self._table_index.items()}

    def call(self, ids: Mapping[str, Any], weights: Optional[Mapping[str, Any]] = None) -> Any:
        """Looks all features up; never changes a table."""
        self._refuse_names(ids, weights)
        weights = weights or {}
        variables = self.variables_by_feature
        pooled = [f for f in self.features if f.combiner is not None]
        found: dict[str, Any] = {}
        if pooled:
            vectors = nn.pooled_lookup(
                [variables[f.name] for f in pooled],
                [inputs_lib.to_bags(ids[f.name], weights.get(f.name)) for f in pooled],
                [f.combiner for f in pooled if f.combiner is not None],
                [f.max_norm for f in pooled],
                concat=self.concat,
            )
            if self.concat:
                return tf.cast(vectors, self.compute_dtype)
            found.update(zip((f.name for f in pooled), vectors))
        plain = [f for f in self.features if f.combiner is None]
        if plain:
            vectors = nn.embedding_lookup_many(
                [variables[f.name] for f in plain],
                [ids[f.name] for f in plain],
                [f.max_norm for f in plain],
            )
            found.update(zip((f.name for f in plain), vectors))
        return {f.name: tf.cast(found[f.name], self.compute_dtype) for f in self.features}

    def _refuse_names(self, ids: Mapping[str, Any], weights: Optional[Mapping[str, Any]]) -> None:
        check_inputs(self.name, self.features, ids, weights)
        for f in self.features:
            self._refuse_ids(f"ids[{f.name!r}]", ids[f.name])

    def compute_output_shape(self, input_shape: Mapping[str, Any]) -> Any:
        """The shapes of the vectors by feature name; with concat, that of all."""
        if self.concat:
            batch = input_shape[self.features[0].name][0]
            return (batch, sum(f.table.dim for f in self.features))
        shapes = {}
        for f in self.features:
            shape = tuple(input_shape[f.name])
            shapes[f.name] = (*(shape if f.combiner is None else shape[:1]), f.table.dim)
        return shapes

    def compute_output_spec(
        self, ids: Mapping[str, Any], weights: Optional[Mapping[str, Any]] = None
    ) -> Any:
        """The output of a symbolic call."""
        self._refuse_names(ids, weights)
        shapes = self.compute_output_shape({f.name: ids[f.name].shape for f in self.features})
        if self.concat:
            return keras.KerasTensor(shapes, dtype=self.compute_dtype)
        return {
            f.name: keras.KerasTensor(
                shapes[f.name],
                dtype=self.compute_dtype,
                ragged=f.combiner is None and ids[f.name].ragged,
            )
            for f in self.features
        }

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor, as `from_config` reads them."""
        features = [{**_fields(f), "table": self._table_index[f.name]} for f in self.features]
        tables = [_fields(table) for table in self._tables]
        return {
            **super().get_config(),
            "tables": tables,
            "features": features,
            "concat": self.concat,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> EmbeddingTables:
        """Makes a layer from `get_config`; shared tables stay shared."""
        config = dict(config)
        tables = [
            TableConfig(**{key: _deserialized(value) for key, value in table.items()})
            for table in config.pop("tables")
        ]
        features = [
            FeatureConfig(**{**feature, "table": tables[feature["table"]]})
            for feature in config.pop("features")
        ]
        return cls(features, **config)
