# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Lookups: `tf.nn`'s, on embedding variables, with pooling fused in C++.

The stock functions work on an embedding variable too: `tf.nn.embedding_lookup`,
`tf.nn.embedding_lookup_sparse` and their `tf.compat.v1` forms are directed here by
TensorFlow's own type dispatch, and the stock `safe_` forms call those.
"""

from __future__ import annotations

import inspect
from typing import Any, Callable, List, Optional, Sequence, Tuple, Union

import tensorflow as tf
from tensorflow.python.ops import resource_variable_ops
from tensorflow.python.util import dispatch

from tf_embedding import config, gradients, inputs
from tf_embedding._library import ops
from tf_embedding.inputs import Bags
from tf_embedding.variable import EmbeddingVariable, is_part, refuse_xla, whole_of


def _variable(params: Any, argument: str = "params") -> EmbeddingVariable:
    if isinstance(params, (list, tuple)) and params:
        # A list of all its parts stands for the variable, as in TensorFlow.
        whole = whole_of(params)
        if whole is not None:
            params = whole
        elif len(params) == 1:
            (params,) = params
    if not isinstance(params, EmbeddingVariable):
        raise TypeError(
            f"{argument} is {type(params).__name__}; it must be one EmbeddingVariable"
        )
    if is_part(params):
        raise TypeError(
            f"{argument} is {params.name!r}, one part of a variable; pass the variable itself"
        )
    return params


def embedding_lookup(
    params: Any, ids: Any, max_norm: Optional[float] = None, name: Optional[str] = None
) -> Any:
    """The vectors of ids; those without a row read their initial vector.

    Args:
      params: an EmbeddingVariable, or a list of one.
      ids: int64, int32 or string ids, dense of any shape or ragged.
      max_norm: if given, each vector is clipped to this L2 norm.
      name: of the op.

    Returns:
      float32 [..., dim]; ragged for ragged ids.

    Raises:
      TypeError: params or the dtype of ids is not one of these.
      ValueError: max_norm is not above 0.

    >>> ev = EmbeddingVariable(dim=2, initializer="ones", name="lookup_example")
    >>> embedding_lookup(ev, [[1, 2, 3]]).shape.as_list()
    [1, 3, 2]
    """
    variable = _variable(params)
    config.check_max_norm(max_norm)
    keys = inputs.to_keys(ids)
    if isinstance(keys, tf.SparseTensor):
        raise TypeError("ids is a SparseTensor; use embedding_lookup_sparse")
    if isinstance(keys, tf.RaggedTensor):
        flat = embedding_lookup(variable, keys.flat_values, max_norm, name)
        return keys.with_flat_values(flat)
    if max_norm is None:
        return variable.sparse_read(keys, name=name)
    return tf.identity(_lookup_clipped(variable, keys, max_norm), name=name)


def embedding_lookup_many(
    variables: Sequence[EmbeddingVariable],
    ids: Sequence[Any],
    max_norms: Optional[Sequence[Optional[float]]] = None,
    name: Optional[str] = None,
    *,
    concat: bool = False,
) -> Any:
    """The vectors of many features' ids, looked up in one op.

    As `embedding_lookup` of each, but the tables are shared out among the threads
    together, which is what makes many small lookups fast.

    Args:
      variables: the table of each feature; one may appear several times.
      ids: of each feature, int64, int32 or string, dense of any shape or ragged.
      max_norms: for each feature None, or the L2 norm that its vectors are clipped
        to. None for no clipping at all.
      name: of the op.
      concat: whether to put the vectors of all features side by side. Ids are dense
        then, and of one shape. It saves the pass through memory of a `tf.concat`.

    Returns:
      For each feature float32 [..., dim], a list; ragged for ragged ids. With concat
      float32 [..., sum of dims].

    Raises:
      TypeError: a variable or the dtype of ids is not one of these; ragged ids with
        concat.
      ValueError: the lists differ in length, or a max_norm is not above 0.
      tf.errors.InvalidArgumentError: shapes that are to be concatenated differ; a
        ValueError where a graph knows them.

    >>> users = EmbeddingVariable(dim=2, initializer="ones", name="many_users")
    >>> items = EmbeddingVariable(dim=4, initializer="ones", name="many_items")
    >>> found = embedding_lookup_many([users, items], [[7, 8, 9], [[1], [2]]])
    >>> [vectors.shape.as_list() for vectors in found]
    [[3, 2], [2, 1, 4]]
    >>> embedding_lookup_many([users, items], [[7, 8], [1, 2]], concat=True).shape.as_list()
    [2, 6]
    """
    n = len(variables)
    if max_norms is None:
        max_norms = [None] * n
    if not (n and n == len(ids) == len(max_norms)):
        raise ValueError(
            f"variables, ids and max_norms have {n}, {len(ids)} and {len(max_norms)} entries; all "
            "need one for each feature, and one feature at least"
        )
    for max_norm in max_norms:
        config.check_max_norm(max_norm)
    variables = [_variable(variable, "variables") for variable in variables]
    keys = [inputs.to_keys(part) for part in ids]
    if any(isinstance(part, tf.SparseTensor) for part in keys):
        raise TypeError("ids has a SparseTensor; use embedding_lookup_sparse")
    if concat and any(isinstance(part, tf.RaggedTensor) for part in keys):
        raise TypeError("ids has a RaggedTensor; vectors of dense ids can be put side by side")
    dense = [part.flat_values if isinstance(part, tf.RaggedTensor) else part for part in keys]
    features = list(zip(variables, dense, max_norms))
    fused = [f for f in features if f[0].num_parts == 1 and f[2] is None]
    if concat and len(fused) == n:
        return _lookup_many(fused, name, concat=True)[0]
    values = iter(_lookup_many(fused, name) if fused else [])
    found: List[Any] = []
    for variable, part, max_norm in features:
        if max_norm is not None:
            found.append(_lookup_clipped(variable, part, max_norm))
        else:
            found.append(next(values) if variable.num_parts == 1 else variable.sparse_read(part))
    if concat:
        return tf.concat(found, axis=-1)
    return [
        part.with_flat_values(vectors) if isinstance(part, tf.RaggedTensor) else vectors
        for part, vectors in zip(keys, found)
    ]


def _lookup_many(
    features: Sequence[Any], name: Optional[str], concat: bool = False
) -> List[tf.Tensor]:
    """Features (variable, keys, _) of variables in one piece, in one op; concat: one tensor."""
    refuse_xla()
    variables = [feature[0] for feature in features]
    for variable in variables:
        resource_variable_ops.variable_accessed(variable)
    with gradients.through_cond():
        values = ops.tf_embedding_lookup_many(
            handles=[variable.handle for variable in variables],
            keys=[feature[1] for feature in features],
            dims=[variable.dim for variable in variables],
            num_values=1 if concat else len(variables),
            name=name,
        )
    return list(values)


def _lookup_clipped(variable: EmbeddingVariable, keys: tf.Tensor, max_norm: float) -> tf.Tensor:
    """Clipping is pooling by the sum over bags of one."""
    flat = tf.reshape(keys, [-1])
    bags = Bags(flat, tf.range(tf.size(flat, out_type=tf.int64) + 1), None)
    (vectors,) = pooled_lookup([variable], [bags], ["sum"], [max_norm])
    vectors = tf.reshape(vectors, tf.concat([tf.shape(keys), [variable.dim]], axis=0))
    vectors.set_shape(keys.shape.concatenate([variable.dim]))
    return vectors


def pooled_lookup(
    variables: Sequence[EmbeddingVariable],
    bags: Sequence[Bags],
    combiners: Sequence[str],
    max_norms: Optional[Sequence[Optional[float]]] = None,
    name: Optional[str] = None,
    *,
    concat: bool = False,
) -> Any:
    """Looks up and combines many features in one op.

    Args:
      variables: the table of each feature; one may appear several times.
      bags: the bags of each feature.
      combiners: "sum", "mean" or "sqrtn" for each feature.
      max_norms: for each feature None, or the L2 norm that each vector is clipped to
        first. None for no clipping at all.
      name: of the op.
      concat: whether to put the vectors of all features side by side. Where each bag
        is known to be one id it saves the pass through memory of a `tf.concat`.

    Returns:
      For each feature float32 [num_bags, dim], a list; an empty bag gives zeros. With
      concat float32 [num_bags, sum of dims]. Differentiable in the variables and the
      weights.

    Raises:
      ValueError: the lists differ in length, or an entry is out of its range.

    >>> ev = EmbeddingVariable(dim=2, initializer="ones", name="pooled_example")
    >>> bags = inputs.to_bags(tf.ragged.constant([[1, 2, 3], []]))
    >>> pooled_lookup([ev], [bags], ["sum"])[0].numpy().tolist()
    [[3.0, 3.0], [0.0, 0.0]]
    """
    n = len(variables)
    if max_norms is None:
        max_norms = [None] * n
    if not (n and n == len(bags) == len(combiners) == len(max_norms)):
        raise ValueError(
            f"variables, bags, combiners and max_norms have {n}, {len(bags)}, {len(combiners)} "
            f"and {len(max_norms)} entries; all need one for each feature, and one feature at least"
        )
    for combiner in combiners:
        config.check_combiner(combiner)
    for max_norm in max_norms:
        config.check_max_norm(max_norm)
    refuse_xla()
    variables = [_variable(variable, "variables") for variable in variables]
    for variable in variables:
        resource_variable_ops.variable_accessed(variable)
    features = list(zip(variables, bags, combiners, [max_norm or 0.0 for max_norm in max_norms]))
    fused = [feature for feature in features if feature[0].num_parts == 1]
    if concat and len(fused) == n and _are_vectors(features):
        return _lookup_many(_as_keys(features), name, concat=True)[0]
    values = iter(_lookup_pooled(fused, name) if fused else [])
    pooled = [
        next(values) if feature[0].num_parts == 1 else _pool_parts(feature, name)
        for feature in features
    ]
    return tf.concat(pooled, axis=1) if concat else pooled


_Feature = Tuple[EmbeddingVariable, Bags, str, float]


def _are_vectors(features: Sequence[_Feature]) -> bool:
    """Whether each bag is one key, and its combination that key's vector."""
    return all(bag.one_each and bag.weights is None and norm == 0 for _, bag, _, norm in features)


