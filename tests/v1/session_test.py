# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Sessions: initializers, Saver, meta graphs, MonitoredTrainingSession, control flow."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any, Optional

import numpy as np
import pytest
import tensorflow as tf
from v1.graph import int64, session, v1, variable

import tf_embedding as te

IDS = [0, 1, 2, 5, 6, 7, -1, 2**63 - 1]


def small_model(parts: Optional[int] = None, name: str = "var") -> Any:
    """A variable, its vectors of fed ids, and a train op with a global step."""
    var = variable(name, parts=parts, initializer=v1.random_uniform_initializer(seed=3))
    ids = v1.placeholder(tf.int64, [None], name="ids")
    vectors = tf.identity(tf.nn.embedding_lookup(var, ids), name="vectors")
    dense = v1.get_variable("dense", [3], initializer=v1.ones_initializer())
    loss = tf.reduce_sum(tf.square(vectors * dense - 1.0))
    step = v1.train.get_or_create_global_step()
    train = te.train.AdamOptimizer(0.1).minimize(loss, global_step=step, name="train")
    return var, ids, vectors, train


# Initialization.


def test_the_flag_is_false_until_the_initializer_has_run() -> None:
    with session() as run:
        var, ids, _, train = small_model(parts=2)
        ready = v1.report_uninitialized_variables()
        assert b"var" in run.run(ready)
        assert not run.run(v1.is_variable_initialized(var))
        run.run(v1.global_variables_initializer())
        assert run.run(ready).size == 0
        assert run.run(var.is_initialized())
        run.run(train, {ids: [1, 2]})
        assert run.run(var.size()) == 2
        # As a dense variable, which takes its initial value again.
        run.run(v1.global_variables_initializer())
        assert run.run(var.size()) == 0


def test_the_flag_is_false_until_a_restore(tmp_path: Path) -> None:
    with session() as run:
        var, ids, _, train = small_model()
        run.run(v1.global_variables_initializer())
        run.run(train, {ids: IDS})
        path = v1.train.Saver().save(run, str(tmp_path / "model"))
    with session() as run:
        var, _, _, _ = small_model(parts=3)
        saver, ready = v1.train.Saver(), v1.report_uninitialized_variables()
        assert b"var" in run.run(ready)
        saver.restore(run, path)
        assert run.run(ready).size == 0
        assert run.run(var.size()) == len(IDS)


def test_a_table_works_before_it_is_initialized() -> None:
    with session() as run:
        var = variable()
        assert run.run(var.sparse_read([1])).tolist() == [[1.0] * 3]
        run.run(var.upsert([1], [[1.0, 2.0, 3.0]]))
        assert run.run(var.size()) == 1


def test_sessions_have_tables_of_their_own() -> None:
    with session() as run:
        var = variable()
        run.run(var.upsert([1], [[1.0, 2.0, 3.0]]))
        with v1.Session() as other:
            assert other.run(var.size()) == 0


# Saver.


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize("parts", [None, 4])
def test_training_resumes_to_the_same_bits(
    tmp_path: Path, parts: Optional[int], sharded: bool
) -> None:
    batches = [[1, 2, 2], [2, 3, -7], [1, 3, 3], [5, 2, 1]]

    def train_on(run: Any, model: Any, some: Any) -> Any:
        var, ids, vectors, train = model
        for batch in some:
            run.run(train, {ids: batch})
        return run.run([vectors, var.version(ids), var.frequency(ids)], {ids: IDS})

    with session() as run:
        model = small_model(parts)
        run.run(v1.global_variables_initializer())
        want = train_on(run, model, batches)
    with session() as run:
        model = small_model(parts)
        run.run(v1.global_variables_initializer())
        train_on(run, model, batches[:2])
        path = v1.train.Saver(sharded=sharded).save(run, str(tmp_path / "model"))
    for others in (parts, 1, 3):
        with session() as run:
            model = small_model(others)
            v1.train.Saver(sharded=sharded).restore(run, path)
            for found, wanted in zip(train_on(run, model, batches[2:]), want):
                np.testing.assert_array_equal(found, wanted)


