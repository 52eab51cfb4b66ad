# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints and SavedModels: everything comes back, and training goes on alike."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.training.saving import saveable_object
from tests_support import ALL_RULES

import tf_embedding as te

PROBE = np.array([0, 1, -1, 5, 2**62, -(2**63), 12345], np.int64)


def make(name: str = "saved", **kwargs) -> te.EmbeddingVariable:
    return te.EmbeddingVariable(6, **{"initializer": "normal", "seed": 4, "name": name, **kwargs})


def train(ev, rule, steps) -> None:
    for step in steps:
        rng = np.random.default_rng(step)
        ids = np.concatenate([rng.integers(-50, 50, 40), PROBE[: step % 7]])
        gradients = rng.normal(size=[len(ids), 6]).astype(np.float32)
        slices = tf.IndexedSlices(tf.constant(gradients), tf.constant(ids))
        te.rules.apply(ev, slices, rule, 0.05, step)


def content(ev) -> dict[int, tuple]:
    """By key, so that order does not matter; bits, so that nothing is rounded."""
    return {
        int(key): (values.tobytes(), slots.tobytes(), int(frequency), int(version))
        for key, values, slots, frequency, version in zip(*(x.numpy() for x in ev.export()))
    }


@pytest.mark.parametrize("rule", ALL_RULES.values(), ids=ALL_RULES)
def test_training_resumes_to_the_same_bits(rule, tmp_path) -> None:
    straight = make()
    train(straight, rule, range(8))
    first = make()
    train(first, rule, range(4))
    path = tf.train.Checkpoint(ev=first).save(str(tmp_path / "ckpt"))
    # Another seed and other content: the restore must replace both.
    second = make(seed=99)
    train(second, te.rules.SGD(), range(2))
    tf.train.Checkpoint(ev=second).restore(path).assert_consumed()
    assert content(second) == content(first) and second.rule() == first.rule()
    np.testing.assert_array_equal(second.sparse_read([777]), first.sparse_read([777]))
    train(second, rule, range(4, 8))
    assert content(second) == content(straight)


def test_checkpoint_manager_keeps_and_restores_the_latest(tmp_path) -> None:
    ev = make()
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(ev=ev), str(tmp_path), max_to_keep=2)
    kept = []
    for step in range(3):
        train(ev, te.rules.Adagrad(), [step])
        manager.save()
        kept.append(content(ev))
    assert len(manager.checkpoints) == 2
    train(ev, te.rules.Adagrad(), [3])
    manager.restore_or_initialize()
    assert content(ev) == kept[2]


def test_deferred_restore(tmp_path) -> None:
    ev = make()
    train(ev, te.rules.Adam(), range(3))
    path = tf.train.Checkpoint(ev=ev).save(str(tmp_path / "ckpt"))
    root = tf.train.Checkpoint()
    status = root.restore(path)
    root.ev = make("other", seed=5)
    status.assert_consumed()
    assert content(root.ev) == content(ev)


def test_an_empty_variable_goes_round(tmp_path) -> None:
    path = tf.train.Checkpoint(ev=make()).save(str(tmp_path / "ckpt"))
    ev = make()
    train(ev, te.rules.SGD(), range(1))
    tf.train.Checkpoint(ev=ev).restore(path).assert_consumed()
    assert int(ev.size()) == 0 and ev.rule() == ""


def test_a_matrix_initializer_goes_round(tmp_path) -> None:
    ev = make(initializer=np.arange(12, dtype=np.float32).reshape(2, 6))
    path = tf.train.Checkpoint(ev=ev).save(str(tmp_path / "ckpt"))
    other = make(initializer="zeros")
    tf.train.Checkpoint(ev=other).restore(path)
    np.testing.assert_array_equal(ev.sparse_read(PROBE), other.sparse_read(PROBE))