def _as_keys(features: Sequence[_Feature]) -> List[Any]:
    """Such features as those of `_lookup_many`."""
    return [(variable, bags.keys, None) for variable, bags, _, _ in features]


def _weights(bags: Bags) -> tf.Tensor:
    return tf.zeros([0], tf.float32) if bags.weights is None else bags.weights


def _lookup_pooled(features: Sequence[_Feature], name: Optional[str]) -> List[tf.Tensor]:
    """Features of variables in one piece, in one op."""
    if _are_vectors(features):
        return _lookup_many(_as_keys(features), name)
    variables, bags, combiners, max_norms = zip(*features)
    with gradients.through_cond():
        values, _ = ops.tf_embedding_lookup_pooled(
            handles=[variable.handle for variable in variables],
            keys=[bag.keys for bag in bags],
            row_splits=[bag.row_splits for bag in bags],
            weights=[_weights(bag) for bag in bags],
            dims=[variable.dim for variable in variables],
            combiners=list(combiners),
            max_norms=list(max_norms),
            # The gradients of weights and of clipping need the vectors themselves.
            keep_rows=[bag.weights is not None or norm > 0 for _, bag, _, norm in features],
            name=name,
        )
    return list(values)


def _pool_parts(feature: _Feature, name: Optional[str]) -> tf.Tensor:
    """A feature of a variable in parts: its rows come first, then they are combined."""
    variable, bags, combiner, max_norm = feature
    return ops.tf_embedding_pool(
        rows=variable.sparse_read(bags.keys),
        row_splits=bags.row_splits,
        weights=_weights(bags),
        combiner=combiner,
        max_norm=max_norm,
        name=name,
    )


