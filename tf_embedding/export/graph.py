# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rebuilds a traced function with TensorFlow's own ops in place of this package's.

The function's graph is replayed op by op into the graph that is being traced. An
op of this package is replaced by what answers the same in TensorFlow's ops; any
other is copied. A function that has such ops inside, a branch of `tf.cond` or the
body of `tf.while_loop` among them, is replayed in its place; any other is copied
whole. Tables come as the eager handles that the function captured, or that v1
graphs name, and are never passed on: what replaces an op reaches its variables
itself.

Graphs are replayed, not retraced, because Python may not be there any more: a
SavedModel that was loaded, the graph of an estimator, a function that TensorFlow
has traced before and keeps.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional, Sequence

import tensorflow as tf
from tensorflow.python.framework import function_def_to_graph
from tensorflow.python.framework import ops as tf_ops

from tf_embedding._library import ops
from tf_embedding.export import pooling
from tf_embedding.export.rows import StockTable

PREFIX = "TfEmbedding>"

# Which changes nothing but what it returns; what must run after it, need not.
_READS = frozenset(
    PREFIX + name
    for name in (
        "Lookup",
        "LookupMany",
        "LookupPooled",
        "JoinParts",
        "Pool",
        "RowSplits",
        "Size",
        "SplitByPart",
        "VariableHandle",
        "PartsHandle",
    )
)
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_PASSES = ("Identity", "StopGradient", "PreventGradient")
# What says where an op ran or how it is differentiated.
_DROPPED_ATTRS = ("_class", "_gradient_op_type")

# Makes, or finds, the frozen table of one variable from its handles and dim.
Tables = Callable[[Sequence[tf.Tensor], int], StockTable]


def _is_eager(value: Any) -> bool:
    return isinstance(value, tf.__internal__.EagerTensor)


def _function_names(op_attrs: Mapping[str, Any]) -> list[str]:
    names = []
    for value in op_attrs.values():
        if value.HasField("func"):
            names.append(value.func.name)
        names.extend(function.name for function in value.list.func)
    return names


def _reads_of_parts(op: tf.Operation) -> list[tf.Tensor]:
    """The handles of the parts whose rows a JoinParts puts together."""
    handles = []
    for rows in op.inputs[2 + op.get_attr("N") :]:
        source = rows.op
        while source.type in _PASSES:
            source = source.inputs[0].op
        if source.type != PREFIX + "Lookup":
            raise NotImplementedError(
                f"op {op.name!r} joins rows that come from a {source.type}; only those of lookups "
                "in the same function can be written in TensorFlow's own ops"
            )
        handles.append(source.inputs[0])
    return handles


def _needed_inputs(op: tf.Operation) -> list[tf.Tensor]:
    if op.type == PREFIX + "JoinParts":
        return [op.inputs[1], *_reads_of_parts(op)]
    return list(op.inputs)


def _needed(targets: Sequence[tf.Operation], given: set[str]) -> set[str]:
    """The names of the ops that run for these, without what is given."""
    names: set[str] = set()
    stack = list(targets)
    while stack:
        op = stack.pop()
        if op.name in names or op.name in given:
            continue
        names.add(op.name)
        stack.extend(tensor.op for tensor in _needed_inputs(op))
        stack.extend(before for before in op.control_inputs if before.type not in _READS)
    return names


