# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Wide & deep by tf.estimator and feature columns, on real data in time order.

A canned DNNLinearCombinedClassifier: a wide part of one weight a key, trained by
FTRL, and a deep part of vectors and a tower, trained by Adagrad. No column has a
vocabulary. The data (flights from New York: which arrive late?) comes with the
examples:

    pip install '.[cpu,examples,estimator]'
    pip install --no-deps 'tf_keras==2.21.*'     # the minor version of TensorFlow
    python examples/estimator/wide_deep.py                      # reads Parquet
    python examples/estimator/wide_deep.py --input=tfrecord     # converts it first

It trains on the first 80 % of the rows, in their order, evaluates on the last 20 %,
prints the AUC, exports a SavedModel and asks a fresh process (serve.py) for its
answers. Run it again and it goes on training from --out.

Source: Cheng et al., "Wide & Deep Learning for Recommender Systems", DLRS 2016.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Canned estimators are written with Keras 2, which TensorFlow 2.15 has itself.
if importlib.util.find_spec("tf_keras") is not None:
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")

_HERE = os.path.dirname(os.path.abspath(__file__))
# The readers of the data, the exact AUC and the initial weights.
sys.path.insert(0, os.path.join(_HERE, "..", "ctr"))

import ctr_metrics  # noqa: E402
import ctr_readers  # noqa: E402
import ctr_weights  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from absl import app, flags  # noqa: E402

import tf_embedding as te  # noqa: E402

tf1 = tf.compat.v1
fc = tf1.feature_column

_DATA = os.path.join(_HERE, "..", "data", "flights.parquet")

FLAGS = flags.FLAGS
flags.DEFINE_string("data", os.path.normpath(_DATA), "The flights.")
flags.DEFINE_enum("input", "parquet", ("parquet", "tfrecord"), "What input_fn reads.")
flags.DEFINE_integer("rows", None, "Take so many rows only, from the start.", lower_bound=100)
flags.DEFINE_list("features", [], "Take these features and crosses only; by default all.")
flags.DEFINE_integer("dim", 8, "Length of an embedding vector.", lower_bound=1)
flags.DEFINE_list("hidden", ["64", "32"], "Units of the hidden layers.")
flags.DEFINE_float("wide_rate", 0.02, "Learning rate of FTRL.", lower_bound=0.0)
flags.DEFINE_float("deep_rate", 0.01, "Learning rate of Adagrad.", lower_bound=0.0)
flags.DEFINE_integer("batch_size", 256, "Rows of one training step.", lower_bound=1)
flags.DEFINE_float("test_fraction", 0.2, "The last part of the rows, for the evaluation.")
flags.DEFINE_integer("seed", 1, "Seed of everything drawn.", lower_bound=0)
flags.DEFINE_string("out", "wide_deep_out", "Directory for the model and what is exported.")

_BLOCK_ROWS = 4096
Features = Dict[str, Any]


