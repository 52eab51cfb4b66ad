# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Export and import of files, against numpy, pyarrow, csv and readers written here."""

from __future__ import annotations

import csv
import struct

import numpy as np
import pytest
import tensorflow as tf
import tools_harness as harness

import tf_embedding as te

WORDS = ["cat", "dog", "naïve", "a-b_c", "the", "0", "-7", "x" * 300]
VECTORS = np.random.default_rng(0).normal(size=[len(WORDS), 5]).astype(np.float32)


def farm_hash_collision() -> tuple[bytes, bytes]:
    """Two words of 32 bytes of the same FarmHash Fingerprint64.

    Of such a word the hash is a function of u = rot(a + b, 43) + rot(c, 30) + d and
    v = a + rot(b + k2, 18) + c, where a, b, c, d are its words of 8 bytes times odd
    numbers: for another b there are a and d that leave u and v.
    """
    mask, k1, k2 = 2**64 - 1, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F

    def rot(x: int, n: int) -> int:
        return (x >> n | x << (64 - n)) & mask

    first = b"abcdefghijklmnopqrstuvwxyz012345"
    s = struct.unpack("<4Q", first)
    a, b, c, d = s[0] * k1 & mask, s[1], s[3] * (k2 + 64) & mask, s[2] * k2 & mask
    u = (rot(a + b & mask, 43) + rot(c, 30) + d) & mask
    v = (a + rot(b + k2 & mask, 18) + c) & mask
    random = np.random.default_rng(0)
    while True:
        b = int(random.integers(0, 2**63))
        a = (v - rot(b + k2 & mask, 18) - c) & mask
        d = (u - rot(a + b & mask, 43) - rot(c, 30)) & mask
        words = a * pow(k1, -1, 2**64), b, d * pow(k2, -1, 2**64), s[3]
        second = struct.pack("<4Q", *(word & mask for word in words))
        if not set(second) & set(b" \t\r\n\0"):
            return first, second


def keys_of(words) -> np.ndarray:
    return te.hashing.hash_strings(words).numpy()


def write_file(path, kind: str, words=WORDS, vectors=VECTORS) -> str:
    """A file of a format, written without the package."""
    encoded = [word if isinstance(word, bytes) else word.encode() for word in words]
    if kind == "npz":
        np.savez(path, keys=np.array(encoded), values=vectors)
    elif kind == "parquet":
        arrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        columns = {"key": encoded, "vector": [row.tolist() for row in vectors]}
        parquet.write_table(arrow.table(columns), path)
    elif kind == "word2vec-binary":
        with open(path, "wb") as file:
            file.write(b"%d %d\n" % vectors.shape)
            for word, row in zip(encoded, vectors):
                file.write(word + b" " + row.tobytes() + b"\n")
    else:
        with open(path, "wb") as file:
            if kind == "word2vec":
                file.write(b"%d %d\n" % vectors.shape)
            for word, row in zip(encoded, vectors):
                file.write(word + b" " + " ".join(map(repr, row.tolist())).encode() + b"\n")
    return str(path)


KINDS = ["npz", "parquet", "word2vec", "word2vec-binary", "glove"]
SUFFIX = {"npz": ".npz", "parquet": ".parquet"}