def embedding_lookup_sparse(
    params: Any,
    sp_ids: Any,
    sp_weights: Any = None,
    combiner: Optional[str] = "mean",
    max_norm: Optional[float] = None,
    name: Optional[str] = None,
) -> tf.Tensor:
    """Combines the vectors of each row of ids, as `tf.nn.embedding_lookup_sparse`.

    Args:
      params: an EmbeddingVariable, or a list of one.
      sp_ids: int64, int32 or string ids: sparse or ragged, [batch, n].
      sp_weights: None, or float weights of the same structure.
      combiner: "sum", "mean" or "sqrtn"; None means "mean", as in TensorFlow.
      max_norm: if given, each vector is first clipped to this L2 norm.
      name: of the op.

    Returns:
      float32 [batch, dim]; a row without ids gives zeros.

    Raises:
      TypeError: an argument is of another type.
      ValueError: combiner or max_norm is out of its range.
      tf.errors.InvalidArgumentError: sparse ids are not sorted by row.

    >>> ev = EmbeddingVariable(dim=2, initializer="ones", name="sparse_example")
    >>> ids = tf.sparse.from_dense([[1, 2], [3, 0]])
    >>> embedding_lookup_sparse(ev, ids, combiner="sum").numpy().tolist()
    [[2.0, 2.0], [1.0, 1.0]]
    """
    variable = _variable(params)
    if not isinstance(sp_ids, (tf.SparseTensor, tf.RaggedTensor)):
        raise TypeError(
            f"sp_ids is {type(sp_ids).__name__}; it must be a SparseTensor or a RaggedTensor"
        )
    bags = inputs.to_bags(sp_ids, sp_weights)
    (values,) = pooled_lookup([variable], [bags], [combiner or "mean"], [max_norm], name=name)
    return values


