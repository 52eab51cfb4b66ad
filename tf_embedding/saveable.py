# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the Saver of v1 graphs asks: an embedding variable is its own SaveableObject.

A Saver takes a variable for a dense tensor, unless it is a SaveableObject, which it
asks for its tensors. Being both, the variable can stand where users look for
variables: in GLOBAL_VARIABLES, in a list or dict that a Saver is given, in
`init_from_checkpoint`.
"""

from __future__ import annotations

from typing import Any, Optional

import tensorflow as tf
from tensorflow.python.framework import ops as tf_ops
from tensorflow.python.training.saving import saveable_object

# The entries of a variable's state, in the order of the ops.
STATE = (
    "keys",
    "values",
    "slots",
    "frequency",
    "version",
    "rule",
    "initial_slots",
    "initializer",
    "init_args",
    "seed",
    "matrix",
)


class Saveable(saveable_object.SaveableObject):  # type: ignore[misc]
    """The half of a variable that a Saver sees."""

    name: str
    table: Any
    handle: tf.Tensor
    _specs: Optional[list[saveable_object.SaveSpec]] = None

    @property
    def specs(self) -> list[saveable_object.SaveSpec]:
        """What a Saver writes: the vectors under the variable's name, the rest beside it.

        The keys of `var` are the tensor `var-keys`, and so on.
        """
        if self._specs is None:
            with tf_ops.colocate_with(None, ignore_existing=True):
                state = self.table.export_state()
            with tf_ops.colocate_with(self.handle, ignore_existing=True):
                # A Saver wants all of an object on one device.
                state = {field: tf.identity(tensor) for field, tensor in state.items()}
            self._specs = [
                saveable_object.SaveSpec(state[field], "", self._entry(field)) for field in STATE
            ]
        return self._specs

    def _entry(self, field: str) -> str:
        name = self.name.split(":")[0]
        return name if field == "values" else f"{name}-{field}"

    def restore(self, restored_tensors: Any, restored_shapes: Any = None) -> Any:
        """Takes what a Saver read; or, of `init_from_checkpoint`, the vectors alone."""
        del restored_shapes
        if len(restored_tensors) == 1:
            restored_tensors = self._all_entries(restored_tensors[0])
        return self.table.import_state(dict(zip(STATE, restored_tensors)))

    def _all_entries(self, vectors: tf.Tensor) -> list[tf.Tensor]:
        # tf.compat.v1.train.init_from_checkpoint reads one tensor of a name that
        # it was given. The others are beside it in the same file.
        if vectors.op.type != "RestoreV2":
            raise TypeError(
                f"embedding variable {self.name!r} restores from a checkpoint, not from "
                f"{vectors.op.type}; write rows with upsert()"
            )
        prefix, names = vectors.op.inputs[:2]
        (name,) = tf.get_static_value(names)
        wanted = [
            name.decode() + self._entry(field)[len(self._entry("values")) :] for field in STATE
        ]
        return list(
            tf.raw_ops.RestoreV2(
                prefix=prefix,
                tensor_names=wanted,
                shape_and_slices=[""] * len(wanted),
                dtypes=[spec.dtype for spec in self.specs],
            )
        )
