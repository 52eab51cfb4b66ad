# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Keras 2 layers over `te.EmbeddingVariable`: a row for every id seen.

Compile the model with an optimizer of `te.optimizers`, which trains rows and
dense weights, or give the layer `optimizer=`: its rows are then trained by that,
whatever the model is compiled with. A stock optimizer alone is an error.

`optimizer=` has a learning rate, clipping and a count of steps of its own; what
the model is compiled with has no say in them. A compiled optimizer whose settings
would have to cover the rows too is refused: a loss scale, `global_clipnorm`.

Rows are float32 under every dtype policy; outputs have the compute dtype.
Ids are int32, int64 or strings (hashed, see `te.hashing`).

>>> import numpy as np
>>> from tf_embedding.keras2 import _keras, layers, optimizers
>>> keras = _keras.keras
>>> model = keras.Sequential([
...     keras.Input((3,), dtype="int64"),
...     layers.EmbeddingBag(4, combiner="sum"),
...     keras.layers.Dense(1),
... ])
>>> model.compile(optimizers.Adagrad(0.1), "mse")
>>> ids = np.array([[1, 2, 3], [3, -4, 2**60]])
>>> history = model.fit(ids, np.ones((2, 1)), verbose=0)
>>> int(model.layers[0].variable.size())
5
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from tf_embedding import _keras_store, nn, options
from tf_embedding import config as config_lib
from tf_embedding import inputs as inputs_lib
from tf_embedding.keras2 import _keras, _trainer, optimizers

keras: Any = _keras.keras

_COMBINERS = ("mean", "sum", "sqrtn")


def __getattr__(name: str) -> Any:
    if name != "DenseFeatures":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # It loads tf.feature_column, which most models do not need.
    from tf_embedding.keras2.feature_layers import DenseFeatures

    return DenseFeatures


def _initializer_config(initializer: Any) -> Any:
    """An initializer as get_config gives it: plain values, else a dict."""
    if initializer is None or isinstance(initializer, (str, int, float)):
        return initializer
    if callable(initializer):
        return keras.initializers.serialize(initializer)
    return np.asarray(initializer).tolist()


def _initializer_of(config: Any) -> Any:
    """The inverse of `_initializer_config`."""
    if isinstance(config, Mapping):
        return keras.initializers.get(dict(config))
    return config


def _optimizer_config(optimizer: Any) -> Any:
    """An optimizer of rows, or None, as get_config gives it."""
    return optimizer and keras.optimizers.serialize(optimizer)


