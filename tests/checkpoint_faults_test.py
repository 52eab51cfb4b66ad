# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Saves that are killed or fail at any file-system call and any byte.

The test runs this file as a program under tests/faults.c. Each save is done by a
fork of it, which dies; the parent then restores what is the latest checkpoint.
"""

from __future__ import annotations

import ctypes
import errno
import filecmp
import os
import random
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

KILL = -1
RANDOM_KILLS = 200


@pytest.fixture(scope="module")
def faults(tmp_path_factory) -> str:
    library = str(tmp_path_factory.mktemp("faults") / "faults.so")
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    compiler = next(c for c in (compiler, "cc", "gcc", "clang") if shutil.which(c))
    source = str(Path(__file__).with_name("faults.c"))
    subprocess.run([compiler, "-O1", "-fPIC", "-shared", source, "-o", library, "-ldl"], check=True)
    return library


@pytest.mark.parametrize("case", ["kills", "saver", "errors", "deltas"])
def test_the_previous_checkpoint_stays(case, faults, tmp_path) -> None:
    environment = {**os.environ, "LD_PRELOAD": faults, "TF_CPP_MIN_LOG_LEVEL": "3"}
    result = subprocess.run(
        [sys.executable, __file__, case, faults, str(tmp_path)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert result.returncode == 0, result.stdout
    assert result.stdout.splitlines()[-1] == f"{case} done"


class Scene:
    """A variable with a checkpoint, and later content that a save may fail to write."""

    def __init__(self, library: str, folder: str) -> None:
        import numpy as np
        import tensorflow as tf

        import tf_embedding as te

        self.np, self.tf = np, tf
        self.library = ctypes.CDLL(library)
        self.library.count_calls.restype = self.library.count_bytes.restype = ctypes.c_long
        self.folder = folder
        self.ev = te.EmbeddingVariable(8, seed=1, name="faulty")
        keys = np.arange(6000) * 2654435761
        self.ev.upsert(keys, np.tile(keys[:, None] % 97, [1, 8]).astype(np.float32), step=1)
        self.manager = self.make_manager()
        self.manager.save()
        self.first = self.content(self.ev)
        self.ev.upsert(keys + 1, np.ones([6000, 8], np.float32), step=2)
        self.second = self.content(self.ev)
        # Traced and warm, so that forks find every pool as it will be.
        self.reader = te.EmbeddingVariable(8, seed=2, name="reader")
        self.keep = shutil.copytree(folder, folder + "_kept")

    def make_manager(self):
        checkpoint = self.tf.train.Checkpoint(ev=self.ev)
        if self.tf.train.latest_checkpoint(self.folder):
            checkpoint.save_counter.assign(1)  # as after a restore
        return self.tf.train.CheckpointManager(checkpoint, self.folder, max_to_keep=1)

    def content(self, ev) -> bytes:
        rows = ev.export()
        order = self.np.argsort(rows.keys.numpy())
        return b"".join(part.numpy()[order].tobytes() for part in rows)

    def arm(self, calls: int = -1, size: int = -1, fault: int = KILL, call: str = "") -> None:
        self.library.arm_faults(ctypes.c_long(calls), ctypes.c_long(size), fault, call.encode())

    def reset(self) -> None:
        shutil.rmtree(self.folder)
        shutil.copytree(self.keep, self.folder)

    def save_in_a_fork(self, **how: int) -> bool:
        """Whether the save ended; else it was killed."""
        pid = os.fork()
        if pid == 0:
            self.arm(**how)
            self.make_manager().save()
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        if os.WIFSIGNALED(status):
            assert os.WTERMSIG(status) == signal.SIGKILL, status
            return False
        assert status == 0, status
        return True

    def is_as_before(self) -> bool:
        """Whether the first checkpoint is the latest and all its files are as they were."""
        names = os.listdir(self.keep)
        return filecmp.cmpfiles(self.keep, self.folder, names, shallow=False)[0] == names

    def check_latest(self, saved: bool) -> None:
        latest = self.tf.train.latest_checkpoint(self.folder)
        self.tf.train.Checkpoint(ev=self.reader).restore(latest).assert_consumed()
        got = self.content(self.reader)
        # Killed behind its last deed, a save may have been done.
        assert got == self.second or (not saved and got == self.first)
        assert (os.path.basename(latest) == "ckpt-1") == (got == self.first)


def kills(scene: Scene) -> None:
    scene.arm()
    scene.make_manager().save()
    calls, size = scene.library.count_calls(), scene.library.count_bytes()
    assert calls > 15 and size > 2 * 6000 * 56, (calls, size)
    killed = 0
    points = [{"calls": n} for n in range(calls)]
    points += [{"size": random.Random(n).randrange(size)} for n in range(RANDOM_KILLS)]
    for point in points:
        scene.reset()
        saved = scene.save_in_a_fork(**point)
        killed += not saved
        # The same bytes restore to the same rows: some are enough.
        if saved or killed % 20 == 0 or not scene.is_as_before():
            scene.check_latest(saved)
    assert killed == len(points), (killed, len(points))
    scene.reset()
    assert scene.save_in_a_fork()
    scene.check_latest(True)


def saver(scene: Scene) -> None:
    """A v1 Saver's, from a session."""
    import tf_embedding as te

    np, tf, v1 = scene.np, scene.tf, scene.tf.compat.v1
    folder = scene.folder + "_v1"
    keys = np.arange(6000) * 2654435761
    with tf.Graph().as_default() as graph:
        ev = te.EmbeddingVariable(8, initializer="zeros", name="faulty")
        early = ev.upsert(keys, np.tile(keys[:, None] % 97, [1, 8]).astype(np.float32), step=1)
        late = ev.upsert(keys + 1, np.ones([6000, 8], np.float32), step=2)
        rows, of_v1 = ev.export(), v1.train.Saver([ev], max_to_keep=1)
    # A session that has no threads goes through a fork.
    config = v1.ConfigProto(inter_op_parallelism_threads=-1)
    session = v1.Session(graph=graph, config=config)

    def content() -> bytes:
        found = session.run(rows)
        order = np.argsort(found.keys)
        return b"".join(part[order].tobytes() for part in found)

    def save(step: int) -> str:
        with graph.as_default():
            return of_v1.save(session, os.path.join(folder, "model"), global_step=step)

    def save_in_a_fork(**how: int) -> bool:
        """Whether it was killed; else it ended."""
        shutil.rmtree(folder)
        shutil.copytree(kept, folder)
        pid = os.fork()
        if pid == 0:
            scene.arm(**how)
            save(2)
            os._exit(0)
        status = os.waitpid(pid, 0)[1]
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        assert killed or status == 0, status
        return killed

    session.run(early)
    os.mkdir(folder)
    first = save(1)
    before, kept = content(), shutil.copytree(folder, folder + "_kept")
    session.run(late)
    after = content()
    scene.arm()
    save(2)
    calls, size = scene.library.count_calls(), scene.library.count_bytes()
    assert calls > 15 and size > 2 * 6000 * 56, (calls, size)
    with graph.as_default():
        of_v1.recover_last_checkpoints([first])
    points = [{"calls": n} for n in range(calls)]
    points += [{"size": random.Random(n).randrange(size)} for n in range(30)]
    ended = 0
    for point in points:
        killed = save_in_a_fork(**point)
        ended += not killed
        latest = tf.train.latest_checkpoint(folder)
        (blocks,) = tf.raw_ops.RestoreV2(
            prefix=latest,
            tensor_names=["faulty-blocks"],
            shape_and_slices=[""],
            dtypes=[tf.variant],
        )
        scene.reader.table.load_blocks(blocks)
        got = scene.content(scene.reader)
        # Killed behind its last deed, a save may have been done.
        assert got == after or (killed and got == before), point
        assert (latest == first) == (got == before)
    assert ended < len(points) / 10, (ended, len(points))


