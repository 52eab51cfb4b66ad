# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""The stream: test, then train, block after block; stop and go on at any block.

Progressive validation (Blum et al., COLT 1999): each block is scored by the
model as it stands, and only then trained on, so every score is an honest
forecast. The last part of the stream is scored with the model frozen, unless
asked to go on learning.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import signal
import threading
import time
from typing import Any, Dict, List, Mapping, Optional, Sequence

import numpy as np
import tensorflow as tf
from ctr_blocks import Block, Reader
from ctr_metrics import auc, log_loss
from ctr_models import Features, Tables, keras
from ctr_progress import ProgressBar
from ctr_report import timed


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to walk through the stream.

    block_rows: rows scored, then trained on, at a time.
    batch_size: rows of one step of the optimizer.
    test_fraction: the last part of the rows, kept for the final score.
    online: whether to go on training in that last part, after each block's score.
    checkpoint_every: blocks between checkpoints; one is also written at the end.
    seed: of the order of rows within a block.
    """

    block_rows: int
    batch_size: int
    test_fraction: float = 0.2
    online: bool = False
    checkpoint_every: int = 20
    seed: int = 1


class Contestant:
    """A model and all that was measured on it; one, or two with --compare."""

    def __init__(self, name: str, model: keras.Model, tables: Sequence[Tables]):
        self.name = name
        self.model = model
        self.tables = tables
        self.scores: List[np.ndarray] = []
        self.history: List[Dict[str, float]] = []

    def score(self, inputs: Dict[str, np.ndarray]) -> np.ndarray:
        """Probabilities, float32 [n]; changes nothing."""
        logits = np.asarray(self.model.predict_on_batch(inputs), np.float64)[:, 0]
        return (1.0 / (1.0 + np.exp(-logits))).astype(np.float32)

    def train(self, inputs: Dict[str, np.ndarray], labels: np.ndarray, batch_size: int) -> None:
        # A step at a time: fit() costs tens of milliseconds to set up for each block.
        for begin in range(0, len(labels), batch_size):
            rows = slice(begin, begin + batch_size)
            batch = {name: column[rows] for name, column in inputs.items()}
            self.model.train_on_batch(batch, labels[rows, np.newaxis])

    def keys(self) -> int:
        """Rows in all the tables."""
        return sum(tables.num_rows() for tables in self.tables)

    def table_bytes(self) -> int:
        """Memory of the tables: vectors, optimizer slots and, where there is one, the index."""
        return sum(tables.num_bytes(self.model.optimizer) for tables in self.tables)


class _Position(tf.train.experimental.PythonState):
    """The stream's own state, kept in the same checkpoint as the models."""

    def __init__(self, flags: Mapping[str, Any], contestants: List[Contestant]):
        self.rows = 0
        self.blocks = 0
        self.labels: List[np.ndarray] = []
        self.flags = dict(flags)
        self._contestants = contestants

    def serialize(self) -> bytes:
        arrays = {"labels": _join(self.labels)}
        arrays.update({f"scores_{c.name}": _join(c.scores) for c in self._contestants})
        text = {
            "rows": self.rows,
            "blocks": self.blocks,
            "flags": self.flags,
            "history": {c.name: c.history for c in self._contestants},
        }
        file = io.BytesIO()
        np.savez(file, text=np.array(json.dumps(text)), **arrays)
        return file.getvalue()

    def deserialize(self, string_value: bytes) -> None:
        with np.load(io.BytesIO(string_value)) as arrays:
            text = json.loads(str(arrays["text"]))
            self.rows, self.blocks = text["rows"], text["blocks"]
            self.flags = text["flags"]
            self.labels = [arrays["labels"]]
            for c in self._contestants:
                c.scores = [arrays[f"scores_{c.name}"]]
                c.history = text["history"][c.name]


