# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""The example's readers, on small made-up files in each public format."""

from __future__ import annotations

import gzip
import os
import sys

import numpy as np
import pandas as pd
import pytest

_EXAMPLES = os.path.join(os.path.dirname(__file__), "..", "..", "examples")
sys.path.insert(0, os.path.join(_EXAMPLES, "ctr"))

import ctr_readers  # noqa: E402

FLIGHTS = os.path.join(_EXAMPLES, "data", "flights.parquet")


def write_criteo(path, rows=25):
    generator = np.random.default_rng(1)
    opener = gzip.open if str(path).endswith(".gz") else open
    with opener(path, "wt") as file:
        for i in range(rows):
            ints = ["" if (i + j) % 5 == 0 else str(i * j - 2) for j in range(13)]
            cats = [
                "" if (i + j) % 7 == 0 else f"{generator.integers(2**32):08x}" for j in range(26)
            ]
            file.write("\t".join([str(i % 3 == 0 and 1 or 0), *ints, *cats]) + "\n")
    return str(path)


def write_avazu(path, hours):
    columns = (
        "id,click,hour,C1,banner_pos,site_id,site_domain,site_category,app_id,app_domain,"
        "app_category,device_id,device_ip,device_model,device_type,device_conn_type,"
        "C14,C15,C16,C17,C18,C19,C20,C21"
    )
    with open(path, "w") as file:
        file.write(columns + "\n")
        for i, hour in enumerate(hours):
            rest = ",".join(f"v{i}_{j}" for j in range(columns.count(",") - 2))
            file.write(f"1000{i},{i % 2},{hour},{rest}\n")
    return str(path)


def write_movielens(path):
    with open(path, "w") as file:
        file.write("userId,movieId,rating,timestamp\n")
        file.write("1,10,4.0,300\n1,20,3.5,100\n2,10,5.0,200\n3,30,0.5,100\n")
    return str(path)


def gather(blocks):
    blocks = list(blocks)
    ids = {name: np.concatenate([b.ids[name] for b in blocks]) for name in blocks[0].ids}
    dense = np.concatenate([b.dense for b in blocks])
    return ids, dense, np.concatenate([b.labels for b in blocks])


@pytest.fixture(scope="module")
def criteo(tmp_path_factory):
    return write_criteo(tmp_path_factory.mktemp("criteo") / "train.txt")


def test_criteo(criteo):
    reader = ctr_readers.open_reader(criteo)
    assert isinstance(reader, ctr_readers.CriteoReader)
    assert reader.num_rows == 25
    ids, dense, labels = gather(reader.blocks(10))
    assert [len(b) for b in reader.blocks(10)] == [10, 10, 5]
    assert labels.tolist() == [float(i % 3 == 0) for i in range(25)]
    assert len(ids) == 39 and dense.shape == (25, 13)
    # Row 4, I1 is 4 * 0 - 2 = -2 (log kept at 0), I2 missing, I4 = 4 * 3 - 2 = 10.
    assert dense[4, 0] == 0.0 and ids["I1_step"][4] == 0
    assert dense[4, 1] == 0.0 and ids["I2_step"][4] == -1
    assert dense[4, 3] == pytest.approx(np.log1p(10.0))
    assert ids["I4_step"][4] == int(np.log1p(10.0) ** 2)
    assert ids["C1"][0] == "" and len(ids["C2"][0]) == 8


def test_criteo_gzip_and_last_line_without_newline(criteo, tmp_path):
    packed = write_criteo(tmp_path / "train.txt.gz")
    cut = tmp_path / "cut.txt"
    with open(criteo, "rb") as file:
        cut.write_bytes(file.read().rstrip(b"\n"))
    expected = gather(ctr_readers.open_reader(criteo).blocks(7))
    for path in (packed, str(cut)):
        reader = ctr_readers.open_reader(path)
        assert reader.num_rows == 25
        ids, dense, labels = gather(reader.blocks(7))
        np.testing.assert_array_equal(dense, expected[1])
        np.testing.assert_array_equal(labels, expected[2])
        assert all(ids[name].tolist() == expected[0][name].tolist() for name in ids)


def test_avazu(tmp_path):
    path = write_avazu(tmp_path / "train.csv", ["14102100", "14102100", "14102123", "14102201"])
    reader = ctr_readers.open_reader(path)
    assert isinstance(reader, ctr_readers.AvazuReader)
    assert reader.num_rows == 4
    ids, dense, labels = gather(reader.blocks(3))
    assert labels.tolist() == [0, 1, 0, 1]
    assert dense.shape == (4, 0)
    assert ids["hour_of_day"].tolist() == [0, 0, 23, 1]
    assert ids["day_of_week"].tolist() == [1, 1, 1, 2]  # 21 October 2014: a Tuesday
    assert ids["C1"].tolist() == ["v0_0", "v1_0", "v2_0", "v3_0"]
    assert "id" not in ids and "click" not in ids


def test_time_that_goes_back_is_an_error(tmp_path):
    path = write_avazu(tmp_path / "train.csv", ["14102101", "14102100"])
    with pytest.raises(ValueError, match="'hour' goes back in time.*Sort"):
        list(ctr_readers.open_reader(path).blocks(10))


def test_movielens_is_sorted_by_time(tmp_path):
    reader = ctr_readers.open_reader(write_movielens(tmp_path / "ratings.csv"))
    assert isinstance(reader, ctr_readers.MovieLensReader)
    ids, _, labels = gather(reader.blocks(3))
    assert ids["userId"].tolist() == [1, 3, 2, 1]  # equal times keep the file's order
    assert ids["movieId"].tolist() == [20, 30, 10, 10]
    assert labels.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("in_order", [True, False])