def safe_embedding_lookup_sparse(
    embedding_weights: Any,
    sparse_ids: Any,
    sparse_weights: Any = None,
    combiner: str = "mean",
    default_id: Optional[int] = None,
    max_norm: Optional[float] = None,
    name: Optional[str] = None,
) -> tf.Tensor:
    """As `embedding_lookup_sparse`, for input that may have empty rows and idle weights.

    Like `tf.nn.safe_embedding_lookup_sparse` it leaves out ids whose weight is not
    above 0 (unless the combiner is "sum"), gives a row without ids the vector of
    default_id, or zeros, and takes ids of any rank. Unlike it, it keeps negative ids:
    every int64 is a key, and half of all hashed strings are negative. The stock
    function, called on an embedding variable, leaves them out, as it documents.

    Args:
      embedding_weights: an EmbeddingVariable, or a list of one.
      sparse_ids: int64, int32 or string ids: sparse [d0, ..., n] or ragged [batch, None].
      sparse_weights: None, or float weights of the same structure.
      combiner: "sum", "mean" or "sqrtn".
      default_id: the key whose vector an empty row gets; None for zeros.
      max_norm: if given, each vector is first clipped to this L2 norm.
      name: of the op.

    Returns:
      float32 [d0, ..., dim].

    Raises:
      As `embedding_lookup_sparse`.

    >>> ev = EmbeddingVariable(dim=1, initializer="ones", name="safe_example")
    >>> ids = tf.SparseTensor([[0, 0]], tf.constant([-7], tf.int64), [2, 1])
    >>> safe_embedding_lookup_sparse(ev, ids).numpy().tolist()
    [[1.0], [0.0]]
    """
    variable = _variable(embedding_weights, "embedding_weights")
    outer = None
    if isinstance(sparse_ids, tf.SparseTensor):
        outer = sparse_ids.dense_shape[:-1]
        shape = tf.stack([tf.reduce_prod(outer), sparse_ids.dense_shape[-1]])
        sparse_ids = tf.sparse.reshape(sparse_ids, shape)
        if isinstance(sparse_weights, tf.SparseTensor):
            sparse_weights = tf.sparse.reshape(sparse_weights, shape)
    elif not isinstance(sparse_ids, tf.RaggedTensor):
        raise TypeError(
            f"sparse_ids is {type(sparse_ids).__name__}; it must be a SparseTensor or a "
            "RaggedTensor"
        )
    bags = inputs.to_bags(sparse_ids, sparse_weights)
    if bags.weights is not None and combiner != "sum":
        bags = _drop(bags, bags.weights > 0)
    if default_id is not None:
        bags = _fill_empty(bags, default_id)
    (values,) = pooled_lookup([variable], [bags], [combiner], [max_norm], name=name)
    if outer is not None:
        values = tf.reshape(values, tf.concat([outer, [variable.dim]], axis=0))
    return values


def _bag_of_each(splits: tf.Tensor) -> tf.Tensor:
    """The number of the bag that each key is in."""
    lengths = splits[1:] - splits[:-1]
    return tf.repeat(tf.range(tf.size(lengths, out_type=tf.int64)), lengths)


def _drop(bags: Bags, keep: tf.Tensor) -> Bags:
    """The bags without the keys that are not to be kept."""
    bag_of = tf.boolean_mask(_bag_of_each(bags.row_splits), keep)
    num_bags = tf.size(bags.row_splits, out_type=tf.int64) - 1
    weights = None if bags.weights is None else tf.boolean_mask(bags.weights, keep)
    return Bags(tf.boolean_mask(bags.keys, keep), inputs.row_splits(bag_of, num_bags), weights)