class Stream:
    """Runs contestants through a reader's rows.

    Args:
      reader, features: where rows come from, and how they become keys.
      contestants: built models.
      settings: see Settings.
      directory: for checkpoints and TensorBoard logs; a checkpoint that is there
        is gone on from.
      flags: what decides the result; a checkpoint of other flags is refused.

    Raises:
      ValueError: a setting is out of range, or the checkpoint is of other flags.
    """

    def __init__(
        self,
        reader: Reader,
        features: Features,
        contestants: List[Contestant],
        settings: Settings,
        directory: str,
        flags: Mapping[str, Any],
    ):
        if not 0.0 < settings.test_fraction < 1.0:
            raise ValueError(f"--test_fraction={settings.test_fraction}: must lie between 0 and 1.")
        for name in ("block_rows", "batch_size", "checkpoint_every"):
            if getattr(settings, name) <= 0:
                raise ValueError(f"--{name}={getattr(settings, name)}: must be positive.")
        self.total = reader.num_rows
        if self.total < 2:
            raise ValueError(
                f"{reader.path}: has {self.total} labelled rows; there is nothing to learn from."
            )
        self.split = max(1, int(self.total * (1.0 - settings.test_fraction)))
        self.contestants = contestants
        self.resumed_at = 0
        self._reader, self._features, self._settings = reader, features, settings
        self._position = _Position(flags, contestants)
        self._interrupted = False
        parts = {f"{c.name}_model": c.model for c in contestants}
        parts.update({f"{c.name}_optimizer": c.model.optimizer for c in contestants})
        self._manager = tf.train.CheckpointManager(
            tf.train.Checkpoint(position=self._position, **parts),
            os.path.join(directory, "checkpoint"),
            max_to_keep=2,
        )
        self._restore(directory, flags)
        self._writers = {
            c.name: tf.summary.create_file_writer(os.path.join(directory, "tensorboard", c.name))
            for c in contestants
        }

    def _restore(self, directory: str, flags: Mapping[str, Any]) -> None:
        latest = self._manager.latest_checkpoint
        if latest is None:
            return
        # The stream's own state first, alone: with other flags the models may
        # not even have the checkpoint's shapes.
        tf.train.Checkpoint(position=self._position).restore(latest).expect_partial()
        found = self._position.flags
        if found != dict(flags):
            changed = [
                f"--{name}={found.get(name)!r} there, {flags.get(name)!r} here"
                for name in sorted({*found, *flags})
                if found.get(name) != flags.get(name)
            ]
            raise ValueError(
                f"--out={directory} holds a run with other flags ({'; '.join(changed)}). Take its"
                " flags to go on with it, another --out, or --restart to begin anew."
            )
        self._manager.checkpoint.restore(latest).assert_existing_objects_matched()
        self.resumed_at = self._position.rows

    @property
    def rows(self) -> int:
        """Rows behind us."""
        return self._position.rows

    def run(self) -> bool:
        """Goes on to the end of the stream; False if interrupted (Ctrl-C) before.

        Either way a checkpoint of the last whole block is on disk on return.
        """
        bar = ProgressBar(self.total, self.rows)
        main = threading.current_thread() is threading.main_thread()
        before = signal.signal(signal.SIGINT, self._on_interrupt) if main else None
        saved_at = self.rows if self.resumed_at else -1
        try:
            for stop in (self.split, self.total):
                for block in self._reader.blocks(self._settings.block_rows, self.rows, stop):
                    self._step(block)
                    bar.update(self.rows, self._note())
                    if self._position.blocks % self._settings.checkpoint_every == 0:
                        self._manager.save()
                        saved_at = self.rows
                    if self._interrupted:
                        break
                if self._interrupted:
                    break
            if saved_at != self.rows:
                self._manager.save()
        finally:
            bar.close()
            for writer in self._writers.values():
                writer.close()
            if main:
                signal.signal(signal.SIGINT, before)
        return self.rows >= self.total

    def _on_interrupt(self, signum: int, frame: Any) -> None:
        self._interrupted = True  # The block is finished first.
        signal.signal(signal.SIGINT, signal.default_int_handler)  # A second Ctrl-C stops at once.

    def _step(self, block: Block) -> None:
        """Scores a block, trains on it (but not on the frozen part), measures."""
        settings, position = self._settings, self._position
        inputs = self._features.encode(block)
        learns = position.rows < self.split or settings.online
        # Rows of one hour are alike; in random order each step sees the block's mix.
        order = np.random.default_rng([settings.seed, position.rows]).permutation(len(block))
        shuffled = {name: column[order] for name, column in inputs.items()}
        position.rows += len(block)
        position.blocks += 1
        position.labels.append(block.labels)
        for c in self.contestants:
            began = time.monotonic()
            scores = c.score(inputs)
            if learns:
                c.train(shuffled, block.labels[order], settings.batch_size)
            seconds = time.monotonic() - began
            c.scores.append(scores)
            entry = {
                "rows": position.rows,
                "size": len(block),
                "auc": auc(block.labels, scores),
                "logloss": log_loss(block.labels, scores),
                "keys": c.keys(),
                "bytes": c.table_bytes(),
                "seconds": seconds,
                "learns": learns,
            }
            c.history.append(entry)
            self._log(c.name, entry)

    def _log(self, name: str, entry: Mapping[str, float]) -> None:
        with self._writers[name].as_default(step=int(entry["rows"])):
            tf.summary.scalar("auc", entry["auc"])
            tf.summary.scalar("logloss", entry["logloss"])
            tf.summary.scalar("keys", entry["keys"])
            tf.summary.scalar("table_bytes", entry["bytes"])
            tf.summary.scalar("examples_per_second", entry["size"] / max(entry["seconds"], 1e-9))

    def _note(self) -> str:
        return " ".join(f"{c.name}: AUC {c.history[-1]['auc']:.3f}" for c in self.contestants)

    def results(self) -> Dict[str, Dict[str, Optional[float]]]:
        """The figures of each contestant, by name.

        stream_*: test-then-train on the rows before the split; final_*: on the
        rows after it. A figure for which no row has come yet is None.
        """
        labels = _join(self._position.labels)
        cut = min(self.split, len(labels))
        parts = (("stream", slice(0, cut)), ("final", slice(cut, None)))
        results: Dict[str, Dict[str, Optional[float]]] = {}
        for c in self.contestants:
            scores = _join(c.scores)
            figures: Dict[str, Optional[float]] = {}
            for part, rows in parts:
                some = len(labels[rows]) > 0
                figures[f"{part}_auc"] = auc(labels[rows], scores[rows]) if some else None
                figures[f"{part}_logloss"] = log_loss(labels[rows], scores[rows]) if some else None
            blocks = timed(c.history)
            seconds = max(sum(e["seconds"] for e in blocks), 1e-9)
            figures["examples_per_second"] = sum(e["size"] for e in blocks) / seconds
            figures["keys"] = c.history[-1]["keys"] if c.history else 0
            figures["table_bytes"] = c.history[-1]["bytes"] if c.history else 0
            results[c.name] = figures
        return results


def _join(parts: List[np.ndarray]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)