class _RowLayer(keras.layers.Layer):  # type: ignore[misc]
    """What the layers have in common: making, training and saving of rows."""

    def __init__(self, **kwargs: Any) -> None:
        # Ids must not be cast to the compute dtype on their way in.
        kwargs.setdefault("autocast", False)
        super().__init__(**kwargs)
        self._tables: Sequence[config_lib.TableConfig] = ()
        self._rows: Sequence[Any] = ()
        self._trainers: Sequence[Any] = ()

    def _set_tables(self, tables: Iterable[config_lib.TableConfig]) -> None:
        """Says which tables to make; makes their optimizers now.

        In the frozen dataclasses Keras does not see the optimizers, so it does
        not save what the layer saves itself.
        """
        self._tables = tuple(
            dataclasses.replace(
                table,
                optimizer=table.optimizer
                and optimizers.get(table.optimizer),
            )
            for table in tables
        )

    def build(self, input_shape: Any = None) -> None:
        """Makes the tables; their shape does not depend on the input's."""
        _keras.require_one_replica(f"Layer {self.name!r}")
        rows, trainers = [], []
        for index, spec in enumerate(self._tables):
            variable = _keras.LayerVariable(
                spec.dim,
                initializer=spec.initializer,
                seed=spec.seed,
                name=spec.name or self.name,
                trainable=spec.optimizer is None,
                ev_option=spec.ev_option,
            )
            trainer = None
            if spec.optimizer is not None:
                trainer = _trainer.RowTrainer(variable, spec.optimizer)
                trainer.hook = self.add_weight(
                    name=f"hook_{index}",
                    shape=(),
                    dtype=tf.float32,
                    initializer="zeros",
                    constraint=trainer.step,
                    aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
                    experimental_autocast=False,
                )
            rows.append(variable)
            trainers.append(trainer)
        self._rows = rows
        self._trainers = trainers
        super().build(input_shape)

    def _require_rows(self) -> None:
        if not self._rows:
            raise ValueError(
                f"Layer {self.name!r} has no rows before it is built: call it "
                "on ids, or call build(None)."
            )

    def _lookup(self, trainers: Sequence[Any], read: Any) -> list[Any]:
        """Runs `read`; rows with an optimizer of their own get trained by it."""
        used = [trainer for trainer in trainers if trainer is not None]
        if used and self.trainable:
            outputs = _trainer.connect(used, read)
        else:
            outputs = read()
        return [tf.cast(output, self.compute_dtype) for output in outputs]

    def count_params(self) -> int:
        """The number of vector elements in the tables now."""
        return sum(int(rows.size()) * rows.dim for rows in self._rows)

    # Saving: rows are no arrays of a fixed shape, so the store of the .keras
    # and .weights.h5 formats gets the arrays of their state instead.

    def get_build_config(self) -> dict[str, Any]:
        """What `build_from_config` needs: nothing but to be called."""
        return {"input_shape": None}

    def build_from_config(self, config: Mapping[str, Any]) -> None:
        """Makes the tables of a layer that is being loaded."""
        if not self.built:
            self.build(config["input_shape"])

    def save_own_variables(self, store: Any) -> None:
        """Puts the state of all rows, and of their optimizers, into `store`."""
        for index, (rows, trainer) in enumerate(
            zip(self._rows, self._trainers)
        ):
            _keras_store.save(store, f"{index}_", rows)
            if trainer is not None:
                iterations = trainer.optimizer.iterations
                store[f"{index}_iterations"] = np.asarray(iterations)

    def load_own_variables(self, store: Any) -> None:
        """Replaces the rows by those of `store`.

        Raises:
          ValueError: The store does not hold the tables of this layer.
        """
        if not self.built:
            self.build(None)
        for index, (rows, trainer) in enumerate(
            zip(self._rows, self._trainers)
        ):
            _keras_store.load(store, f"{index}_", rows)
            iterations = f"{index}_iterations"
            if trainer is not None and iterations in store:
                trainer.optimizer.iterations.assign(store[iterations][()])


