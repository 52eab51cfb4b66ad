# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Chains of deltas: what they restore to, and what is refused."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

import tf_embedding as te

DIM = 3


def make(name: str, **kwargs) -> te.EmbeddingVariable:
    return te.EmbeddingVariable(DIM, initializer="zeros", name=name, **kwargs)


def content(ev) -> dict[int, tuple]:
    columns = [column.numpy() for column in ev.export()]
    return {
        int(key): (vector.tobytes(), slots.tobytes(), int(frequency), int(version))
        for key, vector, slots, frequency, version in zip(*columns)
    }


def vectors(ev) -> dict[int, list[float]]:
    rows = ev.export()
    return dict(zip(rows.keys.numpy().tolist(), rows.values.numpy().tolist()))


def train(ev, keys, rule=None) -> None:
    """One update, always at step 0: nothing may depend on the step."""
    slices = tf.IndexedSlices(tf.ones([len(keys), DIM]), tf.constant(keys, tf.int64))
    te.rules.apply(ev, slices, rule or te.rules.Adagrad(), 0.1, 0)


def follow(ev, folder, **kwargs) -> te.DeltaCheckpoint:
    return te.DeltaCheckpoint(tf.train.Checkpoint(ev=ev), str(folder), **kwargs)


def kind(path: str) -> str:
    with open(path + ".json") as file:
        return json.load(file)["kind"]


def test_frequencies_that_only_decay_wait_for_their_row(tmp_path) -> None:
    """A pass touches every row: to note that would make each delta a full checkpoint."""
    option = te.EmbeddingVariableOption(
        evict_option=te.FrequencyEvict(1, decay=0.5, when="request")
    )
    live, reader = make("live", ev_option=option), make("reader")
    train(live, [1, 1, 1, 1, 2, 2, 2, 2])
    writer = follow(live, tmp_path)
    writer.save()
    live.evict()  # 4 to 2
    train(live, [2])
    assert kind(writer.save()) == "delta"
    follow(reader, tmp_path, read_only=True).restore()

    def frequencies(ev) -> dict[int, int]:
        return {key: row[2] for key, row in content(ev).items()}

    def others(ev) -> dict[int, tuple]:
        return {key: row[:2] + row[3:] for key, row in content(ev).items()}

    assert frequencies(live) == {1: 2, 2: 3}
    assert frequencies(reader) == {1: 4, 2: 3}
    assert others(reader) == others(live)
    writer.save(full=True)
    follow(reader, tmp_path, read_only=True).restore()
    assert content(reader) == content(live)


keys_of_few = st.lists(st.sampled_from([0, -1, 2**63 - 1, -(2**63), 5, 6, 7, 8, 9]), min_size=1)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("upsert"), keys_of_few),
        st.tuples(st.just("remove"), keys_of_few),
        st.tuples(st.sampled_from(["clear", "save", "save full", "restore", "another"])),
    ),
    min_size=8,
    max_size=25,
)


