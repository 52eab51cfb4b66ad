# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Every rule against an independent oracle, step by step, on a changing id set.

The oracle is TensorFlow's own sparse kernel on a dense variable where there is
one, else the formula in float64 numpy. The dense variable starts with the very
initial rows of the embedding variable. Gradients are sums over duplicates, which
the sparse kernels get ready-made.
"""

from __future__ import annotations

import dataclasses
import functools
import subprocess
import sys
from typing import Any, Callable

import numpy as np
import pytest
import tensorflow as tf
from tests_support import ALL_RULES

import tf_embedding as te

VOCABULARY, BATCH, STEPS = 200, 64, 120


@functools.lru_cache(maxsize=None)
def batches(dim: int):
    """For each step: ids out of a window that moves on, gradients, and their sums.

    The sums are over equal ids, in position order: (distinct ids, sums).
    """
    rng = np.random.default_rng(0)
    result = []
    for step in range(STEPS):
        low = step % (VOCABULARY // 2)
        ids = (low + rng.integers(0, VOCABULARY // 2, BATCH)).astype(np.int64)
        ids[:5] = ids[0]
        gradients = rng.normal(size=(BATCH, dim)).astype(np.float32)
        unique = list(dict.fromkeys(ids.tolist()))
        sums = np.zeros([len(unique), dim], np.float32)
        for i, g in zip(ids, gradients):
            sums[unique.index(i)] += g
        result.append((ids, gradients, np.array(unique), sums))
    return result


def learning_rate(step: int) -> np.float32:
    return np.float32(0.05 / (1 + 0.01 * step))


def train(rule: te.rules.Rule, dim: int, steps: int = STEPS) -> te.EmbeddingVariable:
    ev = te.EmbeddingVariable(dim, initializer="normal", seed=3, name="oracle_check")
    for step, (ids, gradients, _, _) in enumerate(batches(dim)[:steps]):
        slices = tf.IndexedSlices(tf.constant(gradients), tf.constant(ids))
        te.rules.apply(ev, slices, rule, learning_rate(step), step)
    return ev


def initial_rows(dim: int) -> np.ndarray:
    ev = te.EmbeddingVariable(dim, initializer="normal", seed=3, name="oracle_check")
    return ev.sparse_read(np.arange(VOCABULARY)).numpy()


def assert_rows(ev: te.EmbeddingVariable, want: np.ndarray, start: np.ndarray) -> None:
    """Equal to 1e-6 of the rows' scale; and they moved."""
    got = ev.sparse_read(np.arange(VOCABULARY)).numpy()
    scale = np.abs(want).max()
    np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6 * scale)
    assert np.abs(want - start).max() > 1e-2
    assert int(ev.size()) == np.any(want != start, axis=1).sum()


def kernel(op: str, slots: dict[str, float], **hyper: Any) -> tuple[list[float], Any]:
    """A sparse kernel of TensorFlow, and what its slots start with.

    It is called with the variables [w, slots...], the learning rate, the summed
    gradients and their ids.
    """

    def update(variables, lr, gradients, ids):
        handles = {name: v.handle for name, v in zip(["var", *slots], variables)}
        getattr(tf.raw_ops, op)(**handles, lr=lr, grad=gradients, indices=ids, **hyper)

    return list(slots.values()), update


def scatter_sub(variables, lr, gradients, ids) -> None:
    tf.raw_ops.ResourceScatterSub(
        resource=variables[0].handle, indices=ids, updates=lr * gradients
    )


