# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Columns without a vocabulary in v1 graphs: input_layer, linear_model, Saver.

The oracle is the stock column with a vocabulary, its dense weight and the stock
optimizer: all outputs along the training must agree.
"""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import tf_embedding as te

tf1 = tf.compat.v1
fc = tf1.feature_column
column = te.feature_column.categorical_column_with_embedding

IDS = np.array([[3, 4, 3], [7, -1, -1], [-1, -1, -1], [4, 9, 0]])
EMBEDDING_COLUMNS = {"stock": fc.embedding_column, "own": te.feature_column.embedding_column}
CASES = [
    ("mean", "GradientDescentOptimizer", (0.1,)),
    ("sum", "MomentumOptimizer", (0.1, 0.9)),
    ("sqrtn", "AdagradOptimizer", (0.1,)),
    ("sum", "FtrlOptimizer", (0.1,)),
]


def features():
    sparse = tf.sparse.from_dense(tf.constant(IDS + 1, tf.int64))
    ids = tf.SparseTensor(sparse.indices, sparse.values - 1, sparse.dense_shape)
    weights = tf.cast(tf.range(tf.size(ids.values)), tf.float32) / 4 + 0.5
    return {
        "x": tf.constant(IDS, tf.int64),
        "z": tf.constant(IDS[::-1].copy(), tf.int64),
        "ids": ids,
        "w": tf.SparseTensor(ids.indices, weights, ids.dense_shape),
    }


def train(build, optimizer, steps=4):
    """What `build(features)` gives before each step of an optimizer; and its variables."""
    with tf.Graph().as_default(), tf1.Session() as session:
        output = build(features())
        goal = tf.reshape(tf.range(tf.size(output), dtype=tf.float32), tf.shape(output)) / 7
        loss = tf.reduce_sum((output - goal) ** 2)
        step = optimizer().minimize(loss, global_step=tf1.train.get_or_create_global_step())
        session.run(tf1.global_variables_initializer())
        outputs = []
        for _ in range(steps):
            outputs.append(session.run(output))
            session.run(step)
        rows = [v for v in tf1.global_variables() if isinstance(v, te.EmbeddingVariable)]
        keys = [set(session.run(v.export().keys)) for v in rows]
    assert np.abs(outputs[-1] - outputs[0]).max() > 0.01
    return outputs, keys


def constant(value=0.3):
    return tf1.constant_initializer(value)


@pytest.mark.parametrize("embedding", EMBEDDING_COLUMNS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("combiner, optimizer, arguments", CASES)
def test_input_layer_trains_as_with_a_vocabulary(
    embedding, weighted, combiner, optimizer, arguments
):
    def layer(make, categorical):
        if weighted:
            categorical = fc.weighted_categorical_column(categorical, "w")
        embedded = make(categorical, 2, combiner, initializer=constant(), max_norm=0.9)
        return lambda inputs: fc.input_layer(inputs, [embedded])

    key = "ids" if weighted else "x"
    got, keys = train(
        layer(EMBEDDING_COLUMNS[embedding], column(key, tf.int64)),
        lambda: getattr(te.train, optimizer)(*arguments),
    )
    want, _ = train(
        layer(fc.embedding_column, fc.categorical_column_with_identity(key, 10)),
        lambda: getattr(tf1.train, optimizer)(*arguments),
    )
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    assert keys == [set(np.unique(IDS)) - {-1}]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("combiner, optimizer, arguments", CASES)
def test_linear_model_trains_as_with_a_vocabulary(weighted, combiner, optimizer, arguments):
    def model(categorical):
        if weighted:
            categorical = fc.weighted_categorical_column(categorical, "w")
        return lambda inputs: fc.linear_model(
            inputs, [categorical], units=2, sparse_combiner=combiner
        )

    got, keys = train(
        model(column("ids", tf.int64)), lambda: getattr(te.train, optimizer)(*arguments)
    )
    want, _ = train(
        model(fc.categorical_column_with_identity("ids", 10)),
        lambda: getattr(tf1.train, optimizer)(*arguments),
    )
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    assert keys == [set(np.unique(IDS)) - {-1}]


def test_shared_embedding_columns():
    def layer(first, second):
        def build(inputs):  # TensorFlow makes such columns in graphs only.
            columns = fc.shared_embedding_columns([first, second], 2, "sum", initializer=constant())
            return fc.input_layer(inputs, columns)

        return build

    got, keys = train(
        layer(column("x", tf.int64), column("z", tf.int64)),
        lambda: te.train.AdagradOptimizer(0.1),
    )
    identity = fc.categorical_column_with_identity
    want, _ = train(
        layer(identity("x", 10), identity("z", 10)), lambda: tf1.train.AdagradOptimizer(0.1)
    )
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    assert len(keys) == 1


def test_a_scope_that_is_reused_reuses_the_rows():
    embedded = {
        name: make(column("x", tf.int64), 2, initializer=constant())
        for name, make in EMBEDDING_COLUMNS.items()
    }
    for name, each in embedded.items():
        with tf.Graph().as_default():
            for _ in range(2):
                with tf1.variable_scope("tower", reuse=tf1.AUTO_REUSE):
                    fc.input_layer(features(), [each])
            rows = [v for v in tf1.global_variables() if isinstance(v, te.EmbeddingVariable)]
            assert len(rows) == 1, name


def test_parts_and_what_a_checkpoint_holds(tmp_path):
    """The keys in a checkpoint are the user's, in any number of parts."""
    states = []
    for embedding in EMBEDDING_COLUMNS.values():
        for parts in (None, 3):
            with tf.Graph().as_default(), tf1.Session() as session:
                embedded = embedding(
                    column("x", tf.int64, partition_num=parts), 2, initializer=constant()
                )
                output = fc.input_layer(features(), [embedded])
                step = te.train.AdagradOptimizer(0.1).minimize(tf.reduce_sum(output**2))
                (rows,) = [v for v in tf1.trainable_variables() if hasattr(v, "num_parts")]
                assert rows.num_parts == (parts or 1)
                session.run(tf1.global_variables_initializer())
                for _ in range(2):
                    session.run(step)
                path = tf1.train.Saver().save(session, str(tmp_path / "model"))
                want = session.run(output)
            with tf.Graph().as_default(), tf1.Session() as session:
                output = fc.input_layer(features(), [embedded])
                tf1.train.Saver().restore(session, path)
                np.testing.assert_array_equal(session.run(output), want)
            name = rows.name.split(":")[0]
            (blocks,) = tf.raw_ops.RestoreV2(
                prefix=path,
                tensor_names=[f"{name}-blocks"],
                shape_and_slices=[""],
                dtypes=[tf.variant],
            )
            whole = te.EmbeddingVariable(2, name="whole")
            whole.table.load_blocks(blocks)
            saved = whole.export()
            states.append(sorted(zip(saved.keys.numpy().tolist(), saved.values.numpy().tolist())))
    assert states[0] == states[1] == states[2] == states[3]
    assert [key for key, _ in states[0]] == sorted(set(IDS.ravel()) - {-1})


