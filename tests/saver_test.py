# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tables in tf.train.Checkpoint by our ops: the same files, and whoever reads them."""

from __future__ import annotations

import glob
import os
import threading

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

import tf_embedding as te
from tf_embedding import saver
from tf_embedding._library import ops

DIM = 6
TENSOR = "{}/table/.ATTRIBUTES/-blocks"


def make(name: str = "rows", num_parts: int = 1, n: int = 0, **options) -> te.EmbeddingVariable:
    ev = te.EmbeddingVariable(DIM, seed=1, name=name, num_parts=num_parts, **options)
    if n:
        keys = np.arange(n) * 104729
        gradient = tf.IndexedSlices(tf.ones([n, DIM]), tf.constant(keys))
        te.rules.apply(ev, gradient, te.rules.Adam(), 0.1, 3)
    return ev


def content(ev: te.EmbeddingVariable) -> dict[int, list[bytes]]:
    rows = [column.numpy() for column in ev.export()]
    return {int(key): [column[i].tobytes() for column in rows] for i, key in enumerate(rows[0])}


@pytest.fixture
def as_before(monkeypatch):
    """Makes tables go by SaveV2 and RestoreV2, as an object of any package does."""

    def switch(on: bool) -> None:
        monkeypatch.setattr(saver, "_goes_by_our_ops", ours if not on else lambda table: False)

    ours = saver._goes_by_our_ops
    return switch