class _OneTableLayer(_RowLayer):
    """A layer with one table."""

    def __init__(
        self,
        dim: int,
        initializer: Any = "uniform",
        optimizer: Any = None,
        seed: Optional[int] = None,
        ev_option: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dim = dim
        self.initializer = _initializer_of(initializer)
        self.seed = seed
        self._set_tables(
            [
                config_lib.TableConfig(
                    name=self.name,
                    dim=dim,
                    initializer=self.initializer,
                    optimizer=optimizer,
                    seed=seed,
                    ev_option=options.from_config(ev_option),
                )
            ]
        )

    @property
    def variable(self) -> Any:
        """The `te.EmbeddingVariable`; there once the layer is built."""
        self._require_rows()
        return self._rows[0]

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {
            **super().get_config(),
            "dim": self.dim,
            "initializer": _initializer_config(self.initializer),
            "optimizer": _optimizer_config(self._tables[0].optimizer),
            "seed": self.seed,
            "ev_option": options.to_config(self._tables[0].ev_option),
        }


_register = keras.utils.register_keras_serializable(package="tf_embedding")


@_register
class Embedding(_OneTableLayer):
    """Turns ids into vectors, as keras.layers.Embedding without a vocabulary.

    Input: ids, int32, int64 or string, dense of any shape or ragged.
    Output: the compute dtype, the shape of the ids and one axis of `dim` more.

    >>> import tensorflow as tf
    >>> from tf_embedding.keras2 import layers
    >>> layers.Embedding(4)(tf.constant([["red", "blue", "red"]])).shape
    TensorShape([1, 3, 4])
    """

    def __init__(
        self,
        dim: int,
        initializer: Any = "uniform",
        optimizer: Any = None,
        mask_zero: bool = False,
        seed: Optional[int] = None,
        ev_option: Any = None,
        **kwargs: Any,
    ) -> None:
        """Makes the layer; its rows come with the first call.

        Args:
          dim: Length of a row, 1 to 4096.
          initializer: As in `te.EmbeddingVariable`.
          optimizer: None: the compiled optimizer trains the rows, and must be
            of `te.optimizers`. Else a name, a stock optimizer or one of
            `te.optimizers`, for the rows of this layer alone.
          mask_zero: Whether id 0 (of strings, the empty one) is padding, which
            the layer's mask shows to later layers. It has a row all the same.
          seed: Seed of initial rows; None draws one.
          ev_option: More options of the rows, a `te.EmbeddingVariableOption`:
            which ids earn one, which rows go.
          **kwargs: name, dtype, trainable as in any layer.

        Raises:
          ValueError: An `optimizer` that rows cannot have.
        """
        super().__init__(
            dim, initializer, optimizer, seed, ev_option, **kwargs
        )
        self.mask_zero = mask_zero
        self.supports_masking = mask_zero

    def call(self, inputs: Any) -> Any:
        """Looks ids up; never changes the table."""
        if isinstance(inputs, tf.SparseTensor):
            raise TypeError(
                f"Layer {self.name!r} takes dense or ragged ids, not a "
                "SparseTensor: use te.layers.EmbeddingBag, which pools them."
            )
        keys = inputs_lib.to_keys(inputs)
        flat = keys.flat_values if isinstance(keys, tf.RaggedTensor) else keys

        def read() -> list[Any]:
            return [nn.embedding_lookup(self.variable, flat)]

        (output,) = self._lookup(self._trainers, read)
        if isinstance(keys, tf.RaggedTensor):
            return keys.with_flat_values(output)
        return output

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """True where an id is not padding; None without mask_zero."""
        del mask
        if not self.mask_zero:
            return None
        return tf.not_equal(inputs, "" if inputs.dtype == tf.string else 0)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of ids and `dim`."""
        return tf.TensorShape(input_shape).concatenate(self.dim)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "mask_zero": self.mask_zero}


@_register
class EmbeddingBag(_OneTableLayer):
    """Pools the rows of a bag of ids into one vector, in one op.

    Input: ids, int32, int64 or string: dense [batch, n] or [batch], one id a bag;
    sparse [batch, n]; ragged [batch, None]; `weights` of the same structure, if
    any. Output: the compute dtype, [batch, dim]; an empty bag gives zeros.

    >>> import tensorflow as tf
    >>> from tf_embedding.keras2 import layers
    >>> bag = layers.EmbeddingBag(2, combiner="sum", initializer="ones")
    >>> bag(tf.ragged.constant([[5, 6, 7], []])).numpy().tolist()
    [[3.0, 3.0], [0.0, 0.0]]
    """

    def __init__(
        self,
        dim: int,
        combiner: str = "mean",
        initializer: Any = "uniform",
        optimizer: Any = None,
        seed: Optional[int] = None,
        ev_option: Any = None,
        **kwargs: Any,
    ) -> None:
        """Makes the layer; its rows come with the first call.

        Args:
          dim: Length of a row, 1 to 4096.
          combiner: "mean" (over the sum of weights), "sum" or "sqrtn" (over
            the root of the sum of squared weights).
          initializer: As in `te.EmbeddingVariable`.
          optimizer: As in `Embedding`.
          seed: Seed of initial rows; None draws one.
          ev_option: More options of the rows, a `te.EmbeddingVariableOption`:
            which ids earn one, which rows go.
          **kwargs: name, dtype, trainable as in any layer.

        Raises:
          ValueError: A `combiner` or `optimizer` that there is not.
        """
        super().__init__(
            dim, initializer, optimizer, seed, ev_option, **kwargs
        )
        if combiner not in _COMBINERS:
            raise ValueError(
                f"combiner={combiner!r} must be one of {_COMBINERS}."
            )
        self.combiner = combiner

    def call(self, inputs: Any, weights: Any = None) -> Any:
        """Looks bags up; never changes the table."""
        bags = inputs_lib.to_bags(inputs, weights)

        def read() -> Any:
            return nn.pooled_lookup([self.variable], [bags], [self.combiner])

        (output,) = self._lookup(self._trainers, read)
        return output

    def compute_output_shape(self, input_shape: Any) -> Any:
        """[batch, dim]."""
        return tf.TensorShape([input_shape[0], self.dim])

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        return {**super().get_config(), "combiner": self.combiner}


@_register
class EmbeddingTables(_RowLayer):
    """Looks many features up in their tables, all bags in one op.

    Input: a dictionary from feature name to ids as in `EmbeddingBag`, or as in
    `Embedding` where the feature has no combiner; other names are ignored;
    `weights`, a dictionary for the features that have some, if any. Output: a
    dictionary from feature name to vectors of the compute dtype, or with concat
    one tensor of all. Features with the same `TableConfig` object share its rows.

    >>> import tensorflow as tf
    >>> import tf_embedding as te
    >>> from tf_embedding.keras2 import layers
    >>> items = te.TableConfig(name="items", dim=4)
    >>> tables = layers.EmbeddingTables([
    ...     te.FeatureConfig("clicked", items),
    ...     te.FeatureConfig("shown", items, combiner=None)])
    >>> out = tables({"clicked": tf.ragged.constant([[1, 2], []]),
    ...               "shown": tf.constant([3, 4])})
    >>> {name: tuple(t.shape) for name, t in out.items()}
    {'clicked': (2, 4), 'shown': (2, 4)}
    """

    def __init__(
        self,
        features: Sequence[config_lib.FeatureConfig],
        concat: bool = False,
        **kwargs: Any,
    ) -> None:
        """Makes the layer; its rows come with the first call.

        Args:
          features: `te.FeatureConfig`s with distinct names. The `optimizer` of
            a table is what `optimizer=` is in `Embedding`.
          concat: whether the output is one tensor [batch, sum of dims], the
            vectors of all features side by side, each of which needs a
            combiner. Where every feature is one id an example it saves the
            pass through memory of a `Concatenate` layer.
          **kwargs: name, dtype, trainable as in any layer.

        Raises:
          ValueError: No feature, a name given twice, two tables of one name, or
            an `optimizer` that rows cannot have; concat, and a feature without
            combiner.
        """
        super().__init__(**kwargs)
        features = tuple(features)
        config_lib.check_concat(concat, features)
        self.concat = concat
        tables, self._table_index = config_lib.tables_of(features)
        self.features = features
        self._set_tables(tables)

    @property
    def variables_by_feature(self) -> dict[str, Any]:
        """From feature name to its `te.EmbeddingVariable`, once built."""
        self._require_rows()
        return {
            name: self._rows[index]
            for name, index in self._table_index.items()
        }

    def call(
        self,
        inputs: Mapping[str, Any],
        weights: Optional[Mapping[str, Any]] = None,
    ) -> Any:
        """Looks all features up; never changes a table."""
        config_lib.check_inputs(self.name, self.features, inputs, weights)
        weights = weights or {}
        # Tables with an optimizer of their own differ in how gradients reach
        # them, so each kind has its op; mostly there is one kind.
        kinds = {self._trains_itself(feature) for feature in self.features}
        if self.concat and len(kinds) == 1:
            return self._call_features(self.features, inputs, weights, True)
        outputs: dict[str, Any] = {}
        for kind in (False, True):
            chosen = [f for f in self.features if self._trains_itself(f) == kind]
            if chosen:
                outputs.update(self._call_features(chosen, inputs, weights))
        if self.concat:
            return tf.concat([outputs[f.name] for f in self.features], axis=1)
        return {f.name: outputs[f.name] for f in self.features}

    def _trains_itself(self, feature: config_lib.FeatureConfig) -> bool:
        return self._trainers[self._table_index[feature.name]] is not None

    def _call_features(
        self,
        features: Sequence[config_lib.FeatureConfig],
        inputs: Mapping[str, Any],
        weights: Mapping[str, Any],
        concat: bool = False,
    ) -> Any:
        pooled = [f for f in features if f.combiner is not None]
        plain = [f for f in features if f.combiner is None]
        bags = [
            inputs_lib.to_bags(inputs[f.name], weights.get(f.name))
            for f in pooled
        ]
        keys = [inputs_lib.to_keys(inputs[f.name]) for f in plain]
        rows = self.variables_by_feature

        def read() -> list[Any]:
            results: list[Any] = []
            if pooled:
                vectors = nn.pooled_lookup(
                    [rows[f.name] for f in pooled],
                    bags,
                    [f.combiner or "" for f in pooled],
                    [f.max_norm for f in pooled],
                    concat=concat,
                )
                results += [vectors] if concat else vectors
            if plain:
                results += nn.embedding_lookup_many(
                    [rows[f.name] for f in plain],
                    [getattr(ids, "flat_values", ids) for ids in keys],
                    [f.max_norm for f in plain],
                )
            return results

        used = {self._table_index[f.name] for f in features}
        found = self._lookup([self._trainers[i] for i in sorted(used)], read)
        if concat:
            return found[0]
        for position, ids in enumerate(keys, len(pooled)):
            if isinstance(ids, tf.RaggedTensor):
                found[position] = ids.with_flat_values(found[position])
        return {f.name: out for f, out in zip(pooled + plain, found)}

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shapes of the outputs by name; with concat, that of all."""
        if self.concat:
            shape = tf.TensorShape(input_shape[self.features[0].name])
            return shape[:1].concatenate(sum(f.table.dim for f in self.features))
        shapes = {}
        for feature in self.features:
            shape = tf.TensorShape(input_shape[feature.name])
            if feature.combiner is not None:
                shape = shape[:1]
            shapes[feature.name] = shape.concatenate(feature.table.dim)
        return shapes

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor, as `from_config` reads them."""
        return {
            **super().get_config(),
            "tables": [
                {
                    "dim": table.dim,
                    "name": table.name,
                    "initializer": _initializer_config(table.initializer),
                    "seed": table.seed,
                    "optimizer": _optimizer_config(table.optimizer),
                    "ev_option": options.to_config(table.ev_option),
                }
                for table in self._tables
            ],
            "features": [
                {
                    "name": feature.name,
                    "table": self._table_index[feature.name],
                    "combiner": feature.combiner,
                    "max_norm": feature.max_norm,
                }
                for feature in self.features
            ],
            "concat": self.concat,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "EmbeddingTables":
        """Makes a layer from `get_config`; shared tables stay shared."""
        config = dict(config)
        tables = [
            config_lib.TableConfig(
                **{
                    **table,
                    "initializer": _initializer_of(table["initializer"]),
                    "ev_option": options.from_config(table.get("ev_option")),
                }
            )
            for table in config.pop("tables")
        ]
        features = [
            config_lib.FeatureConfig(
                **{**feature, "table": tables[feature["table"]]}
            )
            for feature in config.pop("features")
        ]
        return cls(features, **config)
