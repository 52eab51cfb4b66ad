# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Trains a click model on real data in time order, with dynamic embeddings.

Try it; the data of the first command (flights from New York: which arrive late?)
comes with the example:

    pip install '.[cpu,examples]'
    python examples/ctr/train.py                     # about a minute
    python examples/ctr/train.py --compare           # beside hashed embeddings
    python examples/ctr/train.py --model=deepfm --out=deepfm_out
    python examples/ctr/train.py --filter-freq=2 --max-keys=20000 --compare   # bounded memory

It prints AUC, log loss, keys, memory and examples/s, and leaves in --out a
picture (report.png), a page (report.html), the figures (results.json),
TensorBoard logs and a checkpoint. Stop it with Ctrl-C and run the same command
again: it goes on where it stopped, to the same result bit for bit (but for evictions:
see README.md).

Other data, in the format in which it is published:

    python examples/ctr/train.py --data=criteo/train.txt --block_rows=65536 --batch_size=2048
    python examples/ctr/train.py --data=avazu/train.csv.gz --model=dlrm
    python examples/ctr/train.py --data=ml-25m/ratings.csv --model=deepfm
    python examples/ctr/train.py --data=my.parquet --label=clicked --time=at --cross=user,item

What happens: rows come in time order, a block at a time. Each block is first
scored, then trained on, as a live system would; the last 20 % are scored with
the model frozen (or, with --online, still learning). Every id gets a row of its
own when it is first trained: no vocabulary is built, no table size is guessed,
no two ids share a row. That is what --compare shows, by running the same model
over keras.layers.Embedding with ids hashed into --hash_buckets rows.

Memory is bounded by --filter-freq (a key earns its row by coming again),
--steps-to-live and --max-keys (rows go that are not trained any more). The report
shows rows and memory over the stream beside AUC; with --compare the same model
without these bounds too.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from typing import Any, Dict, List

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

try:
    import matplotlib  # noqa: F401
    import pandas  # noqa: F401
    import pyarrow  # noqa: F401
except ImportError as error:
    sys.exit(f"{error}\nThe example needs a few packages more: pip install '.[examples]'")

import ctr_models
import ctr_readers
import ctr_report
import ctr_stream
import tensorflow as tf
from absl import app, flags

import tf_embedding as te

_DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "flights.parquet")

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "data", os.path.normpath(_DATA), "Flights, Criteo, Avazu, MovieLens or any Parquet."
)
flags.DEFINE_enum("format", "auto", ("auto", *ctr_readers.FORMATS), "The data's format.")
flags.DEFINE_string("label", "label", "Any Parquet: the column of 0 and 1.")
flags.DEFINE_string("time", None, "Any Parquet: the column that orders the rows.")
flags.DEFINE_list("drop", [], "Any Parquet: columns to leave out.")
flags.DEFINE_multi_string("cross", [], "Columns to cross, as a,b; may be given several times.")
flags.DEFINE_enum("model", "lr_ftrl", ctr_models.MODELS, "The model.")
flags.DEFINE_integer("dim", 8, "Length of an embedding vector.", lower_bound=1)
flags.DEFINE_list("hidden", ["64", "32"], "Units of the hidden layers.")
flags.DEFINE_enum("optimizer", None, ctr_models.OPTIMIZERS, "By default the model's own.")
flags.DEFINE_float("learning_rate", None, "By default the model's own.", lower_bound=0.0)
flags.DEFINE_integer("block_rows", 4096, "Rows scored, then trained on, at a time.")
flags.DEFINE_integer("batch_size", 256, "Rows of one training step.")
flags.DEFINE_float("test_fraction", 0.2, "The last part of the stream, for the final score.")
flags.DEFINE_bool("online", False, "Go on learning in the last part, after each block's score.")
flags.DEFINE_integer(
    "filter_freq", 0, "A key earns its row when it was trained so many times.", lower_bound=0
)
flags.DEFINE_integer(
    "steps_to_live", None, "A row goes when it was not trained for so many steps.", lower_bound=1
)
flags.DEFINE_integer(
    "max_keys", None, "Rows of each table at most; those not trained for longest go.", lower_bound=1
)
for _name in ("filter_freq", "steps_to_live", "max_keys"):
    flags.DEFINE_alias(_name.replace("_", "-"), _name)
flags.DEFINE_bool(
    "compare", False, "Run the same model over hashed embeddings, and without bounds, beside it."
)
flags.DEFINE_integer("hash_buckets", 1000, "Rows of each hashed table of --compare.", lower_bound=1)
flags.DEFINE_integer("seed", 1, "Seed of everything drawn.", lower_bound=0)
flags.DEFINE_string("out", "ctr_out", "Directory for checkpoint, logs and report.")
flags.DEFINE_integer("checkpoint_every", 20, "Blocks between checkpoints.")
flags.DEFINE_bool("restart", False, "Begin anew even if --out holds a checkpoint.")