@pytest.mark.parametrize("num_parts", [1, 3])
@pytest.mark.parametrize("n", [0, 7, 30000])
@pytest.mark.parametrize("kind", ["rows", "candidates", "bloom", "removed"])
def test_the_bytes_are_those_of_save_v2(num_parts, n, kind, tmp_path) -> None:
    filters = {"candidates": te.CounterFilter(2), "bloom": te.CBFFilter(2, 10000, 0.01)}
    option = te.EmbeddingVariableOption(filter_option=filters.get(kind))
    ev = make(num_parts=num_parts, n=n, ev_option=option)
    consumer = "someone" if kind == "removed" else ""
    for handle in ev.table.handles() if consumer else []:
        ops.tf_embedding_start_delta(handle=handle, consumer=consumer)
        ops.tf_embedding_finish_delta(handle=handle, consumer=consumer)
    ev.remove(np.arange(n // 3) * 104729)

    def blocks() -> tf.Tensor:
        if not consumer:
            return ev.table.save_blocks()
        for handle in ev.table.handles():
            assert ops.tf_embedding_start_delta(handle=handle, consumer=consumer)
        with te.checkpoint.saving_for(consumer, all_rows=False):
            return ev.table.save_blocks()

    ours, theirs = str(tmp_path / "ours"), str(tmp_path / "theirs")
    names = ["b", "a", "c"]
    ops.tf_embedding_write_blocks(prefix=ours, tensor_names=names, blocks=[blocks() for _ in names])
    tf.raw_ops.SaveV2(
        prefix=theirs,
        tensor_names=names,
        shape_and_slices=["", "", ""],
        tensors=[blocks() for _ in names],
    )
    for suffix in (".index", ".data-00000-of-00001"):
        with open(ours + suffix, "rb") as mine, open(theirs + suffix, "rb") as its:
            assert mine.read() == its.read(), suffix
    assert sorted(os.listdir(tmp_path)) == [
        f"{who}{suffix}"
        for who in ("ours", "theirs")
        for suffix in (".data-00000-of-00001", ".index")
    ]


def test_blocks_that_were_read_are_written_as_they_are(tmp_path) -> None:
    ev = make(n=3000)
    first, again = str(tmp_path / "first"), str(tmp_path / "again")
    ops.tf_embedding_write_blocks(prefix=first, tensor_names=["t"], blocks=[ev.table.save_blocks()])
    (blocks,) = ops.tf_embedding_read_blocks(prefix=first, tensor_names=["t"], N=1)
    damaged = te.checkpoint.blocks_from_arrays(
        [np.arange(3), np.array([], np.uint8), np.arange(200)]
    )
    ops.tf_embedding_write_blocks(prefix=again, tensor_names=["t", "x"], blocks=[blocks, damaged])
    read = tf.raw_ops.RestoreV2(
        prefix=again,
        tensor_names=["t", "x"],
        shape_and_slices=["", ""],
        dtypes=[tf.variant, tf.variant],
    )
    ours = ops.tf_embedding_read_blocks(prefix=again, tensor_names=["t", "x"], N=2)
    for mine, its, want in zip(ours, read, (ev.table.save_blocks(), damaged)):
        want = [array.tobytes() for array in te.checkpoint.block_arrays(want)]
        for blocks in (mine, its):
            assert [array.tobytes() for array in te.checkpoint.block_arrays(blocks)] == want


def object_graph(prefix: str) -> trackable_object_graph_pb2.TrackableObjectGraph:
    graph = trackable_object_graph_pb2.TrackableObjectGraph()
    reader = tf.train.load_checkpoint(prefix)
    graph.ParseFromString(reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH"))
    return graph


@pytest.mark.parametrize("num_parts", [1, 3])
@pytest.mark.parametrize("theirs_saves", [False, True])
@pytest.mark.parametrize("theirs_restores", [False, True])
def test_either_way_reads_what_the_other_wrote(
    num_parts, theirs_saves, theirs_restores, as_before, tmp_path
) -> None:
    ev, plain = make(num_parts=num_parts, n=2000), make("plain", n=10)
    checkpoint = tf.train.Checkpoint(ev=ev, plain=plain, dense=tf.Variable(5.0))
    as_before(theirs_saves)
    path = checkpoint.write(str(tmp_path / "ckpt"))
    assert len(glob.glob(path + ".data-*")) == (1 if theirs_saves else 2)
    keys = [a.checkpoint_key for node in object_graph(path).nodes for a in node.attributes]
    assert sorted(keys) == [
        "dense/.ATTRIBUTES/VARIABLE_VALUE",
        TENSOR.format("ev"),
        TENSOR.format("plain"),
    ]
    as_before(theirs_restores)
    other, dense = make("other", num_parts=2), tf.Variable(0.0)
    checkpoint = tf.train.Checkpoint(ev=other, plain=make("small"), dense=dense)
    status = checkpoint.read(path)
    status.assert_consumed().assert_existing_objects_matched()
    assert content(other) == content(ev) and content(checkpoint.plain) == content(plain)
    assert float(dense) == 5.0


def test_a_table_at_the_root_and_under_several_names(tmp_path) -> None:
    ev = make(n=100)
    path = tf.train.Checkpoint(root=ev.table).write(str(tmp_path / "root"))
    assert [name for name, _ in tf.train.list_variables(path)] == [
        "/.ATTRIBUTES/-blocks",
        "_CHECKPOINTABLE_OBJECT_GRAPH",
    ]
    other = make("other")
    tf.train.Checkpoint(root=other.table).read(path).assert_consumed()
    assert content(other) == content(ev)
    # The shortest path counts, whatever the name of the variable.
    path = tf.train.Checkpoint(a=ev, table=ev.table, b=tf.train.Checkpoint(ev=ev)).write(
        str(tmp_path / "several")
    )
    assert te.checkpoint.verify(path) == {"table/.ATTRIBUTES/-blocks": 100}
    other = make("another")
    tf.train.Checkpoint(b=tf.train.Checkpoint(ev=other)).read(path).expect_partial()
    assert content(other) == content(ev)


def test_a_save_in_a_function(tmp_path) -> None:
    ev = make(n=100)
    checkpoint = tf.train.Checkpoint(ev=ev, dense=tf.Variable(5.0))

    @tf.function
    def save(prefix: tf.Tensor) -> tf.Tensor:
        return checkpoint.write(prefix)

    for number in range(2):
        ev.upsert([-number], tf.ones([1, DIM]))
        path = save(tf.constant(str(tmp_path / str(number)))).numpy().decode()
        # There TensorFlow makes two shards of its own tensors.
        assert len(glob.glob(path + ".data-*")) == 3
        other = make("other")
        tf.train.Checkpoint(ev=other, dense=tf.Variable(0.0)).read(path).assert_consumed()
        assert content(other) == content(ev)


def test_what_knows_no_writer_saves_the_table_itself(tmp_path) -> None:
    """A SavedModel, which those load who have the ops and no Python of ours."""
    module = tf.Module()
    module.ev = make(n=100)
    tf.saved_model.save(module, str(tmp_path / "model"))
    prefix = str(tmp_path / "model" / "variables" / "variables")
    assert te.checkpoint.verify(prefix) == {TENSOR.format("ev"): 100}
    assert not any(node.registered_saver.name for node in object_graph(prefix).nodes)
    # And the next save of a checkpoint is as ever.
    path = tf.train.Checkpoint(ev=module.ev).write(str(tmp_path / "ckpt"))
    assert te.checkpoint.verify(path) == {TENSOR.format("ev"): 100}
    assert len(glob.glob(path + ".data-*")) == 2


def test_nothing_is_kept_of_a_restore_that_failed(as_before, tmp_path) -> None:
    """What it had read is not taken for what the next one reads."""
    ev, dense = make(n=100), tf.Variable(tf.ones([50]))
    bad = tf.train.Checkpoint(ev=ev, dense=dense).write(str(tmp_path / "bad"))
    os.truncate(bad + ".data-00001-of-00002", 100)
    ev.upsert([-1], tf.ones([1, DIM]))
    as_before(True)
    good = tf.train.Checkpoint(ev=ev, dense=dense).write(str(tmp_path / "good"))
    as_before(False)
    live = make("live")
    with pytest.raises((tf.errors.OpError, IndexError)) as kept:
        tf.train.Checkpoint(ev=live, dense=dense).read(bad)
    assert int(live.size()) == 0
    tf.train.Checkpoint(ev=live, dense=dense).read(good).assert_consumed()
    assert content(live) == content(ev) and kept


def test_saves_and_restores_beside_each_other(tmp_path) -> None:
    """Of the same tables, in several threads."""
    ev, live = make(n=2000), make("live")
    want, failures = content(ev), []
    path = tf.train.Checkpoint(ev=ev).write(str(tmp_path / "first"))

    def save(thread: int) -> None:
        for number in range(20):
            saved = tf.train.Checkpoint(ev=ev).write(str(tmp_path / f"{thread}-{number}"))
            assert te.checkpoint.verify(saved) == {TENSOR.format("ev"): 2000}
            nodes = object_graph(saved).nodes
            keys = [a.checkpoint_key for node in nodes for a in node.attributes]
            assert keys == [TENSOR.format("ev")]

    def restore(variable: te.EmbeddingVariable) -> None:
        for _ in range(20):
            tf.train.Checkpoint(ev=variable).read(path).assert_consumed()

    def run(act, *arguments) -> None:
        try:
            act(*arguments)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(save, thread)) for thread in range(2)]
    # ev is restored while it is saved, to what it has.
    threads += [threading.Thread(target=run, args=(restore, v)) for v in (ev, live, live)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    assert content(ev) == content(live) == want


def test_a_writer_keeps_no_table(tmp_path) -> None:
    import gc
    import weakref

    ev = make(n=10)
    path = tf.train.Checkpoint(ev=ev).write(str(tmp_path / "ckpt"))
    tf.train.Checkpoint(ev=ev).read(path).assert_consumed()
    gc.collect()
    table = weakref.ref(ev.table)
    gc.disable()
    try:
        del ev
        assert table() is None
    finally:
        gc.enable()


def test_every_flipped_bit_is_said_of_its_file(tmp_path) -> None:
    ev = make(n=3)
    prefix = str(tmp_path / "ckpt")
    ops.tf_embedding_write_blocks(
        prefix=prefix, tensor_names=["t"], blocks=[ev.table.save_blocks()]
    )
    data = prefix + ".data-00000-of-00001"
    with open(data, "r+b", buffering=0) as file:
        good = file.read()
        assert len(good) < 2000
        for bit in range(8 * len(good)):
            file.seek(bit // 8)
            file.write(bytes([good[bit // 8] ^ 1 << bit % 8]))
            with pytest.raises(tf.errors.DataLossError, match=f"{data}, tensor t is damaged"):
                ops.tf_embedding_read_blocks(prefix=prefix, tensor_names=["t"], N=1)
            file.seek(bit // 8)
            file.write(good[bit // 8 : bit // 8 + 1])
        # Nonsense for a length asks for no memory.
        file.seek(0)
        file.write(b"\xff" * 9 + b"\x01")
        with pytest.raises(tf.errors.DataLossError, match="would be 18446744073709551615 bytes"):
            ops.tf_embedding_read_blocks(prefix=prefix, tensor_names=["t"], N=1)
        for size in range(len(good)):
            with open(data, "wb") as other:
                other.write(good[:size])
            with pytest.raises(tf.errors.DataLossError, match=f"{data}.*cut short"):
                ops.tf_embedding_read_blocks(prefix=prefix, tensor_names=["t"], N=1)


def test_arguments_of_the_ops(tmp_path) -> None:
    ev, prefix = make(n=3), str(tmp_path / "ckpt")

    def write(names, prefix=prefix, blocks=None):
        blocks = [ev.table.save_blocks() for _ in range(2)] if blocks is None else blocks
        return ops.tf_embedding_write_blocks(prefix=prefix, tensor_names=names, blocks=blocks)

    invalid = tf.errors.InvalidArgumentError
    for names, message in [
        (["a"], "has 1 entries; it must have 2, one for each table"),
        (["a", "a"], 'has "a" at 1'),
        (["a", ""], 'has "" at 1'),
    ]:
        with pytest.raises(invalid, match=message):
            write(names)
    with pytest.raises(invalid, match="prefix"):
        write(["a", "b"], prefix=[prefix])
    other = tf.raw_ops.EmptyTensorList(
        element_shape=-1, max_num_elements=1, element_dtype=tf.float32
    )
    with pytest.raises(invalid, match="element 0 is"):
        write(["a"], blocks=[tf.reshape(other, [1])])
    assert not os.listdir(tmp_path)  # of what failed nothing is left
    write(["a", "b"])

    def read(names, prefix=prefix):
        return ops.tf_embedding_read_blocks(prefix=prefix, tensor_names=names, N=1)

    with pytest.raises(invalid, match="has 2 entries; it must have 1, one for each table"):
        read(["a", "b"])
    with pytest.raises(tf.errors.NotFoundError, match=f"{prefix}.index has no tensor c;"):
        read(["c"])
    with pytest.raises(tf.errors.NotFoundError, match=f"{prefix}x"):
        read(["a"], prefix=prefix + "x")
    foreign = str(tmp_path / "foreign")
    tf.raw_ops.SaveV2(
        prefix=foreign,
        tensor_names=["dense", "list"],
        shape_and_slices=["", ""],
        tensors=[tf.ones([3]), tf.reshape(other, [1])],
    )
    with pytest.raises(invalid, match=f"{foreign}.*tensor dense is a float of .3., not a table"):
        read(["dense"], prefix=foreign)
    with pytest.raises(invalid, match=f"{foreign}.*tensor list: element 0 is of another kind"):
        read(["list"], prefix=foreign)