class Data:
    """The rows of a file as batches of features: categories, crosses of them, numbers."""

    def __init__(
        self,
        path: str,
        rows: Optional[int],
        test_fraction: float,
        seed: int,
        only: Sequence[str] = (),
    ):
        self._reader = ctr_readers.open_reader(path, "auto", "label", None, [], [])
        self._seed = seed
        self.total = min(self._reader.num_rows, rows or self._reader.num_rows)
        self.split = int(self.total * (1.0 - test_fraction))
        first = next(self._reader.blocks(1, 0, 1))
        self._is_text = {name: ids.dtype == object for name, ids in first.ids.items()}
        self._crosses = {"_x_".join(cross): cross for cross in self._reader.crosses}
        self.num_dense = first.dense.shape[1]
        # Crosses are texts; numbers that name something are keys as they are.
        self.dtypes = {
            **{name: tf.string if text else tf.int64 for name, text in self._is_text.items()},
            **{name: tf.string for name in self._crosses},
        }
        unknown = sorted(set(only) - set(self.dtypes))
        if unknown:
            raise ValueError(f"--features={unknown}: there are {sorted(self.dtypes)}")
        if only:
            self.dtypes = {name: dtype for name, dtype in self.dtypes.items() if name in only}

    def batches(self, training: bool, size: int) -> Iterator[Tuple[Features, np.ndarray]]:
        """Batches in time order; in training the rows of a block come in random order."""
        start, stop = (0, self.split) if training else (self.split, self.total)
        for block in self._reader.blocks(_BLOCK_ROWS, start, stop):
            features: Features = {}
            for name, ids in block.ids.items():
                features[name] = ids.astype(bytes) if self._is_text[name] else ids
            for name, cross in self._crosses.items():
                texts = [block.ids[c].astype(str) for c in cross]
                joined = texts[0]
                for text in texts[1:]:
                    joined = np.char.add(np.char.add(joined, "\x01"), text)
                features[name] = joined.astype(bytes)
            features = {name: features[name] for name in self.dtypes}
            features["dense"] = block.dense
            order = np.arange(len(block))
            if training:
                np.random.default_rng([self._seed, start]).shuffle(order)
            for begin in range(0, len(block), size):
                rows = order[begin : begin + size]
                yield {name: column[rows] for name, column in features.items()}, block.labels[rows]
            start += len(block)

    def columns(self, dim: int) -> Tuple[List[Any], List[Any]]:
        """The wide and the deep columns."""
        wide = [
            te.feature_column.categorical_column_with_embedding(name, dtype)
            for name, dtype in self.dtypes.items()
        ]
        deep: List[Any] = []
        for i, column in enumerate(wide):
            # The seeds of the Keras example: the same keys begin with the same vectors.
            uniform = tf1.random_uniform_initializer(-0.05, 0.05, seed=self._seed + 1000 + i)
            deep.append(fc.embedding_column(column, dim, initializer=uniform))
        if self.num_dense:
            deep.append(fc.numeric_column("dense", (self.num_dense,)))
        return wide, deep


def initial_tower(deep: List[Any], hidden: List[int], seed: int, directory: str) -> Any:
    """Settings that begin the tower with the weights of ctr_weights.

    So a seed means the same start here and in the Keras example. A canned estimator
    takes initial values from a checkpoint; this writes a small one. Going on from a
    checkpoint of the model's own, an estimator leaves these aside.

    Args:
      deep: the deep columns, in the order of the features.
      hidden: units of the hidden layers.
      seed: of the run.
      directory: where to write the checkpoint.

    Returns:
      What the estimator is to warm-start from.
    """
    widths = [
        column.dimension if hasattr(column, "dimension") else column.shape[0] for column in deep
    ]
    units = [sum(widths), *hidden, 1]
    kernels = [
        ctr_weights.tower_kernel(shape, seed, "tower", layer)
        for layer, shape in enumerate(zip(units, units[1:]))
    ]
    # Feature columns join their vectors by name, not as they are listed.
    blocks = np.split(kernels[0], np.cumsum(widths)[:-1])
    by_name = sorted(range(len(deep)), key=lambda i: deep[i].name)
    kernels[0] = np.concatenate([blocks[i] for i in by_name])
    layers = [*(f"hiddenlayer_{i}" for i in range(len(hidden))), "logits"]
    prefix = os.path.join(directory, "initial_tower")
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=[f"dnn/{layer}/kernel" for layer in layers],
        shape_and_slices=[""] * len(layers),
        tensors=kernels,
    )
    return te.estimator.WarmStartSettings(prefix, vars_to_warm_start="dnn/.*/kernel")


def parquet_input_fn(data: Data, training: bool, size: int) -> Callable[[], tf.data.Dataset]:
    """Reads the file again each time; nothing is kept."""

    def input_fn() -> tf.data.Dataset:
        features = {name: tf.TensorSpec([None], dtype) for name, dtype in data.dtypes.items()}
        features["dense"] = tf.TensorSpec([None, data.num_dense], tf.float32)
        signature = (features, tf.TensorSpec([None], tf.float32))
        batches = tf.data.Dataset.from_generator(
            lambda: data.batches(training, size), output_signature=signature
        )
        return batches.prefetch(4)

    return input_fn


def write_tfrecord(data: Data, training: bool, path: str, count: Optional[int] = None) -> None:
    """One tf.train.Example a row; the first count rows, or all."""
    with tf.io.TFRecordWriter(path) as writer:
        for features, labels in data.batches(training, _BLOCK_ROWS):
            for i, label in enumerate(labels[:count]):
                example = tf.train.Example()
                into = example.features.feature
                for name, dtype in data.dtypes.items():
                    if dtype == tf.string:
                        into[name].bytes_list.value.append(features[name][i])
                    else:
                        into[name].int64_list.value.append(features[name][i])
                into["dense"].float_list.value.extend(features["dense"][i])
                into["label"].float_list.value.append(label)
                writer.write(example.SerializeToString())
            if count is not None:
                return