def test_a_checkpoint_holds_the_users_keys(tmp_path: Path) -> None:
    for parts in (None, 4):
        with session() as run:
            var = variable(parts=parts)
            values = np.arange(len(IDS) * 3, dtype=np.float32).reshape(-1, 3)
            run.run(var.upsert(IDS, values, step=9))
            path = v1.train.Saver().save(run, str(tmp_path / f"of_{parts}"))
        assert te.checkpoint.verify(path) == {"var-blocks": len(IDS)}
        names = dict(tf.train.list_variables(path))
        assert names["var"] == [0, 3]
        # Whatever the number of parts, the rows come into one table.
        with session() as run:
            (blocks,) = tf.raw_ops.RestoreV2(
                prefix=path, tensor_names=["var-blocks"], shape_and_slices=[""], dtypes=[tf.variant]
            )
            whole = te.EmbeddingVariable(3, name="whole")
            run.run(whole.table.load_blocks(blocks))
            rows = run.run(whole.export())
        found = dict(zip(rows.keys.tolist(), rows.values.tolist()))
        assert found == dict(zip(IDS, values.tolist()))
        assert rows.version.tolist() == [9] * len(IDS)


@pytest.mark.parametrize("what", ["global_variables", "trainable_variables", "list", "dict"])
def test_what_a_saver_is_given(tmp_path: Path, what: str) -> None:
    with session() as run:
        var = variable(parts=2)
        given: Any = {"list": [var], "dict": {"var": var}}.get(what)
        saver = v1.train.Saver(given or getattr(v1, what)())
        run.run(var.upsert([3], [[1.0, 2.0, 3.0]]))
        path = saver.save(run, str(tmp_path / "model"))
        run.run(v1.global_variables_initializer())
        saver.restore(run, path)
        assert run.run(var.sparse_read([3])).tolist() == [[1.0, 2.0, 3.0]]


def test_max_to_keep(tmp_path: Path) -> None:
    with session() as run:
        var = variable()
        saver = v1.train.Saver(max_to_keep=2)
        for step in range(4):
            run.run(var.upsert([step], [[float(step)] * 3]))
            saver.save(run, str(tmp_path / "model"), global_step=step)
        assert [os.path.basename(path) for path in saver.last_checkpoints] == ["model-2", "model-3"]
        assert not (tmp_path / "model-0.index").exists()
        for step in (2, 3):
            saver.restore(run, str(tmp_path / f"model-{step}"))
            assert run.run(var.size()) == step + 1


@pytest.mark.parametrize("parts", [None, 2])
def test_a_meta_graph_is_a_model(tmp_path: Path, parts: Optional[int]) -> None:
    with session() as run:
        var, ids, vectors, train = small_model(parts)
        run.run(v1.global_variables_initializer())
        run.run(train, {ids: [1, 2]})
        path = v1.train.Saver().save(run, str(tmp_path / "model"))
        before = run.run(vectors, {ids: IDS})
        run.run(train, {ids: [1, 9]})
        after = run.run(vectors, {ids: [*IDS, 9]})
    with session() as run:
        saver = v1.train.import_meta_graph(path + ".meta")
        saver.restore(run, path)
        np.testing.assert_array_equal(run.run("vectors:0", {"ids:0": IDS}), before)
        # Slots came back too: an update goes on where it was.
        run.run("train", {"ids:0": [1, 9]})
        np.testing.assert_array_equal(run.run("vectors:0", {"ids:0": [*IDS, 9]}), after)


def test_a_saved_model_of_a_session_serves(tmp_path: Path) -> None:
    with session() as run:
        var, ids, vectors, train = small_model(2)
        run.run(v1.global_variables_initializer())
        run.run(train, {ids: [1, 2]})
        want = run.run(vectors, {ids: IDS})
        v1.saved_model.simple_save(run, str(tmp_path / "m"), {"ids": ids}, {"out": vectors})
    with session() as run:
        v1.saved_model.loader.load(run, ["serve"], str(tmp_path / "m"))
        np.testing.assert_array_equal(run.run("vectors:0", {"ids:0": IDS}), want)
    if tf.executing_eagerly():
        loaded = tf.saved_model.load(str(tmp_path / "m"))
        found = loaded.signatures["serving_default"](tf.constant(IDS, tf.int64))
        np.testing.assert_array_equal(found["out"], want)


# Initial values from a checkpoint.