def test_another_dim_is_refused_and_nothing_changes(tmp_path) -> None:
    ev = make()
    train(ev, te.rules.SGD(), range(1))
    path = tf.train.Checkpoint(ev=ev).save(str(tmp_path / "ckpt"))
    narrow = te.EmbeddingVariable(3, name="narrow")
    narrow.upsert([1], [[1, 2, 3]])
    with pytest.raises(tf.errors.InvalidArgumentError, match="checkpoint has dim 6, the v"):
        tf.train.Checkpoint(ev=narrow).restore(path)
    assert narrow.export().values.numpy().tolist() == [[1, 2, 3]]


def save_model(ev, path: str) -> np.ndarray:
    module = tf.Module()
    module.ev = ev
    module.lookup = tf.function(
        lambda ids: tf.nn.embedding_lookup(ev, ids),
        input_signature=[tf.TensorSpec([None], tf.int64)],
    )
    module.pooled = tf.function(
        lambda ids: te.nn.embedding_lookup_sparse(ev, ids),
        input_signature=[tf.RaggedTensorSpec([None, None], tf.int64)],
    )
    tf.saved_model.save(module, path, signatures={"serving_default": module.lookup})
    return module.lookup(tf.constant(PROBE)).numpy()


@pytest.mark.parametrize("preamble", ["import tf_embedding", None], ids=["import", "op library"])
def test_saved_model_in_a_fresh_process(preamble, tmp_path) -> None:
    ev = make()
    train(ev, te.rules.Adam(), range(5))
    want = save_model(ev, str(tmp_path / "model"))
    if preamble is None:
        library = os.path.join(os.path.dirname(te.__file__), "_ops.so")
        preamble = f"tf.load_op_library({library!r})"
    code = f"""
import numpy as np, tensorflow as tf
{preamble}
model = tf.saved_model.load({str(tmp_path / "model")!r})
probe = np.load({str(tmp_path / "probe.npy")!r})
a = model.lookup(tf.constant(probe)).numpy()
b = model.signatures["serving_default"](ids=tf.constant(probe))["output_0"].numpy()
assert (a == b).all()
c = model.pooled(tf.RaggedTensor.from_row_lengths(tf.constant(probe), [len(probe)])).numpy()
assert np.allclose(c[0], a.mean(0), atol=1e-6)
np.save({str(tmp_path / "got.npy")!r}, a)
"""
    np.save(tmp_path / "probe.npy", PROBE)
    subprocess.run([sys.executable, "-c", code], check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "got.npy"), want)


def test_loaded_models_do_not_share_the_live_table(tmp_path) -> None:
    ev = make()
    train(ev, te.rules.SGD(), range(2))
    want = save_model(ev, str(tmp_path / "model"))
    first = tf.saved_model.load(str(tmp_path / "model"))
    second = tf.saved_model.load(str(tmp_path / "model"))
    ev.clear()
    del first
    np.testing.assert_array_equal(second.lookup(tf.constant(PROBE)), want)


def test_session_save_and_restore(tmp_path) -> None:
    """SavedModel through v1's loader, as C++ servers use it."""
    ev = make()
    train(ev, te.rules.SGD(), range(2))
    want = save_model(ev, str(tmp_path / "model"))
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], str(tmp_path / "model"))
        signature = meta.signature_def["serving_default"]
        got = session.run(
            signature.outputs["output_0"].name, {signature.inputs["ids"].name: PROBE}
        )
    np.testing.assert_array_equal(got, want)


def big(name: str = "big") -> te.EmbeddingVariable:
    """Several blocks."""
    ev = te.EmbeddingVariable(32, seed=3, name=name)
    ev.upsert(np.arange(12000) * 7919, np.random.default_rng(0).normal(size=[12000, 32]))
    return ev


def test_another_dim_on_request(tmp_path) -> None:
    ev = make()
    train(ev, te.rules.Adam(), range(2))
    path = tf.train.Checkpoint(ev=ev).write(str(tmp_path / "ckpt"))
    wide = te.EmbeddingVariable(8, initializer="ones", name="wide")
    with te.checkpoint.restore_options(change_dim=True):
        tf.train.Checkpoint(ev=wide).read(path).assert_consumed()
    keys = np.sort(ev.export().keys.numpy())
    np.testing.assert_array_equal(
        wide.sparse_read(keys)[:, :6].numpy(), ev.sparse_read(keys).numpy()
    )
    assert wide.rule() == "adam" and wide.export().slots.shape[1] == 16
    # The scope is over.
    with pytest.raises(tf.errors.InvalidArgumentError, match="the checkpoint has dim 6"):
        tf.train.Checkpoint(ev=wide).read(path)
    with pytest.raises(ValueError, match="partial is 1; it must be True or False"):
        with te.checkpoint.restore_options(partial=1):
            pass


