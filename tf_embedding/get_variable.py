# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""`get_embedding_variable`: an embedding variable by name, in TensorFlow 1's scopes.

TensorFlow's own `get_variable` does the work: names, scopes, reuse, defaults of
the scope, collections. Its custom getter, and a variable creator around it, make
an `EmbeddingVariable` where it would make a dense one.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, Callable, Optional, Sequence

import tensorflow as tf

from tf_embedding import config, eviction, options
from tf_embedding.variable import EmbeddingVariable

# What partitioners are told of an open vocabulary: more rows than shards.
_NOMINAL_ROWS = 2**31


def get_embedding_variable(
    name: str,
    embedding_dim: int,
    key_dtype: Any = tf.int64,
    value_dtype: Any = None,
    initializer: Any = None,
    regularizer: Any = None,
    trainable: bool = True,
    collections: Optional[Sequence[str]] = None,
    caching_device: Any = None,
    partitioner: Any = None,
    validate_shape: bool = True,
    use_resource: Optional[bool] = None,
    custom_getter: Optional[Callable[..., Any]] = None,
    constraint: Any = None,
    steps_to_live: Optional[int] = None,
    init_data_source: Any = None,
    ev_option: Optional[options.EmbeddingVariableOption] = None,
) -> EmbeddingVariable:
    """Gets an embedding variable of this name, or makes it.

    As `tf.compat.v1.get_variable`: names go by variable scopes, and reuse, the
    scope's partitioner, initializer and custom getter hold. In a v1 graph the
    variable is in `GLOBAL_VARIABLES` and `TRAINABLE_VARIABLES`, so that
    `global_variables_initializer`, `Saver`, `minimize` and
    `report_uninitialized_variables` find it. Outside graphs every call makes a new
    one, as `get_variable` does.

    Source: DeepRec (https://github.com/DeepRec-AI/DeepRec), for the signature.

    Args:
      name: inside the variable scope.
      embedding_dim: the length of a vector, 1 to 4096.
      key_dtype: `tf.int64`, or `tf.int32`, whose keys are widened.
      value_dtype: `tf.float32`, or None for it.
      initializer: of the vectors, see `tf_embedding.initializers.get`; None takes that
        of the scope, else a truncated normal of stddev 1, as DeepRec.
      regularizer: must be None, in the scope too.
      trainable: whether it is in `TRAINABLE_VARIABLES` and tapes record its lookups.
      collections: to add it to; None for `GLOBAL_VARIABLES`.
      caching_device: must be None: there is no dense value to cache.
      partitioner: as `tf.compat.v1.fixed_size_partitioner`, or None for that of the
        scope. It is told a shape of 2^31 rows, and may cut rows only. See
        `tf_embedding.parts`.
      validate_shape: has no meaning here; the shape is always known.
      use_resource: True or None: an embedding variable is a resource.
      custom_getter: called as that of `get_variable`.
      constraint: must be None, in the scope too.
      steps_to_live: short for an evict_option of `GlobalStepEvict(steps_to_live)`.
      init_data_source: must be None.
      ev_option: more options.

    Returns:
      The variable. `for part in variable` goes through its parts.

    Raises:
      ValueError: an argument is out of its range, or the reuse of the scope and what
        is there do not fit.
      NotImplementedError: an option asks for what variables cannot do.

    >>> with tf.Graph().as_default():
    ...     with tf.compat.v1.variable_scope("user"):
    ...         var = get_embedding_variable(
    ...             "id", 3, partitioner=tf.compat.v1.fixed_size_partitioner(4))
    >>> var.name, var.num_parts
    ('user/id:0', 4)
    """
    ev_option = options.check(ev_option)
    dim = config.check_dim(embedding_dim)
    _check_dtypes(key_dtype, value_dtype)
    _refuse(
        regularizer=regularizer,
        constraint=constraint,
        caching_device=caching_device,
        init_data_source=init_data_source,
    )
    if use_resource not in (None, True):
        raise ValueError(f"use_resource is {use_resource!r}; an embedding variable is a resource")
    if steps_to_live is not None:
        if ev_option.evict_option is not None:
            raise ValueError(
                f"steps_to_live is {steps_to_live!r} and ev_option has evict_option="
                f"{ev_option.evict_option!r}; give a GlobalStepEvict there instead"
            )
        ev_option = dataclasses.replace(
            ev_option, evict_option=eviction.GlobalStepEvict(steps_to_live)
        )
    options.refuse_what_is_missing(ev_option, name)
    make = functools.partial(_get, dim=dim, of_rows=initializer, ev_option=ev_option)
    users = custom_getter or tf.compat.v1.get_variable_scope().custom_getter

    def ours(getter: Callable[..., Any], **kwargs: Any) -> Any:
        # TensorFlow tells a custom getter of constraints only if it can take them.
        _refuse(constraint=kwargs.pop("constraint", None))
        of_dense = functools.partial(make, getter)
        return of_dense(**kwargs) if users is None else users(getter=of_dense, **kwargs)

    variable: EmbeddingVariable = tf.compat.v1.get_variable(
        name,
        shape=[_NOMINAL_ROWS, dim],
        dtype=tf.float32,
        trainable=trainable,
        collections=collections,
        partitioner=partitioner,
        validate_shape=validate_shape,
        use_resource=True,
        custom_getter=ours,
    )
    return variable


