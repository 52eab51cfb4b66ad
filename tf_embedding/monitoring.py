# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Seeing tables: a report as text, and TensorBoard summaries.

Both show `EmbeddingVariable.stats()`: `report` once, as a table of text;
summaries over time, from `te.callbacks.TableSummaries` under Keras, from
`te.train.TableSummaryHook` in v1 sessions and estimators, and from
`write_summaries` in a loop of one's own. Looking changes nothing in a table.

In an event file a variable has a scalar for each field of its stats, `NAME/keys` and
so on, and, if asked for, histograms of its rows: `NAME/frequency`, `NAME/age` (steps
since the last update) and `NAME/norm` (L2, of the vector).
"""

from __future__ import annotations

import dataclasses
from typing import Any, Callable, Iterable, Mapping, Optional, Sequence

import numpy as np
import tensorflow as tf

from tf_embedding.stats import TableStats
from tf_embedding.variable import EmbeddingVariable, whole_of

# What the rows of a table are counted by in histograms.
MEASURES = ("frequency", "age", "norm")


def variables_of(model: Any = None) -> list[EmbeddingVariable]:
    """The embedding variables of a model, each once.

    Args:
      model: a Keras model or layer that has been built; a `tf.Module` or whatever else
        holds variables in attributes; an embedding variable, or a list or tuple of any
        of these; a `tf.Graph`, for its `GLOBAL_VARIABLES`. None for the default graph.

    Returns:
      The variables, in the order in which they are found; those in parts as one.

    Raises:
      ValueError: there are none.
      TypeError: model can hold no variables.

    >>> users = EmbeddingVariable(dim=2, name="users")
    >>> [variable.name for variable in variables_of([users, users])]
    ['users:0']
    """
    found = list({id(variable): variable for variable in _walk(model)}.values())
    if not found:
        raise ValueError(
            f"model is {model!r}, which holds no embedding variables; build or call a Keras model "
            "before, and in a graph ask after the variables are made"
        )
    return found


def _walk(model: Any) -> Iterable[EmbeddingVariable]:
    if model is None:
        model = tf.compat.v1.get_default_graph()
    if isinstance(model, EmbeddingVariable):
        return [model]
    if isinstance(model, (list, tuple)):
        whole = whole_of(model) if model else None
        return [whole] if whole is not None else [v for each in model for v in _walk(each)]
    if isinstance(model, tf.Graph):
        held = model.get_collection(tf.compat.v1.GraphKeys.GLOBAL_VARIABLES)
        return [variable for variable in held if isinstance(variable, EmbeddingVariable)]
    if not hasattr(model, "_trackable_children"):
        raise TypeError(
            f"model is {model!r}; it must be a Keras model, a tf.Module, an embedding variable, a "
            "list of them or a tf.Graph"
        )
    objects = tf.train.TrackableView(model).descendants()
    return [held for held in objects if isinstance(held, EmbeddingVariable)]


def names_of(variables: Sequence[EmbeddingVariable]) -> list[str]:
    """A name for each variable, no two the same: `users`, and of the next one `users_1`."""
    names: list[str] = []
    for variable in variables:
        base = name = variable.name.split(":")[0]
        number = 0
        while name in names:
            number += 1
            name = f"{base}_{number}"
        names.append(name)
    return names


@dataclasses.dataclass(frozen=True)
class TableReport:
    """What one variable said of itself.

    Attributes:
      name: of the variable.
      dim: the length of a vector.
      num_parts: in how many parts it is cut.
      stats: as of `EmbeddingVariable.stats`, in Python numbers.
    """

    name: str
    dim: int
    num_parts: int
    stats: TableStats


@dataclasses.dataclass(frozen=True)
class Report:
    """What the variables of a model said of themselves; `str()` makes a table of text.

    Attributes:
      tables: one for each variable.
    """

    tables: tuple[TableReport, ...]

    def total(self, field: str) -> int:
        """The sum over the variables of a count or of bytes, a field of `TableStats`."""
        return sum(int(getattr(table.stats, field)) for table in self.tables)

    def __str__(self) -> str:
        rows = [[table.name, str(table.dim), *_cells(table.stats)] for table in self.tables]
        if len(rows) > 1:
            lookups = self.total("lookups")
            hits = self.total("lookup_hits") / lookups if lookups else 0.0
            summed = {name: self.total(name) for name in _COUNTS + _BYTES}
            rows.append(["total", "", *_cells_of(summed, f"{hits:.1%}", "", "")])
        lines = [list(_HEAD), *rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(_HEAD))]
        text = []
        for line in lines:
            cells = [line[0].ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:])]
            text.append("  ".join(cells).rstrip())
        return "\n".join(text)


_COUNTS = ("keys", "inserted", "admitted", "refused", "evicted", "removed")
_BYTES = ("index_bytes", "row_bytes", "candidate_bytes", "eviction_bytes", "total_bytes")
_HEAD = (
    *("table", "dim", *_COUNTS, "hit rate", "load", "probe"),
    *("index", "rows", "candidates", "eviction", "memory"),
)


def _cells(stats: TableStats) -> list[str]:
    probe = f"{stats.mean_probe:.2f}"
    return _cells_of(stats._asdict(), f"{stats.hit_rate:.1%}", f"{stats.load:.0%}", probe)


def _cells_of(figures: Mapping[str, Any], hit_rate: str, load: str, probe: str) -> list[str]:
    counts = [f"{figures[name]:,}" for name in _COUNTS]
    return [*counts, hit_rate, load, probe, *(_memory(figures[name]) for name in _BYTES)]


def _memory(count: float) -> str:
    """Bytes in the largest unit that keeps them at 1 or more: 1.5 MB is 1,500,000 bytes."""
    units = ["B", "kB", "MB", "GB", "TB"]
    while count >= 1000 and len(units) > 1:
        count /= 1000
        del units[0]
    return f"{count:.0f} B" if units[0] == "B" else f"{count:,.1f} {units[0]}"


def _as_numbers(stats: TableStats) -> TableStats:
    return TableStats(*(np.asarray(value).item() for value in stats))


def report(
    model: Any = None,
    session: Optional[tf.compat.v1.Session] = None,
    print_fn: Optional[Callable[[str], Any]] = print,
) -> Report:
    """Prints what the tables of a model hold, a line for each.

    Costs some milliseconds for each table, whatever its size, and may be called beside
    training.

    Args:
      model: see `variables_of`.
      session: in a graph, the session that runs it; None for the default session. The
        graph must not be finalized: under a `MonitoredSession` use
        `te.train.TableSummaryHook`.
      print_fn: is given the text; None prints nothing.

    Returns:
      The figures.

    Raises:
      ValueError: there are no embedding variables; or, in a graph, no session.
      TypeError: model can hold no variables.

    >>> users = EmbeddingVariable(dim=2, name="reported")
    >>> users.upsert([1, 2, 3], [[0.0, 1.0]] * 3)
    >>> figures = report(users, print_fn=None)
    >>> figures.tables[0].stats.keys, figures.total("inserted")
    (3, 3)
    """
    if session is None and not tf.executing_eagerly():
        session = tf.compat.v1.get_default_session()
        if session is None:
            raise ValueError("session is None, and there is no default session: pass session=")
    if session is None:
        variables = variables_of(model)
        stats = [variable.stats() for variable in variables]
    else:
        variables = variables_of(session.graph if model is None else model)
        with session.graph.as_default():
            asked = [variable.stats() for variable in variables]
        stats = session.run(asked)
    figures = Report(
        tuple(
            TableReport(name, variable.dim, variable.num_parts, _as_numbers(of_variable))
            for name, variable, of_variable in zip(names_of(variables), variables, stats)
        )
    )
    if print_fn is not None:
        print_fn(str(figures))
    return figures


@dataclasses.dataclass(frozen=True)
class Look:
    """What is asked of one variable for its summaries, and what it answers.

    Attributes:
      stats: of `EmbeddingVariable.stats`.
      histograms: by measure, edges and counts of `EmbeddingVariable.histogram`.
    """

    stats: Any
    histograms: Mapping[str, Any]


def look_at(variable: EmbeddingVariable, step: Any, histograms: bool) -> Look:
    """Asks a variable for what its summaries show; tensors in a graph."""
    measures = MEASURES if histograms else ()
    return Look(variable.stats(), {m: variable.histogram(m, step) for m in measures})


def summary_of(name: str, look: Look) -> Any:
    """The `tf.compat.v1.Summary` of what a variable answered, as arrays or numbers."""
    summary = tf.compat.v1.Summary()
    for field, value in zip(TableStats._fields, look.stats):
        summary.value.add(tag=f"{name}/{field}", simple_value=float(value))
    for measure, (edges, counts) in look.histograms.items():
        taken = np.flatnonzero(np.asarray(counts))
        if not len(taken):
            continue  # A histogram of no rows has no ends.
        first, last = taken[0], taken[-1]
        summary.value.add(
            tag=f"{name}/{measure}",
            histo=tf.compat.v1.HistogramProto(
                min=edges[first],
                max=edges[last + 1],
                num=np.sum(counts),
                bucket_limit=edges[first + 1 : last + 2],
                bucket=counts[first : last + 1],
            ),
        )
    return summary


def write_summaries(model: Any, step: Any, histograms: bool = True) -> None:
    """Writes what the tables of a model hold to the default summary writer, in eager code.

    Keras models that are trained by `fit` have `te.callbacks.TableSummaries` for it, and
    v1 sessions `te.train.TableSummaryHook`.

    Args:
      model: see `variables_of`.
      step: the training step, an int: ages are told from it.
      histograms: whether to write those too. They read every row once.

    Raises:
      ValueError: there are no embedding variables.
      TypeError: model can hold no variables.
      RuntimeError: not in eager code.

    >>> import tempfile
    >>> users = EmbeddingVariable(dim=2, name="written")
    >>> with tf.summary.create_file_writer(tempfile.mkdtemp()).as_default():
    ...     write_summaries(users, step=0)
    """
    if not tf.executing_eagerly():
        raise RuntimeError(
            "write_summaries works in eager code only; in a v1 session use "
            "te.train.TableSummaryHook, in a tf.function call it outside"
        )
    variables = variables_of(model)
    for name, variable in zip(names_of(variables), variables):
        look = look_at(variable, step, histograms)
        stats = _as_numbers(look.stats)
        arrays = {
            measure: tuple(np.asarray(column) for column in columns)
            for measure, columns in look.histograms.items()
        }
        summary = summary_of(name, Look(stats, arrays))
        tf.summary.experimental.write_raw_pb(summary.SerializeToString(), step=step)