def test_partial_keeps_what_the_checkpoint_lacks(tmp_path) -> None:
    ev = make()
    train(ev, te.rules.Adam(), range(2))
    path = tf.train.Checkpoint(ev=ev).write(str(tmp_path / "ckpt"))
    other = make("other", seed=8)
    train(other, te.rules.Adam(), [0])
    other.upsert([10**6], np.ones([1, 6], np.float32), step=5)
    before, unknown = content(other), other.sparse_read([777]).numpy()
    with te.checkpoint.restore_options(partial=True):
        tf.train.Checkpoint(ev=other).read(path)
    assert content(other) == {**before, **content(ev)}
    np.testing.assert_array_equal(other.sparse_read([777]), unknown)


def test_a_table_in_parts_restores_into_any_number(tmp_path) -> None:
    """The blocks of several tables, as a variable in parts saves them."""
    whole = big()
    want = content(whole)

    class Parts(tf.saved_model.experimental.TrackableResource):
        def __init__(self, n: int) -> None:
            super().__init__(device="")
            self.evs = [te.EmbeddingVariable(32, seed=9, name=f"part_{n}") for _ in range(n)]

        @property
        def handles(self) -> list[tf.Tensor]:
            return [ev.handle for ev in self.evs]

        def _serialize_to_tensors(self) -> dict[str, tf.Tensor]:
            return {te.checkpoint.BLOCKS: te.checkpoint.save_blocks(self.handles)}

        def _restore_from_tensors(self, restored_tensors) -> None:
            te.checkpoint.load_blocks(self.handles, restored_tensors[te.checkpoint.BLOCKS])

    parts = {}
    for n in (1, 2, 3):
        parts[n] = Parts(n)
        te.checkpoint.load_blocks(parts[n].handles, whole.table.save_blocks())
        assert all(0.8 * 12000 / n < int(ev.size()) < 1.2 * 12000 / n for ev in parts[n].evs)
    for n in parts:
        path = tf.train.Checkpoint(table=parts[n]).write(str(tmp_path / str(n)))
        for m in parts:
            got = Parts(m)
            tf.train.Checkpoint(table=got).read(path).assert_consumed()
            assert [content(ev) for ev in got.evs] == [content(ev) for ev in parts[m].evs]
            rows = [row for ev in got.evs for row in content(ev).items()]
            assert len(rows) == 12000 and dict(rows) == want


@pytest.mark.parametrize("sharded", [False, True])
def test_the_saver_of_v1_graphs_writes_blocks(sharded, tmp_path) -> None:
    """Two parts on two devices, saved by two SaveableObjects."""

    class Saveable(saveable_object.SaveableObject):
        def __init__(self, ev: te.EmbeddingVariable, name: str) -> None:
            self._ev = ev
            spec = saveable_object.SaveSpec(ev.table.save_blocks(), "", name + "-blocks")
            super().__init__(ev.handle, [spec], name)

        def restore(self, restored_tensors, restored_shapes):
            return self._ev.table.load_blocks(restored_tensors[0])

    keys = np.arange(5000)
    config = tf.compat.v1.ConfigProto(device_count={"CPU": 2})
    with tf.Graph().as_default(), tf.compat.v1.Session(config=config) as session:
        evs = []
        for i in range(2):
            with tf.device(f"/device:CPU:{i}"):
                evs.append(te.EmbeddingVariable(32, initializer="zeros", name=f"v{i}"))
        write = [ev.upsert(keys, np.full([5000, 32], i + 1.0), 7) for i, ev in enumerate(evs)]
        clear = [ev.clear() for ev in evs]
        reads = [ev.sparse_read(keys) for ev in evs]
        saver = tf.compat.v1.train.Saver(
            [Saveable(ev, f"v{i}") for i, ev in enumerate(evs)], sharded=sharded
        )
        session.run(write)
        path = saver.save(session, str(tmp_path / "model"), global_step=3)
        session.run(clear)
        assert not np.any(session.run(reads))
        saver.restore(session, path)
        for i, rows in enumerate(session.run(reads)):
            assert (rows == i + 1).all()
    shards = [name for name in os.listdir(tmp_path) if ".data-" in name]
    assert len(shards) == (2 if sharded else 1)
    assert te.checkpoint.verify(path) == {"v0-blocks": 5000, "v1-blocks": 5000}


