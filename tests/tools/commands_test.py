# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""The commands that look into checkpoints and copy them, against numpy and the variable."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tools_harness as harness

import tf_embedding as te


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """Two variables, one in parts, and their checkpoint."""
    folder = tmp_path_factory.mktemp("scene")
    users = harness.trained("users", rows=6000, dim=8)
    items = harness.trained("items", rows=500, rule=te.rules.RowwiseAdagrad(), num_parts=3, seed=1)
    prefix = harness.write(folder / "ckpt", users=users, items=items, w=tf.Variable([1.0, 2.0]))
    return {"users": users, "items": items}, prefix


def bins(values: np.ndarray) -> dict[tuple[int, int], int]:
    """Counts by power of two, in plain Python."""
    found: dict[tuple[int, int], int] = {}
    for value in values.tolist():
        low = 0 if value == 0 else 1 << (value.bit_length() - 1)
        high = 0 if value == 0 else 2 * low - 1
        found[low, high] = found.get((low, high), 0) + 1
    return found


def test_inspect(scene) -> None:
    variables, prefix = scene
    described = {d["table"]: d for d in harness.succeed("inspect", prefix, "--format=json").json}
    assert described.keys() == variables.keys()
    for name, variable in variables.items():
        d, rows = described[name], harness.rows_of(variable)
        assert (d["rows"], d["dim"]) == (len(rows["keys"]), variable.dim)
        assert (d["rule"], d["beside_rows"]) == (variable.rule(), {})
        assert (d["step"], d["parts"]) == (10, variable.num_parts)
        for field, values in (("frequency", rows["frequency"]), ("age", 10 - rows["version"])):
            assert {(b["from"], b["to"]): b["rows"] for b in d[field]["bins"]} == bins(values)
            assert d[field]["mean"] == pytest.approx(values.mean())
            assert (d[field]["lowest"], d[field]["highest"]) == (values.min(), values.max())
        norms = np.linalg.norm(rows["values"].astype(np.float64), axis=1)
        assert d["norm"]["mean"] == pytest.approx(norms.mean())
        assert d["norm"]["highest"] == pytest.approx(norms.max())
        for b in d["norm"]["bins"]:
            inside = (norms >= b["from"] * (1 - 1e-9)) & (norms < b["to"] * (1 + 1e-9))
            assert abs(int(inside.sum()) - b["rows"]) <= 1
        assert sum(b["rows"] for b in d["norm"]["bins"]) == len(norms)
    text = harness.succeed("inspect", prefix).out
    assert "users  " in text and "frequency" in text
    few = harness.succeed("inspect", prefix, "--norows", "--format=json", "--table=users").json
    assert [d["rows"] for d in few] == [int(variables["users"].size())] and "age" not in few[0]


def test_inspect_counts_what_is_not_finite(tmp_path) -> None:
    variable = te.EmbeddingVariable(2, initializer="zeros", name="v")
    variable.upsert([1, 2, 3], [[np.nan, 0], [0, np.inf], [0, 0]])
    (d,) = harness.succeed(
        "inspect", harness.write(tmp_path / "c", v=variable), "--format=json"
    ).json
    assert (d["norm"]["not_finite"], d["norm"]["zero"]) == (2, 1)