def test_our_column_begins_with_the_rows_of_a_checkpoint(tmp_path):
    embedded = te.feature_column.embedding_column(column("x", tf.int64), 2, initializer=constant())
    with tf.Graph().as_default(), tf1.Session() as session:
        output = fc.input_layer(features(), [embedded])
        step = te.train.AdagradOptimizer(0.1).minimize(tf.reduce_sum(output**2))
        (rows,) = tf1.trainable_variables()
        session.run(tf1.global_variables_initializer())
        session.run(step)
        want = session.run(output)
        path = tf1.train.Saver().save(session, str(tmp_path / "model"))
    again = te.feature_column.embedding_column(
        column("x", tf.int64),
        2,
        ckpt_to_load_from=path,
        tensor_name_in_ckpt=rows.name.split(":")[0],
    )
    with tf.Graph().as_default(), tf1.Session() as session:
        output = fc.input_layer(features(), [again])
        session.run(tf1.global_variables_initializer())
        np.testing.assert_array_equal(session.run(output), want)


def test_options_of_the_rows():
    option = te.EmbeddingVariableOption(
        init_option=te.InitializerOption(
            initializer=np.arange(8, dtype=np.float32).reshape(4, 2), default_value_dim=4
        )
    )
    for make in EMBEDDING_COLUMNS.values():
        with tf.Graph().as_default(), tf1.Session() as session:
            embedded = make(column("x", tf.int64, ev_option=option), 2, "sum")
            output = fc.input_layer({"x": tf.constant([[5], [3]], tf.int64)}, [embedded])
            session.run(tf1.global_variables_initializer())
            assert session.run(output).tolist() == [[2.0, 3.0], [6.0, 7.0]]
    with pytest.raises(TypeError, match="ev_option"):
        column("x", tf.int64, ev_option="lots")


