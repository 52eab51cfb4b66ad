# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""What tables and features a model has: plain, frozen, checked when made."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from tf_embedding.initializers import InitializerLike
from tf_embedding.options import EmbeddingVariableOption, check, refuse_what_is_missing

COMBINERS = ("sum", "mean", "sqrtn")
MAX_DIM = 4096


def check_dim(dim: Any) -> int:
    """Returns dim; raises ValueError unless it is an int in [1, 4096]."""
    if isinstance(dim, bool) or not hasattr(dim, "__index__"):
        raise ValueError(f"dim is {dim!r}; it must be an integer in [1, {MAX_DIM}]")
    if not 1 <= int(dim) <= MAX_DIM:
        raise ValueError(f"dim is {dim}; it must be in [1, {MAX_DIM}]")
    return int(dim)


def check_combiner(combiner: Any) -> None:
    """Raises ValueError unless combiner is sum, mean or sqrtn."""
    if combiner not in COMBINERS:
        raise ValueError(f"combiner is {combiner!r}; use sum, mean or sqrtn")


def check_max_norm(max_norm: Any) -> None:
    """Raises ValueError unless max_norm is None or above 0."""
    if max_norm is not None and not 0 < max_norm < float("inf"):
        raise ValueError(f"max_norm is {max_norm!r}; it must be above 0, or None for none")


@dataclasses.dataclass(frozen=True, eq=False)
class TableConfig:
    """One table: rows of dim values for any key.

    Features that name the same TableConfig object share its rows. Two configs with
    equal fields are two tables.

    Attributes:
      dim: values in a row, 1 to 4096.
      name: of the variable.
      initializer: see `tf_embedding.initializers.get`.
      seed: of the initial rows; None takes the initializer's own, else one made
        from the name.
      optimizer: a Keras optimizer, or its name, that trains these rows whatever the
        model is compiled with; None takes the model's.
      ev_option: more options, see `tf_embedding.EmbeddingVariableOption`.

    >>> TableConfig(dim=16, name="items").dim
    16
    """

    dim: int
    name: str = "table"
    initializer: InitializerLike = "uniform"
    seed: Optional[int] = None
    optimizer: Any = None
    ev_option: Optional[EmbeddingVariableOption] = None

    def __post_init__(self) -> None:
        check_dim(self.dim)
        refuse_what_is_missing(check(self.ev_option), self.name)
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"name is {self.name!r}; it must be a non-empty string")


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureConfig:
    """One input of a model and the table that it reads.

    Attributes:
      name: the key of the feature in the input dict.
      table: the table; several features may share one.
      combiner: "sum", "mean" or "sqrtn" of the vectors of an example's ids; None
        returns the vectors as they are, [..., dim] for ids [...].
      max_norm: if given, each vector is first clipped to this L2 norm.

    >>> items = TableConfig(dim=8, name="items")
    >>> clicked = FeatureConfig("clicked", items, combiner="mean")
    >>> shown = FeatureConfig("shown", items, combiner=None)
    >>> clicked.table is shown.table
    True
    """

    name: str
    table: TableConfig
    combiner: Optional[str] = "mean"
    max_norm: Optional[float] = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"name is {self.name!r}; it must be a non-empty string")
        if not isinstance(self.table, TableConfig):
            raise ValueError(f"table is {self.table!r}; it must be a TableConfig")
        if self.combiner is not None:
            check_combiner(self.combiner)
        check_max_norm(self.max_norm)


def tables_of(features: Sequence[FeatureConfig]) -> tuple[list[TableConfig], dict[str, int]]:
    """The tables that features read, each once, and which of them each feature reads.

    Args:
      features: the features of a layer.

    Returns:
      The tables, and a dict from feature name to the index of its table.

    Raises:
      ValueError: there is no feature, a name comes twice, or two tables have one name.

    >>> items = TableConfig(dim=8, name="items")
    >>> tables, index = tables_of([FeatureConfig("a", items), FeatureConfig("b", items)])
    >>> len(tables), index
    (1, {'a': 0, 'b': 0})
    """
    names = [feature.name for feature in features]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"features are named {names}; one at least is needed, and no name twice")
    # Configs have no equality but identity.
    tables = list(dict.fromkeys(feature.table for feature in features))
    table_names = [table.name for table in tables]
    if len(set(table_names)) < len(tables):
        raise ValueError(
            f"The tables of features are named {table_names}. Give each its own name, and features "
            "that are to share one the same TableConfig object"
        )
    return tables, {feature.name: tables.index(feature.table) for feature in features}


def check_concat(concat: bool, features: Sequence[FeatureConfig]) -> None:
    """Raises TypeError or ValueError unless concat is a bool that suits the features.

    Args:
      concat: whether the vectors of all features are put side by side.
      features: those; each needs a combiner then, which makes one vector an example.
    """
    if not isinstance(concat, bool):
        raise TypeError(f"concat is {concat!r}; it must be True or False")
    plain = [feature.name for feature in features if feature.combiner is None]
    if concat and plain:
        raise ValueError(
            f"concat=True, but features {plain} have no combiner; vectors are put side by side "
            "where each example has one of each feature: give them a combiner"
        )


def check_inputs(
    layer: str,
    features: Sequence[FeatureConfig],
    ids: Mapping[str, Any],
    weights: Optional[Mapping[str, Any]],
) -> None:
    """Raises ValueError unless every feature has ids, and weights are for pooled ones.

    Args:
      layer: its name, for the error.
      features: what it looks up.
      ids: by feature name; other names are ignored.
      weights: by feature name, or None.
    """
    missing = [feature.name for feature in features if feature.name not in ids]
    if missing:
        raise ValueError(
            f"Layer {layer!r} got no ids for features {missing}; the input has {sorted(ids)}"
        )
    pooled = {feature.name for feature in features if feature.combiner is not None}
    strange = sorted(set(weights or {}) - pooled)
    if strange:
        raise ValueError(
            f"Layer {layer!r} got weights for {strange}, but weights are for features with a "
            f"combiner: {sorted(pooled)}"
        )