MOMENTUM, KERAS = "ResourceSparseApplyMomentum", "ResourceSparseApplyKerasMomentum"
RMSPROP, FTRL = "ResourceSparseApplyRMSProp", "ResourceSparseApplyFtrlV2"
KERNELS: dict[str, tuple[te.rules.Rule, tuple[list[float], Any]]] = {
    "sgd": (te.rules.SGD(), ([], scatter_sub)),
    "momentum": (te.rules.Momentum(0.9), kernel(MOMENTUM, {"accum": 0.0}, momentum=0.9)),
    "nesterov": (
        te.rules.Momentum(0.8, nesterov=True),
        kernel(MOMENTUM, {"accum": 0.0}, momentum=0.8, use_nesterov=True),
    ),
    "keras_momentum": (te.rules.KerasMomentum(0.9), kernel(KERAS, {"accum": 0.0}, momentum=0.9)),
    "keras_nesterov": (
        te.rules.KerasMomentum(0.9, nesterov=True),
        kernel(KERAS, {"accum": 0.0}, momentum=0.9, use_nesterov=True),
    ),
    "adagrad_v1": (te.rules.Adagrad(0.1), kernel("ResourceSparseApplyAdagrad", {"accum": 0.1})),
    "adagrad_v2": (
        te.rules.Adagrad(0.1, epsilon=1e-2),
        kernel("ResourceSparseApplyAdagradV2", {"accum": 0.1}, epsilon=1e-2),
    ),
    "rmsprop_plain": (
        te.rules.RMSProp(rho=0.9, momentum=0.0, epsilon=1e-3, initial_mean_square=1.0),
        kernel(RMSPROP, {"ms": 1.0, "mom": 0.0}, rho=0.9, momentum=0.0, epsilon=1e-3),
    ),
    "rmsprop": (
        te.rules.RMSProp(rho=0.9, momentum=0.5, epsilon=1e-3, initial_mean_square=1.0),
        kernel(RMSPROP, {"ms": 1.0, "mom": 0.0}, rho=0.9, momentum=0.5, epsilon=1e-3),
    ),
    "rmsprop_centered": (
        te.rules.RMSProp(
            rho=0.9, momentum=0.5, epsilon=1e-2, centered=True, initial_mean_square=1.0
        ),
        kernel(
            "ResourceSparseApplyCenteredRMSProp",
            {"mg": 0.0, "ms": 1.0, "mom": 0.0},
            rho=0.9,
            momentum=0.5,
            epsilon=1e-2,
        ),
    ),
    "ftrl_v2": (
        te.rules.Ftrl(initial_accumulator_value=0.1, l1=0.02, l2=0.1, l2_shrinkage=0.01),
        kernel(
            FTRL, {"accum": 0.1, "linear": 0.0}, l1=0.02, l2=0.1, l2_shrinkage=0.01, lr_power=-0.5
        ),
    ),
    "ftrl_v2_power": (
        te.rules.Ftrl(learning_rate_power=-0.6, initial_accumulator_value=0.2, l1=0.01),
        kernel(
            FTRL, {"accum": 0.2, "linear": 0.0}, l1=0.01, l2=0.0, l2_shrinkage=0.0, lr_power=-0.6
        ),
    ),
}


@pytest.mark.parametrize("dim", [1, 8, 17])
@pytest.mark.parametrize("case", KERNELS)
def test_matches_the_sparse_kernel_on_a_dense_variable(case: str, dim: int) -> None:
    rule, (slots, update) = KERNELS[case]
    start = initial_rows(dim)
    variables = [tf.Variable(start)]
    variables += [tf.Variable(tf.fill(start.shape, value)) for value in slots]
    for step, (_, _, unique, sums) in enumerate(batches(dim)):
        update(variables, learning_rate(step), sums, unique)
    assert_rows(train(rule, dim), variables[0].numpy(), start)


def _adagrad_keras(w, s, g, lr, step, n):
    s["a"] += g * g
    return w - lr * g / np.sqrt(s["a"] + 1e-3)


def _rowwise_adagrad(w, s, g, lr, step, n):
    s["a"] += np.mean(g * g, axis=1, keepdims=True)
    return w - lr * g / (np.sqrt(s["a"]) + 1e-8)


def _adam(decay: float):
    def update(w, s, g, lr, step, n):
        w = w - lr * decay * w
        s["m"] = 0.9 * s["m"] + 0.1 * g
        s["v"] = 0.99 * s["v"] + 0.01 * g * g
        alpha = lr * np.sqrt(1 - 0.99 ** (step + 1)) / (1 - 0.9 ** (step + 1))
        return w - alpha * s["m"] / (np.sqrt(s["v"]) + 1e-7)

    return update


def _rmsprop_centered(w, s, g, lr, step, n):
    s["s"] = 0.8 * s["s"] + 0.2 * g * g
    s["c"] = 0.8 * s["c"] + 0.2 * g
    return w - lr * g / np.sqrt(s["s"] - s["c"] ** 2 + 1e-2)