class Replay:
    """Replays the graph of one function and of the functions in it.

    Args:
      source: the graph.
      tables: makes or finds frozen tables.
      named_handles: of the tables that v1 graphs name; those that are met are added.
    """

    def __init__(
        self, source: Any, tables: Tables, named_handles: dict[str, tf.Tensor]
    ) -> None:
        self._source = source
        self._tables = tables
        self._library = {
            function.signature.name: function
            for function in source.as_graph_def().library.function
        }
        self._has_ours: dict[str, bool] = {}
        self._handlers: dict[str, Callable[..., Any]] = {
            PREFIX + "Lookup": self._lookup,
            PREFIX + "LookupMany": self._lookup_many,
            PREFIX + "LookupPooled": self._lookup_pooled,
            PREFIX + "JoinParts": self._join_parts,
            PREFIX + "Pool": self._pool,
            PREFIX + "RowSplits": self._row_splits,
            PREFIX + "Size": self._size,
            PREFIX + "VariableHandle": self._variable_handle,
            PREFIX + "PartsHandle": lambda op, inputs: [None],
            "If": self._if,
            "StatelessIf": self._if,
            "Case": self._case,
            "StatelessCase": self._case,
            "While": self._while,
            "StatelessWhile": self._while,
        }
        self._named_handles = named_handles

    def run(self, inputs: Sequence[tf.Tensor], values: Sequence[Any]) -> list[tf.Tensor]:
        """The outputs of the source for values of its inputs.

        Args:
          inputs: tensors of the source graph.
          values: a tensor for each.

        Raises:
          NotImplementedError: an op has no counterpart in TensorFlow's own.
        """
        captured = [(inner, outer) for outer, inner in self._source.captures]
        pairs = [*zip(inputs, values), *captured]
        return self._graph(self._source, dict((inner.name, outer) for inner, outer in pairs))

    def _graph(self, graph: Any, given: Mapping[str, Any]) -> list[Any]:
        """The outputs of a function's graph, from the values of its inputs by name."""
        values: dict[str, Any] = dict(given)
        inputs = {name.split(":")[0] for name in given}
        must_run = [op for op in graph.control_outputs if op.type not in _READS]
        targets = [*(tensor.op for tensor in graph.outputs), *must_run]
        needed = _needed(targets, inputs)
        replayed: dict[str, Any] = {}
        for op in graph.get_operations():
            if op.name not in needed:
                continue
            missing = [t.name for t in _needed_inputs(op) if t.name not in values]
            if missing:
                raise NotImplementedError(
                    f"op {op.name!r} needs {missing[0]!r}, which comes after it: a loop of v1 "
                    "control flow. Build the graph with tf.compat.v1.enable_control_flow_v2()"
                )
            arguments = [values[tensor.name] for tensor in _needed_inputs(op)]
            before = [replayed[b.name] for b in op.control_inputs if b.name in replayed]
            with tf.control_dependencies([b for b in before if b is not None]):
                with tf.device(op.device or None):
                    outputs = self._op(op, arguments)
            for tensor, value in zip(op.outputs, outputs):
                values[tensor.name] = value
            ran = [value for value in outputs if tf.is_tensor(value) and not _is_eager(value)]
            replayed[op.name] = ran[0].op if ran else None
        return [values[tensor.name] for tensor in graph.outputs]

    def _op(self, op: tf.Operation, inputs: Sequence[Any]) -> Sequence[Any]:
        """The outputs of one op."""
        functions = _function_names(op.node_def.attr)
        ours_inside = any(self._contains_ours(name) for name in functions)
        if op.type.startswith(PREFIX):
            if op.type not in self._handlers:
                raise NotImplementedError(
                    f"op {op.name!r} is a {op.type}, which only this package can run. A stock "
                    "export answers lookups; leave out of the function what else it does with a "
                    "table"
                )
            return list(self._handlers[op.type](op, inputs))
        if op.type in _PASSES and op.inputs[0].dtype == tf.resource:
            return list(inputs)
        if op.type in ("Switch", "RefSwitch") and _is_eager(inputs[0]):
            if inputs[0].dtype == tf.resource:
                return [inputs[0], inputs[0]]
        if ours_inside:
            if op.type in _CALLS:
                return self._call(functions[0], inputs)
            if op.type in self._handlers:
                return list(self._handlers[op.type](op, inputs))
            raise NotImplementedError(
                f"op {op.name!r} is a {op.type} whose function {functions[0]!r} reads a table. In "
                "TensorFlow's own ops lookups can be inside tf.function, tf.cond, tf.switch_case, "
                "tf.while_loop and what is made of them; move this one out"
            )
        return list(self._copy(op, inputs, functions))

    def _contains_ours(self, name: str) -> bool:
        if name not in self._has_ours:
            self._has_ours[name] = False  # a function that calls itself
            self._has_ours[name] = name in self._library and any(
                node.op.startswith(PREFIX)
                or any(self._contains_ours(inner) for inner in _function_names(node.attr))
                for node in self._library[name].node_def
            )
        return self._has_ours[name]

    def _copy(
        self, op: tf.Operation, inputs: Sequence[Any], functions: Sequence[str]
    ) -> list[tf.Tensor]:
        if not inputs and any(tensor.dtype == tf.resource for tensor in op.outputs):
            raise NotImplementedError(
                f"op {op.name!r} is a {op.type}, a resource that the graph makes by name; its "
                "content would not be in the exported model. A SavedModel of a v1 graph can be "
                "exported if it has no lookup tables and its variables are in its collections"
            )
        graph: Any = tf_ops.get_default_graph()
        for name in functions:
            if name:
                graph._add_function_recursive(self._source._get_function(name))
        attrs = {k: v for k, v in op.node_def.attr.items() if k not in _DROPPED_ATTRS}
        copied = graph._create_op_internal(
            op.type,
            list(inputs),
            dtypes=[tensor.dtype for tensor in op.outputs],
            name=op.name.split("/")[-1],
            attrs=attrs,
            op_def=op.op_def,
        )
        return list(copied.outputs)

    # Functions and control flow.

    def _body(self, name: str) -> Any:
        with self._source.as_default():
            return function_def_to_graph.function_def_to_graph(
                self._library[name], include_library_functions=True
            )

    def _call(self, name: str, arguments: Sequence[Any]) -> list[Any]:
        body = self._body(name)
        return self._graph(body, {t.name: v for t, v in zip(body.inputs, arguments)})

    def _branch(self, name: str, arguments: Sequence[Any]) -> Callable[[], list[Any]]:
        # A branch must return something.
        return lambda: [tf.constant(True), *self._call(name, arguments)]

    def _if(self, op: tf.Operation, inputs: Sequence[Any]) -> list[Any]:
        then, otherwise = (op.get_attr(a).name for a in ("then_branch", "else_branch"))
        arguments = inputs[1:]
        chosen = tf.cond(
            tf.cast(inputs[0], tf.bool),
            self._branch(then, arguments),
            self._branch(otherwise, arguments),
        )
        return list(chosen[1:])

    def _case(self, op: tf.Operation, inputs: Sequence[Any]) -> list[Any]:
        branches = [self._branch(f.name, inputs[1:]) for f in op.get_attr("branches")]
        return list(tf.switch_case(inputs[0], branches)[1:])

    def _while(self, op: tf.Operation, inputs: Sequence[Any]) -> list[Any]:
        condition, body = op.get_attr("cond").name, op.get_attr("body").name
        # Handles stay what they are.
        fixed = [_is_eager(v) and v.dtype == tf.resource for v in inputs]

        def all_of(moving: Sequence[Any]) -> list[Any]:
            rest = iter(moving)
            return [v if is_fixed else next(rest) for v, is_fixed in zip(inputs, fixed)]

        def moving_of(values: Sequence[Any]) -> list[Any]:
            return [v for v, is_fixed in zip(values, fixed) if not is_fixed]

        results = tf.while_loop(
            cond=lambda *moving: self._call(condition, all_of(moving))[0],
            body=lambda *moving: moving_of(self._call(body, all_of(moving))),
            loop_vars=moving_of(inputs),
            shape_invariants=moving_of([tensor.shape for tensor in op.outputs]),
            parallel_iterations=op.get_attr("parallel_iterations"),
        )
        return all_of(list(results))

    # This package's ops.

    def _table(self, op: tf.Operation, handles: Sequence[Any], dim: int) -> StockTable:
        for handle in handles:
            if not _is_eager(handle):
                raise NotImplementedError(
                    f"op {op.name!r} reads a table that is chosen while it runs; only a table that "
                    "the function captures can be written in TensorFlow's own ops"
                )
        return self._tables(handles, dim)

    def _lookup(self, op: tf.Operation, inputs: Sequence[Any]) -> list[tf.Tensor]:
        return [self._table(op, inputs[:1], op.get_attr("dim")).lookup(inputs[1])]

    def _lookup_many(self, op: tf.Operation, inputs: Sequence[Any]) -> list[tf.Tensor]:
        n, dims = op.get_attr("N"), op.get_attr("dims")
        features = zip(inputs[:n], inputs[n:], dims)
        found = [self._table(op, [handle], dim).lookup(keys) for handle, keys, dim in features]
        return found if op.get_attr("num_values") == n else [tf.concat(found, axis=-1)]

    def _join_parts(self, op: tf.Operation, inputs: Sequence[Any]) -> list[tf.Tensor]:
        keys, *handles = inputs
        return [self._table(op, handles, op.get_attr("dim")).lookup(keys)]

    def _lookup_pooled(self, op: tf.Operation, inputs: Sequence[Any]) -> list[tf.Tensor]:
        n = op.get_attr("N")
        handles, keys, splits, weights = (inputs[i * n : (i + 1) * n] for i in range(4))
        rows = [
            self._table(op, [handle], dim).lookup(k)
            for handle, k, dim in zip(handles, keys, op.get_attr("dims"))
        ]
        features = zip(rows, splits, weights, op.get_attr("combiners"), op.get_attr("max_norms"))
        pooled = [
            pooling.pool(r, s, w, combiner.decode(), norm) for r, s, w, combiner, norm in features
        ]
        kept = [r if keep else r[:0] for r, keep in zip(rows, op.get_attr("keep_rows"))]
        return [*pooled, *kept]

    def _pool(self, op: tf.Operation, inputs: Sequence[Any]) -> list[tf.Tensor]:
        rows, splits, weights = inputs
        combiner, max_norm = op.get_attr("combiner").decode(), op.get_attr("max_norm")
        return [pooling.pool(rows, splits, weights, combiner, max_norm)]

    def _row_splits(self, op: tf.Operation, inputs: Sequence[Any]) -> list[tf.Tensor]:
        return [pooling.row_splits(*inputs)]

    def _size(self, op: tf.Operation, inputs: Sequence[Any]) -> list[tf.Tensor]:
        if not _is_eager(inputs[0]):
            raise NotImplementedError(f"op {op.name!r} counts a table that is chosen while it runs")
        with tf.init_scope():
            size = int(ops.tf_embedding_size(handle=inputs[0]))
        return [tf.constant(size, tf.int64)]

    def _variable_handle(self, op: tf.Operation, inputs: Sequence[Any]) -> list[Optional[Any]]:
        """The table that a v1 graph names, in the runtime that ran its restore."""
        name = op.get_attr("shared_name") or op.name
        if name not in self._named_handles:
            attrs = {attr.name: op.get_attr(attr.name) for attr in op.op_def.attr}
            attrs.update(shared_name=name, shape=[None, attrs["dim"]])
            del attrs["dtype"]
            with tf.init_scope():
                self._named_handles[name] = ops.tf_embedding_variable_handle(**attrs)
        return [self._named_handles[name]]
