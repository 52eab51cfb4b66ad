# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""The insertion experiment with TFRA's table."""

from __future__ import annotations

from typing import Any

import draws
import growth_tf
import tables_tfra
import tensorflow as tf
from spec import Spec


def insert_tfra(spec: dict[str, Any]) -> dict[str, Any]:
    """Rows of a table that grows, by upsert, without slots."""
    s = Spec(**spec)
    keys = draws.keys(s.keys)

    def inserter(name: str) -> Any:
        variable = tables_tfra.de.get_variable(name, dim=s.dim, initializer=0.0, devices=["/CPU:0"])

        @tf.function
        def upsert(ids: tf.Tensor, values: tf.Tensor) -> None:
            variable.upsert(ids, values)

        return upsert

    growth_tf.warm(inserter("warm"), s.dim, s.batch)
    result = growth_tf.insert_all(inserter("grown"), keys, s.batch, s.dim)
    return {**result, "row": s.dim * 4}


EXPERIMENTS = {**growth_tf.EXPERIMENTS, "insert_tfra": insert_tfra}