def _ftrl_beta(w, s, g, lr, step, n):
    new = s["n"] + g * g
    s["z"] = s["z"] + g - (np.sqrt(new) - np.sqrt(s["n"])) / lr * w
    s["n"] = new
    quadratic = np.sqrt(new) / lr + 2 * (0.05 + 0.5 / (2 * lr))
    z = s["z"]
    return np.where(np.abs(z) > 0.1, (np.sign(z) * 0.1 - z) / quadratic, 0.0)


def _group_ftrl(w, s, g, lr, step, n):
    new = s["n"] + g * g
    s["z"] = s["z"] + g - (np.sqrt(new) - np.sqrt(s["n"])) / lr * w
    s["n"] = new
    z = s["z"]
    norm = np.linalg.norm(z, axis=1, keepdims=True)
    quadratic = np.sqrt(new) / lr + 2 * 0.05
    return np.where(norm > 0.5, (0.5 / norm - 1) * z / quadratic, 0.0)


def _adagrad_decay(w, s, g, lr, step, n):
    period = step // 10
    missed = period - s["period"]
    s["period"] = np.full_like(s["period"], period)
    decayed = np.maximum(s["a"] * 0.9**missed, 0.1)
    s["a"] = np.where(missed > 0, decayed, s["a"]) + g * g
    return w - lr * g / np.sqrt(s["a"])


# In float64. Slots: name -> (initial value, whether one a row).
FORMULAS: dict[str, tuple[te.rules.Rule, dict[str, tuple[float, bool]], Callable[..., Any]]] = {
    "adagrad_keras": (
        te.rules.Adagrad(0.1, epsilon=1e-3, epsilon_in_sqrt=True),
        {"a": (0.1, False)},
        _adagrad_keras,
    ),
    "rowwise_adagrad": (te.rules.RowwiseAdagrad(0.1), {"a": (0.1, True)}, _rowwise_adagrad),
    "adam": (
        te.rules.Adam(0.9, 0.99),
        {"m": (0, False), "v": (0, False)},
        _adam(0.0),
    ),
    "adamw": (
        te.rules.AdamW(0.9, 0.99, weight_decay=0.1),
        {"m": (0, False), "v": (0, False)},
        _adam(0.1),
    ),
    "rmsprop_centered_plain": (
        te.rules.RMSProp(rho=0.8, centered=True, epsilon=1e-2),
        {"s": (0, False), "c": (0, False)},
        _rmsprop_centered,
    ),
    "ftrl_beta": (
        te.rules.Ftrl(l1=0.1, l2=0.05, beta=0.5),
        {"n": (0.1, False), "z": (0, False)},
        _ftrl_beta,
    ),
    "group_ftrl": (
        te.rules.GroupFtrl(l1=0.5, l2=0.05),
        {"n": (0.1, False), "z": (0, False)},
        _group_ftrl,
    ),
    "adagrad_decay": (
        te.rules.AdagradDecay(0.1, decay_steps=10, decay_rate=0.9),
        {"a": (0.1, False), "period": (0, True)},
        _adagrad_decay,
    ),
}


@pytest.mark.parametrize("dim", [1, 8, 17])
@pytest.mark.parametrize("case", FORMULAS)
def test_matches_the_formula_in_float64(case: str, dim: int) -> None:
    rule, slots, update = FORMULAS[case]
    start = initial_rows(dim)
    w = start.astype(np.float64)
    state = {
        name: np.full([VOCABULARY, 1 if scalar else dim], value, np.float64)
        for name, (value, scalar) in slots.items()
    }
    born = np.zeros(VOCABULARY, bool)
    for step, (_, _, unique, sums) in enumerate(batches(dim)):
        if "period" in state:
            # A new row has nothing to catch up on.
            fresh = unique[~born[unique]]
            state["period"][fresh] = step // 10
        born[unique] = True
        part = {name: values[unique] for name, values in state.items()}
        rate = float(learning_rate(step))
        w[unique] = update(w[unique], part, sums.astype(np.float64), rate, step, len(unique))
        for name, values in part.items():
            state[name][unique] = values
    assert_rows(train(rule, dim), w, start)