def _fill_empty(bags: Bags, default_id: int) -> Bags:
    """The bags, with default_id, of weight 1, in those that have no key."""
    lengths = bags.row_splits[1:] - bags.row_splits[:-1]
    empty = lengths == 0
    splits = tf.concat([[0], tf.cumsum(tf.where(empty, tf.ones_like(lengths), lengths))], axis=0)
    # Where each old key went: moved on by the empty bags before it.
    moved = tf.cumsum(tf.cast(empty, tf.int64))
    places = tf.range(tf.size(bags.keys, out_type=tf.int64))
    places += tf.gather(moved, _bag_of_each(bags.row_splits))
    total = splits[-1:]

    def spread(values: tf.Tensor, default: Any) -> tf.Tensor:
        filled = tf.fill(total, tf.cast(default, values.dtype))
        return tf.tensor_scatter_nd_update(filled, places[:, tf.newaxis], values)

    weights = None if bags.weights is None else spread(bags.weights, 1.0)
    return Bags(spread(bags.keys, default_id), splits, weights)


def _register_dispatch() -> None:
    """Directs the stock lookups of an embedding variable here.

    TensorFlow calls a handler that is registered for the types of the arguments
    instead of its own code, by a public mechanism; nothing is patched.
    """
    one_or_list = Union[EmbeddingVariable, List[EmbeddingVariable]]
    # TensorFlow has handlers of its own for ragged ids, on the v1 functions; two
    # that match would be an error. Its handler of a plain lookup ends up here
    # with the flat ids.
    dense = Union[tf.types.experimental.TensorLike, tf.Variable]

    def register(
        api: Callable[..., Any], handler: Callable[..., Any], types: dict[str, Any]
    ) -> None:
        # A handler must have the very signature of the API.
        signature = inspect.signature(api)
        arguments = ", ".join(
            name if p.default is p.empty else f"{name}={p.default!r}"
            for name, p in signature.parameters.items()
        )
        values = ", ".join(f"{name}={name}" for name in signature.parameters)
        namespace: dict[str, Any] = {"handler": handler}
        exec(f"def dispatched({arguments}): return handler(dict({values}))", namespace)
        tf.experimental.dispatch_for_api(api, types)(namespace["dispatched"])

    def lookup(arguments: dict[str, Any]) -> Any:
        return embedding_lookup(
            arguments["params"],
            arguments["ids"],
            max_norm=arguments["max_norm"],
            name=arguments["name"],
        )

    def lookup_sparse(arguments: dict[str, Any]) -> tf.Tensor:
        return embedding_lookup_sparse(
            arguments["params"],
            arguments["sp_ids"],
            arguments["sp_weights"],
            combiner=arguments["combiner"],
            max_norm=arguments["max_norm"],
            name=arguments["name"],
        )

    def safe_lookup_ragged(arguments: dict[str, Any]) -> tf.Tensor:
        ids, weights = arguments["sparse_ids"], arguments["sparse_weights"]
        # What the stock function does first.
        valid = ids >= 0
        return safe_embedding_lookup_sparse(
            arguments["embedding_weights"],
            tf.ragged.boolean_mask(ids, valid),
            None if weights is None else tf.ragged.boolean_mask(weights, valid),
            combiner=arguments["combiner"],
            default_id=arguments["default_id"],
            max_norm=arguments["max_norm"],
            name=arguments["name"],
        )

    dispatch.register_dispatchable_type(EmbeddingVariable)
    register(tf.nn.embedding_lookup, lookup, {"params": one_or_list})
    register(tf.compat.v1.nn.embedding_lookup, lookup, {"params": one_or_list, "ids": dense})
    register(tf.nn.embedding_lookup_sparse, lookup_sparse, {"params": one_or_list})
    register(
        tf.compat.v1.nn.embedding_lookup_sparse,
        lookup_sparse,
        {"params": one_or_list, "sp_ids": tf.SparseTensor},
    )
    register(
        tf.nn.safe_embedding_lookup_sparse,
        safe_lookup_ragged,
        {"embedding_weights": one_or_list, "sparse_ids": tf.RaggedTensor},
    )


_register_dispatch()
