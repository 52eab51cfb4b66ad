# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""The example's main job: the stream, stopping and going on, and the whole command."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

_EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "examples")
sys.path.insert(0, os.path.join(_EXAMPLES, "ctr"))

import ctr_models  # noqa: E402
import ctr_readers  # noqa: E402
import ctr_report  # noqa: E402
import ctr_stream  # noqa: E402

FLIGHTS = os.path.join(_EXAMPLES, "data", "flights.parquet")
TRAIN = os.path.join(_EXAMPLES, "ctr", "train.py")


@pytest.fixture(scope="module")
def flights(tmp_path_factory):
    """The first 4,096 flights."""
    path = str(tmp_path_factory.mktemp("data") / "small.parquet")
    pd.read_parquet(FLIGHTS).head(4096).to_parquet(path)
    return path


@pytest.fixture(scope="module")
def learnable(tmp_path_factory):
    """The same flights, with labels that 4,096 rows are enough to learn: by carrier."""
    path = str(tmp_path_factory.mktemp("data") / "learnable.parquet")
    frame = pd.read_parquet(FLIGHTS).head(4096)
    late = frame["carrier"].isin(sorted(frame["carrier"].unique())[::2])
    draws = np.random.default_rng(0).random(len(frame))
    frame["label"] = (draws < np.where(late, 0.9, 0.1)).astype(frame["label"].dtype)
    frame.to_parquet(path)
    return path


def make_stream(
    path, out, model="lr_ftrl", flags=None, buckets=(None,), option=None, **settings
):
    reader = ctr_readers.open_reader(path)
    features = ctr_models.Features(reader)
    contestants = []
    for rows in buckets:
        made, tables = ctr_models.make_model(
            model, features, 4, [8], *ctr_models.DEFAULTS[model], seed=3, hash_buckets=rows,
            option=option,
        )  # fmt: skip
        name = "hashed" if rows else "dynamic"
        contestants.append(ctr_stream.Contestant(name, made, tables))
    # Blocks of whole batches: another size of batch would cost another trace.
    chosen = {"block_rows": 512, "batch_size": 128, "test_fraction": 0.25, **settings}
    return ctr_stream.Stream(
        reader, features, contestants, ctr_stream.Settings(**chosen), str(out), flags or {"seed": 3}
    )


def outcome(stream):
    """All that does not depend on the clock, down to the tables' bits."""
    results = stream.results()
    for figures in results.values():
        del figures["examples_per_second"]
    scores = [np.concatenate(c.scores).tobytes() for c in stream.contestants]
    rows = {}
    for tables in stream.contestants[0].tables:
        for name, variable in tables.by_feature().items():
            found = variable.export()
            order = np.argsort(found.keys.numpy(), kind="stable")
            parts = (found.keys, found.values, found.slots, found.frequency, found.version)
            rows[f"{tables.name}/{name}"] = [part.numpy()[order].tobytes() for part in parts]
    return results, scores, rows