def tfrecord_input_fn(path: str, columns: List[Any], size: int) -> Callable[[], tf.data.Dataset]:
    """Parses as the columns say."""
    spec = fc.make_parse_example_spec(columns)
    spec["label"] = tf.io.FixedLenFeature([], tf.float32)

    def parse(examples: tf.Tensor) -> Tuple[Features, tf.Tensor]:
        features = tf.io.parse_example(examples, spec)
        return features, features.pop("label")

    return lambda: tf.data.TFRecordDataset(path).batch(size).map(parse).prefetch(4)


def make_input_fns(
    data: Data, deep: List[Any]
) -> Tuple[Callable[[], tf.data.Dataset], Callable[[], tf.data.Dataset]]:
    """For training and for evaluation."""
    size = FLAGS.batch_size
    if FLAGS.input == "parquet":
        return parquet_input_fn(data, True, size), parquet_input_fn(data, False, size)
    found = []
    for part in ("train", "test"):
        path = os.path.join(FLAGS.out, f"{part}.tfrecord")
        if not os.path.exists(path):
            write_tfrecord(data, part == "train", path)
        found.append(tfrecord_input_fn(path, deep, size))
    return found[0], found[1]


def ask_a_fresh_process(exported: str, data: Data) -> np.ndarray:
    """What the exported model answers to the first rows of the test part."""
    path = os.path.join(FLAGS.out, "request.tfrecord")
    write_tfrecord(data, False, path, count=64)
    answer = subprocess.run(
        [sys.executable, os.path.join(_HERE, "serve.py"), exported, path, "64"],
        check=True,
        stdout=subprocess.PIPE,
    )
    return np.array(json.loads(answer.stdout))


def main(argv: List[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments {argv[1:]}: flags look like --name=value.")
    tf1.logging.set_verbosity(tf1.logging.ERROR)
    os.makedirs(FLAGS.out, exist_ok=True)
    data = Data(FLAGS.data, FLAGS.rows, FLAGS.test_fraction, FLAGS.seed, FLAGS.features)
    wide, deep = data.columns(FLAGS.dim)
    train_fn, test_fn = make_input_fns(data, deep)
    hidden = [int(units) for units in FLAGS.hidden]
    estimator = te.estimator.v1.DNNLinearCombinedClassifier(
        model_dir=os.path.join(FLAGS.out, "model"),
        linear_feature_columns=wide,
        linear_optimizer=lambda: te.train.FtrlOptimizer(FLAGS.wide_rate),
        dnn_feature_columns=deep,
        dnn_hidden_units=hidden,
        dnn_optimizer=lambda: te.train.AdagradOptimizer(FLAGS.deep_rate),
        config=te.estimator.RunConfig(tf_random_seed=FLAGS.seed),
        warm_start_from=initial_tower(deep, hidden, FLAGS.seed, FLAGS.out),
    )
    estimator.train(train_fn)
    metrics = estimator.evaluate(test_fn)

    answers = estimator.predict(test_fn, predict_keys="logistic")
    scores = np.array([answer["logistic"][0] for answer in answers])
    labels = np.concatenate([batch for _, batch in data.batches(False, _BLOCK_ROWS)])
    print(f"rows: {data.split:,} trained, {len(labels):,} evaluated")
    auc = ctr_metrics.auc(labels, scores)
    print(f"AUC: {auc:.4f}  (the estimator's metric: {metrics['auc']:.4f})")
    print(f"log loss: {ctr_metrics.log_loss(labels, scores):.4f}")

    receiver = te.estimator.export.build_parsing_serving_input_receiver_fn(
        fc.make_parse_example_spec(deep)
    )
    exported = estimator.export_saved_model(os.path.join(FLAGS.out, "exported"), receiver).decode()
    served = ask_a_fresh_process(exported, data)
    difference = np.abs(served - scores[: len(served)]).max()
    print(f"exported: {exported}")
    print(f"a fresh process answers {len(served)} rows, largest difference {difference:.1e}")


if __name__ == "__main__":
    app.run(main)
