# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""TensorFlow's files by offset, against TensorFlow itself."""

from __future__ import annotations

import random
import zlib

import numpy as np
import pytest
import tensorflow as tf
import tools_harness as harness
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_embedding.tools import blocks, bundle, errors, tables


def save(prefix: str, tensors: dict) -> None:
    names = list(tensors)
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tf.constant(tensors[name]) for name in names],
    )


def copy(source: str, to: str) -> None:
    reader = bundle.BundleReader(source)
    with bundle.BundleWriter(to) as writer:
        for key in reader.entries:
            writer.copy(reader, key)
        writer.commit()


TENSORS = {
    "float": np.arange(6, dtype=np.float32).reshape(2, 3),
    "half": np.arange(4, dtype=np.float16),
    "int": np.array(7),
    "bool": np.array([True, False]),
    "empty": np.zeros([0, 5], np.float32),
    "strings": np.array([["", "a"], ["word" * 100, "\0\n"]]),
    "string": np.array("one"),
    "large": np.random.default_rng(0).normal(size=[400_000]),
    "complex": np.array([1 + 2j]),
}


def test_a_copy_is_what_tensorflow_reads(tmp_path) -> None:
    save(str(tmp_path / "a"), TENSORS)
    copy(str(tmp_path / "a"), str(tmp_path / "b"))
    read = tf.train.load_checkpoint(str(tmp_path / "b"))
    assert set(read.get_variable_to_shape_map()) == set(TENSORS)
    for name, want in TENSORS.items():
        got = read.get_tensor(name)
        if want.dtype.kind == "U":
            want = np.vectorize(str.encode, otypes=[object])(want)
        np.testing.assert_array_equal(got, want)


def test_dense_tensors_and_tables_are_what_tensorflow_reads(tmp_path) -> None:
    path = str(tmp_path / "a")
    with bundle.BundleWriter(path) as writer:
        for name, array in TENSORS.items():
            if array.dtype.kind != "U":
                writer.dense(name, array)
        writer.table("t-blocks", [b"one", b"", b"x" * 300])
        writer.commit()
    for name, want in TENSORS.items():
        if want.dtype.kind != "U":
            np.testing.assert_array_equal(tf.train.load_variable(path, name), want)
    # Of three elements; what is in them TensorFlow checks when it reads them.
    (read,) = tf.raw_ops.RestoreV2(
        prefix=path, tensor_names=["t-blocks"], shape_and_slices=[""], dtypes=[tf.variant]
    )
    assert read.shape == [3]
    reader = bundle.BundleReader(path)
    found = [reader.element("t-blocks", place) for place in reader.elements("t-blocks")]
    assert found == [b"one", b"", b"x" * 300]


@settings(max_examples=20, deadline=None)
@given(names=st.sets(st.text("ab/_.", min_size=1, max_size=60), min_size=1, max_size=300))
def test_indexes_of_any_names(names, tmp_path_factory) -> None:
    path = str(tmp_path_factory.mktemp("names") / "a")
    with bundle.BundleWriter(path) as writer:
        for place, name in enumerate(sorted(names)):
            writer.dense(name, np.array([place]))
        writer.commit()
    assert sorted(bundle.BundleReader(path).names()) == sorted(names)
    read = tf.train.load_checkpoint(path)
    for place, name in enumerate(sorted(names)):
        assert read.get_tensor(name) == [place]


def test_slices_and_several_files(tmp_path) -> None:
    """What a sharded Saver writes of partitioned variables."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        partitioner = tf.compat.v1.fixed_size_partitioner(3)
        variable = tf.compat.v1.get_variable(
            "w",
            [7, 2],
            initializer=tf.compat.v1.random_normal_initializer(),
            partitioner=partitioner,
        )
        session.run(tf.compat.v1.global_variables_initializer())
        want = session.run(tf.convert_to_tensor(variable))
        source = tf.compat.v1.train.Saver(sharded=True).save(session, str(tmp_path / "a"))
    copy(source, str(tmp_path / "b"))
    np.testing.assert_array_equal(tf.train.load_variable(str(tmp_path / "b"), "w"), want)


def test_every_flipped_bit_is_found(tmp_path) -> None:
    variable = harness.trained("t", rows=40)
    prefix = harness.write(tmp_path / "a", t=variable, w=tf.Variable([1.0, 2.0]))
    files = [prefix + ".index", *(f"{prefix}.data-0000{n}-of-00002" for n in range(2))]
    draw = random.Random(1)
    for file in files:
        with open(file, "rb") as f:
            whole = f.read()
        for _ in range(150):
            at, bit = draw.randrange(len(whole)), draw.randrange(8)
            with open(file, "wb") as f:
                f.write(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
            result = harness.run("verify", prefix)
            # The footer of the index has padding that nobody reads.
            in_padding = file.endswith(".index") and at >= len(whole) - 48
            assert result.code == 1 or in_padding, (file, at, bit, result)
            assert result.code == 0 or str(tmp_path) in result.err, result.err
        for size in {0, 1, 47, len(whole) // 2, len(whole) - 1}:
            with open(file, "wb") as f:
                f.write(whole[:size])
            assert harness.run("verify", prefix).code == 1
        with open(file, "wb") as f:
            f.write(whole)
    assert harness.run("verify", prefix).code == 0


def test_crc32c_goes_on() -> None:
    reader = harness.documented_reader()
    data = bytes(range(256)) * 3
    assert bundle.crc32c(b"123456789") == 0xE3069283
    for cut in (0, 1, 7, 8, 9, 300, len(data)):
        assert bundle.crc32c(data[cut:], bundle.crc32c(data[:cut])) == reader["crc32c"](data)
    assert bundle.crc32c(data) != zlib.crc32(data)


def test_blocks_are_the_cores(tmp_path) -> None:
    """Encoded again, footers of every kind have the same bytes, and blocks the same rows."""
    for matrix in (None, np.ones([3, 2], np.float32)):
        variable = harness.trained("t", rows=500, dim=2)
        if matrix is not None:
            variable = harness.te.EmbeddingVariable(2, initializer=matrix, name="m")
        prefix = harness.write(tmp_path / f"a{matrix is None}", t=variable)
        table = tables.open_checkpoint(prefix).select("t")
        elements = [table.read_element(n) for n in range(table.num_elements)]
        footer = blocks.parse(elements[-1])
        assert blocks.encode_footer(footer) == elements[-1]
        for element in elements[:-1]:
            block = blocks.parse(element)
            again = blocks.encode_block(
                block.number, block.num_blocks, block.rule, block.records, footer.version
            )
            assert again == element


def test_hashes_are_the_cores() -> None:
    keys = np.array([0, 1, -1, 2**63 - 1, -(2**63), 12345], np.int64)
    for num_parts in (1, 3, 1024):
        want = [harness.te.parts.part_of(key, num_parts) for key in keys.tolist()]
        assert blocks.parts_of(keys, num_parts).tolist() == want


def test_nothing_is_left_of_a_checkpoint_that_fails(tmp_path) -> None:
    def elements():
        yield b"one"
        raise errors.ToolError("no more")

    with pytest.raises(errors.ToolError):
        with bundle.BundleWriter(str(tmp_path / "a")) as writer:
            writer.table("t-blocks", elements())
            writer.commit()
    assert list(tmp_path.iterdir()) == []
    copy_of = harness.write(tmp_path / "b", w=tf.Variable(1.0))
    with pytest.raises(errors.ToolError, match="there is a checkpoint"):
        bundle.BundleWriter(copy_of)