def test_ftrl_of_nothing_is_zero() -> None:
    """As TensorFlow's kernel: no gradient yet, no accumulator, no penalty."""
    ev = te.EmbeddingVariable(2, initializer="ones", name="nothing")
    slices = tf.IndexedSlices(tf.zeros([1, 2]), tf.constant([1], tf.int64))
    te.rules.apply(ev, slices, te.rules.Ftrl(initial_accumulator_value=0.0), 0.1, 0)
    assert ev.sparse_read([1]).numpy().tolist() == [[0.0, 0.0]]


def test_a_group_penalty_zeroes_whole_rows() -> None:
    ev = train(te.rules.GroupFtrl(l1=30.0), dim=8)
    values = ev.export().values.numpy()
    zero = values == 0
    assert zero.any() and not zero.all()
    assert (zero.all(axis=1) == zero.any(axis=1)).all()


def test_python_rules_are_the_core_rules() -> None:
    core = te.rules.core_rules()
    assert set(core) == set(ALL_RULES)
    for name, rule in ALL_RULES.items():
        assert rule.core_name == name
        assert len(rule.hyper()) == len(core[name]["hyper"])
        fields = [f.name for f in dataclasses.fields(rule)]
        assert [h for h in fields if h in core[name]["hyper"]] == [
            h for h in core[name]["hyper"] if h in fields
        ]
    assert {type(rule) for rule in ALL_RULES.values()} == set(te.rules.ALL)


@pytest.mark.parametrize("name", ALL_RULES)
def test_slots_version_and_frequency(name: str) -> None:
    dim = 3
    core = te.rules.core_rules()[name]
    ev = te.EmbeddingVariable(dim, name="slots")
    gradient = tf.IndexedSlices(tf.ones([4, dim]), tf.constant([5, 5, 7, 5], tf.int64))
    te.rules.apply(ev, gradient, ALL_RULES[name], 0.1, step=41)
    rows = ev.export()
    assert ev.rule() == name
    assert rows.slots.shape[1] == dim * len(core["vector_slots"]) + len(core["scalar_slots"])
    assert ev.version([5, 7, 8]).numpy().tolist() == [41, 41, -1]
    assert ev.frequency([5, 7, 8]).numpy().tolist() == [3, 1, 0]
    te.rules.apply(ev, gradient, ALL_RULES[name], 0.1, step=42, counts=[1, 2, 3, 4])
    assert ev.frequency([5, 7]).numpy().tolist() == [3 + 7, 1 + 3]
    assert ev.version([5]).numpy().tolist() == [42]


# All rules share one driver, and the core's own tests run each of them on many
# executors; two, one of them with a reduction, are run through TensorFlow.
def test_same_bits_in_one_thread_and_in_many(tmp_path: Any) -> None:
    """In child processes: TensorFlow fixes its threads once."""
    code = """
import sys
import numpy as np, tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(int(sys.argv[1]))
import tf_embedding as te
parts = []
for rule in (te.rules.Adam(), te.rules.RowwiseAdagrad()):
    rng = np.random.default_rng(0)
    ev = te.EmbeddingVariable(16, initializer="normal", seed=1, name="bits")
    for step in range(3):
        ids = rng.integers(-2**63, 2**63 - 1, 30000) // (2**48)
        g = rng.normal(size=[30000, 16]).astype(np.float32)
        te.rules.apply(ev, tf.IndexedSlices(tf.constant(g), tf.constant(ids)), rule, 0.01, step)
    parts += [part.numpy() for part in ev.export()]
np.savez(sys.argv[2], *parts)
"""
    files = []
    for threads in ("1", "4"):
        files.append(str(tmp_path / f"{threads}.npz"))
        subprocess.run([sys.executable, "-c", code, threads, files[-1]], check=True)
    one, many = (np.load(f) for f in files)
    assert len(one.files) == 10 and len(one["arr_0"]) > 10000
    for part in one.files:
        np.testing.assert_array_equal(one[part], many[part])


