# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Four click models, each over dynamic or over hashed embeddings.

A model never sees which of the two it stands on: it asks its `tables` for one
vector per feature.

| model | source |
|---|---|
| lr_ftrl | logistic regression by FTRL-Proximal: McMahan et al., "Ad Click Prediction", KDD 2013 |
| wide_deep | Cheng et al., "Wide & Deep Learning for Recommender Systems", DLRS 2016 |
| deepfm | Guo et al., "DeepFM", IJCAI 2017 |
| dlrm | Naumov et al., "Deep Learning Recommendation Model", arXiv:1906.00091 |
"""

from __future__ import annotations

from typing import Callable, Dict, List, Optional, Sequence, Tuple

import tensorflow as tf
from ctr_blocks import Block, Reader
from ctr_weights import tower_kernel

import tf_embedding as te

keras = tf.keras
KERAS_3 = hasattr(keras, "ops")  # Keras 2 has no keras.ops, nor always a version.
MODELS = ("lr_ftrl", "wide_deep", "deepfm", "dlrm")
OPTIMIZERS = {
    "adagrad": "Adagrad",
    "adam": "Adam",
    "ftrl": "Ftrl",
    "rmsprop": "RMSprop",
    "sgd": "SGD",
}

# Optimizer and learning rate of each model, where the flags do not say.
DEFAULTS = {
    "lr_ftrl": ("ftrl", 0.02),
    "wide_deep": ("adagrad", 0.01),
    "deepfm": ("adagrad", 0.01),
    "dlrm": ("adagrad", 0.01),
}


class Features:
    """Turns a block's raw columns into int64 keys, crosses included.

    Text is hashed to 64 bits, so every new word has a key at once: there is no
    vocabulary to build or to keep. A cross such as origin x dest is the hash of
    the joined values. Whole numbers are their own keys.
    """

    def __init__(self, reader: Reader):
        self._columns = reader.categorical
        self._crosses = {"_x_".join(cross): cross for cross in reader.crosses}
        self.names: Tuple[str, ...] = (*self._columns, *self._crosses)
        self.num_dense = len(reader.dense)

    def encode(self, block: Block) -> Dict[str, tf.Tensor]:
        """Returns {feature: int64 [n]}, and {"dense": float32 [n, num_dense]} if any."""
        keys, text = {}, {}
        crossed = {name for cross in self._crosses.values() for name in cross}
        for name in self._columns:
            column = tf.constant(block.ids[name])
            is_text = column.dtype == tf.string
            keys[name] = te.hashing.hash_strings(column) if is_text else column
            if name in crossed:
                text[name] = column if is_text else tf.strings.as_string(column)
        for name, cross in self._crosses.items():
            keys[name] = te.hashing.hash_strings(tf.strings.join([text[c] for c in cross], "\x01"))
        inputs = {name: key.numpy() for name, key in keys.items()}
        if self.num_dense:
            inputs["dense"] = block.dense
        return inputs


def bounds(
    filter_freq: int = 0, steps_to_live: Optional[int] = None, max_keys: Optional[int] = None
) -> Optional[te.EmbeddingVariableOption]:
    """What bounds the memory of a table; None where nothing does.

    Args:
      filter_freq: a key earns its row when it has been trained so many times; 0 and 1
        for the first time.
      steps_to_live: a row goes when it was not trained for so many steps.
      max_keys: rows at most; those that were not trained for longest go.
    """
    evicts: List[te.eviction.EvictOption] = []
    if steps_to_live is not None:
        evicts.append(te.GlobalStepEvict(steps_to_live))
    if max_keys is not None:
        evicts.append(te.CapacityEvict(max_keys, order="version"))
    filters = te.CounterFilter(filter_freq) if filter_freq > 1 else None
    if filters is None and not evicts:
        return None
    return te.EmbeddingVariableOption(filter_option=filters, evict_option=evicts)


class Tables(keras.layers.Layer):
    """One embedding table per feature: a list of vectors for a dict of keys."""

    def num_rows(self) -> int:
        """Rows that take memory."""
        raise NotImplementedError

    def num_bytes(self, optimizer) -> int:
        """Memory of the rows, with the optimizer's slots."""
        raise NotImplementedError


