# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""A SavedModel that any TensorFlow serves, with nothing of this package in it."""

from __future__ import annotations

import os
from typing import Any, Callable, Mapping, NamedTuple, Optional, Sequence, Union

import tensorflow as tf
from tensorflow.python.framework import func_graph
from tensorflow.python.trackable import resource as tf_resource

from tf_embedding.export import graph, rows
from tf_embedding.export.rows import ROW_DTYPES, StockTable
from tf_embedding.table import PartTable

_SERVING = "serving_default"

Signatures = Union[Callable[..., Any], Mapping[str, Callable[..., Any]], None]


class _Endpoint(NamedTuple):
    """A function to export, and under which names: as a signature, as an attribute."""

    function: Any
    signature: Optional[str]
    attribute: Optional[str]


def stock(
    model: Any,
    path: Union[str, "os.PathLike[str]"],
    signatures: Signatures = None,
    rows: str = "float32",
) -> None:
    """Writes a SavedModel that needs nothing but TensorFlow to load and to serve.

    Each table becomes a static hash index and a matrix of rows, both variables of
    the SavedModel, and each lookup a few of TensorFlow's own ops. All int64 keys stay
    legal; a key without a row reads what it read in the table, be it the constant, the
    random vector that belongs to the key, or the row of the matrix. Optimizer state
    stays behind, and so do later changes: the export is of one moment of each table.

    Args:
      model: what is exported.

        * A functional or sequential Keras model, 3 or 2: as signature
          "serving_default", and as `serve`.
        * A `tf.Module`, or another object that TensorFlow tracks: each `tf.function` with
          an input_signature among its attributes, under its name; if there is only one,
          as signature "serving_default" too.
        * The path of a SavedModel with this package's ops, as `model.export`,
          `tf.saved_model.save` or an estimator wrote it: each of its signatures.
      path: of the directory to write.
      signatures: as of `tf.saved_model.save`: a function, or functions by name, each
        a `tf.function` with an input_signature or a concrete function. Then these
        are exported, and nothing else of the model. Not with a path.
      rows: how rows are stored.

        * "float32": outputs differ from the model's by rounding of other kernels.
        * "float16": a value v by at most `max(|v| / 2048, 2**-25)`.
        * "int8", with a scale for each row: by at most 1/253 of the largest absolute
          value of the row; where that is below 2e-36, the row becomes zeros.

        Random vectors of keys without a row are computed, not stored.

    Raises:
      ValueError: an argument is out of its range, there is nothing to export, or
        values do not fit `rows`.
      NotImplementedError: a function does with a table what TensorFlow's own ops
        cannot, such as training it.

    Memory: the content of each table, optimizer state included, and its export.

    >>> import tf_embedding as te
    >>> users = te.EmbeddingVariable(dim=2, initializer="ones", name="stock_users")
    >>> users.upsert([7], [[0.5, 0.25]])
    >>> module = tf.Module()
    >>> module.users = users
    >>> module.lookup = tf.function(users.sparse_read, [tf.TensorSpec([None], tf.int64)])
    >>> te.export.stock(module, "stock_model")
    >>> served = tf.saved_model.load("stock_model")
    >>> served.lookup([7, -1]).numpy().tolist()
    [[0.5, 0.25], [1.0, 1.0]]
    """
    if rows not in ROW_DTYPES:
        raise ValueError(f"rows is {rows!r}; use one of {', '.join(map(repr, ROW_DTYPES))}")
    if not tf.executing_eagerly():
        raise RuntimeError(
            "te.export.stock runs in eager mode. From a session, write a SavedModel and pass its "
            "path in a process that has not called tf.compat.v1.disable_eager_execution()"
        )
    if isinstance(model, (str, os.PathLike)):
        if signatures is not None:
            raise ValueError("signatures are for a model; of a path, its own are exported")
        model = tf.saved_model.load(os.fspath(model))
        endpoints = [_Endpoint(f, name, None) for name, f in model.signatures.items()]
    else:
        endpoints = _endpoints(model, signatures)
    if not endpoints:
        raise ValueError(
            f"model is {type(model).__name__} without a function to export; pass signatures=, a "
            "tf.function with an input_signature"
        )
    exported = _Export(model, rows)
    module = exported.module
    for endpoint in endpoints:
        function, concrete = exported.rebuild(endpoint)
        if endpoint.attribute is not None:
            setattr(module, endpoint.attribute, function)
        if endpoint.signature is not None:
            exported.signatures[endpoint.signature] = concrete
    tf.saved_model.save(module, os.fspath(path), signatures=exported.signatures)