@pytest.mark.parametrize("by", ["variable", "name", "scope"])
@pytest.mark.parametrize("parts", [None, 3])
def test_init_from_checkpoint(tmp_path: Path, parts: Optional[int], by: str) -> None:
    with session() as run:
        with v1.variable_scope("old"):
            var = variable("var", parts=2)
        run.run(v1.global_variables_initializer())
        run.run(var.upsert(IDS, np.arange(len(IDS) * 3).reshape(-1, 3)))
        path = v1.train.Saver().save(run, str(tmp_path / "model"))
    with session() as run:
        with v1.variable_scope("new"):
            var = variable("var", parts=parts)
        mapping = {
            "variable": {"old/var": var},
            "name": {"old/var": "new/var"},
            "scope": {"old/": "new/"},
        }[by]
        v1.train.init_from_checkpoint(path, mapping)
        assert run.run(var.size()) == 0
        run.run(v1.global_variables_initializer())
        found = run.run(var.sparse_read(IDS))
        np.testing.assert_array_equal(found, np.arange(len(IDS) * 3).reshape(-1, 3))
        assert run.run(var.is_initialized())


# MonitoredTrainingSession.


class Recorder(v1.train.SessionRunHook):  # type: ignore[misc]
    """The sizes that a hook sees."""

    def __init__(self, var: Any) -> None:
        self._size = var.size()
        self.sizes: list[int] = []

    def before_run(self, run_context: Any) -> Any:
        return v1.train.SessionRunArgs(self._size)

    def after_run(self, run_context: Any, run_values: Any) -> None:
        self.sizes.append(int(run_values.results))


def test_monitored_training_resumes(tmp_path: Path) -> None:
    def run_for(last_step: int) -> tuple[list[int], int, Any]:
        with tf.Graph().as_default():
            var, ids, vectors, train = small_model(2)
            step = v1.train.get_global_step()
            recorder = Recorder(var)
            hooks = [v1.train.StopAtStepHook(last_step=last_step), recorder]
            with v1.train.MonitoredTrainingSession(
                checkpoint_dir=str(tmp_path),
                hooks=hooks,
                save_checkpoint_steps=2,
                log_step_count_steps=0,
            ) as run:
                while not run.should_stop():
                    now = run.run_step_fn(lambda step_context: step_context.session.run(step))
                    found, _ = run.run([vectors, train], {ids: [int(now), 100]})
            return recorder.sizes, int(now), found

    sizes, last, _ = run_for(3)
    assert last == 2
    sizes, last, found = run_for(5)
    # The rows of the first three steps are there again.
    assert last == 4 and sizes[-1] >= 5
    assert found.shape == (2, 3)
    rows = te.checkpoint.verify(tf.train.latest_checkpoint(str(tmp_path)))
    assert rows == {"var-blocks": 6}


def test_a_scaffold_waits_for_the_variable() -> None:
    with tf.Graph().as_default():
        var, ids, _, train = small_model()
        scaffold = v1.train.Scaffold().finalize()
        with v1.Session() as run:
            assert b"var" in run.run(scaffold.ready_op)
            run.run([scaffold.init_op, scaffold.local_init_op])
            assert run.run(scaffold.ready_op).size == 0


# Control flow.


def in_v2() -> bool:
    return bool(v1.control_flow_v2_enabled())


@pytest.mark.parametrize("pooled", [False, True])
@pytest.mark.parametrize("parts", [None, 3])
def test_cond(parts: Optional[int], pooled: bool) -> None:
    with session() as run:
        var = variable(parts=parts)
        flag = v1.placeholder(tf.bool, [])
        ids = tf.SparseTensor([[0, 0], [1, 0]], int64(1, 2), [2, 1])

        def look_up() -> Any:
            if pooled:
                return tf.nn.embedding_lookup_sparse(var, ids, None)
            return tf.nn.embedding_lookup(var, ids.values)

        read = tf.cond(flag, look_up, lambda: tf.zeros([2, 3]))
        train = te.train.GradientDescentOptimizer(0.5).minimize(tf.reduce_sum(read))
        run.run(v1.global_variables_initializer())
        run.run(train, {flag: False})
        assert run.run(var.size()) == 0
        run.run(train, {flag: True})
        assert run.run(var.sparse_read([1, 2, 3]))[:, 0].tolist() == [0.5, 0.5, 1.0]


def test_cond_in_cond_with_lookups_in_both_branches() -> None:
    with session() as run:
        var = variable(dim=1, initializer=v1.zeros_initializer())
        a, b = v1.placeholder(tf.bool, []), v1.placeholder(tf.bool, [])

        def look_up(*keys: int) -> Any:
            return tf.reduce_sum(tf.nn.embedding_lookup(var, int64(*keys)))

        def inner() -> Any:
            return tf.cond(b, lambda: look_up(1, 2), lambda: tf.constant(0.0))

        loss = tf.cond(a, inner, lambda: look_up(3)) + look_up(4)
        train = te.train.GradientDescentOptimizer(1.0).minimize(loss)
        want = np.zeros(5)
        run.run(v1.global_variables_initializer())
        for case in ((True, True), (True, False), (False, True), (True, True)):
            run.run(train, dict(zip((a, b), case)))
            want[4] -= 1
            want[3] -= not case[0]
            want[1:3] -= case == (True, True)
            assert run.run(var.sparse_read(np.arange(5)))[:, 0].tolist() == want.tolist()