class DynamicTables(Tables):
    """One table per feature that grows by a row with each key trained.

    Args:
      names: of the features.
      dim: values in a row.
      initializer: of the rows.
      seed: of the initial rows.
      optimizer: makes the optimizer of these rows; None leaves them to the one
        that the model is compiled with.
      option: of each table: which keys earn a row and which rows go, see `bounds`.
    """

    def __init__(
        self,
        names: Sequence[str],
        dim: int,
        initializer: str,
        seed: int,
        optimizer: Optional[Callable] = None,
        option: Optional[te.EmbeddingVariableOption] = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._names = tuple(names)
        tables = [
            te.TableConfig(
                dim=dim,
                name=f"{self.name}_{name}",
                initializer=initializer,
                seed=seed + i,
                optimizer=optimizer() if optimizer else None,
                ev_option=option,
            )
            for i, name in enumerate(names)
        ]
        # With a combiner all features are looked up in one op.
        self._tables = te.layers.EmbeddingTables(
            [te.FeatureConfig(name, table, "sum") for name, table in zip(names, tables)],
            name="tables",
        )

    def call(self, inputs):
        """{feature: int64 [batch]} -> list of float32 [batch, dim], one per feature."""
        bags = {name: tf.expand_dims(inputs[name], 1) for name in self._names}
        vectors = self._tables(bags)
        return [vectors[name] for name in self._names]

    def by_feature(self) -> Dict[str, te.EmbeddingVariable]:
        """The table of each feature."""
        return self._tables.variables_by_feature

    def num_rows(self) -> int:
        return sum(int(ev.size()) for ev in self.by_feature().values())

    def num_bytes(self, optimizer) -> int:
        return sum(int(ev.memory_usage()["total"]) for ev in self.by_feature().values())


class HashedTables(Tables):
    """Without dynamic tables: `buckets` rows per feature; keys that collide share one."""

    def __init__(self, names: Sequence[str], dim: int, initializer: str, buckets: int, **kwargs):
        super().__init__(**kwargs)
        self._names = tuple(names)
        self._buckets = buckets
        self._tables = [
            keras.layers.Embedding(
                buckets, dim, embeddings_initializer=initializer, name=f"{self.name}_{name}"
            )
            for name in names
        ]

    def call(self, inputs):
        """{feature: int64 [batch]} -> list of float32 [batch, dim], one per feature."""
        return [
            table(tf.math.floormod(inputs[name], self._buckets))
            for name, table in zip(self._names, self._tables)
        ]

    def num_rows(self) -> int:
        return self._buckets * len(self._tables)

    def num_bytes(self, optimizer) -> int:
        shape = tuple(self._tables[0].embeddings.shape)
        slots = sum(tuple(slot.shape) == shape for slot in optimizer.variables)
        return 4 * shape[0] * shape[1] * (len(self._tables) + slots)


def mlp(units: Sequence[int], name: str, seed: int, last: Optional[str] = "relu"):
    """Dense layers; the seed and the name decide the initial kernels."""

    def kernel_of(layer: int) -> Callable:
        return lambda shape, dtype=None: tf.constant(tower_kernel(shape, seed, name, layer), dtype)

    layers: List[keras.layers.Layer] = [
        keras.layers.Dense(
            u, "relu" if i + 1 < len(units) else last, kernel_initializer=kernel_of(i)
        )
        for i, u in enumerate(units)
    ]
    return keras.Sequential(layers, name=name)


class ClickModel(keras.Model):
    """Base: maps {feature: [batch], "dense": [batch, k]} to the logit of a click, [batch, 1]."""

    def __init__(self, num_dense: int, **kwargs):
        super().__init__(**kwargs)
        self._num_dense = num_dense

    def call(self, inputs):
        dense = [inputs["dense"]] if self._num_dense else []
        return self.logit(inputs, dense)

    def logit(self, inputs, dense):
        """-> float32 [batch, 1]; `dense` holds the matrix of numbers, or nothing."""
        raise NotImplementedError


class LrFtrl(ClickModel):
    """Logistic regression: one weight per key, and per number."""

    def __init__(self, tables, num_dense: int, dim: int, hidden: Sequence[int], seed: int):
        super().__init__(num_dense, name="lr_ftrl")
        self.wide = tables("wide", 1, "zeros")
        self.bias = keras.layers.Dense(1, kernel_initializer="zeros", name="bias")

    def logit(self, inputs, dense):
        weights = tf.add_n(self.wide(inputs))
        return weights + self.bias(dense[0] if dense else tf.zeros_like(weights))


class WideDeep(ClickModel):
    """A wide part that memorises by FTRL, a deep part that generalises."""

    def __init__(self, tables, num_dense: int, dim: int, hidden: Sequence[int], seed: int):
        super().__init__(num_dense, name="wide_deep")
        self.wide = tables("wide", 1, "zeros", ftrl=True)
        self.deep = tables("deep", dim, "uniform")
        self.tower = mlp([*hidden, 1], "tower", seed, None)

    def logit(self, inputs, dense):
        return tf.add_n(self.wide(inputs)) + self.tower(
            tf.concat(self.deep(inputs) + dense, axis=1)
        )


class DeepFM(ClickModel):
    """First order + products of all pairs of vectors + a deep part on the same vectors."""

    def __init__(self, tables, num_dense: int, dim: int, hidden: Sequence[int], seed: int):
        super().__init__(num_dense, name="deepfm")
        self.first = tables("first", 1, "zeros")
        self.second = tables("second", dim, "uniform")
        self.tower = mlp([*hidden, 1], "tower", seed, None)

    def logit(self, inputs, dense):
        vectors = self.second(inputs)
        total = tf.add_n(vectors)
        squares = tf.add_n([v * v for v in vectors])
        # sum over pairs <v_i, v_j> = ((sum v)^2 - sum v^2) / 2.
        pairs = 0.5 * tf.reduce_sum(total * total - squares, axis=1, keepdims=True)
        return tf.add_n(self.first(inputs)) + pairs + self.tower(tf.concat(vectors + dense, axis=1))


class Dlrm(ClickModel):
    """A bottom tower for numbers, inner products of all pairs, a top tower."""

    def __init__(self, tables, num_dense: int, dim: int, hidden: Sequence[int], seed: int):
        super().__init__(num_dense, name="dlrm")
        self.tables = tables("tables", dim, "uniform")
        self.bottom = mlp([*hidden[:1], dim], "bottom", seed) if num_dense else None
        self.top = mlp([*hidden, 1], "top", seed, None)

    def logit(self, inputs, dense):
        vectors = self.tables(inputs)
        numbers = [self.bottom(dense[0])] if dense else []
        stack = tf.stack(vectors + numbers, axis=1)  # [batch, n, dim]
        products = tf.matmul(stack, stack, transpose_b=True)  # [batch, n, n]
        n = len(vectors) + len(numbers)
        below = [i * n + j for i in range(n) for j in range(i)]  # each pair once
        pairs = tf.gather(tf.reshape(products, [-1, n * n]), below, axis=1)
        return self.top(tf.concat(vectors + numbers + [pairs], axis=1))


def make_optimizer(name: str, learning_rate: float, dynamic: bool):
    """The Keras optimizer of a flag's name.

    Under Keras 3 any stock optimizer trains dynamic tables too. Keras 2 has no
    hook for that, so there a dynamic model takes our subclass of the stock one.
    """
    home = keras.optimizers if KERAS_3 or not dynamic else te.optimizers
    if name not in OPTIMIZERS:
        raise ValueError(f"--optimizer={name}: must be one of {tuple(OPTIMIZERS)}.")
    return getattr(home, OPTIMIZERS[name])(learning_rate=learning_rate)


def _wide_optimizer():
    name, learning_rate = DEFAULTS["lr_ftrl"]
    return make_optimizer(name, learning_rate, dynamic=True)


def make_model(
    model: str,
    features: Features,
    dim: int,
    hidden: Sequence[int],
    optimizer: str,
    learning_rate: float,
    seed: int,
    hash_buckets: Optional[int] = None,
    option: Optional[te.EmbeddingVariableOption] = None,
) -> Tuple[keras.Model, List[Tables]]:
    """Builds and compiles a model; returns it and its tables. All its variables exist then.

    Args:
      model: one of MODELS.
      features: names the tables.
      dim: length of an embedding vector.
      hidden: units of the towers' layers.
      optimizer, learning_rate: see make_optimizer.
      seed: of dense weights and of initial rows.
      hash_buckets: None for dynamic tables, else the rows of each hashed table.
      option: of each dynamic table; None for a row for each key, for ever.
    """
    keras.utils.set_random_seed(seed)
    stores: List[Tables] = []

    def tables(name: str, width: int, initializer: str, ftrl: bool = False) -> Tables:
        if hash_buckets is not None:
            made = HashedTables(features.names, width, initializer, hash_buckets, name=name)
        else:
            seed_here = seed + 1000 * len(stores)
            own = _wide_optimizer if ftrl else None
            made = DynamicTables(
                features.names, width, initializer, seed_here, own, option, name=name
            )
        stores.append(made)
        return made

    classes: Dict[str, Callable] = {
        "lr_ftrl": LrFtrl,
        "wide_deep": WideDeep,
        "deepfm": DeepFM,
        "dlrm": Dlrm,
    }
    if model not in classes:
        raise ValueError(f"--model={model}: must be one of {MODELS}.")
    made = classes[model](tables, features.num_dense, dim, hidden, seed)
    made.compile(
        optimizer=make_optimizer(optimizer, learning_rate, dynamic=hash_buckets is None),
        loss=keras.losses.BinaryCrossentropy(from_logits=True, reduction="sum"),
    )
    # A call creates the variables (reading never inserts a row); with the
    # optimizer's slots made too, a checkpoint can be restored at once.
    inputs = {name: tf.zeros([1], tf.int64) for name in features.names}
    if features.num_dense:
        inputs["dense"] = tf.zeros([1, features.num_dense])
    made(inputs)
    made.optimizer.build(made.trainable_variables)
    return made, stores
