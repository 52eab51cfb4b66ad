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
INDEX = ".index"
# IndexError is what tf.train.Checkpoint makes of OutOfRangeError.
ERRORS = (tf.errors.OpError, ValueError, IndexError, OSError)


def make(name: str, **options: int) -> te.EmbeddingVariable:
    return te.EmbeddingVariable(DIM, initializer="zeros", name=name, **options)


def rows(ev: te.EmbeddingVariable) -> bytes:
    return b"".join(column.numpy().tobytes() for column in ev.export())


class ByObject:
    """tf.train.Checkpoint."""

    data = ".data-00000-of-00002"

    def save(self, folder: str) -> str:
        ev, parts = make("saved"), make("parts", num_parts=2)
        for variable in (ev, parts):
            variable.upsert(np.arange(500), np.ones([500, DIM]))
        checkpoint = tf.train.Checkpoint(ev=ev, parts=parts, dense=tf.Variable(tf.ones([50])))
        return checkpoint.write(os.path.join(folder, "ckpt"))

    def restore(self, prefix: str) -> str:
        live, parts, dense = make("live"), make("live_parts"), tf.Variable(tf.zeros([50]))
        for variable in (live, parts):
            variable.upsert([1, 2, 3], np.zeros([3, DIM]))
        before = rows(live), rows(parts)
        checkpoint = tf.train.Checkpoint(ev=live, parts=parts, dense=dense)
        with pytest.raises(ERRORS) as raised:
            checkpoint.read(prefix).assert_consumed()
        # Nor what lies in another file, and is good.
        assert (rows(live), rows(parts)) == before and not np.any(dense)
        return str(raised.value)


class ByObjectDense(ByObject):
    """The same, where what is wrong is the file of the dense variable."""

    data = ".data-00001-of-00002"


class BySaver:
    """A v1 Saver."""

    data = ".data-00000-of-00001"

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

    data = ".data-00000-of-00001"

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


# What becomes of a file, and who says which: TensorFlow; we, where a table's bytes are
# read by our op; nobody, as TensorFlow reads the index before it asks us.
TENSORFLOW, WE, NOBODY = "TensorFlow", "we", "nobody"
DAMAGES: dict[str, tuple[Optional[Callable[[str, str], None]], str]] = {
    "no data": (lambda prefix, data: os.remove(prefix + data), TENSORFLOW),
    "no index": (lambda prefix, data: os.remove(prefix + INDEX), TENSORFLOW),
    "no permission": (None, TENSORFLOW),
    "cut data": (lambda prefix, data: os.truncate(prefix + data, 150), WE),
    "cut index": (lambda prefix, data: os.truncate(prefix + INDEX, 100), NOBODY),
    "flipped row": (lambda prefix, data: flip(prefix + data, 0.5), WE),
    "flipped index": (lambda prefix, data: flip(prefix + INDEX, 0.2), NOBODY),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("route", [ByObject(), ByObjectDense(), BySaver(), BySavedModel()])
def test_what_is_wrong_is_said_and_nothing_changes(route, damage) -> None:
    harm, who = DAMAGES[damage]
    # Not pytest's folder, which only its owner may enter.
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        prefix = route.save(folder)
        if harm is not None:
            harm(prefix, route.data)
        with forbidden(prefix + route.data) if harm is None else contextlib.nullcontext():
            message = route.restore(prefix)
            if who == TENSORFLOW:
                assert prefix in message, message
            if type(route) is ByObject and "index" not in damage:
                assert prefix + route.data in message, message
                assert "/table/.ATTRIBUTES/-blocks" in message, message
            if type(route) is ByObject and who == WE:
                assert "is damaged" in message and "another checkpoint" in message, message
            assert message
            # That of verify always names the checkpoint.
            with pytest.raises(tf.errors.OpError) as raised:
                te.checkpoint.verify(prefix)
        assert f"checkpoint {prefix}" in str(raised.value)
