# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""`te.export.stock`: what a process without this package answers, and what is refused."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import tf_embedding as te
from tf_embedding.export import index, pooling, rows

INT64 = st.integers(-(2**63), 2**63 - 1)
EXTREME = [0, -1, 1, 2**63 - 1, -(2**63), 2**62]
RNG = np.random.default_rng(7)
KEYS = np.unique(np.concatenate([EXTREME, RNG.integers(-(2**63), 2**63 - 1, 5000)]))
PROBE = np.concatenate([EXTREME, KEYS[::10], np.arange(-200, 200), RNG.integers(0, 2**62, 500)])
DIM = 5

INITIALIZERS = {
    "constant": 0.25,
    "uniform": "uniform",
    "normal": "normal",
    "truncated_normal": "truncated_normal",
    "matrix": lambda shape, dtype=None: np.linspace(-1, 1, int(np.prod(shape))).reshape(shape),
}


# The index.


@settings(deadline=None, max_examples=40)
@given(keys=st.sets(INT64, max_size=60), others=st.lists(INT64, max_size=20))
def test_the_index_finds_what_a_dict_does(keys: set[int], others: list[int]) -> None:
    array = np.array(sorted(keys), np.int64)
    static = index.StaticIndex(array, "keys")
    oracle = {int(array[at]): number for number, at in enumerate(static.order)}
    assert sorted(oracle.values()) == list(range(len(keys)))
    asked = np.array([*keys, *others, *EXTREME], np.int64)
    found = static.find(tf.constant(asked)).numpy().tolist()
    assert found == [oracle.get(int(key), len(keys)) for key in asked]


def test_keys_that_crowd_one_bucket_are_found() -> None:
    num_buckets = 12  # of 30 keys
    many = np.arange(-5000, 5000)
    crowd = many[index._buckets_of(many, num_buckets) == 3]
    keys, others = crowd[:30], crowd[30:]
    static = index.StaticIndex(keys, "crowd")
    assert static._outside is not None and static._outside.shape[0] == 22
    numbers = static.find(tf.constant(keys)).numpy()
    np.testing.assert_array_equal(keys[static.order][numbers], keys)
    assert (static.find(tf.constant(others)).numpy() == 30).all()