def _endpoints(model: Any, signatures: Signatures) -> list[_Endpoint]:
    if signatures is not None:
        named = signatures if isinstance(signatures, Mapping) else {_SERVING: signatures}
        return [_Endpoint(function, name, None) for name, function in named.items()]
    if hasattr(model, "layers") and hasattr(model, "predict"):
        return [_Endpoint(_function_of_keras(model), _SERVING, "serve")]
    functions = {}
    for name in dir(model):
        if name.startswith("__") and name != "__call__":
            continue
        value = getattr(type(model), name, None)
        if isinstance(value, property):
            continue
        value = getattr(model, name)
        if isinstance(value, tf.types.experimental.GenericFunction):
            if getattr(value, "input_signature", None) is not None:
                functions[name] = value
    return [
        _Endpoint(function, _SERVING if len(functions) == 1 else name, name)
        for name, function in functions.items()
    ]


def _function_of_keras(model: Any) -> Any:
    """The call of a Keras model as a function of its inputs."""
    inputs = getattr(model, "inputs", None)
    if not inputs:
        raise ValueError(
            f"model is {type(model).__name__}, which does not tell its inputs; pass signatures=, a "
            "tf.function with an input_signature that calls it"
        )

    def spec(tensor: Any) -> Any:
        shape, dtype = [None, *tensor.shape[1:]], tf.as_dtype(tensor.dtype)
        name = tensor.name.split(":")[0]
        if getattr(tensor, "sparse", False) or isinstance(
            getattr(tensor, "type_spec", None), tf.SparseTensorSpec
        ):
            return tf.SparseTensorSpec(shape, dtype)
        if getattr(tensor, "ragged", False) or isinstance(
            getattr(tensor, "type_spec", None), tf.RaggedTensorSpec
        ):
            return tf.RaggedTensorSpec(shape, dtype)
        return tf.TensorSpec(shape, dtype, name=name)

    sequential = any(base.__name__ == "Sequential" for base in type(model).__mro__)
    structure = inputs[0] if sequential else model.input
    signature = [tf.nest.map_structure(spec, structure)]
    return tf.function(
        lambda inputs: model(inputs, training=False), input_signature=signature, autograph=False
    )