@pytest.mark.parametrize("kind", KINDS)
def test_import(kind, tmp_path) -> None:
    path = write_file(tmp_path / ("file" + SUFFIX.get(kind, "")), kind)
    out = tmp_path / "out"
    harness.succeed(
        "import", path, out, f"--from={kind}", "--name=net/words", "--initializer=ones"
    )
    assert te.checkpoint.verify(out) == {"net/words/table/.ATTRIBUTES/-blocks": len(WORDS)}
    root = tf.Module()
    root.words = te.EmbeddingVariable(5, name="words")
    tf.train.Checkpoint(net=root).read(str(out)).assert_existing_objects_matched()
    np.testing.assert_array_equal(root.words.sparse_read(keys_of(WORDS)), VECTORS)
    np.testing.assert_array_equal(root.words.sparse_read([5]), np.ones([1, 5]))
    assert root.words.rule() == ""
    loaded = te.EmbeddingVariable(5, name="loaded")
    assert te.io.load_pretrained(loaded, path, format=kind, step=3) == len(WORDS)
    np.testing.assert_array_equal(loaded.sparse_read(keys_of(WORDS)), VECTORS)
    assert set(loaded.version(keys_of(WORDS)).numpy()) == {3}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_wrong_with_a_file_is_named(kind, tmp_path) -> None:
    suffix = SUFFIX.get(kind, "")
    ev = te.EmbeddingVariable(5, name="untouched")

    def refused(name: str, *flags: str, **content) -> str:
        path = write_file(tmp_path / (name + suffix), kind, **content)
        said = harness.fail("import", path, tmp_path / "out", f"--from={kind}", *flags)
        assert path in said
        if not flags:
            with pytest.raises(ValueError, match="same|finite|dim"):
                te.io.load_pretrained(ev, path, format=kind)
        return said

    again = refused("again", words=[*WORDS[:-1], "dog"])
    assert "'dog'" in again and "same key" in again and "--duplicates" in again
    one, other = farm_hash_collision()
    assert keys_of([one]) == keys_of([other]) and one != other
    # Whatever is to be done with duplicates, other words are none.
    collision = refused("collision", words=[*WORDS[:-2], one, other])
    assert "same hash" in collision and "abcdefgh" in collision
    refused("last", "--duplicates=last", words=[*WORDS[:-2], one, other])
    assert "finite" in refused("inf", vectors=np.where(VECTORS == VECTORS[3, 2], np.inf, VECTORS))
    if kind != "glove":  # Which does not say where a word ends.
        assert "dim 5, and dim 4" in refused("dim", "--dim=4")
        assert "dim 4, and dim 5" in refused("dim4", "--dim=5", vectors=VECTORS[:, :4])
    assert not list(tmp_path.glob("out*")) and int(ev.size()) == 0
    path = write_file(tmp_path / ("first" + suffix), kind, words=[*WORDS[:-1], "dog"])
    for policy, place in (("first", 1), ("last", len(WORDS) - 1)):
        harness.succeed(
            "import", path, tmp_path / policy, f"--from={kind}", f"--duplicates={policy}"
        )
        loaded = te.EmbeddingVariable(5, name="loaded")
        assert te.io.load_pretrained(loaded, path, kind, duplicates=policy) == len(WORDS) - 1
        for got in (harness.restored(tmp_path / policy, 5), loaded):
            np.testing.assert_array_equal(got.sparse_read(keys_of(["dog"]))[0], VECTORS[place])


