# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""The gradients of the ops that look up: slices of rows, of the variable's handle."""

from __future__ import annotations

import contextlib
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import ops as tf_ops
from tensorflow.python.ops import control_flow_ops
from tensorflow.python.ops import control_flow_v2_func_graphs as func_graphs

from tf_embedding._library import ops


def _refuse_while(op: tf.Operation) -> None:
    # Under a tape the op is a stand-in without a graph; a tape inside the loop
    # works.
    graph = getattr(op, "graph", None)
    while graph is not None:
        if isinstance(graph, func_graphs.WhileBodyFuncGraph):
            raise NotImplementedError(
                "the gradient of an embedding lookup inside tf.while_loop is not available: "
                "TensorFlow would accumulate it over a dense variable. Do the lookup before the "
                "loop, of all its ids at once, and index the result inside"
            )
        graph = getattr(graph, "outer_graph", None)


def _here(tensor: tf.Tensor) -> tf.Tensor:
    """A tensor of the forward graph as one of the graph that is being made.

    A traced function's gradient is another graph, and one that returned a tensor of
    the first as it is could not be called.
    """
    return tf.identity(tensor)


@tf.RegisterGradient("TfEmbedding>Lookup")  # type: ignore[untyped-decorator]
def _lookup_gradient(op: tf.Operation, gradient: tf.Tensor) -> list[Any]:
    _refuse_while(op)
    values = _as_matrix(gradient, op.get_attr("dim"))
    return [make_gradient(values, tf.reshape(op.inputs[1], [-1])), None]


@tf.RegisterGradient("TfEmbedding>LookupMany")  # type: ignore[untyped-decorator]
def _lookup_many_gradient(op: tf.Operation, *gradients: tf.Tensor) -> list[Any]:
    _refuse_while(op)
    n = op.get_attr("N")
    dims = op.get_attr("dims")
    if len(gradients) < n:
        gradients = tf.split(_as_matrix(gradients[0], sum(dims)), dims, axis=1)
    slices = [
        make_gradient(_as_matrix(gradient, dim), tf.reshape(keys, [-1]))
        for gradient, keys, dim in zip(gradients, op.inputs[n:], dims)
    ]
    return [*slices, *[None] * n]


def _as_matrix(gradient: tf.Tensor, dim: int) -> tf.Tensor:
    """The gradient of vectors as [n, dim]. A matrix stays itself: `columns.of` looks at it."""
    if not isinstance(gradient, tf.Tensor) or gradient.shape.rank != 2:
        return tf.reshape(gradient, [-1, dim])
    gradient.set_shape([None, dim])  # as what it is the gradient of; it can come without
    return gradient


@tf.RegisterGradient("TfEmbedding>JoinParts")  # type: ignore[untyped-decorator]
def _join_parts_gradient(op: tf.Operation, gradient: tf.Tensor) -> list[Any]:
    _refuse_while(op)
    return [make_gradient(gradient, _here(op.inputs[1])), *[None] * (len(op.inputs) - 1)]


@tf.RegisterGradient("TfEmbedding>Pool")  # type: ignore[untyped-decorator]
def _pool_gradient(op: tf.Operation, gradient: tf.Tensor) -> list[Any]:
    rows, splits, weights = op.inputs
    of_rows, of_weights = ops.tf_embedding_pooled_gradient(
        gradients=[gradient],
        row_splits=[splits],
        weights=[weights],
        rows=[rows],
        keys=[tf.zeros([0], tf.int64)],  # the rows tell how many there are
        combiners=[op.get_attr("combiner")],
        max_norms=[op.get_attr("max_norm")],
    )
    return [of_rows[0], None, of_weights[0]]


@tf.RegisterGradient("TfEmbedding>LookupPooled")  # type: ignore[untyped-decorator]
def _lookup_pooled_gradient(op: tf.Operation, *gradients: tf.Tensor) -> list[Any]:
    _refuse_while(op)
    n = op.get_attr("N")
    inputs, outputs = list(op.inputs), list(op.outputs)
    keys, splits, weights = inputs[n : 2 * n], inputs[2 * n : 3 * n], inputs[3 * n :]
    rows = outputs[n:]
    of_rows, of_weights = ops.tf_embedding_pooled_gradient(
        gradients=list(gradients[:n]),
        row_splits=splits,
        weights=weights,
        rows=rows,
        keys=keys,
        combiners=op.get_attr("combiners"),
        max_norms=op.get_attr("max_norms"),
    )
    for values, dim in zip(of_rows, op.get_attr("dims")):
        values.set_shape([None, dim])  # a gradient can come without a static shape
    slices = [make_gradient(values, _here(k)) for values, k in zip(of_rows, keys)]
    return [*slices, *[None] * (2 * n), *of_weights]


def make_gradient(values: tf.Tensor, keys: tf.Tensor) -> tf.IndexedSlices:
    """The gradient of a variable: values [n, dim] at keys [n].

    Its dense shape has no rows and is int32, which is what `tf.cond` makes for a
    branch that does not touch the variable.
    """
    return tf.IndexedSlices(
        values, keys, tf.constant([0, int(values.shape[1])], dtype=tf.int32)
    )


# tf.cond without v2 control flow.


def through_cond() -> Any:
    """A scope for ops that read a handle inside a `tf.cond` of v1 control flow.

    Such a cond leads the handle in through a Switch, whose stock gradient reads the
    variable's dense shape for the branch that does not look up. The Switch that is
    made here has the gradient below.
    """
    graph = tf.compat.v1.get_default_graph()
    if tf.executing_eagerly() or graph._get_control_flow_context() is None:
        return contextlib.nullcontext()
    return graph.gradient_override_map({"Switch": "TfEmbedding>Switch"})


@tf.RegisterGradient("TfEmbedding>Switch")  # type: ignore[untyped-decorator]
def _switch_gradient(op: tf.Operation, *gradients: Any) -> list[Any]:
    context = op._get_control_flow_context()
    of_handle = op.inputs[0].dtype == tf.resource
    slices = [g for g in gradients if isinstance(g, tf.IndexedSlices)]
    if not (of_handle and isinstance(context, control_flow_ops.CondContext) and len(slices) == 1):
        return list(tf_ops.gradient_registry.lookup("Switch")(op, *gradients))
    (taken,) = slices
    # No rows, made when the other branch is taken.
    other = control_flow_ops.switch(op.inputs[0], context.pred)[1 - context.branch]
    with tf.control_dependencies([tf.identity(other)]):
        nothing = make_gradient(
            tf.zeros([0, int(taken.values.shape[1])]), tf.zeros([0], taken.indices.dtype)
        )
    return [control_flow_ops.merge([taken, nothing], name="cond_grad")[0], None]
