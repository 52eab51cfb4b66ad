# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Shape functions, as tables of strings: op, inputs, outputs or the error."""

from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf

from tf_embedding._library import ops


def parse(text: str) -> tf.TensorShape:
    if text == "?":
        return tf.TensorShape(None)
    inside = text.strip("[]")
    return tf.TensorShape([None if d == "?" else int(d) for d in inside.split(",") if d])


def show(shape: tf.TensorShape) -> str:
    if shape.rank is None:
        return "?"
    return "[" + ",".join("?" if d is None else str(d) for d in shape.as_list()) + "]"


DTYPES = {"k": tf.int64, "f": tf.float32, "s": tf.string, "r": tf.resource}


def infer(op: str, inputs: str, attributes: dict[str, Any]) -> str:
    """inputs: ";"-separated, each a dtype letter and a shape, as "k[4]"."""
    with tf.Graph().as_default():
        tensors = [
            tf.compat.v1.placeholder(DTYPES[part[0]], parse(part[1:])) for part in inputs.split(";")
        ]
        function = getattr(ops, "tf_embedding_" + op)
        if "N" in attributes:
            n = attributes["N"]
            rest = {k: v for k, v in attributes.items() if k != "N"}
            groups = [tensors[i : i + n] for i in range(0, len(tensors), n)]
            outputs = tf.nest.flatten(function(*groups, **rest))
        else:
            outputs = function(*tensors, **attributes)
            if isinstance(outputs, tf.Operation):
                return ""
            outputs = tf.nest.flatten(outputs)
        return ";".join(show(t.shape) for t in outputs)