@pytest.mark.parametrize("parts", [None, 3])
def test_while_loop(parts: Optional[int]) -> None:
    """v1's loops differentiate lookups exactly; v2's read them, and say so."""
    ids = np.array([[0, 3], [5, 5], [1, 0]])

    def looped(read: Any) -> Any:
        def body(k: Any, total: Any) -> Any:
            found = read(tf.constant(ids) + tf.cast(k, tf.int64))
            return k + 1, total + found * tf.cast(k + 1, tf.float32)

        return tf.while_loop(lambda k, _: k < 3, body, [0, tf.zeros([3, 2, 3])])[1]

    with session() as run:
        var = variable(parts=parts)
        dense = v1.get_variable("d", [10, 3], initializer=v1.ones_initializer(), use_resource=True)
        of_rows = looped(lambda i: tf.nn.embedding_lookup(var, i))
        of_dense = looped(lambda i: tf.nn.embedding_lookup(dense, i))
        run.run(v1.global_variables_initializer())
        np.testing.assert_array_equal(run.run(of_rows), run.run(of_dense))
        if in_v2():
            with pytest.raises(NotImplementedError, match="before the loop"):
                tf.gradients(tf.reduce_sum(of_rows**2), [var])
            return
        slices = tf.gradients(tf.reduce_sum(of_rows**2), [var])[0]
        found = run.run(slices)
        total = np.zeros([10, 3])
        np.add.at(total, found.indices, found.values)
        want = run.run(tf.convert_to_tensor(tf.gradients(tf.reduce_sum(of_dense**2), [dense])[0]))
        np.testing.assert_allclose(total, want, rtol=1e-6)


# Parts on parameter servers.


def test_parts_are_placed_one_by_one() -> None:
    with tf.Graph().as_default():
        setter = v1.train.replica_device_setter(ps_tasks=2, worker_device="/job:worker/task:1")
        with v1.device(setter):
            var = variable(parts=4)
            dense = v1.get_variable("dense", [3])
        devices = [part.device for part in var]
    assert devices == [f"/job:ps/task:{n}" for n in (0, 1, 0, 1)]
    assert dense.device == "/job:ps/task:0"


def test_training_on_parameter_servers(tmp_path: Path) -> None:
    """Two servers and a worker in this process: parts there train as here."""
    servers = local_cluster()
    with tf.Graph().as_default():
        setter = v1.train.replica_device_setter(
            cluster=servers["spec"], worker_device="/job:worker/task:0"
        )
        with v1.device(setter):
            var, ids, vectors, train = small_model(parts=3)
        saver = v1.train.Saver(sharded=True)
        init = v1.global_variables_initializer()
        with v1.Session(servers["worker"].target) as run:
            run.run(init)
            for batch in ([1, 2, 2], [2, 3, -7]):
                run.run(train, {ids: batch})
            found = run.run(vectors, {ids: IDS})
            path = saver.save(run, str(tmp_path / "model"))
    with session() as run:
        var, ids, vectors, train = small_model()
        run.run(v1.global_variables_initializer())
        for batch in ([1, 2, 2], [2, 3, -7]):
            run.run(train, {ids: batch})
        np.testing.assert_array_equal(run.run(vectors, {ids: IDS}), found)
    with session() as run:
        _, ids, vectors, _ = small_model(parts=2)
        v1.train.Saver().restore(run, path)
        np.testing.assert_array_equal(run.run(vectors, {ids: IDS}), found)


def local_cluster() -> dict[str, Any]:
    sockets = [socket.socket() for _ in range(3)]
    for opened in sockets:
        opened.bind(("localhost", 0))
    places = [f"localhost:{opened.getsockname()[1]}" for opened in sockets]
    for opened in sockets:
        opened.close()
    spec = tf.train.ClusterSpec({"ps": places[:2], "worker": places[2:]})
    servers: dict[str, Any] = {"spec": spec}
    for number in range(2):
        servers[f"ps{number}"] = tf.distribute.Server(spec, job_name="ps", task_index=number)
    servers["worker"] = tf.distribute.Server(spec, job_name="worker", task_index=0)
    return servers