class _Export:
    """One export under way: the module that is to be saved, and what fills it."""

    def __init__(self, model: Any, rows: str) -> None:
        self.module = tf.Module()
        self.module.tables = []
        self.module.kept = []
        self.signatures: dict[str, Any] = {}
        self._rows = rows
        self._tables: dict[tuple[int, ...], StockTable] = {}
        self._handles: list[Any] = []  # so that an id stays that of one handle
        self._named_handles: dict[str, tf.Tensor] = {}
        self._owners = _owners(model)

    def rebuild(self, endpoint: _Endpoint) -> tuple[Any, Any]:
        """The function of an endpoint in TensorFlow's own ops, and its concrete form."""
        concrete = _concrete(endpoint)
        whole = concrete.structured_input_signature
        # Arguments that are no tensors have their defaults, and are not asked for.
        arguments = [a for a in whole[0] if _has_inputs(a)]
        keywords = {k: a for k, a in whole[1].items() if _has_inputs(a)}
        specs = tf.nest.flatten((arguments, keywords), expand_composites=True)
        source = func_graph.FuncGraph("source")
        with source.as_default():
            inputs = _placeholders(specs)
            args, kwargs = tf.nest.pack_sequence_as(
                (arguments, keywords), inputs, expand_composites=True
            )
            given = iter(args)
            outputs = concrete(*(next(given) if _has_inputs(a) else a for a in whole[0]), **kwargs)
        source.outputs = tf.nest.flatten(outputs, expand_composites=True)
        source.control_outputs = [
            op for op in source.get_operations() if op.type == "StatefulPartitionedCall"
        ]
        replay = graph.Replay(source, self._table, self._named_handles)
        with func_graph.FuncGraph("rehearsal").as_default():
            # Makes the tables, for a tf.function may make no variables when it is traced.
            replay.run(inputs, _placeholders(specs))

        def rebuilt(*args: Any, **kwargs: Any) -> Any:
            values = tf.nest.flatten((args, kwargs), expand_composites=True)
            results = replay.run(inputs, values)
            return tf.nest.pack_sequence_as(outputs, results, expand_composites=True)

        function = tf.function(rebuilt, autograph=False)
        rebuilt_concrete = function.get_concrete_function(*arguments, **keywords)
        self._owners.update(_by_handle(concrete.graph.variables))
        self._keep(rebuilt_concrete)
        return function, rebuilt_concrete

    def _table(self, handles: Sequence[tf.Tensor], dim: int) -> StockTable:
        key = tuple(id(handle) for handle in handles)
        if key not in self._tables:
            self._handles.extend(handles)
            with tf.init_scope():
                content = rows.read(handles, dim)
                table = StockTable(content, self._name(handles[0]), self._rows)
            self._tables[key] = table
            self.module.tables.append(table)
        return self._tables[key]

    def _name(self, handle: tf.Tensor) -> str:
        owner = self._owners.get(id(handle))
        if isinstance(owner, PartTable):
            return owner.shared_name.split("/part_")[0]
        return f"table_{len(self._tables)}"

    def _keep(self, concrete: Any) -> None:
        """Puts what a rebuilt function captures, but its tables, into the module."""
        of_tables = {id(v.handle) for table in self.module.tables for v in table.variables}
        for captured in concrete.captured_inputs:
            if captured.dtype != tf.resource or id(captured) in of_tables:
                continue
            owner = self._owners.get(id(captured))
            if owner is None:
                raise ValueError(
                    "a function reads a variable or a resource that the model does not track, "
                    f"{captured!r}; make it an attribute of the model"
                )
            if not any(owner is kept for kept in self.module.kept):
                self.module.kept.append(owner)


def _has_inputs(argument: Any) -> bool:
    return any(isinstance(leaf, tf.TypeSpec) for leaf in tf.nest.flatten(argument))


def _placeholders(specs: Sequence[Any]) -> list[tf.Tensor]:
    return [tf.compat.v1.placeholder(spec.dtype, spec.shape) for spec in specs]


def _concrete(endpoint: _Endpoint) -> Any:
    function = endpoint.function
    if isinstance(function, tf.types.experimental.ConcreteFunction):
        return function
    if getattr(function, "input_signature", None) is None:
        raise ValueError(
            f"signature {endpoint.signature!r} is {function!r}; it must be a concrete function, or "
            "a tf.function with an input_signature"
        )
    return function.get_concrete_function()


def _owners(model: Any) -> dict[int, Any]:
    """The variables and resources that a model tracks, by the id of their handle."""
    tracked = tf.train.TrackableView(model).descendants()
    owners = _by_handle(tracked)
    for one in tracked:
        if isinstance(one, tf_resource.CapturableResource):
            owners[id(one.resource_handle)] = one
    return owners


def _by_handle(variables: Sequence[Any]) -> dict[int, Any]:
    return {id(v.handle): v for v in variables if isinstance(v, tf.Variable)}
