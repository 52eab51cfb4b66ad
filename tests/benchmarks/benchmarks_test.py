# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks do with figures and draws, and their driver; nothing is timed."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "benchmarks"))

import bars  # noqa: E402
import contest  # noqa: E402
import draws  # noqa: E402
import measure  # noqa: E402
import readme  # noqa: E402
import tables  # noqa: E402
from spec import Spec  # noqa: E402


def test_summary_and_ratios():
    assert measure.summarize([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0)
    with pytest.raises(ValueError, match="one turn at least"):
        measure.summarize([])
    ours, theirs = [2.0, 4.0, 60.0], [1.0, 8.0, 10.0]
    assert measure.ratio_of_medians(ours, theirs) == 0.5
    assert measure.median_of_ratios(ours, theirs) == 2.0
    with pytest.raises(ValueError, match="ours has 3 turns and theirs 1"):
        measure.median_of_ratios(ours, [1.0])


@pytest.mark.parametrize(
    "value, text",
    [(0, "0"), (0.1234, "0.123"), (1.234, "1.23"), (12.34, "12.3"), (1234.6, "1,235")],
)
def test_number(value, text):
    assert measure.number(value) == text


@pytest.mark.parametrize(
    "value, text", [(30_000_000, "3e7"), (10_000, "1e4"), (65536, "65,536"), (100, "100")]
)
def test_count(value, text):
    assert measure.count(value) == text


def test_markdown():
    assert measure.markdown(["a", "b"], [["1", "2"]]) == "| a | b |\n|---|---|\n| 1 | 2 |"
    with pytest.raises(ValueError, match="has 1 cells; the head has 2"):
        measure.markdown(["a", "b"], [["1"]])


def test_csv_comes_back(tmp_path):
    path = str(tmp_path / "x.csv")
    measure.write_csv(path, [{"a": 1, "b": "x, y"}, {"a": 2.5, "c": True}])
    assert measure.read_csv(path) == [
        {"a": "1", "b": "x, y", "c": ""},
        {"a": "2.5", "b": "", "c": "True"},
    ]
    assert bars.load(str(tmp_path)) == {"x": measure.read_csv(path)}


def test_replace_between():
    text = "before\n<!-- m -->\nold\n<!-- /m -->\nafter\n"
    new = measure.replace_between(text, "m", "new")
    assert new == "before\n<!-- m -->\nnew\n<!-- /m -->\nafter\n"
    assert measure.replace_between(new, "m", "new") == new
    for wrong in ("", "<!-- m -->", "<!-- /m --> <!-- m -->", text + text):
        with pytest.raises(ValueError, match="once each"):
            measure.replace_between(wrong, "m", "new")


def test_readme_has_the_markers():
    with open(os.path.join(contest.HERE, "..", "README.md"), encoding="utf-8") as file:
        assert "x" in measure.replace_between(file.read(), readme.MARKER, "x")


def test_zipf_ranks_follow_the_law():
    n, size, exponent = 50, 200_000, 1.05
    ranks = draws.zipf_ranks(np.random.default_rng(3), n, exponent, size)
    found = np.bincount(ranks, minlength=n) / size
    law = np.arange(1, n + 1, dtype=np.float64) ** -exponent
    law /= law.sum()
    # Five standard deviations of a share.
    assert np.all(np.abs(found - law) < 5 * np.sqrt(law * (1 - law) / size))


@pytest.mark.parametrize("n", [1, 2, 1000, 65536])
def test_scatter_is_a_permutation(n):
    assert sorted(draws.scatter(np.arange(n), n)) == list(range(n))


@pytest.mark.parametrize("zipf", [0.0, 1.05])
def test_draws_are_the_same_for_all(zipf):
    first, second = draws.batches(1000, 64, zipf), draws.batches(1000, 64, zipf)
    assert len(first) == draws.BATCHES
    for a, b in zip(first, second):
        assert a.shape == (64,) and a.dtype == np.int64
        assert a.min() >= 0 and a.max() < 1000
        np.testing.assert_array_equal(a, b)
    assert len(np.unique(draws.keys(1000))) == 1000
    np.testing.assert_array_equal(draws.keys(1000), draws.keys(1000))


class FakeWorker:
    """Takes 0.5 s a call for "slow" and 0.25 s else; "broken" does not open."""

    def __init__(self, log):
        self.log = log

    def call(self, call, **arguments):
        self.log.append((call, arguments["id"]))
        if call == "open" and arguments["name"] == "broken":
            raise contest.WorkerError("no such thing")
        return 0.5 if arguments["id"] == "slow" else 0.25

    def alive(self):
        return True


class FakeWorkers:
    def __init__(self):
        self.log = []

    def get(self, environment, threads):
        return FakeWorker(self.log)


def test_contestants_take_turns_and_failures_are_said(monkeypatch):
    monkeypatch.setattr(contest, "available_bytes", lambda: 4e9)

    def contestant(name, memory=0.0):
        return contest.Contestant(name, "tf", "module", name, lambda spec: memory)

    workers = FakeWorkers()
    names = [contestant(n, 1e9) for n in ("slow", "broken", "fast")] + [contestant("big", 2e9)]
    found = contest.compete(workers, names, Spec("lookup", batch=100), turns=2, seconds=0.1)
    assert found["slow"].rates == [200.0, 200.0]
    assert found["fast"].rates == [400.0, 400.0]
    assert found["broken"] == contest.Result([], "failed: no such thing")
    assert found["big"] == contest.Result([], "left out: needs 2.0 GB, 1.4 GB are free")
    turns = [id for call, id in workers.log if call == "turn"]
    assert turns == ["slow", "fast"] * 3  # one turn each to warm up
    assert [id for call, id in workers.log if call == "close"] == ["slow", "fast"]


def test_an_environment_that_is_missing_is_said(monkeypatch):
    monkeypatch.setitem(contest.environments._problems, "fbgemm", "NOT INSTALLED: no wheel")
    workers = FakeWorkers()
    peer = contest.Contestant("FBGEMM", "fbgemm", "module", "name", lambda spec: 0.0)
    found = contest.compete(workers, [peer], Spec("lookup"), turns=1, seconds=0.1)
    assert found["FBGEMM"] == contest.Result([], "NOT INSTALLED: no wheel")
    assert tables.cells(found["FBGEMM"]) == "**NOT INSTALLED: no wheel**"
    assert workers.log == []


def peers(**ratios):
    base = {k: str(v) for k, v in bars.BASE.items()}
    rest = {"rule": "adagrad", "weighted": "False", "bag": "1", "tables": "1", "combiner": "sum"}
    return [
        {**base, **rest, "contestant": name, "ratio_of_medians": str(ratio)}
        for name, ratio in ratios.items()
    ]


def test_bars_are_met_missed_or_not_measured():
    results = {"lookup": peers(FBGEMM=1.09, TFRA=10.0)}
    lookup = [bar for bar in bars.BARS if bar.work == "lookup"]
    judged = {bar.says: bars.judge(bar, results) for bar in lookup}
    assert judged[">= 1.1x FBGEMM's static lookup"] == ("1.09", False)
    assert judged[">= 10x TFRA's table"] == ("10.0", True)
    assert judged[">= 1.7x tf.Variable"][1] is None
    table = bars.table({})
    assert table.count("**not measured**") == len(bars.BARS)


def test_every_value_of_a_bar_must_meet_it():
    (bar,) = [bar for bar in bars.BARS if bar.work == "memory, 3e7 keys"]
    row = {"contestant": "tf_embedding", "threads": "2"}
    insert = [{**row, "counted_beyond_row": "15", "resident_beyond_row": "17"}]
    assert bars.judge(bar, {"insert": insert}) == ("memory_usage() 15.0, resident 17.0", False)


def test_a_bar_at_the_speed_of_the_floor():
    rows = peers(**{"FBGEMM": 1.0, "floor, by key": 1.0})
    for row, rate in zip(rows, ("40", "30")):
        row["median"] = rate
    by_peer = {bar.says: bars.floor(bar, {"lookup": rows}) for bar in bars.BARS}
    assert by_peer[">= 1.1x FBGEMM's static lookup"] == "0.750"
    assert by_peer[">= 1.7x tf.Variable"] == "-"  # not measured
    assert by_peer["peak <= 1.3x the end"] == "-"  # has no floor


def test_fit_at_the_speed_of_the_floor():
    rates = {
        ("dense part alone", 1_000_000): "10",
        ("keras Embedding x 26", 1_000_000): "0.5",
        ("dense part, gradients of vectors", 1_000_000): "6",
        ("ids alone, floor by key", 100_000): "12",
        ("ids alone, floor by key", 1_000_000): "3",
        ("ids alone, floor by key", 10_000_000): "1.2",
    }
    rows = [
        {"contestant": title, "rule": rule, "keys": str(keys), "median": rate}
        for (title, keys), rate in rates.items()
        for rule in ("adagrad", "adam")
    ]
    by_bar = {bar.says: bars.floor(bar, {"fit": rows}) for bar in bars.BARS}
    # A sixth of a second for the dense part, a twelfth, a third, 1 / 1.2 for the ids: 4, 2, 1.
    assert by_bar[">= 0.7x of the dense part alone"] == "adagrad 0.200, adam 0.200"
    assert by_bar[">= 3x keras.layers.Embedding"] == "adagrad 4.00, adam 4.00"
    assert by_bar["1e5 to 1e7 ids within 1.3x"] == "adagrad 4.00, adam 4.00"


def test_where_a_peer_is_faster_is_said():
    results = {"lookup": peers(FBGEMM=0.5, TFRA=9.0, floor=0.4)}
    (line,) = readme.losses(results)
    assert line.startswith("- lookup, 1e6 keys") and line.endswith("0.500x FBGEMM")
    assert line in readme.section(results, "Machine.")