def _get(
    true_getter: Callable[..., Any],
    name: str,
    *,
    dim: int,
    of_rows: Any,
    ev_option: options.EmbeddingVariableOption,
    **kwargs: Any,
) -> EmbeddingVariable:
    """What TensorFlow asks for a variable, all defaults of the scope filled in."""
    _refuse(
        regularizer=kwargs.get("regularizer"),
        caching_device=kwargs.get("caching_device"),
    )
    num_parts = _num_parts(kwargs.pop("partitioner", None), dim)
    of_scope = kwargs.get("initializer")
    if of_rows is None:
        of_rows = tf.compat.v1.truncated_normal_initializer() if of_scope is None else of_scope
    # Its own one is for a dense variable of the nominal shape.
    kwargs["initializer"] = tf.compat.v1.zeros_initializer()

    def create(next_creator: Callable[..., Any], **of_variable: Any) -> EmbeddingVariable:
        del next_creator
        return EmbeddingVariable(
            dim,
            initializer=of_rows,
            name=of_variable["name"],
            trainable=of_variable.get("trainable") is not False,
            num_parts=num_parts,
            collections=of_variable.get("collections"),
            ev_option=ev_option,
        )

    with tf.compat.v1.variable_creator_scope(create):
        variable = true_getter(name=name, partitioner=None, **kwargs)
    if not isinstance(variable, EmbeddingVariable):
        raise ValueError(f"variable {name!r} is there already and is a dense variable: {variable}")
    if variable.num_parts != num_parts:
        raise ValueError(
            f"embedding variable {name!r} is there already in {variable.num_parts} parts, and this "
            f"partitioner asks for {num_parts}. Reuse it with the same partitioner"
        )
    return variable


def _check_dtypes(key_dtype: Any, value_dtype: Any) -> None:
    if tf.as_dtype(key_dtype) not in (tf.int64, tf.int32):
        raise ValueError(
            f"key_dtype is {tf.as_dtype(key_dtype).name}; keys are int64 or int32. Hash strings by "
            "tf_embedding.hashing.hash_strings"
        )
    if value_dtype is not None and tf.as_dtype(value_dtype) != tf.float32:
        raise ValueError(
            f"value_dtype is {tf.as_dtype(value_dtype).name}; lookups give float32. For rows in "
            "bfloat16, on a GPU, give ev_option an EmbeddingVariableOption(row_dtype=tf.bfloat16)"
        )


def _refuse(**arguments: Any) -> None:
    remedies = {
        "regularizer": "add a loss on what tf.nn.embedding_lookup returns, which is of the rows of "
        "the batch; or use the l1 and l2 of te.train.FtrlOptimizer, or te.train.AdamWOptimizer",
        "constraint": "give max_norm to the lookup",
        "caching_device": "leave it out",
        "init_data_source": "fill the variable by upsert()",
    }
    for argument, value in arguments.items():
        if value is not None:
            raise ValueError(
                f"{argument} is {value!r}, which an embedding variable cannot have: it has no "
                f"dense value. Instead: {remedies[argument]}"
            )


def _num_parts(partitioner: Any, dim: int) -> int:
    if partitioner is None:
        return 1
    shape = tf.TensorShape([_NOMINAL_ROWS, dim])
    shards = list(partitioner(shape=shape, dtype=tf.float32))
    if len(shards) != 2 or shards[1] != 1:
        raise ValueError(
            f"partitioner gave {shards} for a shape of [rows, dim]; an embedding variable is cut "
            "by rows only: [n, 1]"
        )
    return int(shards[0])
