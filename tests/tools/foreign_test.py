# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of DeepRec and TFRA, in layouts that are written here."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tools_harness as harness

import tf_embedding as te


def save(prefix, tensors: dict) -> str:
    names = list(tensors)
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tf.constant(tensors[name]) for name in names],
    )
    return str(prefix)


class Content:
    """Rows that a table is to have: key to (vector, slots, frequency, version)."""

    def __init__(self, rows: int, dim: int, slots: int, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.keys = np.unique(random.integers(0, 2**62, rows))
        n = len(self.keys)
        self.values = random.normal(size=[n, dim]).astype(np.float32)
        self.slots = [random.uniform(1, 2, [n, dim]).astype(np.float32) for _ in range(slots)]
        self.frequency = random.integers(1, 100, n)
        self.version = random.integers(0, 1000, n)


def deeprec_tensors(
    name: str,
    content: Content,
    slots: list[str],
    parts: int = 1,
    old: bool = False,
    recorded: bool = True,
    key_dtype=np.int64,
) -> dict:
    """The tensors of a variable and its slots, as DeepRec lays them out.

    Keys are grouped by key mod 1000, parts take the groups whose number modulo parts is
    theirs; each slot repeats keys, frequencies and versions. Old layouts have neither
    offsets nor keys that were not admitted.
    """
    tensors = {}
    for part in range(parts):
        base = name if parts == 1 else f"{name}/part_{part}"
        groups = content.keys % 1000
        mine = np.flatnonzero(groups % parts == part)
        mine = mine[np.argsort(groups[mine], kind="stable")]
        offsets = np.searchsorted(groups[mine], np.arange(1001)).astype(np.int32)
        columns = [("", content.values), *zip((f"/{slot}" for slot in slots), content.slots)]
        for suffix, values in columns:
            n = len(mine) if recorded else 0
            tensors[f"{base}{suffix}-keys"] = content.keys[mine].astype(key_dtype)
            tensors[f"{base}{suffix}-values"] = values[mine]
            tensors[f"{base}{suffix}-freqs"] = content.frequency[mine][:n]
            tensors[f"{base}{suffix}-versions"] = content.version[mine][:n]
            if not old:
                waiting = -np.arange(1, 4) if part == 0 else np.zeros([0], np.int64)
                tensors[f"{base}{suffix}-partition_offset"] = offsets
                tensors[f"{base}{suffix}-keys_filtered"] = waiting.astype(key_dtype)
                tensors[f"{base}{suffix}-freqs_filtered"] = -waiting
                tensors[f"{base}{suffix}-versions_filtered"] = np.zeros_like(waiting)
                tensors[f"{base}{suffix}-partition_filter_offset"] = np.zeros(1001, np.int32)
    return tensors


def restore(path, variables: dict[str, int], parts: int = 1) -> dict[str, dict[str, np.ndarray]]:
    """What a v1 Saver gives embedding variables of these dims: rows in order of key, rule.

    They have a filter that counts; "waiting" is what it has counted of keys -1, -2 and -3.
    """
    found = {}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        partitioner = tf.compat.v1.fixed_size_partitioner(parts) if parts > 1 else None
        made = {
            name: te.get_embedding_variable(
                name,
                dim,
                partitioner=partitioner,
                ev_option=te.EmbeddingVariableOption(filter_option=te.CounterFilter(9)),
            )
            for name, dim in variables.items()
        }
        tf.compat.v1.train.Saver(list(made.values())).restore(session, str(path))
        for name, variable in made.items():
            state = session.run(variable.state())
            order = np.argsort(state["keys"])
            per_row = ("keys", "values", "slots", "frequency", "version")
            found[name] = {field: state[field][order] for field in per_row}
            found[name]["rule"] = state["rule"]
            found[name]["waiting"] = session.run(variable.frequency([-1, -2, -3])).tolist()
            found[name]["initial_slots"] = state["initial_slots"]
    return found


def assert_is(got: dict, content: Content, recorded: bool = True) -> None:
    np.testing.assert_array_equal(got["keys"], content.keys)
    np.testing.assert_array_equal(got["values"], content.values)
    np.testing.assert_array_equal(got["frequency"], content.frequency * recorded)
    np.testing.assert_array_equal(got["version"], content.version * recorded)


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("recorded", [False, True])
def test_deeprec(parts, old, recorded, tmp_path) -> None:
    content = Content(500, 4, slots=2)
    plain = Content(50, 3, slots=0, seed=1)
    prefix = save(
        tmp_path / "deeprec",
        {
            **deeprec_tensors("user/emb", content, ["Adam", "Adam_1"], parts, old, recorded),
            **deeprec_tensors("item", plain, [], parts, old, recorded),
            "global_step": np.int64(77),
            "dense/kernel": np.ones([2, 2], np.float32),
            "dense/kernel/Adam": np.zeros([2, 2], np.float32),
        },
    )
    out = tmp_path / "out"
    said = harness.succeed("import", prefix, out, "--from=deeprec").out
    assert "user/emb: slots of rule adam" in said
    assert ("user/emb: 3 keys that were not admitted" in said) == (not old)
    for parts_here in (1, 2):
        got = restore(out, {"user/emb": 4, "item": 3}, parts_here)
        assert_is(got["user/emb"], content, recorded)
        assert_is(got["item"], plain, recorded)
        assert got["user/emb"]["waiting"] == ([0, 0, 0] if old else [1, 2, 3])
        assert got["user/emb"]["rule"] == b"adam" and got["item"]["rule"] == b""
        np.testing.assert_array_equal(
            got["user/emb"]["slots"], np.concatenate(content.slots, axis=1)
        )
    # The rest of the model comes along.
    assert tf.train.load_variable(str(out), "global_step") == 77
    np.testing.assert_array_equal(tf.train.load_variable(str(out), "dense/kernel"), np.ones([2, 2]))
    assert "dense/kernel/Adam" in dict(tf.train.list_variables(str(out)))
    assert not any(name.endswith("-keys") for name, _ in tf.train.list_variables(str(out)))


@pytest.mark.parametrize(
    ("names", "rule", "initial"),
    [
        (["Adagrad"], "adagrad", [0.1]),
        (["AdamAsync", "AdamAsync_1"], "adam", [0, 0]),
        (["AdamW", "AdamW_1"], "adamw", [0, 0]),
        (["Ftrl", "Ftrl_1"], "group_ftrl", [0.1, 0]),
    ],
)
def test_deeprec_rules(names, rule, initial, tmp_path) -> None:
    content = Content(60, 4, slots=len(names))
    prefix = save(tmp_path / "d", deeprec_tensors("v", content, names, key_dtype=np.int64))
    harness.succeed("import", prefix, tmp_path / "out", "--from=deeprec", "--layout=objects")
    got = harness.restored(tmp_path / "out", 4, "v")
    assert got.rule() == rule
    rows = harness.rows_of(got)
    np.testing.assert_array_equal(rows["slots"], np.concatenate(content.slots, axis=1))
    np.testing.assert_array_equal(got.state()["initial_slots"], np.float32(initial))


def test_deeprec_adagrad_decay_keeps_a_number_a_row(tmp_path) -> None:
    content = Content(60, 4, slots=2)
    content.slots[1][:] = np.arange(len(content.keys))[:, None]
    prefix = save(tmp_path / "d", deeprec_tensors("v", content, ["AdagradDecay", "AdagradDecay_1"]))
    harness.succeed("import", prefix, tmp_path / "out", "--from=deeprec", "--layout=objects")
    rows = harness.rows_of(harness.restored(tmp_path / "out", 4, "v"))
    np.testing.assert_array_equal(rows["slots"][:, :4], content.slots[0])
    np.testing.assert_array_equal(rows["slots"][:, 4], np.arange(len(content.keys)))


def test_deeprec_keys_of_slots_that_differ(tmp_path) -> None:
    """A save beside training: slots have rows that the variable lacks, and the reverse."""
    content = Content(300, 4, slots=2)
    tensors = deeprec_tensors("v", content, ["Adam", "Adam_1"])
    for name in ("v-keys", "v-values", "v-freqs", "v-versions"):
        tensors[name] = tensors[name][:250]
    for name in ("v/Adam-keys", "v/Adam-values", "v/Adam-freqs", "v/Adam-versions"):
        tensors[name] = tensors[name][10:]
    prefix = save(tmp_path / "d", tensors)
    said = harness.succeed("import", prefix, tmp_path / "out", "--from=deeprec").out
    n = len(content.keys)
    assert "v: 10 rows had no m; they start with the initial value" in said
    assert f"v: {n - 250} values of m left out" in said
    assert f"v: {n - 250} values of v left out" in said
    got = restore(tmp_path / "out", {"v": 4})["v"]
    assert len(got["keys"]) == 250 and np.isfinite(got["slots"]).all()
    without = np.isin(got["keys"], tensors["v-keys"][:10])
    assert (got["slots"][without, :4] == 0).all() and (got["slots"][~without, :4] > 0).all()


def test_deeprec_slots_of_other_names(tmp_path) -> None:
    content = Content(60, 4, slots=2)
    prefix = save(tmp_path / "d", deeprec_tensors("v", content, ["Mine", "Mine_1"], parts=2))
    args = ["import", prefix, tmp_path / "out", "--from=deeprec"]
    assert "Mine, Mine_1" in harness.fail(*args)
    assert "--slot_names" in harness.fail(*args, "--rule=adam")
    assert "rule adam has m, v" in harness.fail(*args, "--rule=adam", "--slot_names=m=Mine")
    assert "no 'Other'" in harness.fail(*args, "--rule=adam", "--slot_names=m=Mine,v=Other")
    assert "must be one of" in harness.fail(*args, "--rule=no", "--slot_names=m=Mine")
    assert not list(tmp_path.glob("out*"))
    harness.succeed(*args, "--rule=adam", "--slot_names=m=Mine_1,v=Mine", "--initial_slots=1,2")
    got = restore(tmp_path / "out", {"v": 4})["v"]
    np.testing.assert_array_equal(got["slots"], np.concatenate(content.slots[::-1], axis=1))
    np.testing.assert_array_equal(got["initial_slots"], [1, 2])
    said = harness.succeed("import", prefix, tmp_path / "bare", "--from=deeprec", "--noslots").out
    assert "slots left out: Mine, Mine_1" in said
    assert restore(tmp_path / "bare", {"v": 4})["v"]["rule"] == b""


def test_variables_in_a_scope_named_like_a_variable(tmp_path) -> None:
    outer, inner = Content(60, 4, slots=1), Content(30, 4, slots=1, seed=1)
    tensors = {
        **deeprec_tensors("v", outer, ["Adagrad"]),
        **deeprec_tensors("v/inner", inner, ["Adagrad"]),
    }
    harness.succeed("import", save(tmp_path / "d", tensors), tmp_path / "a", "--from=deeprec")
    tensors = {
        **tfra_tensors("saver", "v", outer, ["Adagrad/accumulator"], 2),
        **tfra_tensors("saver", "v/inner", inner, ["Adagrad/accumulator"], 2),
    }
    args = ["--from=tfra", "--layout=saver"]
    harness.succeed("import", save(tmp_path / "t", tensors), tmp_path / "b", *args)
    for path in (tmp_path / "a", tmp_path / "b"):
        got = restore(path, {"v": 4, "v/inner": 4})
        for name, content in (("v", outer), ("v/inner", inner)):
            np.testing.assert_array_equal(got[name]["keys"], content.keys)
            np.testing.assert_array_equal(got[name]["values"], content.values)
            np.testing.assert_array_equal(got[name]["slots"], content.slots[0])


def test_deeprec_input_that_does_not_fit(tmp_path) -> None:
    content = Content(60, 4, slots=0)
    tensors = deeprec_tensors("v", content, [])
    args = ["--from=deeprec"]
    short = save(tmp_path / "a", {**tensors, "v-values": tensors["v-values"][1:]})
    assert "rows" in harness.fail("import", short, tmp_path / "out", *args)
    text = save(tmp_path / "b", {**tensors, "v-keys": tensors["v-keys"].astype(str)})
    assert "integer" in harness.fail("import", text, tmp_path / "out", *args)
    twice = save(tmp_path / "c", {**tensors, "v-keys": np.zeros_like(tensors["v-keys"])})
    assert "same key" in harness.fail("import", twice, tmp_path / "out", *args)
    nothing = save(tmp_path / "d", {"w": np.ones(3)})
    assert "no tables" in harness.fail("import", nothing, tmp_path / "out", *args)
    good = save(tmp_path / "e", tensors)
    assert "--dim" in harness.fail("import", good, tmp_path / "out", *args, "--dim=5")
    assert "no variable 'u'" in harness.fail("import", good, tmp_path / "out", *args, "--table=u")
    data = tmp_path / "e.data-00000-of-00001"
    whole = bytearray(data.read_bytes())
    whole[whole.index(tensors["v-values"].tobytes()) + 9] ^= 4
    data.write_bytes(whole)
    assert "checksum" in harness.fail("import", good, tmp_path / "out", *args)
    assert not list(tmp_path.glob("out*"))


def tfra_names(style: str, name: str, shard: int, shards: int) -> str:
    if style == "saver":
        return f"{name}_mht_{shard + 1}of{shards}-%s"
    escaped = name.replace(".", "..").replace("/", ".S")
    path = f"model/tables_of_{escaped}/{shard}"
    return path + ("/.ATTRIBUTES/table-%s" if style == "attributes" else "/table-%s")


def tfra_tensors(style: str, name: str, content: Content, slots: list[str], shards: int) -> dict:
    tensors = {}
    columns = [(name, content.values), *zip((f"{name}/{slot}" for slot in slots), content.slots)]
    for full_name, values in columns:
        for shard in range(shards):
            mine = np.flatnonzero(content.keys % shards == shard)[::-1]
            pattern = tfra_names(style, full_name, shard, shards)
            tensors[pattern % "keys"] = content.keys[mine]
            tensors[pattern % "values"] = values[mine]
    return tensors


@pytest.mark.parametrize("style", ["saver", "objects", "attributes"])
@pytest.mark.parametrize("shards", [1, 2])
def test_tfra_bundles(style, shards, tmp_path) -> None:
    content, plain = Content(500, 4, slots=2), Content(40, 2, slots=0, seed=1)
    prefix = save(
        tmp_path / "tfra",
        {
            **tfra_tensors(style, "scope/emb", content, ["Adam/m", "Adam/v"], shards),
            **tfra_tensors(style, "scope/other", plain, [], shards),
            "global_step": np.int64(5),
        },
    )
    harness.succeed("import", prefix, tmp_path / "out", "--from=tfra", "--layout=saver")
    got = restore(tmp_path / "out", {"scope/emb": 4, "scope/other": 2})
    assert got["scope/emb"]["rule"] == b"adam"
    np.testing.assert_array_equal(got["scope/emb"]["keys"], content.keys)
    np.testing.assert_array_equal(got["scope/emb"]["values"], content.values)
    np.testing.assert_array_equal(got["scope/emb"]["slots"], np.concatenate(content.slots, axis=1))
    np.testing.assert_array_equal(got["scope/other"]["values"], plain.values)
    assert tf.train.load_variable(str(tmp_path / "out"), "global_step") == 5


@pytest.mark.parametrize(
    ("names", "rule"),
    [
        (["Adagrad/accumulator"], "adagrad"),
        (["Ftrl/accum", "Ftrl/linear"], "ftrl"),
        (["Momentum/momentum"], "momentum"),
        (["SGD/momentum"], "keras_momentum"),
        (["RMSProp/rms", "RMSProp/momentum"], "rmsprop_momentum"),
        (["RMSprop/rms"], "rmsprop"),
    ],
)
def test_tfra_rules(names, rule, tmp_path) -> None:
    content = Content(60, 4, slots=len(names))
    prefix = save(tmp_path / "t", tfra_tensors("saver", "emb", content, names, 2))
    harness.succeed("import", prefix, tmp_path / "out", "--from=tfra")
    got = harness.restored(tmp_path / "out", 4, "emb")
    assert got.rule() == rule
    np.testing.assert_array_equal(
        harness.rows_of(got)["slots"], np.concatenate(content.slots, axis=1)
    )


def tfra_files(folder, name: str, content: Content, slots: list[str], key_dtype, value_dtype):
    folder.mkdir()
    columns = [(name, content.values), *zip((f"{name}/{slot}" for slot in slots), content.slots)]
    for full_name, values in columns:
        for shard in range(2):
            for rank in range(2):
                mine = (content.keys % 4) == 2 * shard + rank
                file = f"{full_name}_mht_{shard + 1}of2_rank{rank}_size2".replace("/", "_")
                content.keys[mine].astype(key_dtype).tofile(folder / f"{file}-keys")
                values[mine].astype(value_dtype).tofile(folder / f"{file}-values")


def test_tfra_files(tmp_path) -> None:
    content = Content(300, 4, slots=1)
    folder = tmp_path / "TFRADynamicEmbedding-7"
    tfra_files(folder, "scope/emb", content, ["Adagrad/accumulator"], np.int64, np.float32)
    harness.succeed("import", folder, tmp_path / "out", "--from=tfra")
    got = harness.restored(tmp_path / "out", 4, "scope_emb")
    rows = harness.rows_of(got)
    np.testing.assert_array_equal(rows["keys"], content.keys)
    np.testing.assert_array_equal(rows["values"], content.values)
    np.testing.assert_array_equal(rows["slots"], content.slots[0])
    assert got.rule() == "adagrad"


def test_tfra_files_of_other_dtypes(tmp_path) -> None:
    content = Content(300, 4, slots=0)
    content.keys = np.arange(len(content.keys))
    folder = tmp_path / "files"
    tfra_files(folder, "emb", content, [], np.int32, np.float64)
    args = ["import", folder, tmp_path / "out", "--from=tfra"]
    harness.succeed(*args, "--key_dtype=int32", "--value_dtype=float64")
    rows = harness.rows_of(harness.restored(tmp_path / "out", 4, "emb"))
    np.testing.assert_array_equal(rows["values"], content.values)
    # Files do not say their dtypes; sizes that fit no whole rows are refused.
    (folder / "emb_mht_1of2_rank0_size2-keys").write_bytes(b"1234567")
    assert "--key_dtype" in harness.fail(*args[:2], tmp_path / "no", args[3])
    (folder / "emb_mht_1of2_rank0_size2-values").unlink()
    assert "beside it" in harness.fail(*args[:2], tmp_path / "no", args[3])