def test_what_the_table_says_of_unknown_keys_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a filter gives them a value of its own, and where it cannot be expressed."""
    table = te.EmbeddingVariable(3, "normal", seed=1, name="filtered")
    table.upsert([1], [[1, 2, 3]])

    class Filtered:
        tf_embedding_export = staticmethod(rows.ops.tf_embedding_export)
        tf_embedding_find = staticmethod(rows.ops.tf_embedding_find)
        answer = np.full([64, 3], 0.5, np.float32)

        @classmethod
        def tf_embedding_lookup(cls, **_: Any) -> tf.Tensor:
            return tf.constant(cls.answer)

    assert rows.read([table.handle], 3).kind == "normal"
    monkeypatch.setattr(rows, "ops", Filtered)
    content = rows.read([table.handle], 3)
    assert (content.kind, content.a) == ("constant", 0.5)
    Filtered.answer = np.arange(192, dtype=np.float32).reshape(64, 3)
    with pytest.raises(NotImplementedError, match="neither what the initializer 'normal' gives"):
        rows.read([table.handle], 3)


# A module of everything, asked in a process that never imports this package.


class Everything(tf.Module):
    """Each way of reading a table, and each thing around it that an export must carry."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = {
            kind: te.EmbeddingVariable(DIM, initializer, seed=-(2**40) - 3, name=kind)
            for kind, initializer in INITIALIZERS.items()
        }
        self.tables["parts"] = te.EmbeddingVariable(DIM, "normal", 3, name="parts", num_parts=3)
        for table in self.tables.values():
            table.upsert(KEYS, RNG.normal(size=(len(KEYS), DIM)).astype(np.float32))
        self.empty = te.EmbeddingVariable(DIM, "uniform", seed=1, name="empty")
        self.scale = tf.Variable(tf.linspace(1.0, 2.0, DIM))
        self.words = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(["a", "b"], tf.constant([0, -1], tf.int64)), 5
        )

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64, name="ids")])
    def lookups(self, ids: tf.Tensor) -> dict[str, tf.Tensor]:
        found = {kind: table.sparse_read(ids) for kind, table in self.tables.items()}
        found["empty"] = self.empty.sparse_read(ids)
        found["matrix_of_ids"] = self.tables["normal"].sparse_read(ids[: len(ids) // 2 * 2, None])
        many = [self.tables["uniform"], self.tables["normal"], self.tables["parts"]]
        found["many"] = tf.concat(te.nn.embedding_lookup_many(many, [ids, ids, ids]), axis=1)
        found["side_by_side"] = te.nn.embedding_lookup_many(many[:2], [ids, ids], concat=True)
        found["size"] = self.tables["parts"].size()
        return found

    @tf.function
    def inner(self, ids: tf.Tensor) -> tf.Tensor:
        return self.tables["uniform"].sparse_read(ids) * self.scale

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.int64, name="ids"),
            tf.TensorSpec([], tf.int32, name="which"),
        ]
    )
    def flow(self, ids: tf.Tensor, which: tf.Tensor) -> dict[str, tf.Tensor]:
        table = self.tables["normal"]
        chosen = tf.cond(
            which > 0,
            lambda: tf.nn.embedding_lookup(self.tables["parts"], ids),
            lambda: self.inner(ids + 1),
        )
        switched = tf.switch_case(
            which,
            [lambda: self.inner(ids), lambda: table.sparse_read(ids), lambda: self.inner(-ids)],
        )
        total = tf.zeros([DIM])
        for i in tf.range(tf.minimum(tf.size(ids), 7)):
            total = total + table.sparse_read(ids[i])
        mapped = tf.map_fn(
            lambda key: self.tables["matrix"].sparse_read(key[None])[0],
            ids[:5],
            fn_output_signature=tf.float32,
        )
        # A function without lookups is copied as it is.
        doubled = tf.map_fn(lambda key: key * 2, ids[:3])
        word = self.words.lookup(tf.constant(["a", "b", "c"]))
        tf.debugging.assert_greater(tf.size(ids), 0)
        return {
            "chosen": chosen,
            "switched": switched,
            "total": total,
            "mapped": mapped,
            "doubled": doubled,
            "words": table.sparse_read(word),
        }

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.int64, name="ids"),
            tf.TensorSpec([None], tf.int64, name="lengths"),
            tf.TensorSpec([None], tf.float32, name="weights"),
            tf.TensorSpec([None, None], tf.string, name="texts"),
        ]
    )
    def pooled(
        self, ids: tf.Tensor, lengths: tf.Tensor, weights: tf.Tensor, texts: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        ragged = tf.RaggedTensor.from_row_lengths(ids, lengths)
        weights = ragged.with_flat_values(weights)
        sparse = tf.sparse.from_dense(texts)
        found = {}
        for kind, combiners in {"uniform": ("sum", "mean", "sqrtn"), "parts": ("mean",)}.items():
            table = self.tables[kind]
            for combiner in combiners:
                name = f"{kind}_{combiner}"
                found[name] = te.nn.embedding_lookup_sparse(table, ragged, None, combiner)
                found[f"{name}_weights"] = te.nn.embedding_lookup_sparse(
                    table, ragged, weights, combiner
                )
                found[f"{name}_norm"] = te.nn.embedding_lookup_sparse(
                    table, ragged, weights, combiner, max_norm=1.5
                )
        found["safe"] = te.nn.safe_embedding_lookup_sparse(
            self.tables["matrix"], sparse, combiner="mean", default_id=1
        )
        return found


def requests() -> list[tuple[str, dict[str, np.ndarray]]]:
    lengths = np.array([0, 3, 0, 1, 200, len(PROBE) - 204, 0])
    weights = RNG.uniform(-0.5, 2, len(PROBE)).astype(np.float32)
    weights[0:3] = [1, -1, 0]  # a bag whose weights sum to zero
    texts = np.array([["x", "", "y"], ["", "", ""], ["z", "z", "z"]], object)
    bags = {"ids": PROBE, "lengths": lengths, "weights": weights, "texts": texts}
    none = {name: value[:0] for name, value in bags.items()}
    return [
        ("lookups", {"ids": PROBE}),
        ("lookups", {"ids": KEYS[:300]}),  # all known
        ("lookups", {"ids": PROBE[:0]}),
        *(("flow", {"ids": PROBE[:50], "which": np.int32(which)}) for which in (0, 1)),
        ("pooled", bags),
        ("pooled", none),
    ]


ASKER = """
import json, pickle, sys
import numpy as np, tensorflow as tf
models, requests, answers = sys.argv[1:]
with open(requests, "rb") as file:
    requests = pickle.load(file)
given = {}
for name, directory in json.loads(models).items():
    loaded = tf.saved_model.load(directory)
    given[name] = [
        {k: v.numpy() for k, v in loaded.signatures[signature](
            **{k: tf.constant(v) for k, v in inputs.items()}).items()}
        for signature, inputs in requests if signature in loaded.signatures
    ]
assert not [name for name in sys.modules if name.startswith("tf_embedding")]
with open(answers, "wb") as file:
    pickle.dump(given, file)
"""


def ask(models: dict[str, str], questions: Any, folder: Path) -> dict[str, list[Any]]:
    """The answers of exported models, in a process that has TensorFlow alone."""
    files = [str(folder / "requests"), str(folder / "answers")]
    Path(files[0]).write_bytes(pickle.dumps(questions))
    subprocess.run([sys.executable, "-c", ASKER, json.dumps(models), *files], check=True)
    answers: dict[str, list[Any]] = pickle.loads(Path(files[1]).read_bytes())
    return answers


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("export")
    module = Everything()
    questions = requests()
    want = [getattr(module, name)(*map(tf.constant, inputs.values())) for name, inputs in questions]
    models = {}
    for dtype in rows.ROW_DTYPES:
        models[dtype] = str(folder / dtype)
        # All of it once; what the dtype of rows is for, in each.
        only = None if dtype == "float32" else {"lookups": module.lookups}
        te.export.stock(module, models[dtype], only, rows=dtype)
    native = str(folder / "native")
    names = ("lookups", "flow")
    tf.saved_model.save(module, native, {name: getattr(module, name) for name in names})
    models["of a SavedModel"] = str(folder / "again")
    te.export.stock(native, models["of a SavedModel"])
    return {
        "module": module,
        "models": models,
        "questions": questions,
        "want": [{k: v.numpy() for k, v in answer.items()} for answer in want],
        "got": ask(models, questions, folder),
    }


@pytest.mark.parametrize("model", ["float32", "of a SavedModel"])
def test_answers_are_those_of_the_model(model: str, everything: dict[str, Any]) -> None:
    for (name, _), want, got in zip(
        everything["questions"], everything["want"], everything["got"][model]
    ):
        assert sorted(want) == sorted(got)
        for output, value in want.items():
            scale = max(1.0, np.abs(value).max(initial=0))
            np.testing.assert_allclose(
                got[output], value, rtol=0, atol=1e-6 * scale, err_msg=f"{name} {output}"
            )


def test_vectors_are_bit_for_bit_those_of_the_table(everything: dict[str, Any]) -> None:
    """Random vectors of unknown keys too: the logarithm of this TensorFlow agrees."""
    for want, got in zip(everything["want"][:3], everything["got"]["float32"][:3]):
        for output in ("constant", "uniform", "matrix", "empty", "size"):
            np.testing.assert_array_equal(got[output], want[output], err_msg=output)


def test_errors_of_quantised_rows_are_as_stated(everything: dict[str, Any]) -> None:
    known = np.isin(PROBE, KEYS)
    for kind in (*INITIALIZERS, "parts"):
        want = everything["want"][0][kind]
        halves, bytes_ = (everything["got"][dtype][0][kind] for dtype in ("float16", "int8"))
        assert (np.abs(halves - want) <= np.maximum(np.abs(want) / 2048, 2.0**-25)).all()
        bound = np.abs(want).max(axis=1, keepdims=True) / 253
        assert (np.abs(bytes_ - want) <= bound).all()
        # It is a bound, not a wish: some row comes near, and something is quantised.
        assert (np.abs(bytes_ - want) / bound)[known].max() > 0.8
        assert np.abs(halves - want)[known].max() > 0
        if kind in ("uniform", "normal", "truncated_normal"):
            # Computed, not stored.
            np.testing.assert_allclose(bytes_[~known], want[~known], rtol=0, atol=1e-6)


def test_rows_are_stored_in_their_dtype(everything: dict[str, Any]) -> None:
    for dtype in rows.ROW_DTYPES:
        prefix = everything["models"][dtype] + "/variables/variables"
        dtypes = tf.train.load_checkpoint(prefix).get_variable_to_dtype_map()
        stored = [dtypes[name] for name in dtypes if "_rows/" in name]
        assert len(stored) == 7 and set(stored) == {tf.as_dtype(dtype)}


def test_nothing_of_the_package_is_in_the_file(everything: dict[str, Any]) -> None:
    for directory in everything["models"].values():
        assert b"TfEmbedding" not in Path(directory, "saved_model.pb").read_bytes()
        # Rows are variables: a graph cannot be larger than 2 GB.
        assert os.path.getsize(os.path.join(directory, "saved_model.pb")) < 3 << 20


def test_the_model_is_as_it_was(everything: dict[str, Any]) -> None:
    module = everything["module"]
    assert int(module.tables["uniform"].size()) == len(KEYS)
    again = module.lookups(tf.constant(PROBE))
    for output, value in everything["want"][0].items():
        np.testing.assert_array_equal(again[output], value)


def test_functions_keep_their_names_and_structure(everything: dict[str, Any]) -> None:
    loaded = tf.saved_model.load(everything["models"]["float32"])
    assert sorted(loaded.signatures) == ["flow", "lookups", "pooled"]
    found = loaded.lookups(tf.constant(PROBE))
    np.testing.assert_array_equal(found["uniform"], everything["want"][0]["uniform"])


def lookup_of(table: Any, **attributes: Any) -> Any:
    module = tf.Module()
    module.table = table
    for name, value in attributes.items():
        setattr(module, name, value)
    module.lookup = tf.function(table.sparse_read, [tf.TensorSpec([None], tf.int64, name="ids")])
    return module


def test_one_function_is_the_default(tmp_path: Path) -> None:
    table = te.EmbeddingVariable(2, "ones", name="one")
    te.export.stock(lookup_of(table), tmp_path)
    loaded = tf.saved_model.load(str(tmp_path))
    served = loaded.signatures["serving_default"]
    assert served(ids=tf.constant([3], tf.int64))["output_0"].numpy().tolist() == [[1, 1]]


def test_given_signatures_are_what_is_exported(tmp_path: Path) -> None:
    table = te.EmbeddingVariable(2, "ones", name="given")
    module = lookup_of(table)
    double = tf.function(
        lambda ids: {"twice": 2 * table.sparse_read(ids)}, [tf.TensorSpec([None], tf.int64)]
    )
    te.export.stock(module, tmp_path, signatures={"double": double.get_concrete_function()})
    loaded = tf.saved_model.load(str(tmp_path))
    assert list(loaded.signatures) == ["double"] and not hasattr(loaded, "lookup")
    (key,) = loaded.signatures["double"].structured_input_signature[1]
    found = loaded.signatures["double"](**{key: tf.constant([1], tf.int64)})
    assert found["twice"].numpy().tolist() == [[2, 2]]


def test_int8_of_zeros_and_tiny_rows(tmp_path: Path) -> None:
    table = te.EmbeddingVariable(3, "zeros", name="tiny")
    values = np.array([[0, 0, 0], [2e-36, -1e-36, 0], [3e38, -1e38, 1]], np.float32)
    table.upsert([1, 2, 3], values)
    table.upsert([4], [[1e-37, 0, 0]])
    te.export.stock(lookup_of(table), tmp_path, rows="int8")
    loaded = tf.saved_model.load(str(tmp_path))
    got = loaded.lookup(tf.constant([1, 2, 3, 4], tf.int64)).numpy()
    assert (got[[0, 3]] == 0).all()
    assert (np.abs(got[:3] - values) <= np.abs(values).max(1, keepdims=True) / 253).all()


# Graphs of v1.


@pytest.mark.parametrize("parts", [1, 2])
def test_a_saved_model_of_a_session(parts: int, tmp_path: Path) -> None:
    v1 = tf.compat.v1
    native, exported = str(tmp_path / "native"), str(tmp_path / "stock")
    asked = [1, 2, 3, -7]
    with tf.Graph().as_default(), v1.Session() as run:
        partitioner = v1.fixed_size_partitioner(parts) if parts > 1 else None
        var = te.get_embedding_variable("v", embedding_dim=4, partitioner=partitioner)
        ids = v1.placeholder(tf.int64, [None])
        scale = v1.get_variable("scale", initializer=tf.fill([4], 3.0))
        found = tf.nn.embedding_lookup(var, ids) * scale

        def more() -> tf.Tensor:
            return found + tf.nn.embedding_lookup(var, -ids)

        out = v1.cond(tf.size(ids) > 2, more, lambda: found)
        run.run(v1.global_variables_initializer())
        run.run(var.upsert(tf.constant([1, 2], tf.int64), tf.ones([2, 4])))
        want = [run.run(out, {ids: some}) for some in (asked, asked[1:3])]
        v1.saved_model.simple_save(run, native, {"ids": ids}, {"out": out})
    te.export.stock(native, exported)
    questions = [("serving_default", {"ids": np.array(some)}) for some in (asked, asked[1:3])]
    got = ask({"v1": exported}, questions, tmp_path)["v1"]
    for mine, its in zip(want, got):
        np.testing.assert_allclose(its["out"], mine, rtol=1e-6)


def test_a_table_that_a_v1_graph_names_is_refused(tmp_path: Path) -> None:
    v1 = tf.compat.v1
    native = str(tmp_path / "native")
    with tf.Graph().as_default(), v1.Session() as run:
        var = te.get_embedding_variable("v", embedding_dim=4)
        words = v1.placeholder(tf.string, [None])
        table = tf.lookup.StaticHashTable(
            tf.lookup.KeyValueTensorInitializer(["a"], tf.constant([1], tf.int64)), -1
        )
        out = tf.nn.embedding_lookup(var, table.lookup(words))
        run.run([v1.global_variables_initializer(), v1.tables_initializer()])
        v1.saved_model.simple_save(
            run, native, {"words": words}, {"out": out}, legacy_init_op=v1.tables_initializer()
        )
    with pytest.raises(NotImplementedError, match="HashTableV2, a resource that the graph makes"):
        te.export.stock(native, str(tmp_path / "stock"))
    assert not (tmp_path / "stock").exists()


# Refusals.


def function_of(body: Any) -> Any:
    return tf.function(body, [tf.TensorSpec([None], tf.int64)])


@pytest.fixture(scope="module")
def table() -> Any:
    variable = te.EmbeddingVariable(2, "ones", name="refused")
    variable.upsert([1, 2], [[1, 2], [3, 4]])
    return variable


def test_what_changes_a_table_is_refused(table: Any, tmp_path: Path) -> None:
    def train(ids: tf.Tensor) -> tf.Tensor:
        table.upsert(ids, tf.ones([tf.size(ids), 2]))
        return table.sparse_read(ids)

    with pytest.raises(NotImplementedError, match="TfEmbedding>Upsert.*leave out of the function"):
        te.export.stock(lookup_of(table), tmp_path / "m", signatures=function_of(train))
    assert not (tmp_path / "m").exists()


def test_what_lists_a_table_is_refused(table: Any, tmp_path: Path) -> None:
    frequency = function_of(table.frequency)
    with pytest.raises(NotImplementedError, match="TfEmbedding>Find"):
        te.export.stock(lookup_of(table), tmp_path / "m", signatures=frequency)


def test_a_lookup_in_a_data_set_is_refused(table: Any, tmp_path: Path) -> None:
    def through_data(ids: tf.Tensor) -> tf.Tensor:
        vectors = tf.data.Dataset.from_tensor_slices(ids).map(table.sparse_read)
        return vectors.reduce(tf.zeros([2]), lambda a, b: a + b)

    with pytest.raises(NotImplementedError, match="is a MapDataset whose function.*move this one"):
        te.export.stock(lookup_of(table), tmp_path / "m", signatures=function_of(through_data))


def test_bad_arguments(table: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "m")
    module = lookup_of(table)
    with pytest.raises(ValueError, match="rows is 'int4'; use one of 'float32', 'float16', 'int8'"):
        te.export.stock(module, path, rows="int4")
    with pytest.raises(ValueError, match="signatures are for a model"):
        te.export.stock(path, path, signatures=module.lookup)
    with pytest.raises(ValueError, match="Module without a function to export; pass signatures="):
        te.export.stock(tf.Module(), path)
    with pytest.raises(ValueError, match="'serving_default' is .* input_signature"):
        te.export.stock(module, path, signatures=tf.function(table.sparse_read))
    with tf.Graph().as_default(), pytest.raises(RuntimeError, match="runs in eager mode"):
        te.export.stock(module, path)
    assert not os.path.exists(path)


@pytest.mark.parametrize(
    "dtype, value, message",
    [
        ("float16", 70000.0, "'float16', but table 'large_.*' has a value of 70000"),
        ("int8", np.inf, "'int8', but table 'large_.*' has values that are not finite"),
    ],
)
def test_values_that_do_not_fit(dtype: str, value: float, message: str, tmp_path: Path) -> None:
    variable = te.EmbeddingVariable(1, "zeros", name="large")
    variable.upsert([5], [[value]])
    with pytest.raises(ValueError, match=message):
        te.export.stock(lookup_of(variable), tmp_path / "m", rows=dtype)
    assert not (tmp_path / "m").exists()


def test_a_variable_that_is_not_tracked_is_refused(table: Any, tmp_path: Path) -> None:
    words = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(["a"], tf.constant([1], tf.int64)), -1
    )
    lookup = tf.function(
        lambda texts: table.sparse_read(words.lookup(texts)), [tf.TensorSpec([None], tf.string)]
    )
    with pytest.raises(ValueError, match="the model does not track"):
        te.export.stock(lookup_of(table), tmp_path / "m", signatures=lookup)


def test_bad_bags_are_an_error_when_served() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="row ids are not sorted"):
        pooling.row_splits(tf.constant([1, 0], tf.int64), tf.constant(2, tf.int64))
    with pytest.raises(tf.errors.InvalidArgumentError, match="row_splits must begin with 0"):
        pooling.pool(tf.ones([2, 1]), tf.constant([0, 1], tf.int64), tf.zeros([0]), "sum", 0.0)