@pytest.mark.parametrize("model", ["lr_ftrl", "wide_deep"])
def test_interrupted_and_resumed_is_uninterrupted(flights, tmp_path, monkeypatch, model):
    online = model == "wide_deep"
    whole = make_stream(flights, tmp_path / "whole", model, online=online)
    assert whole.run()

    update = ctr_stream.ProgressBar.update

    def interrupt(bar, done, note=""):
        update(bar, done, note)
        if done == 1536:
            signal.raise_signal(signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(ctr_stream.ProgressBar, "update", interrupt)
    first = make_stream(flights, tmp_path / "broken", model, online=online)
    assert not first.run()
    assert signal.getsignal(signal.SIGINT) is handler
    assert first.rows == 1536 and first.results()["dynamic"]["final_auc"] is None
    monkeypatch.undo()

    second = make_stream(flights, tmp_path / "broken", model, online=online)
    assert second.resumed_at == 1536
    assert second.run()
    assert outcome(second) == outcome(whole)

    # Run once more, there is nothing left to do.
    third = make_stream(flights, tmp_path / "broken", model, online=online)
    assert third.resumed_at == third.total == 4096
    assert third.run()
    assert outcome(third) == outcome(whole)


def test_other_flags_than_the_checkpoint_are_refused(flights, tmp_path):
    make_stream(flights, tmp_path, flags={"dim": 4}).run()
    with pytest.raises(ValueError, match="--dim=4 there, 8 here.*--restart"):
        make_stream(flights, tmp_path, flags={"dim": 8})


def test_each_row_is_scored_before_it_is_trained_on(flights, tmp_path, monkeypatch):
    events = []
    score, train = ctr_stream.Contestant.score, ctr_stream.Contestant.train

    def spy_score(self, inputs):
        events.append(("score", sorted(inputs["tailnum"].tolist()), self.keys()))
        return score(self, inputs)

    def spy_train(self, inputs, labels, batch_size):
        events.append(("train", sorted(inputs["tailnum"].tolist()), self.keys()))
        return train(self, inputs, labels, batch_size)

    monkeypatch.setattr(ctr_stream.Contestant, "score", spy_score)
    monkeypatch.setattr(ctr_stream.Contestant, "train", spy_train)
    stream = make_stream(flights, tmp_path, block_rows=1024)
    stream.run()
    # From the split on (row 3,072) the model is frozen.
    assert [(kind, len(rows)) for kind, rows, _ in events] == [
        *[("score", 1024), ("train", 1024)] * 3,
        ("score", 1024),
    ]
    for (_, scored, before), (_, trained, after) in zip(events[0:6:2], events[1:6:2]):
        assert scored == trained
        assert before == after, "scoring made a row"
    keys = [keys for kind, _, keys in events if kind == "score"]
    assert keys[0] == 0 and keys == sorted(keys) and keys[-1] == stream.contestants[0].keys()


def test_online_trains_to_the_end(flights, tmp_path):
    frozen = make_stream(flights, tmp_path / "frozen")
    frozen.run()
    online = make_stream(flights, tmp_path / "online", online=True)
    online.run()
    a, b = frozen.results()["dynamic"], online.results()["dynamic"]
    assert a["stream_auc"] == b["stream_auc"]
    assert a["keys"] < b["keys"]


@pytest.mark.parametrize("model", ctr_models.MODELS)
def test_each_model_learns_over_dynamic_and_hashed_tables(learnable, tmp_path, model):
    stream = make_stream(learnable, tmp_path, model, buckets=(None, 50), online=True)
    stream.run()
    results = stream.results()
    assert set(results) == {"dynamic", "hashed"}
    for figures in results.values():
        assert figures["final_auc"] > 0.8
        assert figures["final_logloss"] < 0.6
        assert figures["table_bytes"] > 0
    reader = ctr_readers.open_reader(learnable)
    features = ctr_models.Features(reader)
    (block,) = reader.blocks(4096)
    encoded = features.encode(block)
    keys = sum(len(np.unique(encoded[name])) for name in features.names)
    layers = len(stream.contestants[0].tables)
    assert results["dynamic"]["keys"] == layers * keys
    assert results["hashed"]["keys"] == layers * len(features.names) * 50


def test_bounds_hold(flights, tmp_path):
    def run(name, **bounds):
        stream = make_stream(flights, tmp_path / name, option=ctr_models.bounds(**bounds))
        stream.run()
        (tables,) = stream.contestants[0].tables
        return stream.contestants[0], tables.by_feature()

    assert ctr_models.bounds() is ctr_models.bounds(filter_freq=1) is None
    reader = ctr_readers.open_reader(flights)
    features = ctr_models.Features(reader)
    (block,) = reader.blocks(3072, 0, 3072)  # What is trained on, in 24 steps.
    trained = features.encode(block)

    _, found = run("filter", filter_freq=3)
    for name, variable in found.items():
        keys, counts = np.unique(trained[name], return_counts=True)
        assert int(variable.size()) == (counts >= 3).sum(), name
        assert variable.contains(keys[counts >= 3]).numpy().all(), name

    bounded, found = run("keys", max_keys=200)
    for name, variable in found.items():
        distinct = len(np.unique(trained[name]))
        stats = variable.stats()
        assert int(stats.keys) == min(distinct, 200), name
        assert int(stats.inserted) - int(stats.evicted) == int(stats.keys), name
    # Over the stream the rows stay within the bounds.
    assert max(e["keys"] for e in bounded.history) <= 200 * len(found)

    _, found = run("steps", steps_to_live=8)
    for variable in found.values():
        variable.evict()
        # The versions of the last 24 steps are 0 to 23.
        rows = variable.export()
        assert len(rows.keys) and int(tf.reduce_min(rows.version)) >= 15


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"test_fraction": 1.0}, "--test_fraction=1.0"),
        ({"block_rows": 0}, "--block_rows=0"),
        ({"batch_size": -1}, "--batch_size=-1"),
    ],
)
def test_settings_out_of_range(flights, tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        make_stream(flights, tmp_path, **settings)


def test_report_of_a_run_with_nothing_to_score(tmp_path):
    entry = {"rows": 5, "size": 5, "auc": float("nan"), "logloss": 0.5, "keys": 2}
    history = {"dynamic": [{**entry, "bytes": 10, "seconds": 0.0, "learns": True}]}
    names = ("final_auc", "final_logloss", "stream_auc", "stream_logloss")
    figures = {**dict.fromkeys(names), "keys": 2, "table_bytes": 10, "examples_per_second": 1.0}
    flags = {"data": "<b>&"}
    paths = ctr_report.write(
        str(tmp_path), "A <title>", {"dynamic": figures}, history, flags, 4, "Note."
    )
    with open(paths["html"], encoding="utf-8") as file:
        page = file.read()
    assert "A &lt;title&gt;" in page and "&lt;b&gt;&amp;" in page and "<b>" not in page


def command(data, out, *flags):
    words = ["--block_rows=256", "--batch_size=128", "--test_fraction=0.25", "--compare"]
    words.append("--filter-freq=2")
    return [sys.executable, TRAIN, f"--data={data}", f"--out={out}", *words, *flags]


@pytest.fixture(scope="module")
def complete(flights, tmp_path_factory):
    """The whole command, run once."""
    out = tmp_path_factory.mktemp("complete")
    done = subprocess.run(command(flights, out), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out, done


def test_command(complete):
    out, done = complete
    assert "4,096/4,096 rows" in done.stderr and "examples/s" in done.stderr
    assert re.search(r"AUC, last part of the stream( +0\.\d{4}){3}", done.stdout)
    with open(out / "results.json") as file:
        results = json.load(file)["results"]
    assert results["dynamic"]["stream_auc"] > 0.53
    assert results["dynamic"]["final_auc"] > 0.52
    assert results["dynamic"]["keys"] > 1000
    assert 0 < results["bounded"]["keys"] < results["dynamic"]["keys"]
    tables = (out / "tables.txt").read_text(encoding="utf-8").splitlines()
    rows = {line.split()[0]: line.split() for line in tables[1:]}
    assert len(rows) == 22 and rows["total"][1] == f"{results['bounded']['keys']:,}"
    with open(out / "report.png", "rb") as file:
        picture = file.read()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "data:image/png;base64," in page and "--hash_buckets" in page
    # Self-contained: nothing is loaded from elsewhere.
    assert "<script" not in page and "<link" not in page and "http" not in page
    for name in ("bounded", "dynamic", "hashed"):
        logs = os.listdir(out / "tensorboard" / name)
        assert logs and all(log.startswith("events.out.tfevents") for log in logs)


def test_command_after_ctrl_c(complete, flights, tmp_path):
    running = subprocess.Popen(
        command(flights, tmp_path), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    seen = []
    for line in running.stderr:
        seen.append(line)
        if "rows," in line:
            running.send_signal(signal.SIGINT)
            break
    seen.extend(running.stderr)
    assert running.wait() == 130, "".join(seen)
    assert any("Go on with:" in line for line in seen)
    assert not any("4,096/4,096 rows" in line for line in seen)

    done = subprocess.run(command(flights, tmp_path), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Going on from" in done.stderr
    outcomes = []
    for out in (tmp_path, complete[0]):
        with open(os.path.join(out, "results.json")) as file:
            results = json.load(file)["results"]
        for figures in results.values():
            # Nor is the room that restored tables keep that of tables that grew.
            del figures["examples_per_second"], figures["table_bytes"]
        outcomes.append(results)
    assert outcomes[0] == outcomes[1]


def test_command_says_what_is_wrong(tmp_path):
    done = subprocess.run(command(tmp_path / "none.csv", tmp_path), capture_output=True, text=True)
    assert done.returncode == 2
    assert "--data=" in done.stderr and "no such file" in done.stderr
    assert "Traceback" not in done.stderr
