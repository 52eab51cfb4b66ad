# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Categorical columns without a vocabulary: arguments, keys, what is refused."""

from __future__ import annotations

import copy
import pickle

import pytest
import tensorflow as tf
from tensorflow.python.feature_column import feature_column_v2, serialization

import tf_embedding as te

fc = tf.feature_column
tf1 = tf.compat.v1

column = te.feature_column.categorical_column_with_embedding
sequence_column = te.feature_column.sequence_categorical_column_with_embedding


def ids_of(categorical, features):
    cache = feature_column_v2.FeatureTransformationCache(features)
    return categorical.get_sparse_tensors(cache, None).id_tensor


@pytest.mark.parametrize("make", [column, sequence_column])
@pytest.mark.parametrize(
    "arguments, word",
    [
        ({"key": ""}, "key"),
        ({"key": 3}, "key"),
        ({"key": "x", "dtype": tf.float32}, "dtype"),
        ({"key": "x", "dtype": "words"}, "dtype"),
        ({"key": "x", "partition_num": 0}, "partition_num"),
        ({"key": "x", "partition_num": True}, "partition_num"),
    ],
)
def test_arguments_are_checked(make, arguments, word):
    with pytest.raises(ValueError, match=word):
        make(**arguments)


@pytest.mark.parametrize("make", [column, sequence_column])
def test_what_needs_a_vocabulary_is_refused_when_it_is_made(make):
    categorical = make("x", tf.int64)
    with pytest.raises(ValueError, match="indicator_column.*'x'.*open"):
        fc.indicator_column(categorical)
    with pytest.raises(ValueError, match="crossed_column.*'x'.*open"):
        fc.crossed_column([categorical, "other"], 100)
    with pytest.raises(ValueError):
        fc.bucketized_column(categorical, [1, 2])


def test_an_indicator_of_a_weighted_column_is_refused_before_it_computes():
    weighted = fc.indicator_column(fc.weighted_categorical_column(column("x", tf.int64), "w"))
    features = {"x": tf.constant([[1]], tf.int64), "w": tf.constant([[1.0]])}
    with pytest.raises(ValueError, match="indicator_column.*'x'.*open"):
        tf1.feature_column.input_layer(features, [weighted])


def test_a_stock_column_is_no_way_to_load_rows():
    embedding = fc.embedding_column(
        column("x", tf.int64), 2, ckpt_to_load_from="ckpt", tensor_name_in_ckpt="rows"
    )
    with pytest.raises(ValueError, match="ckpt_to_load_from is 'ckpt'"):
        tf1.feature_column.input_layer({"x": tf.constant([[1]], tf.int64)}, [embedding])


@pytest.mark.parametrize(
    "arguments, word",
    [
        ({"dimension": 0}, "dim"),
        ({"dimension": 2, "combiner": "max"}, "combiner"),
        ({"dimension": 2, "max_norm": -1.0}, "max_norm"),
        ({"dimension": 2, "ckpt_to_load_from": "ckpt"}, "tensor_name_in_ckpt"),
        ({"dimension": 2, "initializer": "no such"}, "initializer"),
    ],
)
def test_arguments_of_the_embedding_column_are_checked(arguments, word):
    with pytest.raises(ValueError, match=word):
        te.feature_column.embedding_column(column("x", tf.int64), **arguments)


def test_the_embedding_column_is_for_open_vocabularies():
    with pytest.raises(TypeError, match="categorical_column_with_embedding"):
        te.feature_column.embedding_column(fc.categorical_column_with_identity("x", 5), 2)


def test_keys_of_integers():
    ids = ids_of(column("x", tf.int64), {"x": tf.constant([[3, -1], [-7, 2**60]], tf.int64)})
    assert ids.values.numpy().tolist() == [3, -7, 2**60]  # A dense -1 is no value.
    sparse = tf.SparseTensor([[0, 0], [1, 1]], tf.constant([-1, 5], tf.int32), [2, 2])
    ids = ids_of(column("x", tf.int64), {"x": sparse})
    assert ids.values.numpy().tolist() == [-1, 5] and ids.values.dtype == tf.int64


def test_keys_of_strings():
    ids = ids_of(column("x"), {"x": tf.constant([["ad", ""], ["b", "ad"]])})
    # FarmHash Fingerprint64, as numbers: they must never change.
    assert ids.values.numpy().tolist() == [
        6182169512875231448,
        -6651148003232386794,
        6182169512875231448,
    ]
    # TensorFlow's buckets are of the same fingerprints.
    buckets = tf.strings.to_hash_bucket_fast(["ad", "b", "ad"], 1000).numpy()
    assert [int(key) % 2**64 % 1000 for key in ids.values.numpy()] == buckets.tolist()


@pytest.mark.parametrize("dtype, value", [(tf.string, 1), (tf.int64, "a")])
def test_a_feature_of_another_dtype_is_refused(dtype, value):
    with pytest.raises(ValueError, match="feature 'x' has dtype"):
        ids_of(column("x", dtype), {"x": tf.constant([[value]])})


def test_parse_example_spec():
    categorical = column("x", tf.int64)
    columns = [
        fc.embedding_column(fc.weighted_categorical_column(categorical, "w"), 2),
        te.feature_column.embedding_column(column("s"), 2),
    ]
    want = {
        "x": tf.io.VarLenFeature(tf.int64),
        "w": tf.io.VarLenFeature(tf.float32),
        "s": tf.io.VarLenFeature(tf.string),
    }
    assert fc.make_parse_example_spec(columns) == want
    assert tf1.feature_column.make_parse_example_spec(columns) == want
    example = tf.train.Example()
    example.features.feature["x"].int64_list.value.extend([4, 5])
    parsed = tf.io.parse_example([example.SerializeToString()], want)
    assert ids_of(categorical, parsed).values.numpy().tolist() == [4, 5]


@pytest.mark.parametrize(
    "made",
    [
        lambda: column("x", tf.int64, partition_num=3),
        lambda: sequence_column("x"),
        lambda: fc.weighted_categorical_column(column("x"), "w"),
        lambda: fc.embedding_column(column("x"), 3, "sum"),
        lambda: te.feature_column.embedding_column(column("x"), 3, max_norm=2.0, trainable=False),
    ],
)
def test_serialization(made):
    before = made()
    config = serialization.serialize_feature_column(before)
    after = serialization.deserialize_feature_column(config)
    assert type(after) is type(before)
    assert serialization.serialize_feature_column(after) == config
    assert copy.copy(before) == before


def test_a_column_can_be_pickled():
    before = column("x", tf.int64, partition_num=2)
    assert pickle.loads(pickle.dumps(before)) == before