# What decides the result; a checkpoint is only gone on from with the same.
_DECISIVE = (
    "data", "format", "label", "time", "drop", "cross", "model", "dim", "hidden",
    "optimizer", "learning_rate", "block_rows", "batch_size", "test_fraction",
    "online", "filter_freq", "steps_to_live", "max_keys", "compare", "hash_buckets", "seed",
)  # fmt: skip


def _decisive_flags() -> Dict[str, Any]:
    values = {name: getattr(FLAGS, name) for name in _DECISIVE}
    values["data"] = os.path.abspath(values["data"])
    optimizer, learning_rate = ctr_models.DEFAULTS[FLAGS.model]
    values["optimizer"] = values["optimizer"] or optimizer
    if values["learning_rate"] is None:
        values["learning_rate"] = learning_rate
    return values


def _build(values: Dict[str, Any], out: str) -> ctr_stream.Stream:
    try:
        hidden = [int(units) for units in values["hidden"]]
    except ValueError:
        raise ValueError(f"--hidden={values['hidden']}: must be whole numbers, as 64,32.") from None
    reader = ctr_readers.open_reader(
        values["data"], values["format"], values["label"], values["time"], values["drop"],
        [cross.split(",") for cross in values["cross"]],
    )  # fmt: skip
    features = ctr_models.Features(reader)
    contestants: List[ctr_stream.Contestant] = []
    option = ctr_models.bounds(
        values["filter_freq"], values["steps_to_live"], values["max_keys"]
    )
    names = ["dynamic", "hashed"] if option is None else ["bounded", "dynamic", "hashed"]
    for name in names if values["compare"] else names[:1]:
        model, tables = ctr_models.make_model(
            values["model"], features, values["dim"], hidden, values["optimizer"],
            values["learning_rate"], values["seed"],
            values["hash_buckets"] if name == "hashed" else None,
            option if name == "bounded" else None,
        )  # fmt: skip
        contestants.append(ctr_stream.Contestant(name, model, tables))
    settings = ctr_stream.Settings(
        values["block_rows"], values["batch_size"], values["test_fraction"], values["online"],
        FLAGS.checkpoint_every, values["seed"],
    )  # fmt: skip
    return ctr_stream.Stream(reader, features, contestants, settings, out, values)


def main(argv: List[str]) -> int:
    if len(argv) > 1:
        raise app.UsageError(f"unknown arguments {argv[1:]}: flags look like --name=value.")
    values = _decisive_flags()
    out = FLAGS.out
    os.makedirs(out, exist_ok=True)
    if FLAGS.restart:
        for name in ("checkpoint", "tensorboard"):
            shutil.rmtree(os.path.join(out, name), ignore_errors=True)
    tf.config.experimental.enable_op_determinism()
    try:
        stream = _build(values, out)
    except (ValueError, OSError) as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 2
    if stream.resumed_at >= stream.total:
        print(f"{out} holds this very run, complete; --restart runs it anew.", file=sys.stderr)
    elif stream.resumed_at:
        at = f"row {stream.resumed_at:,} of {stream.total:,}"
        print(f"Going on from {out}, {at}.", file=sys.stderr)
    finished = stream.run()
    results = stream.results()
    share = f"The last {values['test_fraction']:.0%} of the rows (right of the dashed line)"
    how = "while it goes on learning" if values["online"] else "with the model frozen"
    note = f"{share} are scored {how}."
    title = f"{values['model']} on {os.path.basename(values['data'])}"
    histories = {c.name: c.history for c in stream.contestants}
    paths = ctr_report.write(out, title, results, histories, values, stream.split, note)
    print(ctr_report.text_table(results))
    tables = os.path.join(out, "tables.txt")
    with open(tables, "w", encoding="utf-8") as file:
        te.report(stream.contestants[0].model, print_fn=file.write)
    print(f"tables: {tables}")
    print(f"report: {paths['html']}\npicture: {paths['png']}")
    print(f"logs: tensorboard --logdir={shlex.quote(os.path.join(out, 'tensorboard'))}")
    if not finished:
        words = [word for word in (sys.executable, *sys.argv) if word != "--restart"]
        again = " ".join(map(shlex.quote, words))
        at = f"row {stream.rows:,} of {stream.total:,}"
        print(f"Interrupted at {at}; saved. Go on with:\n  {again}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    app.run(main)
