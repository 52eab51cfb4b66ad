# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Benchmarks "insert" (rate, pauses and memory), "concurrent" and "probes"."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from typing import Any

import environments
import measure
import native
from contest import WorkerError
from report import Context, Report, Section
from spec import Spec

_INSERT = (
    ("tf_embedding", "tf", "growth_tf", "insert_table"),
    ("TFRA", "tfra", "growth_tfra", "insert_tfra"),
    ("floor", "tf", "tables_floor", "insert_floor"),
)


def _insert_figures(done: dict[str, Any]) -> dict[str, float]:
    """What the tables say, from one run of the experiment."""
    seconds, keys = done["seconds"], done["keys"]
    figures = {
        "rate": keys / sum(seconds) / 1e6,
        "median_ms": statistics.median(seconds) * 1e3,
        "longest_ms": max(seconds) * 1e3,
        "longest_over_median": max(seconds) / statistics.median(seconds),
        "row_bytes": done["row"],
    }
    if "end" in done:
        grown = done["end"] - done["before"]
        figures["resident_beyond_row"] = grown / keys - done["row"]
        figures["peak_over_end"] = (done["peak"] - done["before"]) / grown
    if "usage" in done:
        figures["counted_beyond_row"] = done["usage"] / keys - done["row"]
        figures["index"] = done["index"] / keys
    return figures


def _use_memory(num_bytes: int) -> None:
    """Writes to memory and gives it back.

    A virtual machine's memory comes from its host when it is first written to, at a
    tenth of the speed of later; who goes first would pay for all.
    """
    subprocess.run([sys.executable, "-c", f"b'1' * {num_bytes}"], check=False)


def insert(context: Context) -> Report:
    """New keys only, from an empty table."""
    keys = 300_000 if context.quick else 30_000_000
    short = context.quick or context.bars
    rounds = 1 if short else 3
    rows, csv_rows = [], []
    _use_memory(0 if context.quick else 6 << 30)
    for threads in (2,) if short else (2, 1):
        spec = Spec("insert", keys=keys, threads=threads)
        runs: dict[str, list[dict[str, float]]] = {title: [] for title, *_ in _INSERT}
        notes = {title: environments.problem(e) for title, e, *_ in _INSERT}
        for _ in range(rounds):
            for title, environment, module, name in _INSERT:
                if notes[title]:
                    continue
                context.workers.stop()  # memory is measured in a fresh process
                worker = context.workers.get(environment, threads)
                try:
                    done = worker.call(
                        "experiment",
                        module=module,
                        name=name,
                        arguments={"spec": spec.to_dict()},
                    )
                except WorkerError as error:
                    notes[title] = f"failed: {error}"
                    continue
                runs[title].append(_insert_figures(done))
                context.progress(f"  {title}, {threads} threads: {runs[title][-1]}")
        for title, found in runs.items():
            line = [title, measure.count(keys), str(threads)]
            row: dict[str, Any] = {**spec.to_dict(), "contestant": title, "note": notes[title]}
            if found and not notes[title]:
                figures = {
                    name: measure.summarize([run[name] for run in found]) for name in found[0]
                }
                memory = ("counted_beyond_row", "resident_beyond_row", "peak_over_end")
                line += [
                    measure.spread(figures["rate"]),
                    measure.number(figures["median_ms"].median),
                    measure.number(figures["longest_ms"].median),
                    measure.spread(figures["longest_over_median"]),
                    str(round(figures["row_bytes"].median)),
                    *(measure.number(figures[m].median) if m in figures else "-" for m in memory),
                ]
                row.update({name: summary.median for name, summary in figures.items()})
            else:
                line += [f"**{notes[title]}**", *["-"] * 7]
            rows.append(line)
            csv_rows.append(row)
    head = [
        "table", "keys", "threads", "M rows/s", "median batch, ms", "longest batch, ms",
        "longest / median", "row, bytes", "beyond the row, by memory_usage()",
        "beyond the row, resident", "peak / end, resident",
    ]  # fmt: skip
    return Report(
        "insert",
        "Insertion of new keys, and memory",
        "Random keys into an empty table, 65,536 a batch: tf_embedding by `te.rules.apply` with "
        "Adagrad, which makes rows with slots, sums duplicates and updates; TFRA by `upsert`, "
        "which sets values; the floor takes fresh memory for rows, index, frequency and version "
        f"and fills it once. Medians of {rounds} runs, each in a fresh process. Bytes a key; "
        "those beyond the row hold index, frequency, version and room to grow. Resident memory "
        "is the process', from before the first batch on.",
        [Section("", head, rows)],
        csv_rows,
    )


def concurrent(context: Context) -> Report:
    """Lookups and updates of one table from two Python threads."""
    spec = Spec("concurrent", keys=10_000 if context.quick else 1_000_000)
    seconds = 0.2 if context.quick else 2.0
    runs = []
    for _ in range(1 if context.quick else 5):
        runs.append(
            context.workers.get("tf", spec.threads).call(
                "experiment",
                module="growth_tf",
                name="beside",
                arguments={"spec": spec.to_dict(), "seconds": seconds},
            )
        )
    figures = {
        name: measure.summarize([run[name] * spec.batch / 1e6 for run in runs]) for name in runs[0]
    }
    rows = [
        [what, measure.spread(figures[alone]), measure.spread(figures[beside])]
        for what, alone, beside in (
            ("lookup", "lookup_alone", "lookup_beside"),
            ("update, Adagrad", "update_alone", "update_beside"),
        )
    ]
    shares = [
        run["lookup_beside"] / run["lookup_alone"] + run["update_beside"] / run["update_alone"]
        for run in runs
    ]
    rows.append(["sum of both shares of what each does alone", "1", measure.spread(
        measure.summarize(shares))])  # fmt: skip
    csv_rows = [
        {**spec.to_dict(), "figure": name, "median": s.median, "low": s.low, "high": s.high}
        for name, s in figures.items()
    ]
    return Report(
        "concurrent",
        "Lookups beside updates, M rows/s",
        f"Two Python threads on one table of {spec.keys:,} rows, batches of {spec.batch:,}. Both "
        "together have the 2 threads that each has alone.",
        [Section("", ["work", "alone", "both at once"], rows)],
        csv_rows,
    )


def probes(context: Context) -> Report:
    """How many cache lines of the index a search reads."""
    keys = 100_000 if context.quick else 10_000_000
    command = [native.program("probes"), str(keys)]
    done = subprocess.run(command, check=True, text=True, capture_output=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    rows = [
        [
            line["keys"], measure.count(line["size"]), measure.number(line["load"]),
            f"{line['hit_mean']:.3f}", str(line["hit_p99"]), str(line["hit_max"]),
            f"{line['miss_mean']:.3f}", str(line["miss_max"]),
        ]
        for line in lines
    ]  # fmt: skip
    return Report(
        "probes",
        "Lines of the index that a search reads",
        "One shard, after inserting the keys in the order given. Adversarial keys are made, by "
        "inverting the hash, to share one home: the hash has no secret, so who chooses keys freely "
        "can do this.",
        [
            Section(
                "",
                ["keys", "how many", "load", "found: mean", "99 %", "most", "absent: mean", "most"],
                rows,
            )
        ],
        lines,
    )
