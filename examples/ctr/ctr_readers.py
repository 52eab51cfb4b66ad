# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Streams public click-log formats as blocks of rows in time order.

Each reader knows one format: which columns are categories, which are numbers,
which column is the label, and which pairs are worth crossing. `open_reader`
picks one by the file's name and header:

| format | file | label | order of time |
|---|---|---|---|
| flights | the bundled flights.parquet | `label` | `ts` |
| criteo | TSV: label, 13 integers, 26 hex categories | first column | order of the file |
| avazu | CSV with a header | `click` | `hour` |
| movielens | ratings.csv | rating >= 4 | `timestamp` (sorted here) |
| parquet | any Parquet file | `--label` | `--time`, or the order of the file |

Files are read a chunk at a time, so memory does not grow with the file. Two
exceptions, since sorting needs all rows at once: MovieLens, which is published
sorted by user (about 24 bytes a rating), and a Parquet file whose time column
is out of order.
"""

from __future__ import annotations

import gzip
import os
from typing import Iterator, Optional, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from ctr_blocks import CHUNK, Reader, slices

FORMATS = ("flights", "criteo", "avazu", "movielens", "parquet")
_FLIGHTS_COLUMNS = (
    "ts", "carrier", "flight", "tailnum", "origin", "dest", "distance",
    "sched_dep_hour", "label",
)  # fmt: skip


class CriteoReader(Reader):
    """Criteo display advertising TSV (`train.txt`, `day_0`, ...), plain or .gz.

    Integers are used twice: as log(1 + x) and, in log-sized steps, as
    categories (so a missing one gets an embedding of its own).
    """

    _ints = tuple(f"I{i}" for i in range(1, 14))
    _cats = tuple(f"C{i}" for i in range(1, 27))
    categorical = _cats + tuple(f"{name}_step" for name in _ints)
    dense = tuple(f"{name}_log" for name in _ints)

    def _count(self) -> int:
        return _count_lines(self.path)

    def _frames(self, start: int) -> Iterator[pd.DataFrame]:
        types = {
            "label": np.int8,
            **{c: np.float64 for c in self._ints},
            **{c: str for c in self._cats},
        }
        yield from pd.read_csv(
            self.path, sep="\t", header=None, names=list(types), dtype=types,
            skiprows=start, chunksize=CHUNK, keep_default_na=False,
            na_values={c: [""] for c in self._ints},
        )  # fmt: skip

    def _prepare(self, frame: pd.DataFrame) -> pd.DataFrame:
        new = {"label": frame["label"], **{c: frame[c] for c in self._cats}}
        for name in self._ints:
            value = frame[name].to_numpy(np.float64)
            logs = np.log1p(np.maximum(np.nan_to_num(value), 0.0))
            new[f"{name}_log"] = logs
            new[f"{name}_step"] = np.where(np.isnan(value), -1, logs * logs).astype(np.int64)
        return pd.DataFrame(new)


class AvazuReader(Reader):
    """Avazu click-through CSV (`train`, `train.csv`), plain or .gz."""

    categorical = (
        "C1", "banner_pos", "site_id", "site_domain", "site_category", "app_id",
        "app_domain", "app_category", "device_id", "device_ip", "device_model",
        "device_type", "device_conn_type", "C14", "C15", "C16", "C17", "C18", "C19",
        "C20", "C21", "hour_of_day", "day_of_week",
    )  # fmt: skip
    crosses = (("device_ip", "device_model"), ("site_id", "C14"), ("app_id", "C14"))
    label = "click"
    time = "hour"

    def _count(self) -> int:
        return _count_lines(self.path) - 1

    def _frames(self, start: int) -> Iterator[pd.DataFrame]:
        names = list(pd.read_csv(self.path, nrows=0).columns)
        wanted = ["click", "hour", *self.categorical[:-2]]
        missing = [name for name in wanted if name not in names]
        if missing:
            raise ValueError(f"{self.path}: not an Avazu file, the header lacks {missing}.")
        types = {name: str for name in wanted}
        types.update(click=np.int8, hour=np.int64)
        yield from pd.read_csv(
            self.path, header=None, names=names, usecols=wanted, dtype=types,
            skiprows=start + 1, chunksize=CHUNK, keep_default_na=False,
        )  # fmt: skip

    def _prepare(self, frame: pd.DataFrame) -> pd.DataFrame:
        stamp = pd.to_datetime(frame["hour"].astype(str), format="%y%m%d%H")  # YYMMDDHH
        return frame.assign(hour_of_day=stamp.dt.hour, day_of_week=stamp.dt.weekday)


class MovieLensReader(Reader):
    """MovieLens `ratings.csv`: is a film rated 4 or better? Sorted by time here."""

    categorical = ("userId", "movieId", "hour_of_day", "day_of_week")
    time = "timestamp"

    def __init__(self, path: str):
        super().__init__(path)
        self._sorted: Optional[pd.DataFrame] = None

    def _load(self) -> pd.DataFrame:
        if self._sorted is None:
            types = {
                "userId": np.int32,
                "movieId": np.int32,
                "rating": np.float32,
                "timestamp": np.int64,
            }
            frame = pd.read_csv(self.path, dtype=types, usecols=list(types))
            frame["label"] = (frame.pop("rating") >= 4.0).astype(np.int8)
            self._sorted = frame.sort_values("timestamp", kind="stable", ignore_index=True)
        return self._sorted

    def _count(self) -> int:
        return len(self._load())

    def _frames(self, start: int) -> Iterator[pd.DataFrame]:
        yield from slices(self._load(), start)

    def _prepare(self, frame: pd.DataFrame) -> pd.DataFrame:
        stamp = pd.to_datetime(frame["timestamp"], unit="s")
        return frame.assign(hour_of_day=stamp.dt.hour, day_of_week=stamp.dt.weekday)


class ParquetReader(Reader):
    """Any Parquet file: text and whole numbers are categories, floats are numbers.

    Args:
      path: the file.
      label: the column of 0 and 1; rows where it is null or negative are left out.
      time: the column that orders the rows; None takes the order of the file.
      drop: columns to leave out, such as any that gives the label away.
    """

    def __init__(
        self, path: str, label: str = "label", time: Optional[str] = None, drop: Sequence[str] = ()
    ):
        super().__init__(path)
        schema = pq.read_schema(path)
        for flag, name in (("label", label), ("time", time)):
            if name is not None and name not in schema.names:
                raise ValueError(
                    f"--{flag}={name}: {path} has no such column; it has {schema.names}."
                )
        self.label, self.time = label, time
        used = [f for f in schema if f.name not in {label, time, *drop}]
        is_dense = [pa.types.is_floating(f.type) or pa.types.is_decimal(f.type) for f in used]
        self.categorical = tuple(f.name for f, dense in zip(used, is_dense) if not dense)
        self.dense = tuple(f.name for f, dense in zip(used, is_dense) if dense)
        self._columns = [f.name for f in used] + [label] + ([time] if time else [])
        self._sorted: Optional[pd.DataFrame] = None
        self._in_order: Optional[bool] = None

    def _batches(self) -> Iterator[pd.DataFrame]:
        for batch in pq.ParquetFile(self.path).iter_batches(CHUNK, columns=self._columns):
            labels = batch.column(batch.schema.get_field_index(self.label))
            if not pa.types.is_boolean(labels.type):
                batch = batch.filter(pc.fill_null(pc.greater_equal(labels, 0), False))
            else:
                batch = batch.filter(pc.is_valid(labels))
            yield batch.to_pandas()

    def _scan(self) -> None:
        """Counts the labelled rows and looks whether time ever goes back."""
        count, in_order, latest = 0, True, None
        columns = [self.label] + ([self.time] if self.time else [])
        for batch in pq.ParquetFile(self.path).iter_batches(CHUNK, columns=columns):
            frame = batch.to_pandas()
            labels = frame[self.label]
            frame = frame[labels.notna() & (labels >= 0)]
            odd = ~frame[self.label].isin([0, 1])
            if odd.any():
                value = frame[self.label][odd].iloc[0]
                raise ValueError(
                    f"{self.path}: column {self.label!r} holds {value!r}; a label is 0 or 1."
                )
            count += len(frame)
            if self.time and len(frame):
                times = frame[self.time]
                in_order &= times.is_monotonic_increasing and not (
                    latest is not None and times.iloc[0] < latest
                )
                latest = times.iloc[-1]
        self._num_rows, self._in_order = count, bool(in_order)

    def _count(self) -> int:
        self._scan()
        return int(self._num_rows or 0)

    def _frames(self, start: int) -> Iterator[pd.DataFrame]:
        if self._in_order is None:
            self._scan()
        if not self._in_order:
            if self._sorted is None:
                everything = pd.concat(list(self._batches()), ignore_index=True)
                self._sorted = everything.sort_values(self.time, kind="stable", ignore_index=True)
            yield from slices(self._sorted, start)
            return
        for frame in self._batches():
            if start < len(frame):
                yield frame.iloc[start:]
            start = max(0, start - len(frame))


class FlightsReader(ParquetReader):
    """The bundled flights: which of them arrive more than 15 minutes late?

    Only the columns named here are ever read: the source's arrival delay, which
    the label is computed from, cannot slip in.
    """

    def __init__(self, path: str):
        names = pq.read_schema(path).names
        super().__init__(path, "label", "ts", [n for n in names if n not in _FLIGHTS_COLUMNS])
        # A day's own keys take up what was special about it (its weather), which
        # other weights would else have to; a new day starts from neutral rows.
        self.categorical = (
            "carrier", "flight", "tailnum", "origin", "dest", "hour", "day_of_week", "day",
        )  # fmt: skip
        self.dense = ("distance_log", "hour_of_day")
        self.crosses = (
            ("carrier", "flight"), ("origin", "dest"), ("tailnum", "dest"),
            ("origin", "hour"), ("dest", "hour"), ("carrier", "hour"),
            ("day_of_week", "hour"), ("carrier", "origin", "dest"), ("day", "hour"),
            ("day", "origin"), ("day", "dest"), ("day", "carrier"), ("day", "origin", "hour"),
        )  # fmt: skip

    def _prepare(self, frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(
            hour=frame["sched_dep_hour"],
            day_of_week=frame["ts"].dt.weekday,
            day=frame["ts"].to_numpy().astype("datetime64[D]").astype(np.int64),
            distance_log=np.log(frame["distance"] / 1000.0),
            hour_of_day=(frame["sched_dep_hour"] - 12) / 6.0,
        )


def _open(path: str):
    return gzip.open(path, "rb") if path.endswith(".gz") else open(path, "rb")


def _count_lines(path: str) -> int:
    lines, last = 0, b"\n"
    with _open(path) as file:
        for piece in iter(lambda: file.read(1 << 22), b""):
            lines += piece.count(b"\n")
            last = piece[-1:]
    return lines + (last != b"\n")


def guess_format(path: str) -> str:
    """Names the format of a file by its first bytes (and, for Parquet, columns).

    Raises:
      ValueError: none of the known formats; the message lists them.
    """
    with _open(path) as file:
        head = file.read(8192)
    if head[:4] == b"PAR1":
        columns = set(pq.read_schema(path).names)
        return "flights" if columns.issuperset(_FLIGHTS_COLUMNS) else "parquet"
    line = head.split(b"\n", 1)[0].decode("utf-8", "replace").rstrip("\r")
    if line.count("\t") == 39:
        return "criteo"
    fields = line.split(",")
    if {"userId", "movieId", "rating", "timestamp"} <= set(fields):
        return "movielens"
    if {"click", "hour", "banner_pos"} <= set(fields):
        return "avazu"
    raise ValueError(
        f"--data={path}: cannot tell the format from its first line {line[:60]!r};"
        f" say --format, one of {FORMATS}."
    )


def open_reader(
    path: str,
    format: str = "auto",
    label: str = "label",
    time: Optional[str] = None,
    drop: Sequence[str] = (),
    crosses: Sequence[Sequence[str]] = (),
) -> Reader:
    """Opens a file of any known format.

    Args:
      path: the file.
      format: "auto" or one of FORMATS.
      label, time, drop: for "parquet", see ParquetReader.
      crosses: groups of categorical columns to cross besides the format's own.

    Raises:
      FileNotFoundError, ValueError: the message names the flag to mend.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"--data={path}: no such file.")
    if format == "auto":
        format = guess_format(path)
    simple = {
        "flights": FlightsReader,
        "criteo": CriteoReader,
        "avazu": AvazuReader,
        "movielens": MovieLensReader,
    }
    if format == "parquet":
        reader: Reader = ParquetReader(path, label, time, drop)
    elif format in simple:
        reader = simple[format](path)
    else:
        raise ValueError(f"--format={format}: must be auto or one of {FORMATS}.")
    for cross in crosses:
        unknown = [name for name in cross if name not in reader.categorical]
        if len(cross) < 2 or unknown:
            raise ValueError(
                f"--cross={','.join(cross)}: needs two or more of the categorical columns"
                f" {reader.categorical}."
            )
    own = list(reader.crosses)
    reader.crosses = tuple(own + [c for c in map(tuple, crosses) if c not in own])
    return reader