@pytest.mark.parametrize("kind", KINDS)
def test_files_that_are_cut_short(kind, tmp_path) -> None:
    path = write_file(tmp_path / ("whole" + SUFFIX.get(kind, "")), kind)
    with open(path, "rb") as file:
        whole = file.read()
    sizes = [0, 3, len(whole) // 2, len(whole) - 7]
    if kind in ("word2vec", "glove"):
        # A number that is cut in two is one still: behind a blank.
        sizes = [0, 3, whole.rindex(b" ") + 1, whole.rindex(b" ", 0, len(whole) // 2)]
    for size in sizes:
        with open(path, "wb") as file:
            file.write(whole[:size])
        assert path in harness.fail("import", path, tmp_path / "out", f"--from={kind}")
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("kind", ["word2vec", "word2vec-binary", "glove"])
def test_integer_words(kind, tmp_path) -> None:
    keys = [5, -7, 2**63 - 1]
    path = write_file(tmp_path / "f", kind, words=[str(key) for key in keys], vectors=VECTORS[:3])
    harness.succeed("import", path, tmp_path / "out", f"--from={kind}", "--keys=integers")
    got = harness.restored(tmp_path / "out", 5)
    np.testing.assert_array_equal(got.sparse_read(np.array(keys)), VECTORS[:3])
    path = write_file(tmp_path / "g", kind)
    assert "integer" in harness.fail(
        "import", path, tmp_path / "no", f"--from={kind}", "--keys=integers"
    )


def test_glove_words_with_blanks(tmp_path) -> None:
    words = [". . .", "at name@domain.com", "x"]
    path = write_file(tmp_path / "glove.txt", "glove", words, VECTORS[:3])
    harness.succeed("import", path, tmp_path / "out", "--from=glove", "--dim=5")
    got = harness.restored(tmp_path / "out", 5)
    np.testing.assert_array_equal(got.sparse_read(keys_of(words)), VECTORS[:3])
    # Without the dim the first line says how many values there are.
    assert "--dim" in harness.fail("import", path, tmp_path / "no", "--from=glove")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A trained variable, its rows and its checkpoint."""
    variable = harness.trained("users", rows=3000, dim=8, num_parts=2)
    prefix = harness.write(tmp_path_factory.mktemp("trained") / "ckpt", users=variable)
    return variable, harness.rows_of(variable), prefix


@pytest.mark.parametrize("kind", ["npz", "parquet"])
def test_round_trip_with_slots(kind, trained, tmp_path) -> None:
    variable, want, prefix = trained
    path, out = tmp_path / f"rows.{kind}", tmp_path / "out"
    harness.succeed("export", prefix, path)
    harness.succeed("import", path, out)
    got = harness.restored(out, 8)
    harness.assert_same_rows(harness.rows_of(got), want)
    assert got.rule() == "adam"
    # It goes on as the first does.
    other = te.EmbeddingVariable(8, name="other")
    other.load_state(variable.state())
    gradient = tf.IndexedSlices(tf.ones([2, 8]), tf.constant([0, -1], tf.int64))
    for each in (got, other):
        te.rules.apply(each, gradient, te.rules.Adam(), 0.1, 11)
    np.testing.assert_array_equal(got.sparse_read([0, -1]), other.sparse_read([0, -1]))


def test_export_npz_and_parquet(trained, tmp_path) -> None:
    _, want, prefix = trained
    harness.succeed("export", prefix, tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as a:
        order = np.argsort(a["keys"])
        got = {field: a[field][order] for field in want}
        assert str(a["rule"]) == "adam" and a["initial_slots"].tolist() == [0, 0]
    harness.assert_same_rows(got, want)
    harness.succeed("export", prefix, tmp_path / "b.npz", "--noslots")
    with np.load(tmp_path / "b.npz") as b:
        assert set(b) == {"keys", "values", "frequency", "version"}
    parquet = pytest.importorskip("pyarrow.parquet")
    harness.succeed("export", prefix, tmp_path / "a.parquet")
    frame = parquet.read_table(tmp_path / "a.parquet").to_pydict()
    order = np.argsort(frame["key"])
    np.testing.assert_array_equal(np.array(frame["key"])[order], want["keys"])
    np.testing.assert_array_equal(np.float32(frame["vector"])[order], want["values"])
    np.testing.assert_array_equal(np.float32(frame["slots"])[order], want["slots"])
    np.testing.assert_array_equal(np.array(frame["frequency"])[order], want["frequency"])


def test_export_text(trained, tmp_path) -> None:
    _, want, prefix = trained
    harness.succeed("export", prefix, tmp_path / "a.csv")
    with open(tmp_path / "a.csv", newline="") as file:
        lines = list(csv.reader(file))
    assert lines[0] == ["key", "frequency", "version", *(f"v{i}" for i in range(8))]
    lines = sorted(lines[1:], key=lambda line: int(line[0]))
    assert [int(line[0]) for line in lines] == want["keys"].tolist()
    assert [int(line[2]) for line in lines] == want["version"].tolist()
    # Every bit of a float32 survives.
    np.testing.assert_array_equal(np.float32([line[3:] for line in lines]), want["values"])
    harness.succeed("export", prefix, tmp_path / "a.txt")
    harness.succeed(
        "import", tmp_path / "a.txt", tmp_path / "out", "--from=word2vec", "--keys=integers"
    )
    got = harness.rows_of(harness.restored(tmp_path / "out", 8))
    np.testing.assert_array_equal(got["keys"], want["keys"])
    np.testing.assert_array_equal(got["values"], want["values"])
    assert "exists" in harness.fail("export", prefix, tmp_path / "a.txt")
    assert "--to" in harness.fail("export", prefix, tmp_path / "a.unknown")


def test_projector_and_words(tmp_path) -> None:
    ev = te.EmbeddingVariable(5, name="words")
    slices = tf.IndexedSlices(tf.constant(VECTORS), tf.constant(keys_of(WORDS)))
    counts = tf.range(1, len(WORDS) + 1, dtype=tf.int64)
    te.rules.apply(ev, slices, te.rules.SGD(), 1.0, 0, counts=counts)
    prefix = harness.write(tmp_path / "c", words=ev)
    (tmp_path / "words.txt").write_text("\n".join(["unseen", *WORDS[1:]]) + "\n")
    flags = [f"--words={tmp_path}/words.txt", "--limit=3"]
    harness.succeed("export", prefix, tmp_path / "p", "--to=projector", *flags)
    metadata = [line.split("\t") for line in (tmp_path / "p/metadata.tsv").read_text().splitlines()]
    assert metadata[0] == ["word", "key", "frequency", "version"]
    assert [line[0] for line in metadata[1:]] == WORDS[:-4:-1]
    assert [int(line[2]) for line in metadata[1:]] == [8, 7, 6]
    np.testing.assert_array_equal(
        np.loadtxt(tmp_path / "p/vectors.tsv", np.float32, delimiter="\t"),
        ev.sparse_read(keys_of(WORDS[:-4:-1])),
    )
    projector = pytest.importorskip("tensorboard.plugins.projector")
    from google.protobuf import text_format

    config = projector.ProjectorConfig()
    text_format.Parse((tmp_path / "p/projector_config.pbtxt").read_text(), config)
    assert config.embeddings[0].metadata_path == "metadata.tsv"
    harness.succeed("export", prefix, tmp_path / "w.txt", flags[0])
    lines = (tmp_path / "w.txt").read_text().splitlines()
    assert lines[0] == "8 5"
    names = {line.rsplit(" ", 5)[0] for line in lines[1:]}
    assert names == {*WORDS[1:], str(keys_of(["cat"])[0])}
    harness.succeed("export", prefix, tmp_path / "w.npz", flags[0])
    with np.load(tmp_path / "w.npz") as arrays:
        assert set(arrays["words"].tolist()) == names


def test_the_saver_layout(tmp_path) -> None:
    path = write_file(tmp_path / "f.npz", "npz")
    harness.succeed("import", path, tmp_path / "out", "--layout=saver", "--name=scope/words")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        variable = te.get_embedding_variable("scope/words", 5)
        tf.compat.v1.train.Saver([variable]).restore(session, str(tmp_path / "out"))
        keys = session.run(te.hashing.hash_strings(WORDS))
        np.testing.assert_array_equal(session.run(variable.sparse_read(keys)), VECTORS)


def test_many_temporary_files(tmp_path, monkeypatch) -> None:
    from tf_embedding.tools import writing

    monkeypatch.setattr(writing, "FILE_BYTES", 1 << 13)
    monkeypatch.setattr(writing, "WAITING_BYTES", 1 << 14)
    keys = np.random.default_rng(1).permutation(20_000)
    vectors = np.stack([keys, -keys], axis=1).astype(np.float32)
    np.savez(tmp_path / "f.npz", keys=keys, values=vectors)
    (tmp_path / "tmp").mkdir()
    harness.succeed("import", tmp_path / "f.npz", tmp_path / "out", f"--tmp={tmp_path}/tmp")
    assert list((tmp_path / "tmp").iterdir()) == []
    got = harness.rows_of(harness.restored(tmp_path / "out", 2))
    np.testing.assert_array_equal(got["keys"], np.arange(20_000))
    np.testing.assert_array_equal(got["values"][:, 1], -np.arange(20_000))
    assert "--tmp" in harness.fail("import", tmp_path / "f.npz", tmp_path / "no", "--tmp=/nowhere")


def test_nothing_is_left_of_an_export_that_fails(trained, tmp_path) -> None:
    prefix = harness.write(tmp_path / "c", users=trained[0])
    data = tmp_path / "c.data-00000-of-00002"
    whole = bytearray(data.read_bytes())
    whole[len(whole) // 2] ^= 1
    data.write_bytes(whole)
    for name in ("a.npz", "a.parquet", "a.csv", "a.txt"):
        assert "checksum" in harness.fail("export", prefix, tmp_path / name)
    assert "checksum" in harness.fail("export", prefix, tmp_path / "p", "--to=projector")
    assert "checksum" in harness.fail("strip", prefix, tmp_path / "s", "--slots")
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["c.data-00000-of-00002", "c.data-00001-of-00002", "c.index"]


def test_extras_are_named(trained, tmp_path, monkeypatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    assert "tf-embedding[tools]" in harness.fail("export", trained[2], tmp_path / "a.parquet")
    assert not list(tmp_path.iterdir())


def test_load_pretrained_refuses(tmp_path) -> None:
    path = write_file(tmp_path / "f.npz", "npz")
    trainable = te.EmbeddingVariable(5, name="trainable")
    with pytest.raises(ValueError, match="trainable=False"):
        te.io.load_pretrained(trainable, path, frozen=True)
    with pytest.raises(ValueError, match="duplicates is 'some'"):
        te.io.load_pretrained(trainable, path, duplicates="some")
    with pytest.raises(ValueError, match="dim 5, and dim 4"):
        te.io.load_pretrained(te.EmbeddingVariable(4, name="narrow"), path)
    with pytest.raises(ValueError, match="EmbeddingVariable"):
        te.io.load_pretrained(tf.Variable([1.0]), path)
    with tf.Graph().as_default(), pytest.raises(RuntimeError, match="--layout=saver"):
        te.io.load_pretrained(te.EmbeddingVariable(5, name="graph"), path)
    assert int(trainable.size()) == 0


def test_frozen_rows_stay_and_trainable_ones_move(tmp_path) -> None:
    path = write_file(tmp_path / "f.npz", "npz")
    layers = {}
    inputs = tf.keras.Input((), dtype="string")
    for name, frozen in (("frozen", True), ("tuned", False)):
        layers[name] = te.layers.Embedding(5, name=name, trainable=not frozen)
    outputs = tf.keras.layers.Dense(1)(layers["frozen"](inputs) + layers["tuned"](inputs))
    model = tf.keras.Model(inputs, outputs)
    for name, layer in layers.items():
        te.io.load_pretrained(layer, path, frozen=name == "frozen")
    with pytest.raises(ValueError, match="'tuned' would be trained"):
        te.io.load_pretrained(layers["tuned"], path, frozen=True)
    model.compile(te.optimizers.SGD(0.5), "mse")
    model.fit(tf.constant(WORDS[:4]), np.ones(4), epochs=2, verbose=0)
    keys = keys_of(WORDS)
    np.testing.assert_array_equal(layers["frozen"].variable.sparse_read(keys), VECTORS)
    tuned = layers["tuned"].variable.sparse_read(keys).numpy()
    assert (tuned[:4] != VECTORS[:4]).any(axis=1).all()
    np.testing.assert_array_equal(tuned[4:], VECTORS[4:])