@pytest.mark.parametrize("kind", EMBEDDING_COLUMNS)
def test_a_filter_of_the_rows(kind):
    option = te.EmbeddingVariableOption(
        filter_option=te.CounterFilter(3),
        init_option=te.InitializerOption(initializer="ones", default_value_no_permission=-1.0),
    )
    with tf.Graph().as_default(), tf1.Session() as session:
        embedded = EMBEDDING_COLUMNS[kind](column("x", tf.int64, ev_option=option), 2, "sum")
        again = type(embedded.categorical_column).from_config(
            {**embedded.categorical_column.get_config(), "key": "x"}
        )
        assert again.ev_option == option
        output = fc.input_layer({"x": tf.constant([[5], [3], [5]], tf.int64)}, [embedded])
        train = te.train.GradientDescentOptimizer(0.25).minimize(tf.reduce_sum(output))
        session.run(tf1.global_variables_initializer())
        forwards = []
        for _ in range(3):
            forwards.append(session.run(output)[:, 0].tolist())
            session.run(train)
        # 5 is admitted in the second step, 3 in the third.
        assert forwards == [[-1.0] * 3, [-1.0] * 3, [0.5, -1.0, 0.5]]
        assert session.run(output)[:, 0].tolist() == [0.0, 0.75, 0.0]


def test_a_stock_optimizer_does_not_train_rows():
    with tf.Graph().as_default():
        output = fc.input_layer(features(), [fc.embedding_column(column("x", tf.int64), 2)])
        with pytest.raises(Exception, match="(?i)embedding"):
            tf1.train.AdagradOptimizer(0.1).minimize(tf.reduce_sum(output))


def deeprec_pipeline(tf):
    columns = te.feature_column.categorical_column_with_embedding("col_emb", dtype=tf.dtypes.int64)
    W = tf.feature_column.embedding_column(categorical_column=columns, dimension=3, initializer=tf.ones_initializer(tf.dtypes.float32))  # noqa: E501
    ids = {"col_emb": tf.SparseTensor(indices=[[0,0],[1,1],[2,2],[3,3],[4,4]], values=tf.cast([1,2,3,4,5], tf.dtypes.int64), dense_shape=[5, 4])}  # noqa: E501
    emb = tf.feature_column.input_layer(ids, [W])
    return emb


def test_the_pipeline_of_deeprec_runs_in_a_session():
    with tf.Graph().as_default(), tf1.Session() as session:
        emb = deeprec_pipeline(tf1)
        step = te.train.AdagradOptimizer(0.1).minimize(tf.reduce_sum(2.0 * emb))
        session.run(tf1.global_variables_initializer())
        # Adagrad of gradients 2 from an accumulator of 0.1, in float64.
        value, accumulator = 1.0, 0.1
        for _ in range(4):
            np.testing.assert_allclose(session.run(emb), np.full([5, 3], value), rtol=1e-6)
            session.run(step)
            accumulator += 4.0
            value -= 0.1 * 2.0 / np.sqrt(accumulator)


def test_the_pipeline_of_deeprec_runs_eagerly():
    np.testing.assert_array_equal(deeprec_pipeline(tf1).numpy(), np.ones([5, 3]))


def test_weights_as_deeprec_tests_them():
    """Ids and weights of its test of weighted columns; against a vocabulary here too."""

    def layer(make):
        def build(_):
            ids = tf.SparseTensor(
                [[0, 0], [1, 0], [1, 1], [2, 0], [3, 0], [3, 1], [4, 0]],
                tf.constant([1, 3, 2, 3, 4, 5, 3], tf.int64),
                [5, 4],
            )
            weights = tf.SparseTensor(ids.indices, [2.0, 5, 4, 8, 3, 1, 2.5], ids.dense_shape)
            weighted = fc.weighted_categorical_column(make("ids"), "w")
            embedded = fc.embedding_column(weighted, 3, initializer=tf1.ones_initializer())
            return fc.input_layer({"ids": ids, "w": weights}, [embedded])

        return build

    got, _ = train(
        layer(lambda key: column(key, tf.int64)), lambda: te.train.AdagradOptimizer(0.1), 5
    )
    want, _ = train(
        layer(lambda key: fc.categorical_column_with_identity(key, 10)),
        lambda: tf1.train.AdagradOptimizer(0.1),
        5,
    )
    np.testing.assert_allclose(got, want, rtol=1e-6)