def test_a_million_duplicates_are_summed_in_position_order() -> None:
    n = 10**6
    gradients = np.random.default_rng(0).normal(size=[n, 1]).astype(np.float32)
    ev = te.EmbeddingVariable(1, initializer="zeros", name="duplicates")
    slices = tf.IndexedSlices(tf.constant(gradients), tf.fill([n], tf.constant(-9, tf.int64)))
    te.rules.apply(ev, slices, te.rules.SGD(), 1.0, 0)
    want = np.cumsum(gradients[:, 0], dtype=np.float32)[-1]
    assert float(ev.sparse_read([-9])[0, 0]) == -want
    assert int(ev.frequency([-9])[0]) == n and int(ev.size()) == 1


def test_another_rule_keeps_vectors_and_starts_slots_anew() -> None:
    ev = train(te.rules.Adagrad(), 8, steps=3)
    before = ev.export()
    nothing = tf.IndexedSlices(tf.zeros([1, 8]), before.keys[:1])
    te.rules.apply(ev, nothing, te.rules.Ftrl(initial_accumulator_value=0.25), 0.1, 3)
    after = ev.export(before.keys)
    np.testing.assert_array_equal(before.values[1:], after.values[1:])
    np.testing.assert_array_equal(before.frequency[1:], after.frequency[1:])
    np.testing.assert_array_equal(before.version[1:], after.version[1:])
    want = np.tile([0.25] * 8 + [0.0] * 8, [len(after.keys) - 1, 1])
    np.testing.assert_array_equal(after.slots[1:], want)


GOOD = dict(
    keys=[1, 2],
    gradients=np.ones([2, 4], np.float32),
    learning_rate=0.1,
    step=0,
    counts=None,
)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (dict(gradients=np.ones([2, 3], np.float32)), "gradients"),
        (dict(gradients=np.ones([3, 4], np.float32)), "gradients"),
        (dict(keys=[[1, 2]]), "keys|rank"),
        (dict(learning_rate=float("nan")), "learning_rate"),
        (dict(learning_rate=float("inf")), "learning_rate"),
        (dict(learning_rate=[0.1, 0.1]), "learning_rate"),
        (dict(step=-1), "step"),
        (dict(step=2**32), "step"),
        (dict(counts=[1]), "counts"),
        (dict(counts=[0, 1]), "counts"),
        (dict(rule=te.rules.Adam(beta_1=1.0)), "beta_1"),
        (dict(rule=te.rules.Ftrl(l1=-1.0)), "l1"),
        (dict(rule=te.rules.Ftrl(), learning_rate=0.0), "learning_rate"),
        (dict(rule=te.rules.AdagradDecay(decay_steps=0.0)), "decay_steps"),
        (dict(rule=te.rules.RMSProp(rho=float("nan"))), "rho"),
        (dict(rule=te.rules.Adagrad(initial_accumulator_value=0.0)), "initial_accumulator_value"),
    ],
)
def test_bad_input_names_the_argument_and_changes_nothing(change: dict, named: str) -> None:
    ev = te.EmbeddingVariable(4, name="bad_input")
    ev.upsert([1], np.ones([1, 4]))
    before = ev.state()
    arguments = {"rule": te.rules.SGD(), **GOOD, **change}
    keys, gradients = arguments.pop("keys"), arguments.pop("gradients")
    slices = tf.IndexedSlices(tf.constant(gradients), tf.constant(keys, tf.int64))
    with pytest.raises(tf.errors.InvalidArgumentError, match=named):
        te.rules.apply(ev, slices, **arguments)
    for name, tensor in ev.state().items():
        np.testing.assert_array_equal(tensor, before[name])


def test_wrong_types_are_type_errors() -> None:
    ev = te.EmbeddingVariable(4, name="wrong_types")
    with pytest.raises(TypeError, match="IndexedSlices"):
        te.rules.apply(ev, tf.ones([2, 4]), te.rules.SGD(), 0.1, 0)
    floats = tf.IndexedSlices(tf.ones([1, 4]), tf.constant([0.5]))
    with pytest.raises(TypeError, match="indices"):
        te.rules.apply(ev, floats, te.rules.SGD(), 0.1, 0)
    with pytest.raises(TypeError, match="beta_1"):
        te.rules.Adam(beta_1="0.9")