def test_any_parquet(tmp_path, in_order):
    frame = pd.DataFrame(
        {
            "at": pd.to_datetime([1, 2, 3, 4, 5], unit="s"),
            "user": ["a", None, "c", "d", "e"],
            "item": [5, -(2**63), 2**63 - 1, 7, 8],
            "price": [0.5, None, 1.5, 2.0, 2.5],
            "secret": [1, 0, 1, 1, 0],
            "clicked": [1, 0, -1, 1, 0],
        }
    )
    path = str(tmp_path / "my.parquet")
    (frame if in_order else frame.iloc[::-1]).to_parquet(path)
    reader = ctr_readers.open_reader(
        path, label="clicked", time="at", drop=["secret"], crosses=[["user", "item"]]
    )
    assert reader.categorical == ("user", "item")
    assert reader.dense == ("price",)
    assert reader.crosses == (("user", "item"),)
    assert reader.num_rows == 4
    ids, dense, labels = gather(reader.blocks(2))
    assert ids["user"].tolist() == ["a", "", "d", "e"]
    assert ids["item"].tolist() == [5, -(2**63), 7, 8]  # all 64 bits, no float between
    assert dense[:, 0].tolist() == [0.5, 0.0, 2.0, 2.5]
    assert labels.tolist() == [1, 0, 1, 0]


def test_flights_are_in_time_order_and_do_not_leak():
    raw = pd.read_parquet(FLIGHTS)
    assert "arr_delay" not in raw.columns
    assert set(raw["label"].unique()) == {0, 1}
    assert raw["ts"].is_monotonic_increasing
    assert os.path.getsize(FLIGHTS) <= 3_000_000
    reader = ctr_readers.open_reader(FLIGHTS)
    assert isinstance(reader, ctr_readers.FlightsReader)
    assert reader.num_rows == len(raw) == 327_346


def test_flights_ignore_a_leak_column(tmp_path):
    """The source has the arrival delay, from which the label is computed."""
    frame = pd.read_parquet(FLIGHTS).head(100)
    path = str(tmp_path / "with_leak.parquet")
    frame.assign(arr_delay=frame["label"] * 100.0).to_parquet(path)
    reader = ctr_readers.open_reader(path)
    assert isinstance(reader, ctr_readers.FlightsReader)
    assert "arr_delay" not in reader.categorical + reader.dense
    plain = str(tmp_path / "plain.parquet")
    frame.to_parquet(plain)
    expected = gather(ctr_readers.open_reader(plain).blocks(64))
    found = gather(reader.blocks(64))
    np.testing.assert_array_equal(found[1], expected[1])
    assert set(found[0]) == set(expected[0])
    # A label turned over changes no input of the model.
    frame.assign(label=1 - frame["label"]).to_parquet(plain)
    turned = gather(ctr_readers.open_reader(plain).blocks(64))
    np.testing.assert_array_equal(turned[1], expected[1])
    assert all((turned[0][name] == expected[0][name]).all() for name in expected[0])
    assert (turned[2] == 1 - expected[2]).all()


@pytest.mark.parametrize("size", [1, 7, 25, 1000])
@pytest.mark.parametrize("start, stop", [(0, None), (0, 20), (13, None), (9, 10), (25, None)])
def test_blocks_are_exact_slices(criteo, size, start, stop):
    reader = ctr_readers.open_reader(criteo)
    everything = gather(reader.blocks(25))
    blocks = list(reader.blocks(size, start, stop))
    end = 25 if stop is None else stop
    assert [len(b) for b in blocks] == [min(size, end - at) for at in range(start, end, size)]
    if blocks:
        ids, dense, labels = gather(blocks)
        np.testing.assert_array_equal(dense, everything[1][start:end])
        np.testing.assert_array_equal(labels, everything[2][start:end])
        assert ids["C3"].tolist() == everything[0]["C3"][start:end].tolist()


@pytest.mark.parametrize("size", [9000, 70_000])
def test_blocks_across_chunks(size):
    reader = ctr_readers.open_reader(FLIGHTS)
    raw = pd.read_parquet(FLIGHTS)["flight"].to_numpy()
    found = np.concatenate([b.ids["flight"] for b in reader.blocks(size, 60_001, 140_000)])
    np.testing.assert_array_equal(found, raw[60_001:140_000])


def test_errors_name_the_flag(tmp_path, criteo):
    with pytest.raises(FileNotFoundError, match="--data="):
        ctr_readers.open_reader(str(tmp_path / "none"))
    odd = tmp_path / "odd.csv"
    odd.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="cannot tell the format.*--format"):
        ctr_readers.open_reader(str(odd))
    with pytest.raises(ValueError, match="--format=nothing"):
        ctr_readers.open_reader(criteo, "nothing")
    with pytest.raises(ValueError, match="--cross=C1,hue"):
        ctr_readers.open_reader(criteo, crosses=[["C1", "hue"]])
    with pytest.raises(ValueError, match="--label=click"):
        ctr_readers.open_reader(FLIGHTS, "parquet", label="click")
    with pytest.raises(ValueError, match="header lacks"):
        gather(ctr_readers.open_reader(write_movielens(tmp_path / "r.csv"), "avazu").blocks(2))
    with pytest.raises(ValueError, match="size must be positive"):
        list(ctr_readers.open_reader(criteo).blocks(0))
    with pytest.raises(ValueError, match="a label is 0 or 1"):
        ctr_readers.open_reader(FLIGHTS, "parquet", label="distance").num_rows  # noqa: B018