@hypothesis.settings(max_examples=15, deadline=None, database=None, derandomize=True)
@hypothesis.given(operations=operations)
def test_any_history_restores(operations, tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("any")
    live, oracle, saved, at_base = make("live"), {}, {}, None
    mine = follow(live, folder)
    other = follow(live, folder, name="other")
    for count, (what, *keys) in enumerate(operations):
        if what == "upsert":
            live.upsert(keys[0], [[float(count)] * DIM] * len(keys[0]))
            oracle.update((key, [float(count)] * DIM) for key in keys[0])
        elif what == "remove":
            live.remove(keys[0])
            for key in keys[0]:
                oracle.pop(key, None)
        elif what == "clear":
            live.clear()
            oracle.clear()
            at_base = None
        elif what == "restore" and saved:
            path = list(saved)[count % len(saved)]
            mine.restore(path)
            oracle, at_base = dict(saved[path]), path
            assert vectors(live) == oracle
            # What follows would branch off from there: the next is full, if any.
            mine.save(full=True)
            saved[mine.latest] = dict(oracle)
        elif what == "another":
            other.save()
        elif what.startswith("save"):
            path = mine.save(full=what == "save full")
            assert path == mine.latest and path not in saved
            if at_base is not None and what == "save":
                assert kind(path) == "delta"
            saved[path], at_base = dict(oracle), path
    mine.save()
    saved[mine.latest] = dict(oracle)
    other.save()
    reader = make("reader")
    for path, want in saved.items():
        te.DeltaCheckpoint(tf.train.Checkpoint(ev=reader), str(folder)).restore(path)
        assert vectors(reader) == want
    follow(reader, folder, name="other", read_only=True).restore()
    assert vectors(reader) == oracle


def test_training_resumes_upon_a_chain(tmp_path) -> None:
    """Slots, frequency and all; the chain goes on behind a restore."""
    live, resumed = make("live"), make("resumed")
    deltas = follow(live, tmp_path)
    for step in range(4):
        train(live, np.arange(step, 40 * (step + 1)) * 7919)
        live.remove([7919 * 3 * step])
        deltas.save()
    again = follow(resumed, tmp_path)
    again.restore()
    assert content(resumed) == content(live)
    for ev in (live, resumed):
        train(ev, np.arange(10))
    path = again.save()
    assert kind(path) == "delta" and len(again.chain()) == 5
    assert content(resumed) == content(live)
    with pytest.raises(RuntimeError, match="was written by another"):
        deltas.save()
    third = make("third")
    follow(third, tmp_path, read_only=True).restore()
    assert content(third) == content(live)


def test_a_model_of_several_variables_in_parts(tmp_path) -> None:
    def model(*num_parts):
        checkpoint = tf.train.Checkpoint(dense=tf.Variable(tf.zeros([4])))
        checkpoint.evs = [make(f"ev{i}", num_parts=n) for i, n in enumerate(num_parts)]
        return checkpoint

    live, other = model(2, 1, 3), model(3, 2, 1)
    deltas = te.DeltaCheckpoint(live, tmp_path)
    for step in range(3):
        for i, ev in enumerate(live.evs):
            train(ev, np.arange(300 * i, 300 * i + 200) + step)
            ev.remove(np.arange(20) * 5 + 300 * i)
        live.dense.assign_add(tf.ones([4]))
        path = deltas.save()
    assert kind(path) == "delta"
    te.DeltaCheckpoint(other, tmp_path).restore()
    assert list(map(content, live.evs)) == list(map(content, other.evs))
    assert other.dense.numpy().tolist() == [3.0] * 4
    fewer = tf.train.Checkpoint(evs=[make("fewer")])
    reader = te.DeltaCheckpoint(fewer, tmp_path)
    with pytest.raises(ValueError, match=r"has 3 tables, .*, and the checkpoint 1"):
        reader.restore()
    assert int(fewer.evs[0].size()) == 0
    reader.restore(expect_partial=True)
    assert content(fewer.evs[0]) == content(live.evs[0])


def test_what_changes_as_a_whole_is_saved_whole(tmp_path) -> None:
    live = make("live")
    deltas = follow(live, tmp_path)
    train(live, [1, 2, 3])
    other = tf.train.Checkpoint(ev=live).write(str(tmp_path / "plain"))
    assert kind(deltas.save()) == "full"
    assert kind(deltas.save()) == "delta"
    for change in (
        live.clear,
        lambda: tf.train.Checkpoint(ev=live).read(other),
        lambda: live.load_state(live.state()),
        lambda: train(live, [2, 3], te.rules.Adam()),
    ):
        train(live, [7])
        assert kind(deltas.save()) in ("delta", "full")
        change()
        assert kind(deltas.save()) == "full"
        train(live, [8], te.rules.Adam() if live.rule() == "adam" else None)
        assert kind(deltas.save()) == "delta"
        reader = make("reader")
        follow(reader, tmp_path).restore()
        assert content(reader) == content(live)
    deltas.close()
    assert kind(deltas.save()) == "full"


def chain_of(folder, n: int, first: int = 0) -> list[str]:
    ev = make("made")
    deltas, paths = follow(ev, folder), []
    for step in range(first, first + n):
        train(ev, np.arange(step, step + 30))
        ev.remove([step])
        paths.append(deltas.save())
    return paths


def test_a_broken_chain_is_refused(tmp_path) -> None:
    good = tmp_path / "good"
    paths = chain_of(good, 4)
    stranger = tmp_path / "stranger"
    chain_of(stranger, 4, first=50)
    live = make("live")
    train(live, [1, 99])
    before = content(live)
    bad = str(tmp_path / "bad")
    names = [os.path.basename(path) for path in paths]

    def refused(error, match: str, change) -> None:
        shutil.copytree(good, bad)
        change()
        with pytest.raises(error, match=match):
            follow(live, bad).restore(os.path.join(bad, names[3]))
        assert content(live) == before
        shutil.rmtree(bad)

    def swap(suffix: str, a: str, b: str) -> None:
        a, b = (os.path.join(bad, name + suffix) for name in (a, b))
        os.rename(a, b + "x")
        os.rename(b, a)
        os.rename(b + "x", b)

    def copy(name: str) -> None:
        shutil.copy(stranger / name, bad)

    errors = tf.errors
    of = [os.path.join(bad, name) for name in names]
    gap = f"{of[2]}.json is missing; {of[3]} is based"
    refused(errors.NotFoundError, gap, lambda: os.remove(of[2] + ".json"))
    refused(errors.NotFoundError, f"{of[0]}.json is missing", lambda: os.remove(of[0] + ".json"))
    swapped = f"{of[2]}.json is of another chain: it has number 2"
    refused(errors.InvalidArgumentError, swapped, lambda: swap(".json", names[1], names[2]))
    foreign = f"{of[1]}.json is of another chain"
    refused(errors.InvalidArgumentError, foreign, lambda: copy(names[1] + ".json"))
    refused(errors.DataLossError, f"{of[2]}.index is missing", lambda: os.remove(of[2] + ".index"))
    data = ".data-00000-of-00002"
    cut = f"{of[2]}{data} has 9 bytes"
    refused(errors.DataLossError, cut, lambda: os.truncate(of[2] + data, 9))
    refused(errors.DataLossError, of[1], lambda: copy(names[1] + data))
    follow(live, good).restore()
    assert content(live) != before


def test_flipped_bits_are_refused(tmp_path) -> None:
    paths = chain_of(tmp_path, 2)
    live = make("live")
    train(live, [1, 99])
    before = content(live)
    rng = np.random.default_rng(0)
    deltas = follow(live, tmp_path)
    for suffix in (".json", ".index", ".data-00000-of-00002"):
        with open(paths[1] + suffix, "rb") as file:
            good = file.read()
        for bit in rng.integers(0, 8 * len(good), 60):
            bad = bytearray(good)
            bad[bit // 8] ^= 1 << (bit % 8)
            with open(paths[1] + suffix, "wb") as file:
                file.write(bad)
            with pytest.raises((tf.errors.OpError, ValueError), match=paths[1]):
                deltas.restore(paths[1])
        with open(paths[1] + suffix, "wb") as file:
            file.write(good)
    assert content(live) == before
    deltas.restore(paths[1])


def test_deltas_are_applied_beside_lookups(tmp_path) -> None:
    live, served = make("live"), make("served")
    keys = np.arange(2000) * 104729
    writer, reader = follow(live, tmp_path), follow(served, tmp_path, read_only=True)

    def upsert(value: float) -> str:
        live.upsert(keys, np.full([len(keys), DIM], value, np.float32))
        return writer.save()

    upsert(0.0)
    assert reader.catch_up() == [writer.latest] and reader.catch_up() == []
    paths = [upsert(float(value)) for value in range(1, 12)]
    with pytest.raises(tf.errors.InvalidArgumentError, match="is based on .* and the model is at"):
        reader.apply(paths[1])
    done, seen = threading.Event(), []

    def look() -> None:
        while not done.is_set():
            seen.append(served.sparse_read(keys).numpy())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        reader.apply(paths[0])
        reader.apply(paths[0])
        assert reader.catch_up() == paths[1:]
    finally:
        done.set()
        thread.join()
    assert all((rows == rows[:, :1]).all() for rows in seen)
    assert all(set(np.unique(rows)) <= set(range(12)) for rows in seen)
    assert content(served) == content(live)
    # A new base: what was applied is no part of its chain.
    train(live, keys[:5])
    upsert(20.0)
    writer.save(full=True)
    train(live, keys[:7])
    writer.save()
    assert len(reader.catch_up()) == 2
    assert content(served) == content(live)
    with pytest.raises(RuntimeError, match="read_only"):
        reader.save()


def test_deltas_beside_training(tmp_path) -> None:
    live = make("live")
    train(live, [0])
    deltas = follow(live, tmp_path)

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(40):
            train(live, rng.integers(0, 3000, 300))
            live.remove(rng.integers(0, 3000, 50))

    threads = [threading.Thread(target=work, args=[seed]) for seed in range(2)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        deltas.save()
    deltas.save()
    reader = make("reader")
    follow(reader, tmp_path).restore()
    assert content(reader) == content(live)


def test_misuse_is_refused(tmp_path) -> None:
    live = make("live")
    deltas = follow(live, tmp_path)
    with pytest.raises(tf.errors.NotFoundError, match="there is no checkpoint delta-"):
        deltas.restore()
    assert deltas.latest is None
    full = deltas.save()
    train(live, [1])
    deltas.save(full=True)
    train(live, [1])
    path = deltas.save()
    with pytest.raises(tf.errors.InvalidArgumentError, match="is a delta.*te.DeltaCheckpoint"):
        tf.train.Checkpoint(ev=live).read(path)
    with pytest.raises(ValueError, match="is full; restore it"):
        deltas.apply(full)
    with pytest.raises(ValueError, match="must be what save"):
        deltas.restore(str(tmp_path / "elsewhere-1"))
    with pytest.raises(TypeError, match="must be a tf.train.Checkpoint"):
        te.DeltaCheckpoint(live, tmp_path)
    with pytest.raises(ValueError, match="name is 'a/b'"):
        follow(live, tmp_path, name="a/b")
    with pytest.raises(ValueError, match="no embedding variables"):
        te.DeltaCheckpoint(tf.train.Checkpoint(v=tf.Variable(1.0)), tmp_path).save()
    with tf.Graph().as_default(), pytest.raises(NotImplementedError, match="outside graphs"):
        deltas.save()
    with pytest.raises(tf.errors.InvalidArgumentError, match="has dim 3, the variable 4"):
        other = te.EmbeddingVariable(DIM + 1, name="other")
        follow(other, tmp_path).restore()


@pytest.mark.parametrize("in_graph", [False, True])
def test_nothing_is_followed_once_it_is_closed(in_graph, tmp_path) -> None:
    live = make("live")
    train(live, np.arange(4000))
    before = live.memory_usage()["rows"]
    deltas = follow(live, tmp_path)
    deltas.save()
    assert before + 4 * 4000 <= live.memory_usage()["rows"] <= before + 8 * 4000
    with tf.Graph().as_default() if in_graph else contextlib.nullcontext():
        del deltas
    assert live.memory_usage()["rows"] == before


@pytest.mark.parametrize("num_parts", [1, 3])
def test_a_compacted_chain(num_parts, tmp_path) -> None:
    live = te.EmbeddingVariable(16, name="live", num_parts=num_parts)
    other = make("other")
    weights = tf.Variable([0.0])
    deltas = te.DeltaCheckpoint(
        tf.train.Checkpoint(live=live, other=other, weights=weights), tmp_path
    )
    paths, contents = [], []
    for step in range(4):
        keys = np.arange(6000 if step == 0 else 100) * 7919 * (step + 1)
        slices = tf.IndexedSlices(tf.ones([len(keys), 16]), tf.constant(keys))
        te.rules.apply(live, slices, te.rules.Adam(), 0.1, 0)
        live.remove(np.arange(30) * 7919 * (step + 2))
        train(other, [step])
        weights.assign_add([1.0])
        paths.append(deltas.save())
        contents.append((content(live), content(other)))
    with open(paths[2] + ".data-00000-of-00002", "rb") as file:
        good = file.read()
    for at in (len(good) // 2, 40):
        with open(paths[2] + ".data-00000-of-00002", "wb") as file:
            file.write(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(tf.errors.DataLossError, match=paths[2]):
            deltas.compact(paths[2])
    with open(paths[2] + ".data-00000-of-00002", "wb") as file:
        file.write(good)
    full = deltas.compact(paths[2])
    assert deltas.chain() == [full, paths[3]]
    assert deltas.chain(paths[1]) == paths[:2]
    reader = te.EmbeddingVariable(16, name="reader", num_parts=2)
    small, dense = make("small"), tf.Variable([0.0])
    checkpoint = tf.train.Checkpoint(live=reader, other=small, weights=dense)
    again = te.DeltaCheckpoint(checkpoint, tmp_path)
    for path, want in ((paths[2], contents[2]), (paths[3], contents[3])):
        assert again.restore(path) in (path, full)
        assert (content(reader), content(small)) == want
    assert dense.numpy() == 4.0
    # It is a checkpoint like any other.
    checkpoint.read(full).assert_consumed()
    assert (content(reader), content(small)) == contents[2] and dense.numpy() == 3.0
    # The chain goes on behind it, and nothing before it is needed.
    full = deltas.compact(delete=True)
    assert deltas.chain() == [full]
    assert not [name for name in os.listdir(tmp_path) if not name.startswith("delta-00000004-full")]
    train(other, [99])
    assert kind(deltas.save()) == "delta" and len(deltas.chain()) == 2
    again.restore()
    assert content(small) == content(other) and content(reader) == contents[3][0]
