# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is to be measured, as driver and workers tell each other."""

from __future__ import annotations

import dataclasses
from typing import Any

# Of "fit": features, and steps in a call.
FIELDS = 26
STEPS = 10

SLOTS = {"sgd": 0, "adagrad": 1, "rowwise_adagrad": 0, "ftrl": 2, "adam": 2}


@dataclasses.dataclass(frozen=True)
class Spec:
    """One line of a table.

    Attributes:
      work: "lookup"; "train" (lookup, gradient = 2 x the rows, update); "pooled"; "many".
      rule: the optimizer of "train"; "lookup" reads rows that it trained, slots beside them.
      keys: rows in the table, or in all tables together.
      dim: values in a row.
      batch: ids in a batch, over all bags or tables.
      zipf: exponent of the ids' distribution; 0 for uniform.
      threads: that a contestant may use; it is also bound to as many CPUs.
      bag: ids in a bag of "pooled".
      combiner: of "pooled".
      weighted: whether each id of "pooled" has a weight.
      tables: how many tables "many" reads.
      concat: whether "many" puts their vectors side by side.
    """

    work: str
    rule: str = "adagrad"
    keys: int = 1_000_000
    dim: int = 16
    batch: int = 65536
    zipf: float = 0.0
    threads: int = 2
    bag: int = 1
    combiner: str = "sum"
    weighted: bool = False
    tables: int = 1
    concat: bool = False

    def to_dict(self) -> dict[str, Any]:
        """For JSON and CSV."""
        return dataclasses.asdict(self)

    @property
    def row_bytes(self) -> int:
        """A row with the slots of its rule."""
        return self.dim * 4 * (1 + SLOTS[self.rule])
