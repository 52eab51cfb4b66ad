# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Benchmark "fit": a Keras model trained by model.fit."""

from __future__ import annotations

import measure
import tables
from contest import Contestant, compete
from report import Context, Report, Section
from spec import FIELDS, STEPS, Spec

TABLES = "te EmbeddingTables"
STOCK = "keras Embedding x 26"
DENSE = "dense part alone"
GRADIENT = "dense part, gradients of vectors"
BY_KEY = "ids alone, floor by key"
_NAMES = {
    TABLES: "tables",
    "te Embedding x 26": "layers",
    STOCK: "stock_layers",
    "te Embedding, one": "one_layer",
    "keras Embedding, one": "stock_one_layer",
    DENSE: "dense",
    GRADIENT: "dense_gradient",
}
# Contestants of any benchmark that no table can beat.
LIMITS = (tables.FLOOR.title, tables.BY_KEY.title, DENSE, GRADIENT, BY_KEY)
# Rules that the floor has.
FLOOR_RULES = ("adagrad", "adam")


def _memory(spec: Spec) -> float:
    # A row and two slots, once more while a dense update is computed.
    return spec.keys * spec.dim * 4.0 * 4


def _dense_memory(spec: Spec) -> float:
    return STEPS * spec.batch * FIELDS * spec.dim * 4.0 * 2


CONTESTANTS = [
    Contestant(
        title, "tf", "fit_tf", name, _dense_memory if title in (DENSE, GRADIENT) else _memory
    )
    for title, name in _NAMES.items()
]
_RATIOS = (
    (TABLES, STOCK),
    ("te Embedding x 26", STOCK),
    ("te Embedding, one", "keras Embedding, one"),
    (TABLES, DENSE),
)


def _contestants(context: Context, spec: Spec) -> list[Contestant]:
    """All, or those that the bars are about."""
    ids = {"work": "train", "batch": FIELDS * spec.batch}
    floor = [Contestant(BY_KEY, "tf", "tables_floor", "steps_by_key", _memory, ids)]
    if spec.rule not in FLOOR_RULES:
        floor = []
    if not context.bars:
        return CONTESTANTS + floor
    wanted = (TABLES, STOCK, DENSE, GRADIENT) if spec.keys == 1_000_000 else (TABLES,)
    return [contestant for contestant in CONTESTANTS if contestant.title in wanted] + floor


def run(context: Context) -> Report:
    """Adagrad, FTRL and Adam over three sizes."""
    rules = ("adagrad",) if context.quick else ("adagrad", "ftrl", "adam")
    sizes = (26_000,) if context.quick else (100_000, 1_000_000, 10_000_000)
    batch = 512 if context.quick else 4096
    rows, csv_rows = [], []
    for rule in rules:
        for keys in sizes:
            spec = Spec("fit", rule, keys=keys, batch=batch)
            context.progress(f"{spec}")
            results = compete(
                context.workers,
                _contestants(context, spec),
                spec,
                min(context.turns, 5),
                context.seconds,
                units=STEPS * batch,
            )
            line = [rule, measure.count(keys), str(spec.threads)]
            for title in (*_NAMES, BY_KEY):
                result = results.get(title)
                if result is None:
                    line.append("-")
                elif result.rates:
                    thousands = [rate / 1e3 for rate in result.rates]
                    line.append(measure.spread(measure.summarize(thousands)))
                else:
                    line.append(f"**{result.note}**")
            line += [
                tables.ratio(results[a], results[b]) if a in results and b in results else "-"
                for a, b in _RATIOS
            ]
            rows.append(line)
            csv_rows += [tables.csv_row(spec, t, r, results[TABLES]) for t, r in results.items()]
    head = ["optimizer", "ids in all", "threads", *_NAMES, BY_KEY]
    head += [f"{a} / {b}" for a, b in _RATIOS]
    return Report(
        "fit",
        "model.fit, thousands of examples/s",
        f"{FIELDS} features of dim 16, batches of {batch:,}, an MLP of 64, 32 and 1 units. A table "
        "for each feature, or one for all. The dense part alone is fed with vectors: no model can "
        "be faster. The same with vectors by feature and the gradient of each is what any table "
        "needs of it; the floor by key only finds and trains the ids. Keras' layers are compiled "
        "as Keras chooses (jit_compile='auto').",
        [Section("", head, rows)],
        csv_rows,
    )
