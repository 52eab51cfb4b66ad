# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""What TensorFlow's own calls say of a checkpoint that cannot be read, and what verify says."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from typing import Callable, Optional

import numpy as np
import pytest
import tensorflow as tf

import tf_embedding as te

DIM = 6
DATA, INDEX = ".data-00000-of-00001", ".index"
# IndexError is what tf.train.Checkpoint makes of OutOfRangeError.
ERRORS = (tf.errors.OpError, ValueError, IndexError, OSError)


def make(name: str) -> te.EmbeddingVariable:
    return te.EmbeddingVariable(DIM, initializer="zeros", name=name)


def rows(ev: te.EmbeddingVariable) -> bytes:
    return b"".join(column.numpy().tobytes() for column in ev.export())


class ByObject:
    """tf.train.Checkpoint."""

    def save(self, folder: str) -> str:
        ev = make("saved")
        ev.upsert(np.arange(500), np.ones([500, DIM]))
        return tf.train.Checkpoint(ev=ev).write(os.path.join(folder, "ckpt"))

    def restore(self, prefix: str) -> str:
        live = make("live")
        live.upsert([1, 2, 3], np.zeros([3, DIM]))
        before = rows(live)
        with pytest.raises(ERRORS) as raised:
            tf.train.Checkpoint(ev=live).read(prefix).assert_consumed()
        assert rows(live) == before
        return str(raised.value)


class BySaver:
    """A v1 Saver."""

    def save(self, folder: str) -> str:
        v1 = tf.compat.v1
        with tf.Graph().as_default(), v1.Session() as session:
            ev = make("saved")
            session.run(ev.upsert(np.arange(500), np.ones([500, DIM], np.float32)))
            return v1.train.Saver([ev]).save(session, os.path.join(folder, "ckpt"))

    def restore(self, prefix: str) -> str:
        v1 = tf.compat.v1
        with tf.Graph().as_default(), v1.Session() as session:
            ev = make("saved")
            session.run(ev.upsert([1, 2, 3], np.zeros([3, DIM], np.float32)))
            saver, keys = v1.train.Saver([ev]), ev.export().keys
            with pytest.raises(ERRORS) as raised:
                saver.restore(session, prefix)
            assert sorted(session.run(keys)) == [1, 2, 3]
            return str(raised.value)


class BySavedModel:
    """tf.saved_model.load."""

    def save(self, folder: str) -> str:
        module = tf.Module()
        module.ev = make("saved")
        module.ev.upsert(np.arange(500), np.ones([500, DIM]))
        tf.saved_model.save(module, os.path.join(folder, "model"))
        return os.path.join(folder, "model", "variables", "variables")

    def restore(self, prefix: str) -> str:
        with pytest.raises(ERRORS) as raised:
            tf.saved_model.load(prefix[: -len("/variables/variables")])
        return str(raised.value)


def flip(path: str, at: float) -> None:
    with open(path, "r+b") as file:
        place = int(os.path.getsize(path) * at)
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))


@contextlib.contextmanager
def forbidden(path: str) -> Iterator[None]:
    os.chmod(path, 0)
    # Nothing is forbidden to root.
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


# What becomes of the files, and whether each TensorFlow's error names one.
DAMAGES: dict[str, tuple[Optional[Callable[[str], None]], bool]] = {
    "no data": (lambda prefix: os.remove(prefix + DATA), True),
    "no index": (lambda prefix: os.remove(prefix + INDEX), True),
    "no permission": (None, True),
    "cut data": (lambda prefix: os.truncate(prefix + DATA, 9000), False),
    "cut index": (lambda prefix: os.truncate(prefix + INDEX, 100), False),
    "flipped row": (lambda prefix: flip(prefix + DATA, 0.5), False),
    "flipped index": (lambda prefix: flip(prefix + INDEX, 0.2), False),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("route", [ByObject(), BySaver(), BySavedModel()])
def test_what_is_wrong_is_said_and_nothing_changes(route, damage) -> None:
    harm, named = DAMAGES[damage]
    # Not pytest's folder, which only its owner may enter.
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        prefix = route.save(folder)
        if harm is not None:
            harm(prefix)
        with forbidden(prefix + DATA) if harm is None else contextlib.nullcontext():
            message = route.restore(prefix)
            assert message and (not named or prefix in message), message
            # That of verify always names the checkpoint.
            with pytest.raises(tf.errors.OpError) as raised:
                te.checkpoint.verify(prefix)
        assert f"checkpoint {prefix}" in str(raised.value)