def errors(scene: Scene) -> None:
    tf = scene.tf
    size = 6000 * 56
    for how, kind in [
        ({"size": size, "fault": errno.ENOSPC}, tf.errors.ResourceExhaustedError),
        ({"size": 100, "fault": errno.EIO}, tf.errors.OpError),
        ({"calls": 0, "fault": errno.EACCES, "call": "open"}, tf.errors.PermissionDeniedError),
        ({"calls": 0, "fault": errno.EACCES, "call": "rename"}, tf.errors.PermissionDeniedError),
    ]:
        scene.reset()
        manager = scene.make_manager()
        scene.arm(**how)
        try:
            manager.save()
        except kind as error:
            message = str(error)
        else:
            raise AssertionError(f"{how} was not noticed")
        finally:
            scene.arm()
        assert scene.folder in message and os.strerror(how["fault"]) in message, message
        assert "cannot write" in message and "save again" in message, message
        scene.check_latest(False)
        assert scene.content(scene.ev) == scene.second
        # And the next save, of the same manager, is good.
        manager.save()
        scene.check_latest(True)


def deltas(scene: Scene) -> None:
    """A delta killed anywhere leaves the chain, or is whole; the next one has it all."""
    import tf_embedding as te

    folder = scene.folder + "_chain"

    def chain(ev):
        return te.DeltaCheckpoint(scene.tf.train.Checkpoint(ev=ev), folder)

    writer = chain(scene.ev)
    writer.save()
    before = scene.content(scene.ev)
    scene.ev.upsert(scene.np.arange(500) * 7, scene.np.zeros([500, 8], scene.np.float32), step=0)
    scene.ev.remove(scene.np.arange(100) * 2654435761)
    after = scene.content(scene.ev)
    kept = shutil.copytree(folder, folder + "_kept")

    def save_in_a_fork(**how: int) -> bool:
        """Whether it was killed; else it ended."""
        shutil.rmtree(folder)
        shutil.copytree(kept, folder)
        pid = os.fork()
        if pid == 0:
            scene.arm(**how)
            writer.save()
            os._exit(0)
        status = os.waitpid(pid, 0)[1]
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        assert killed or status == 0, status
        return killed

    scene.arm()
    pid = os.fork()
    if pid == 0:
        writer.save()
        with open(folder + "_counts", "w") as file:
            counts = scene.library.count_calls(), scene.library.count_bytes()
            file.write("{} {}".format(*counts))
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    with open(folder + "_counts") as file:
        calls, size = map(int, file.read().split())
    assert calls > 15 and size > 500 * 56, (calls, size)
    points = [{"calls": n} for n in range(calls)]
    points += [{"size": random.Random(n).randrange(size)} for n in range(30)]
    ended = 0
    for count, point in enumerate(points):
        killed = save_in_a_fork(**point)
        ended += not killed
        chain(scene.reader).restore()
        got = scene.content(scene.reader)
        # Killed behind its last deed, a save may have been done.
        assert got == after or (killed and got == before), point
        if count % 10 == 0 and got == before:
            # The process lives on, as after an error: what it saves next has all.
            pid = os.fork()
            if pid == 0:
                writer.save()
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
            chain(scene.reader).restore()
            assert scene.content(scene.reader) == after
    # How often a save calls the file system differs by a few.
    assert ended < len(points) / 10, (ended, len(points))
    # A full disk and the like: an error that names the file, and nothing is lost.
    for how in (
        {"size": 20000, "fault": errno.ENOSPC},
        {"calls": 0, "fault": errno.EACCES, "call": "open"},
        {"calls": 0, "fault": errno.EACCES, "call": "rename"},
    ):
        shutil.rmtree(folder)
        shutil.copytree(kept, folder)
        scene.arm(**how)
        try:
            writer.save()
        except scene.tf.errors.OpError as error:
            assert folder in str(error) and os.strerror(how["fault"]) in str(error), error
        else:
            raise AssertionError(f"{how} was not noticed")
        finally:
            scene.arm()
        chain(scene.reader).restore()
        assert scene.content(scene.reader) == before
    writer.save()
    chain(scene.reader).restore()
    assert scene.content(scene.reader) == after


if __name__ == "__main__":
    made = Scene(sys.argv[2], os.path.join(sys.argv[3], "ckpt"))
    {"kills": kills, "saver": saver, "errors": errors, "deltas": deltas}[sys.argv[1]](made)
    print(f"{sys.argv[1]} done")
