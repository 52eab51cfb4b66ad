# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the results are held against: each bar, what was measured, met or missed.

    python benchmarks/bars.py

Reads the CSV files of the last runs. Unless a line says otherwise: dim 16, batches
of 65,536 uniform ids, 1e6 keys, 2 threads; ratios are of medians in alternating
turns.

Where a floor was measured in the same turns (README.md), a bar has its value too:
what it would be if the table were as fast as the floor.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from typing import Callable, Mapping, Optional

import fit
import measure
from report import RESULTS

Rows = list[dict[str, str]]
_Values = Callable[[Mapping[str, Rows]], Mapping[str, float]]


@dataclasses.dataclass(frozen=True)
class Bar:
    """One bar.

    Attributes:
      benchmark: of run.py, that measures it.
      work: what is measured.
      says: the bar in words.
      limit: the least value that meets it; with at_most the greatest.
      measured: from the results by name, values of which all must meet it.
      at_most: which way it goes.
      floor: likewise, with the floor in the table's place; None where there is none.
    """

    benchmark: str
    work: str
    says: str
    limit: float
    measured: _Values
    at_most: bool = False
    floor: Optional[_Values] = None


def _find(rows: Rows, **wanted: object) -> dict[str, str]:
    found = [r for r in rows if all(r.get(k) == str(v) for k, v in wanted.items())]
    if len(found) != 1:
        raise LookupError("no such line in the results")
    return found[0]


def _value(row: dict[str, str], field: str) -> float:
    if not row.get(field):
        raise LookupError(row.get("note") or f"no {field}")
    return float(row[field])


BASE = {"keys": 1_000_000, "dim": 16, "batch": 65536, "zipf": 0.0, "threads": 2}


def _peer(benchmark: str, contestant: str) -> _Values:
    def measured(results: Mapping[str, Rows]) -> Mapping[str, float]:
        row = _find(results[benchmark], contestant=contestant, rule="adagrad", **BASE)
        return {"": _value(row, "ratio_of_medians")}

    return measured


def _rate(results: Mapping[str, Rows], benchmark: str, contestant: str) -> float:
    row = _find(results[benchmark], contestant=contestant, rule="adagrad", **BASE)
    return _value(row, "median")


def _floor(benchmark: str, peer: str) -> _Values:
    def measured(results: Mapping[str, Rows]) -> Mapping[str, float]:
        ours = _rate(results, benchmark, "floor, by key")
        return {"": ours / _rate(results, benchmark, peer)}

    return measured


def _scaling(*names: str, field: str = "ratio_of_medians") -> _Values:
    def measured(results: Mapping[str, Rows]) -> Mapping[str, float]:
        rows = [_find(results["scaling"], name=name) for name in names]
        return {r["title"].split(" / ")[0]: _value(r, field) for r in rows}

    return measured


def _fit_rate(results: Mapping[str, Rows], title: str, rule: str, keys: int) -> float:
    return _value(_find(results["fit"], contestant=title, rule=rule, keys=keys), "median")


_RULES = ("adagrad", "ftrl", "adam")


def _fit(peer: str) -> _Values:
    def measured(results: Mapping[str, Rows]) -> Mapping[str, float]:
        return {
            rule: _fit_rate(results, fit.TABLES, rule, 1_000_000)
            / _fit_rate(results, peer, rule, 1_000_000)
            for rule in _RULES
        }

    return measured


def _fit_floor_rate(results: Mapping[str, Rows], rule: str, keys: int) -> float:
    """The dense part with gradients of vectors, and then the ids by the floor by key."""
    dense = _fit_rate(results, fit.GRADIENT, rule, 1_000_000)
    return 1 / (1 / dense + 1 / _fit_rate(results, fit.BY_KEY, rule, keys))


def _fit_floor(peer: str) -> _Values:
    def measured(results: Mapping[str, Rows]) -> Mapping[str, float]:
        return {
            rule: _fit_floor_rate(results, rule, 1_000_000)
            / _fit_rate(results, peer, rule, 1_000_000)
            for rule in fit.FLOOR_RULES
        }

    return measured


def _sizes(rate: Callable[[int], float]) -> float:
    rates = [rate(keys) for keys in (100_000, 1_000_000, 10_000_000)]
    return max(rates) / min(rates)


def _fit_sizes(results: Mapping[str, Rows]) -> Mapping[str, float]:
    return {
        rule: _sizes(lambda keys, rule=rule: _fit_rate(results, fit.TABLES, rule, keys))
        for rule in _RULES
    }


def _fit_floor_sizes(results: Mapping[str, Rows]) -> Mapping[str, float]:
    return {
        rule: _sizes(lambda keys, rule=rule: _fit_floor_rate(results, rule, keys))
        for rule in fit.FLOOR_RULES
    }


def _insert(field: str, contestant: str = "tf_embedding") -> _Values:
    def measured(results: Mapping[str, Rows]) -> Mapping[str, float]:
        row = _find(results["insert"], contestant=contestant, threads=2)
        return {"": _value(row, field)}

    return measured


def _memory(results: Mapping[str, Rows]) -> Mapping[str, float]:
    row = _find(results["insert"], contestant="tf_embedding", threads=2)
    return {
        "memory_usage()": _value(row, "counted_beyond_row"),
        "resident": _value(row, "resident_beyond_row"),
    }


