# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which rows are given back, and when: the kinds of `evict_option`.

Rules look at one row alone: `GlobalStepEvict`, `TimeEvict`, `L2WeightEvict`,
`FrequencyEvict`. A bound, `CapacityEvict`, limits how many rows there are. A variable
may have one of each: `evict_option=[GlobalStepEvict(4000), CapacityEvict(10**6)]`.

When a rule is asked is its field `when`:

* "apply": in the background of updates. Each update sweeps a slice of the rows,
  about twice as many as it has keys, so that all rows are asked once in as many
  updates as touch half of them. A row that was updated in the step at hand is never
  taken. All rows are asked before a save, too (but by `FrequencyEvict`).
* "save": of all rows before a save: checkpoints, Keras files, SavedModels.
* "request": never by itself.

`EmbeddingVariable.evict()` asks all rules of all rows. A row goes whole, optimizer
state and all, and its memory goes back to the system; its key is born again when it
is trained again.

Source: DeepRec (https://github.com/DeepRec-AI/DeepRec) for steps and norm, which it
asks at saves; the others are of this package.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Optional, Sequence, Union

from tf_embedding import _fields

WHENS = ("apply", "save", "request")
ORDERS = ("lru", "lfu", "version")


@dataclasses.dataclass(frozen=True)
class GlobalStepEvict:
    """Rows go when they were last updated more than steps_to_live steps ago.

    Attributes:
      steps_to_live: steps, 1 or more.
      when: "apply", "save" or "request", see `tf_embedding.eviction`.

    >>> GlobalStepEvict(steps_to_live=4000).when
    'apply'
    """

    steps_to_live: int
    when: str = "apply"

    def __post_init__(self) -> None:
        _fields.integer(self, "steps_to_live", 1)
        _fields.choice(self, "when", *WHENS)


@dataclasses.dataclass(frozen=True)
class TimeEvict:
    """Rows go when they were last updated more than so many seconds ago.

    Rows keep steps, not times: the table notes when steps begin, 64 times in the given
    seconds, so a row may live a 64th longer. Steps must move on; without a step that
    moves nothing is old. What was noted is in no checkpoint: restored rows live as if
    they had been updated when training goes on.

    Attributes:
      seconds: above 0, at most 1e12.
      when: "apply", "save" or "request", see `tf_embedding.eviction`.

    >>> TimeEvict(seconds=14 * 86400).seconds
    1209600
    """

    seconds: float
    when: str = "apply"

    def __post_init__(self) -> None:
        _fields.number(self, "seconds", 1e-6, 1e12)
        _fields.choice(self, "when", *WHENS)


@dataclasses.dataclass(frozen=True)
class L2WeightEvict:
    """Rows go when half the squared L2 norm of their vector is below a threshold.

    A row that was born a moment ago is near its initial vector: with "apply" it may go
    before it has learnt.

    Attributes:
      l2_weight_threshold: 0 or more; 0 takes no row.
      when: "apply", "save" or "request", see `tf_embedding.eviction`.

    >>> L2WeightEvict(l2_weight_threshold=0.9).when
    'save'
    """

    l2_weight_threshold: float
    when: str = "save"

    def __post_init__(self) -> None:
        _fields.number(self, "l2_weight_threshold", 0.0, 1e38)
        _fields.choice(self, "when", *WHENS)


@dataclasses.dataclass(frozen=True)
class FrequencyEvict:
    """Rows go when their frequency, which decays, is below a minimum.

    A pass over the rows multiplies each frequency by decay, rounds it down, and takes
    the row if less than min_frequency is left. With "apply" a pass begins with the
    first update whose step has reached the next multiple of every_steps, and goes on
    slice by slice; with the others each save, or each `evict()`, is a pass.

    `frequency()` and LFU order speak of what is left.

    Attributes:
      min_frequency: occurrences, 1 or more.
      decay: 0 to 1; 1 is none.
      every_steps: steps from one pass to the next, 1 or more; for "apply".
      when: "apply", "save" or "request", see `tf_embedding.eviction`.

    >>> FrequencyEvict(min_frequency=2, decay=0.5, every_steps=10_000).when
    'apply'
    """

    min_frequency: int
    decay: float = 1.0
    every_steps: int = 10_000
    when: str = "apply"

    def __post_init__(self) -> None:
        _fields.integer(self, "min_frequency", 1, 2**32 - 1)
        _fields.number(self, "decay", 0.0, 1.0)
        _fields.integer(self, "every_steps", 1)
        _fields.choice(self, "when", *WHENS)


@dataclasses.dataclass(frozen=True)
class CapacityEvict:
    """A bound on the rows: after an update those that are beyond it go, first in order.

    Rows of the update itself are spared, so one with more keys than the bound exceeds
    it until the next. A variable is cut into parts, and a table into shards of 4,096
    keys or more; the bound is dealt out among them, and each keeps its own, in its own
    order. So a bounded variable differs, in the rows near the end of the order, with
    the number of parts; it never differs with the number of threads.

    Orders, of what goes first:

    * "lru": the least recently updated. Told apart are updates, in shards of more than
      1,024 rows as many together as touch a 1,024th of them. Costs 4 bytes a row. A
      restore begins with the order of versions.
    * "lfu": the least frequent; exact below a frequency of 1,024, above it 64 steps to
      a doubling. Of equals, that which was born, or found to be so frequent, first.
    * "version": that whose last update has the lowest step.

    Attributes:
      max_keys: rows, 1 or more; None for no such bound.
      max_bytes: bytes of rows, index and order, as `stats()` counts them, but for what
        an update adds before it takes; None for no such bound.
      order: "lru", "lfu" or "version".

    Raises:
      ValueError: a field is out of its range, or there is no bound.

    >>> CapacityEvict(max_keys=1_000_000).order
    'lru'
    """

    max_keys: Optional[int] = None
    max_bytes: Optional[int] = None
    order: str = "lru"

    def __post_init__(self) -> None:
        if self.max_keys is None and self.max_bytes is None:
            raise ValueError("max_keys and max_bytes of CapacityEvict are None; give one or both")
        for field in ("max_keys", "max_bytes"):
            if getattr(self, field) is not None:
                _fields.integer(self, field, 1)
        _fields.choice(self, "order", *ORDERS)


EvictOption = Union[GlobalStepEvict, TimeEvict, L2WeightEvict, FrequencyEvict, CapacityEvict]
KINDS = (GlobalStepEvict, TimeEvict, L2WeightEvict, FrequencyEvict, CapacityEvict)


def as_tuple(option: Any) -> tuple[EvictOption, ...]:
    """One option, several or None as a tuple of options, at most one of each kind.

    Raises:
      TypeError: there is something else among them.
      ValueError: two are of one kind.
    """
    if option is None:
        return ()
    several = tuple(option) if isinstance(option, (list, tuple)) else (option,)
    for one in several:
        if not isinstance(one, KINDS):
            names = ", ".join(kind.__name__ for kind in KINDS)
            raise TypeError(
                f"evict_option of EmbeddingVariableOption has {one!r}; it must be one or more of "
                f"{names}, or None"
            )
    kinds = [type(one).__name__ for one in several]
    if len(set(kinds)) < len(kinds):
        raise ValueError(
            f"evict_option of EmbeddingVariableOption has {', '.join(kinds)}; give one of each "
            "kind at most"
        )
    return several


def attributes(
    evict_options: Sequence[EvictOption], collect_evicted: int, num_parts: int
) -> dict[str, Any]:
    """Attributes of the op that makes the table of one part.

    Args:
      evict_options: of the variable.
      collect_evicted: rows of the variable.
      num_parts: in how many parts it is; bounds are dealt out evenly.
    """
    of_op: dict[str, Any] = {}
    for option in evict_options:
        if isinstance(option, GlobalStepEvict):
            of_op.update(steps_to_live=option.steps_to_live, steps_when=option.when)
        elif isinstance(option, TimeEvict):
            of_op.update(seconds_to_live=float(option.seconds), seconds_when=option.when)
        elif isinstance(option, L2WeightEvict):
            of_op.update(l2_threshold=float(option.l2_weight_threshold), l2_when=option.when)
        elif isinstance(option, FrequencyEvict):
            of_op.update(
                min_frequency=option.min_frequency,
                frequency_decay=float(option.decay),
                every_steps=option.every_steps,
                frequency_when=option.when,
            )
        else:
            of_op.update(
                max_keys=max(1, option.max_keys // num_parts) if option.max_keys else 0,
                max_bytes=max(1, option.max_bytes // num_parts) if option.max_bytes else 0,
                evict_order=option.order,
            )
    if evict_options:
        of_op["collect_evicted"] = -(-collect_evicted // num_parts)
    return of_op
