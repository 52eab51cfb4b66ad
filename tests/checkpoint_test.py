# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints and SavedModels: everything comes back, and training goes on alike."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
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
    with pytest.raises(tf.errors.InvalidArgumentError, match="the checkpoint has dim 6, the variable 3"):
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