def test_an_asynchronous_checkpoint(tmp_path) -> None:
    ev = make()
    train(ev, te.rules.Adam(), range(2))
    checkpoint = tf.train.Checkpoint(ev=ev, dense=tf.Variable(1.0))
    options = tf.train.CheckpointOptions(experimental_enable_async_checkpoint=True)
    path = checkpoint.save(str(tmp_path / "ckpt"), options)
    checkpoint.sync()
    other = make("other", seed=3)
    tf.train.Checkpoint(ev=other).restore(path).expect_partial()
    assert content(other) == content(ev)


def test_restored_slots_of_another_rule_begin_anew(tmp_path) -> None:
    ev = make()
    train(ev, te.rules.Adam(), range(2))
    path = tf.train.Checkpoint(ev=ev).write(str(tmp_path / "ckpt"))
    other = make("other")
    train(other, te.rules.Adagrad(), range(3))
    with te.checkpoint.restore_options(partial=True):
        tf.train.Checkpoint(ev=other).read(path)
    mine, its = content(other), content(ev)
    assert other.rule() == "adagrad"
    assert all(mine[key][::2] == row[::2] and mine[key][3] == row[3] for key, row in its.items())
    accumulator = np.full(6, 0.1, np.float32).tobytes()
    assert all(mine[key][1] == accumulator for key in its)