def test_plot(scene, tmp_path) -> None:
    pytest.importorskip("matplotlib")
    harness.succeed("inspect", scene[1], f"--plot={tmp_path}/out.png")
    assert (tmp_path / "out.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert "--plot" in harness.fail("inspect", scene[1], f"--plot={tmp_path}/out.nothing")


def test_get(scene) -> None:
    variables, prefix = scene
    rows = harness.rows_of(variables["items"])
    keys = rows["keys"][[0, 7, -1]].tolist()
    result = harness.run("get", prefix, "--table=items", "--format=json", "--", *keys, 123)
    assert result.code == 1 and result.json["missing"] == ["123"]
    for place, got in zip([0, 7, -1], result.json["rows"]):
        assert got["key"] == rows["keys"][place]
        assert got["frequency"] == rows["frequency"][place]
        assert got["version"] == rows["version"][place]
        np.testing.assert_array_equal(np.float32(got["vector"]), rows["values"][place])
        np.testing.assert_array_equal(np.float32(got["slots"]["accumulator"]), rows["slots"][place])
    assert harness.run("get", prefix, "--table=items", "0").code == 0
    assert "64 bits" in harness.fail("get", prefix, "--table=items", 2**63)
    assert "integers" in harness.fail("get", prefix, "--table=items", "word")


def test_get_strings(tmp_path) -> None:
    words = te.EmbeddingVariable(2, name="w")
    words.upsert(te.hashing.hash_strings(["cat", "dog"]), [[1.0, 2.0], [3.0, 4.0]])
    prefix = harness.write(tmp_path / "c", w=words)
    result = harness.run("get", prefix, "dog", "cow", "--strings", "--format=json")
    assert result.json["missing"] == ["cow"]
    assert [(r["word"], r["vector"]) for r in result.json["rows"]] == [("dog", [3.0, 4.0])]


@pytest.mark.parametrize("by", ["frequency", "norm", "version"])
@pytest.mark.parametrize("lowest", [False, True])
def test_top(scene, by, lowest) -> None:
    variables, prefix = scene
    rows = harness.rows_of(variables["users"])
    norms = np.linalg.norm(rows["values"].astype(np.float64), axis=1)
    values = {**rows, "norm": norms}[by]
    order = sorted(
        range(len(values)), key=lambda i: (values[i] if lowest else -values[i], rows["keys"][i])
    )[:20]
    flags = ["--table=users", f"--by={by}", "--limit=20", "--format=json"]
    got = harness.succeed("top", prefix, *flags, *(["--lowest"] if lowest else [])).json
    assert [row["key"] for row in got] == rows["keys"][order].tolist()
    assert [row["norm"] for row in got] == pytest.approx(norms[order].tolist())


def test_diff(scene, tmp_path) -> None:
    variables, prefix = scene
    assert harness.run("diff", prefix, prefix).code == 0
    users = variables["users"]
    before = harness.rows_of(users)
    other = te.EmbeddingVariable(8, name="other", num_parts=2)
    other.load_state(users.state())
    keys = before["keys"]
    changed = before["values"][:5] + np.arange(1, 6)[:, None].astype(np.float32)
    other.upsert(keys[:5], changed, step=0)
    other.remove(keys[5:8])
    new = [key for key in (11, 12, 13, 14) if key not in set(keys.tolist())]
    other.upsert(new, np.zeros([len(new), 8]))
    b = harness.write(tmp_path / "b", users=other, items=variables["items"])
    result = harness.run("diff", prefix, b, "--format=json")
    found = {f["table"]: f for f in result.json["tables"]}
    assert result.code == 1 and not result.json["same"]
    assert found["items"]["vector"] == found["items"]["only_a"] == found["items"]["only_b"] == 0
    f = found["users"]
    assert (f["only_a"], f["only_b"], f["both"]) == (3, len(new), len(keys) - 3)
    assert (f["vector"], f["slots"], f["frequency"]) == (5, 0, 0)
    assert f["version"] == int((before["version"][:5] != 0).sum())
    distance = np.abs(changed.astype(np.float64) - before["values"][:5]).max(axis=1)
    assert f["largest_change"] == pytest.approx(distance.max())
    assert f["mean_change"] == pytest.approx(distance.sum() / f["both"])
    assert [m["key"] for m in f["most_changed"]] == keys[:5][np.argsort(-distance)].tolist()
    assert "different" in harness.run("diff", prefix, b).out
    tolerant = harness.run("diff", prefix, b, "--format=json", "--tolerance=2.5").json
    assert {f["table"]: f["vector"] for f in tolerant["tables"]}["users"] == 3


def test_diff_of_other_rules_dims_and_tables(tmp_path) -> None:
    adam, adagrad = (harness.trained("t", rule=r) for r in (te.rules.Adam(), te.rules.Adagrad()))
    a = harness.write(tmp_path / "a", t=adam)
    b = harness.write(tmp_path / "b", t=adagrad, u=adam)
    result = harness.run("diff", a, b)
    assert result.code == 1 and "rule adam and adagrad" in result.out
    assert f"table u is only in {b}" in result.out
    assert "no table 'u'" in harness.fail("diff", a, b, "--table=u")
    c = harness.write(tmp_path / "c", t=harness.trained("t", dim=2))
    assert "dim 4 and 2" in harness.run("diff", a, c).out


def test_strip_and_reshard_restore(scene, tmp_path) -> None:
    variables, prefix = scene
    want = harness.rows_of(variables["users"])
    keep = want["frequency"] >= 3
    assert 0 < keep.sum() < len(keep)
    out = tmp_path / "new_folder" / "stripped"
    harness.succeed("strip", prefix, out, "--slots", "--min_frequency=3", "--table=users")
    got = harness.restored(out, 8, "users")
    rows = harness.rows_of(got)
    for field in ("keys", "values", "frequency", "version"):
        np.testing.assert_array_equal(rows[field], want[field][keep])
    assert got.rule() == "" and rows["slots"].shape[1] == 0
    # The initializer stays, and so do other tables and tensors.
    unknown = next(k for k in range(100) if k not in set(want["keys"].tolist()))
    np.testing.assert_array_equal(
        got.sparse_read([unknown]), variables["users"].sparse_read([unknown])
    )
    items, w = te.EmbeddingVariable(4, name="items"), tf.Variable([0.0, 0.0])
    tf.train.Checkpoint(items=items, w=w).read(str(out)).expect_partial()
    harness.assert_same_rows(harness.rows_of(items), harness.rows_of(variables["items"]))
    np.testing.assert_array_equal(w, [1.0, 2.0])
    # Trained on, the rows take up a rule.
    gradient = tf.IndexedSlices(tf.ones([1, 8]), tf.constant(rows["keys"][:1]))
    te.rules.apply(got, gradient, te.rules.Adagrad(), 0.1, 20)
    assert got.rule() == "adagrad"
    assert harness.run("diff", prefix, out, "--vectors_only").code == 1
    harness.succeed("strip", prefix, tmp_path / "late", "--min_version=10", "--table=users")
    late = harness.restored(tmp_path / "late", 8, "users")
    assert int(late.size()) == (want["version"] == 10).sum()


def test_deltas(tmp_path) -> None:
    """Their removed keys are counted, checked and kept."""
    variable = harness.trained("users", rows=400)
    saver = te.DeltaCheckpoint(tf.train.Checkpoint(users=variable), str(tmp_path / "chain"))
    saver.save()
    removed = harness.rows_of(variable)["keys"][:7]
    variable.remove(removed)
    variable.upsert([1, 2, 3], np.ones([3, 4]), step=50)
    delta = saver.save()
    (d,) = harness.succeed("inspect", delta, "--format=json").json
    assert d["rows"] == 3 and d["beside_rows"] == {"removed": 7}
    assert "removed, 7 records" in harness.succeed("inspect", delta).out
    harness.succeed("strip", delta, tmp_path / "stripped", "--slots")
    (d,) = harness.succeed("inspect", tmp_path / "stripped", "--format=json").json
    assert d["rows"] == 3 and d["beside_rows"] == {"removed": 7} and d["rule"] == ""
    assert harness.run("verify", tmp_path / "stripped").code == 0
    assert "removed beside rows are not compared" in harness.run("diff", delta, delta).out
    documented = harness.documented_reader()
    harness.succeed("reshard", delta, tmp_path / "parts", "--parts=3")
    elements = documented["bundle_elements"](
        str(tmp_path / "parts"), "users/table/.ATTRIBUTES/-blocks"
    )
    went: list[int] = []
    for part in range(3):
        footer, rows = documented["read_part"](elements)
        assert footer["rows"] == len(rows)
        both = [*footer["removed"], *rows["key"].tolist()]
        assert {te.parts.part_of(key, 3) for key in both} <= {part}
        went += footer["removed"]
    assert sorted(went) == sorted(removed.tolist())
    assert harness.run("verify", tmp_path / "parts").code == 0


@pytest.mark.parametrize("num_parts", [1, 3])
def test_reshard_moves_more_than_rows(num_parts, tmp_path) -> None:
    """Counts of keys that are not admitted yet: from two parts to others, none is lost."""

    def make(parts: int) -> te.EmbeddingVariable:
        option = te.EmbeddingVariableOption(filter_option=te.CounterFilter(3))
        return te.EmbeddingVariable(4, seed=7, name="counted", ev_option=option, num_parts=parts)

    def train(variable: te.EmbeddingVariable, keys: np.ndarray) -> None:
        slices = tf.IndexedSlices(tf.ones([len(keys), 4]), tf.constant(keys))
        te.rules.apply(variable, slices, te.rules.Adagrad(), 0.1, 1)

    random = np.random.default_rng(1)
    first, second = (random.integers(-500, 500, 1000) for _ in range(2))
    variable = make(2)
    train(variable, first)
    prefix = harness.write(tmp_path / "counted", counted=variable)
    harness.succeed("reshard", prefix, tmp_path / "out", f"--parts={num_parts}")
    keys, counts = np.unique(first, return_counts=True)
    elements = harness.documented_reader()["bundle_elements"](
        str(tmp_path / "out"), "counted/table/.ATTRIBUTES/-blocks"
    )
    found = {}
    for part in range(num_parts):
        footer, rows = harness.documented_reader()["read_part"](elements)
        waiting = footer["candidates"]
        both = [*waiting["key"].tolist(), *rows["key"].tolist()]
        assert {te.parts.part_of(key, num_parts) for key in both} <= {part}
        found.update(waiting.tolist())
    assert found == {k: n for k, n in zip(keys.tolist(), counts.tolist()) if n < 3}
    for parts in {1, num_parts}:
        got = make(parts)
        tf.train.Checkpoint(counted=got).read(str(tmp_path / "out")).assert_consumed()
        train(got, second)
        want = make(2)
        train(want, first)
        train(want, second)
        harness.assert_same_rows(harness.rows_of(got), harness.rows_of(want))
    assert harness.run("verify", tmp_path / "out").code == 0


def test_reshard_refuses_a_bloom_filter(tmp_path) -> None:
    option = te.EmbeddingVariableOption(filter_option=te.CBFFilter(3, 1000, 0.01))
    variable = te.EmbeddingVariable(4, name="counted", ev_option=option)
    prefix = harness.write(tmp_path / "counted", counted=variable)
    assert "bloom" in harness.fail("reshard", prefix, tmp_path / "out", "--parts=2")


def test_files_of_format_1(tmp_path) -> None:
    """They are read, and copies of them are of the same format."""
    golden = Path(__file__).resolve().parents[1] / "golden" / "format_1"
    found = {d["table"]: d for d in harness.succeed("inspect", golden, "--format=json").json}
    assert {name: d["rows"] for name, d in found.items()} == {"adam": 5, "plain": 5}
    harness.succeed("reshard", golden, tmp_path / "parts", "--parts=3")
    harness.succeed("strip", golden, tmp_path / "often", "--min_frequency=2")
    assert harness.run("diff", golden, tmp_path / "parts").code == 0
    want = harness.rows_of(harness.restored(golden, 3, "adam"))
    harness.assert_same_rows(harness.rows_of(harness.restored(tmp_path / "parts", 3, "adam")), want)
    often = harness.rows_of(harness.restored(tmp_path / "often", 3, "adam"))
    np.testing.assert_array_equal(often["keys"], want["keys"][want["frequency"] >= 2])


@pytest.mark.parametrize("num_parts", [1, 2, 7])
def test_reshard(scene, tmp_path, num_parts) -> None:
    variables, prefix = scene
    out = tmp_path / "out"
    harness.succeed("reshard", prefix, out, f"--parts={num_parts}")
    assert harness.run("diff", prefix, out).code == 0
    assert all(te.checkpoint.verify(out).values())
    documented = harness.documented_reader()
    for name, variable in variables.items():
        elements = documented["bundle_elements"](str(out), f"{name}/table/.ATTRIBUTES/-blocks")
        for part in range(num_parts):
            footer, rows = documented["read_part"](elements)
            assert (footer["part"], footer["num_parts"]) == (part, num_parts)
            assert footer["rows"] == len(rows)
            assert {te.parts.part_of(key, num_parts) for key in rows["key"].tolist()} <= {part}
        for options in ({}, {"num_parts": num_parts}):
            got = harness.restored(out, variable.dim, name, **options)
            harness.assert_same_rows(harness.rows_of(got), harness.rows_of(variable))


def test_verify(scene, tmp_path) -> None:
    variables, prefix = scene
    result = harness.succeed("verify", prefix, "--format=json").json
    assert result["damaged"] == []
    assert result["tables"] == {name: int(v.size()) for name, v in variables.items()}
    copy = harness.write(tmp_path / "c", users=variables["users"], w=tf.Variable(tf.ones([50])))
    data = tmp_path / "c.data-00000-of-00002"
    whole = bytearray(data.read_bytes())
    whole[len(whole) // 2] ^= 1
    data.write_bytes(whole)
    result = harness.run("verify", copy)
    assert result.code == 1 and str(data) in result.err
    assert "block" in result.err and "wrong checksum" in result.err
    os.remove(data)
    assert str(data) in harness.run("verify", copy).err


def test_saved_models_folders_and_v1(scene, tmp_path) -> None:
    variables, _ = scene
    module = tf.Module()
    module.users = variables["users"]
    tf.saved_model.save(module, str(tmp_path / "saved"))
    (d,) = harness.succeed("inspect", tmp_path / "saved", "--norows", "--format=json").json
    assert (d["table"], d["rows"]) == ("users", int(module.users.size()))
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(u=module.users), tmp_path / "m", 1)
    manager.save()
    assert harness.succeed("inspect", tmp_path / "m", "--norows", "--format=json").json
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variable = te.get_embedding_variable(
            "scope/v", 2, partitioner=tf.compat.v1.fixed_size_partitioner(2)
        )
        session.run(tf.compat.v1.global_variables_initializer())
        session.run(variable.upsert(np.arange(50), np.ones([50, 2])))
        prefix = tf.compat.v1.train.Saver([variable]).save(session, str(tmp_path / "v1"))
    (d,) = harness.succeed("inspect", prefix, "--format=json").json
    assert (d["table"], d["rows"], d["parts"]) == ("scope/v", 50, 2)


def test_keras_files(tmp_path) -> None:
    model = tf.keras.Sequential([tf.keras.Input((), dtype="int64"), te.layers.Embedding(3)])
    variable = model.layers[-1].variable
    variable.upsert(np.arange(700), np.random.default_rng(0).normal(size=[700, 3]))
    want = harness.rows_of(variable)
    paths = [tmp_path / "m.weights.h5"]
    model.save_weights(paths[0])
    if int(getattr(tf.keras, "__version__", "2").split(".")[0]) >= 3:
        paths.append(tmp_path / "m.keras")
        model.save(paths[1])
    for path in paths:
        (d,) = harness.succeed("inspect", path, "--format=json").json
        assert d["rows"] == 700
        harness.succeed("export", path, f"{path}.npz")
        with np.load(f"{path}.npz") as got:
            order = np.argsort(got["keys"])
            np.testing.assert_array_equal(got["values"][order], want["values"])
        assert harness.succeed("verify", path).out.endswith("all is as it was written\n")
        assert "Keras file" in harness.fail("strip", path, tmp_path / "x", "--slots")


def test_errors_name_file_argument_and_remedy(scene, tmp_path) -> None:
    prefix = scene[1]
    assert "no checkpoint" in harness.fail("inspect", tmp_path / "nothing")
    assert "latest checkpoint" in harness.fail("inspect", tmp_path)
    assert "name one by --table" in harness.fail("top", prefix)
    assert "one of: items, users" in harness.fail("top", prefix, "--table=user")
    assert "takes CKPT" in harness.fail("inspect")
    assert "nosuch" in harness.fail("inspect", prefix, "--nosuch")
    assert "--min_frequency" in harness.fail("strip", prefix, tmp_path / "x")
    assert "--parts" in harness.fail("reshard", prefix, tmp_path / "x")
    assert "there is a checkpoint" in harness.fail("reshard", prefix, prefix, "--parts=2")
    assert "no command" in harness.run("nonsense").err
    assert harness.run().code == 2 and harness.run("--help").code == 0
    assert "min_frequency" in harness.succeed("strip", "--help").out
    assert list(tmp_path.iterdir()) == []


def test_it_is_a_program(scene) -> None:
    """python -m, exit codes and progress, in a process of its own."""
    command = [sys.executable, "-m", "tf_embedding.tools"]
    root = os.path.dirname(os.path.dirname(os.path.abspath(te.__file__)))
    environment = {**os.environ, "PYTHONPATH": root, "TF_CPP_MIN_LOG_LEVEL": "3"}
    result = subprocess.run(
        [*command, "get", scene[1], "--table=items", "--progress", "424242"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1, result.stderr
    assert result.stdout == "without a row: 424242\n"


def test_progress_by_lines(monkeypatch, capsys) -> None:
    from tf_embedding.tools import progress

    monkeypatch.setitem(sys.modules, "tqdm", None)
    progress.show(True)
    assert list(progress.progress(range(40), 40, "work")) == list(range(40))
    progress.show(False)
    assert list(progress.progress(range(3), 3, "work")) == [0, 1, 2]
    progress.show(None)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"work: {percent} %" for percent in range(10, 101, 10)]


def test_progress_by_tqdm(capsys) -> None:
    pytest.importorskip("tqdm", reason="the extra [tools] brings it")
    from tf_embedding.tools import progress

    progress.show(True)
    assert list(progress.progress(range(40), 40, "work")) == list(range(40))
    progress.show(None)
    assert "100%" in capsys.readouterr().err