POOLED = dict(N=1, dims=[3], combiners=["sum"], max_norms=[0.0], keep_rows=[True])
MANY = dict(N=2, dims=[3, 7], num_values=2)
APPLY = dict(rule="sgd")
POOL = dict(combiner="sum")
OK = [
    ("lookup", "r[];k[4]", dict(dim=3), "[4,3]"),
    ("lookup", "r[];k[?,2]", dict(dim=3), "[?,2,3]"),
    ("lookup", "r[];k[]", dict(dim=3), "[3]"),
    ("lookup", "r[];k?", dict(dim=3), "?"),
    ("lookup_many", "r[];r[];k[4];k[?,2]", MANY, "[4,3];[?,2,7]"),
    ("lookup_many", "r[];r[];k[4];k[?]", {**MANY, "num_values": 1}, "[4,10]"),
    ("lookup_many", "r[];r[];k?;k[5,?]", {**MANY, "num_values": 1}, "[5,?,10]"),
    ("lookup_pooled", "r[];k[4];k[3];f[4]", POOLED, "[2,3];[4,3]"),
    ("lookup_pooled", "r[];k[4];k[3];f[0]", {**POOLED, "keep_rows": [False]}, "[2,3];[0,3]"),
    ("lookup_pooled", "r[];k?;k?;f?", POOLED, "[?,3];[?,3]"),
    (
        "lookup_pooled",
        "r[];r[];k[4];k[5];k[3];k[?];f[0];f[5]",
        dict(
            N=2, dims=[3, 7], combiners=["sum", "mean"], max_norms=[0.0, 1.0],
            keep_rows=[False, True],
        ),
        "[2,3];[?,7];[0,3];[5,7]",
    ),
    (
        "pooled_gradient",
        "f[2,3];k[3];f[4];f[4,3];k[4]",
        dict(N=1, combiners=["sum"], max_norms=[0.0]),
        "[?,3];[4]",
    ),
    ("row_splits", "k[4];k[]", {}, "[?]"),
    ("apply", "r[];k[4];f[4,3];k[];k[0];k[];f[];k[];k[];f[2]", APPLY, "[]"),
    ("apply", "r[];k[?];f[?,?];k[];k[?];k[];f[];k[];k[];f[?]", APPLY, "[]"),
    ("apply", "r[];k?;f?;k?;k?;k?;f?;k?;k?;f?", APPLY, "[]"),
    ("split_by_part", "k[4]", dict(num_parts=1), "[?];[?]"),
    ("pool", "f[4,3];k[3];f[0]", POOL, "[2,3]"),
    ("pool", "f?;k?;f?", POOL, "[?,?]"),
    ("is_initialized", "r[]", {}, "[]"),
    ("size", "r[]", {}, "[]"),
    ("stats", "r[]", {}, "[23]"),
    ("top_keys", "r[];k[]", dict(by="norm"), "[?];[?]"),
    ("histogram", "r[];k[]", dict(measure="age"), "[?];[?]"),
    ("export_chunk", "r[];k[];k[]", dict(dim=3), "[];[?];[?,3];[?,?];[?];[?]"),
    ("rule", "r[]", {}, "[]"),
    ("evict", "r[];k[]", {}, "[]"),
    ("take_evicted", "r[]", dict(dim=3), "[?];[?,3];[?,?];[?];[?];[]"),
    ("upsert", "r[];k[4];f[4,3];k[]", {}, ""),
    ("remove", "r[];k[4]", {}, "[]"),
    ("find", "r[];k[4]", dict(dim=3), "[4];[4,3];[4,?];[4];[4]"),
    ("export", "r[]", dict(dim=3), "[?];[?,3];[?,?];[?];[?];[];[?];[];[2];[];[?,3]"),
    ("import", "r[];k[4];f[4,3];f[4,6];k[4];k[4];s[];f[2];s[];f[2];k[];f[0,3]", {}, ""),
]  # fmt: skip
ERRORS = [
    ("lookup_many", "r[];r[];k[4];k[4]", {**MANY, "dims": [3]}, "each of the 2 features"),
    ("lookup_many", "r[];r[];k[4];k[5]", {**MANY, "num_values": 1}, "must be equal"),
    ("lookup_many", "r[];r[];r[];k[4];k[4];k[4]", dict(N=3, dims=[1, 1, 1], num_values=2),
     "1 or the number of features, 3"),
    ("lookup_pooled", "r[];k[4,1];k[3];f[4]", POOLED, "rank 1"),
    ("lookup_pooled", "r[];k[4];k[3,1];f[4]", POOLED, "rank 1"),
    ("lookup_pooled", "r[];k[4];k[3];f[4]", {**POOLED, "dims": [3, 3]}, "each of the N"),
    ("pooled_gradient", "f[2];k[3];f[4];f[4,3];k[4]", dict(N=1, combiners=["sum"], max_norms=[0.0]),
     "rank 2"),
    ("row_splits", "k[4,1];k[]", {}, "rank 1"),
    ("row_splits", "k[4];k[1]", {}, "rank 0"),
    ("apply", "r[];k[4,1];f[4,3];k[];k[0];k[];f[];k[];k[];f[2]", APPLY, "rank 1"),
    ("apply", "r[];k[4];f[4];k[];k[0];k[];f[];k[];k[];f[2]", APPLY, "rank 2"),
    ("apply", "r[];k[4];f[4,3];k[1];k[0];k[];f[];k[];k[];f[2]", APPLY, "rank 0"),
    ("apply", "r[];k[4];f[5,3];k[];k[0];k[];f[];k[];k[];f[2]", APPLY, "must be equal"),
    ("apply", "r[];k[4];f[4,3];k[];k[];k[];f[];k[];k[];f[2]", APPLY, "rank 1"),
    ("apply", "r[];k[4];f[4,3];k[];k[0];k[];f[1];k[];k[];f[2]", APPLY, "rank 0"),
    ("apply", "r[];k[4];f[4,3];k[];k[0];k[];f[];k[1];k[];f[2]", APPLY, "rank 0"),
    ("apply", "r[];k[4];f[4,3];k[];k[0];k[];f[];k[];k[1];f[2]", APPLY, "rank 0"),
    ("apply", "r[];k[4];f[4,3];k[];k[0];k[];f[];k[];k[];f[]", APPLY, "rank 1"),
    ("split_by_part", "k[4,1]", dict(num_parts=2), "rank 1"),
    ("pool", "f[4];k[3];f[0]", POOL, "rank 2"),
    ("pool", "f[4,3];k[];f[0]", POOL, "rank 1"),
    ("pool", "f[4,3];k[3];f[]", POOL, "rank 1"),
    ("upsert", "r[];k[4];f[5,3];k[]", {}, "must be equal"),
    ("remove", "r[];k[4,1]", {}, "rank 1"),
    ("find", "r[];k[]", dict(dim=3), "rank 1"),
    ("evict", "r[];k[1]", {}, "rank 0"),
    ("top_keys", "r[];k[1]", dict(by="norm"), "rank 0"),
    ("histogram", "r[];k[1]", dict(measure="age"), "rank 0"),
    ("export_chunk", "r[];k[1];k[]", dict(dim=3), "rank 0"),
    ("export_chunk", "r[];k[];k[1]", dict(dim=3), "rank 0"),
    ("import", "r[];k[4];f[4,3];f[5,6];k[4];k[4];s[];f[2];s[];f[2];k[];f[0,3]", {},
     "must be equal"),
    ("import", "r[];k[4];f[4,3];f[4,6];k[4];k[4];s[1];f[2];s[];f[2];k[];f[0,3]", {}, "rank 0"),
]  # fmt: skip


@pytest.mark.parametrize(("op", "inputs", "attributes", "want"), OK)
def test_infers(op: str, inputs: str, attributes: dict[str, Any], want: str) -> None:
    assert infer(op, inputs, attributes) == want


@pytest.mark.parametrize(("op", "inputs", "attributes", "message"), ERRORS)
def test_refuses(op: str, inputs: str, attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        infer(op, inputs, attributes)


def test_the_handle_knows_its_rows() -> None:
    with tf.Graph().as_default():
        handle = ops.tf_embedding_variable_handle(dim=3)
        assert handle.shape == []
        data = handle.op.get_attr("dtype")
        assert data == tf.float32