def damaged(path: str, rng: np.random.Generator):
    """Ways to damage a checkpoint's files: (what, file, its new bytes)."""
    for suffix in (".data-00000-of-00002", ".index"):
        with open(path + suffix, "rb") as file:
            good = file.read()
        flips = [*range(24 * 8), *rng.integers(0, 8 * len(good), 400)]
        for bit in flips:
            bad = bytearray(good)
            bad[bit // 8] ^= 1 << (bit % 8)
            yield f"bit {bit}", path + suffix, bytes(bad)
        for size in [*range(0, 64), *rng.integers(0, len(good), 50), len(good) - 1]:
            yield f"cut to {size}", path + suffix, good[:size]
        yield "no file", path + suffix, None
        with open(path + suffix, "wb") as file:
            file.write(good)


def test_damaged_files_are_refused_and_nothing_changes(tmp_path) -> None:
    ev = make()
    train(ev, te.rules.Adam(), range(2))
    path = tf.train.Checkpoint(ev=ev).write(str(tmp_path / "ckpt"))
    live = make("live")
    train(live, te.rules.Adagrad(), range(2))
    before, saved, kept = content(live), content(ev), live.state()
    refused = harmless = 0
    for what, name, data in damaged(path, np.random.default_rng(1)):
        if data is None:
            os.remove(name)
        else:
            with open(name, "wb") as file:
                file.write(data)
        try:
            tf.train.Checkpoint(ev=live).read(path).assert_consumed()
        except (tf.errors.OpError, IndexError, ValueError) as error:
            assert str(error), what
            refused += 1
            if refused % 10 == 0:
                with pytest.raises(tf.errors.DataLossError, match=f"checkpoint {path}"):
                    te.checkpoint.verify(path)
        else:
            # Some bytes of an index mean nothing.
            assert name.endswith(".index") and content(live) == saved, what
            harmless += 1
            live.load_state(kept)
        if refused % 50 == 0:
            assert content(live) == before, what
    assert refused > 1000 and harmless < 200


def test_ten_thousand_flipped_bits(tmp_path) -> None:
    """Refused, and nothing changes; or, in bytes that mean nothing, the same rows."""
    ev, live = make(), make("live")
    train(ev, te.rules.Adam(), range(2))
    path = tf.train.Checkpoint(ev=ev).write(str(tmp_path / "ckpt"))
    train(live, te.rules.Adagrad(), range(2))
    before, saved, kept = content(live), content(ev), live.state()
    refused = harmless = 0
    rng = np.random.default_rng(3)
    for suffix in (".index", ".data-00000-of-00002"):
        with open(path + suffix, "r+b", buffering=0) as file:
            good = file.read()
            for bit in rng.integers(0, 8 * len(good), 5000).tolist():
                at, flipped = bit // 8, good[bit // 8] ^ 1 << bit % 8
                file.seek(at)
                file.write(bytes([flipped]))
                try:
                    (blocks,) = tf.raw_ops.RestoreV2(
                        prefix=path,
                        tensor_names=["ev/table/.ATTRIBUTES/-blocks"],
                        shape_and_slices=[""],
                        dtypes=[tf.variant],
                    )
                    live.table.load_blocks(blocks)
                except tf.errors.OpError:
                    refused += 1
                    if refused % 50 == 0:
                        assert content(live) == before, bit
                        # It reads all of the file: also what this restore left out.
                        with pytest.raises(tf.errors.DataLossError, match=f"checkpoint {path}"):
                            te.checkpoint.verify(path)
                else:
                    harmless += 1
                    assert content(live) == saved, bit
                    live.load_state(kept)
                file.seek(at)
                file.write(good[at : at + 1])
    assert content(live) == before
    assert refused + harmless == 10000 and refused > 7000


def test_saves_beside_training(tmp_path) -> None:
    """Every record of every save is one that the row had at some moment, whole."""
    n, steps = 4000, 25
    # What a row is after each of its updates.
    alone = te.EmbeddingVariable(16, initializer="ones", name="alone")
    history = []

    def update(ev, keys, step) -> None:
        slices = tf.IndexedSlices(tf.ones([len(keys), 16]), tf.constant(keys))
        te.rules.apply(ev, slices, te.rules.Adam(), 0.01, step)

    for step in range(steps):
        update(alone, np.array([5]), step)
        history.append(content(alone)[5])
    ev = te.EmbeddingVariable(16, initializer="ones", name="both")
    halves = np.arange(2 * n).reshape(2, n) * 104729
    trainers = [
        threading.Thread(target=lambda keys=keys: [update(ev, keys, s) for s in range(steps)])
        for keys in halves
    ]
    for trainer in trainers:
        trainer.start()
    checkpoint, saves = tf.train.Checkpoint(ev=ev), []
    while any(trainer.is_alive() for trainer in trainers):
        saves.append(checkpoint.write(str(tmp_path / str(len(saves)))))
    saves.append(checkpoint.write(str(tmp_path / "last")))
    seen = set()
    for path in saves:
        other = te.EmbeddingVariable(16, name="other")
        tf.train.Checkpoint(ev=other).read(path).assert_consumed()
        for row in content(other).values():
            assert row == history[row[2] - 1]
            seen.add(row[2])
    assert len(saves) > 1 and int(other.size()) == 2 * n and steps in seen


def test_a_save_takes_little_memory(tmp_path) -> None:
    """The peak of a process that saves is far below one that holds the table twice."""
    code = f"""
import resource
import numpy as np, tensorflow as tf, tf_embedding as te
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
small = te.EmbeddingVariable(256, name="small")
small.upsert(np.arange(10), np.ones([10, 256], np.float32))
tf.train.Checkpoint(ev=small).write({str(tmp_path / "small")!r})
ev = te.EmbeddingVariable(256, name="large")
for start in range(0, 100000, 2000):
    ev.upsert(np.arange(start, start + 2000), np.ones([2000, 256], np.float32))
before = peak()
path = tf.train.Checkpoint(ev=ev).write({str(tmp_path / "large")!r})
print(int(ev.memory_usage()["rows_used"]), peak() - before)
"""
    output = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE).stdout
    rows, grown = (int(x) for x in output.split()[-2:])
    assert rows > 100e6 and grown < rows / 4, (rows, grown)