def _many(results: Mapping[str, Rows]) -> Mapping[str, float]:
    rows = [
        r
        for r in results["many"]
        if (r["contestant"], r["tables"], r["threads"]) == ("one by one", "26", "2")
    ]
    if not rows:
        raise LookupError("no lines")
    names = {"True": ", side by side", "False": ""}
    return {
        f"{int(r['batch']) // 26:,} ids each{names[r['concat']]}": _value(r, "ratio_of_medians")
        for r in rows
    }


BARS = (
    Bar(
        "lookup",
        "lookup",
        ">= 1.1x FBGEMM's static lookup",
        1.1,
        _peer("lookup", "FBGEMM"),
        floor=_floor("lookup", "FBGEMM"),
    ),
    Bar(
        "lookup",
        "lookup",
        ">= 1.7x tf.Variable",
        1.7,
        _peer("lookup", "tf.Variable"),
        floor=_floor("lookup", "tf.Variable"),
    ),
    Bar(
        "lookup",
        "lookup",
        ">= 10x TFRA's table",
        10,
        _peer("lookup", "TFRA"),
        floor=_floor("lookup", "TFRA"),
    ),
    Bar(
        "train",
        "lookup + gradient + Adagrad",
        ">= 1.3x FBGEMM's row-wise Adagrad",
        1.3,
        _peer("train", "FBGEMM, row-wise"),
        floor=_floor("train", "FBGEMM, row-wise"),
    ),
    Bar(
        "train",
        "lookup + gradient + Adagrad",
        ">= 3.5x tf.Variable",
        3.5,
        _peer("train", "tf.Variable"),
        floor=_floor("train", "tf.Variable"),
    ),
    Bar(
        "train",
        "lookup + gradient + Adagrad",
        ">= 15x TFRA's layer",
        15,
        _peer("train", "TFRA"),
        floor=_floor("train", "TFRA"),
    ),
    Bar("scaling", "FTRL, Adam", ">= 0.7x Adagrad's rate", 0.7, _scaling("ftrl", "adam")),
    Bar(
        "scaling",
        "3e7 keys",
        ">= 0.6x of 1e6 keys",
        0.6,
        _scaling("lookup_keys", "train_keys"),
        floor=_scaling("lookup_keys", "train_keys", field="floor_ratio_of_medians"),
    ),
    Bar(
        "fit",
        "fit, 1e6 ids",
        ">= 3x keras.layers.Embedding",
        3,
        _fit(fit.STOCK),
        floor=_fit_floor(fit.STOCK),
    ),
    Bar(
        "fit",
        "fit",
        "1e5 to 1e7 ids within 1.3x",
        1.3,
        _fit_sizes,
        at_most=True,
        floor=_fit_floor_sizes,
    ),
    Bar(
        "fit",
        "fit, 1e6 ids",
        ">= 0.7x of the dense part alone",
        0.7,
        _fit(fit.DENSE),
        floor=_fit_floor(fit.DENSE),
    ),
    Bar(
        "insert",
        "insert 3e7 keys",
        ">= 10 M rows/s",
        10,
        _insert("rate"),
        floor=_insert("rate", "floor"),
    ),
    Bar(
        "insert",
        "insert 3e7 keys",
        "longest batch <= 10x the median",
        10,
        _insert("longest_over_median"),
        at_most=True,
    ),
    Bar(
        "insert", "memory, 3e7 keys", "<= 16 bytes a key beyond the row", 16, _memory, at_most=True
    ),
    Bar(
        "insert",
        "memory, growth to 3e7 keys",
        "peak <= 1.3x the end",
        1.3,
        _insert("peak_over_end"),
        at_most=True,
    ),
    Bar(
        "scaling",
        "2 threads",
        ">= 1.8x one",
        1.8,
        _scaling("lookup_threads", "train_threads"),
        floor=_scaling("lookup_threads", "train_threads", field="floor_ratio_of_medians"),
    ),
    Bar("many", "26 tables at once", ">= 2x one by one", 2, _many),
)


def _text(values: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {measure.number(v)}".strip() for name, v in values.items())


def judge(bar: Bar, results: Mapping[str, Rows]) -> tuple[str, Optional[bool]]:
    """What was measured, as text, and whether the bar is met; None where it was not measured."""
    try:
        values = bar.measured(results)
    except (LookupError, KeyError) as error:
        return f"not measured ({str(error.args[0])})", None
    meets = [v <= bar.limit if bar.at_most else v >= bar.limit for v in values.values()]
    return _text(values), all(meets)


def floor(bar: Bar, results: Mapping[str, Rows]) -> str:
    """The value that the floor would have, as text; "-" where there is none."""
    try:
        return "-" if bar.floor is None else _text(bar.floor(results))
    except (LookupError, KeyError):
        return "-"


def table(results: Mapping[str, Rows]) -> str:
    """All bars as a Markdown table."""
    words = {True: "met", False: "**missed**", None: "**not measured**"}
    rows = []
    for bar in BARS:
        text, meets = judge(bar, results)
        command = f"`run.py {bar.benchmark}`"
        rows.append([bar.work, bar.says, text, words[meets], floor(bar, results), command])
    head = ["work", "bar", "measured", "", "at the floor's speed", "command"]
    return measure.markdown(head, rows)


def load(folder: str = RESULTS) -> dict[str, Rows]:
    """All CSV files of a folder, by name."""
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return {
        name[: -len(".csv")]: measure.read_csv(os.path.join(folder, name))
        for name in names
        if name.endswith(".csv")
    }


if __name__ == "__main__":
    print(table(load(*sys.argv[1:2])))
