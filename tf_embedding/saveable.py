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

from tf_embedding import checkpoint

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
        """What a Saver writes: the table's blocks, and a tensor of the variable's name.

        The blocks of `var` are the tensor `var-blocks`. `var` itself has no rows: it is
        there to be found, by `init_from_checkpoint` and by people.
        """
        if self._specs is None:
            name = self.name.split(":")[0]
            with tf_ops.colocate_with(None, ignore_existing=True):
                blocks = self.table.save_blocks()
            with tf_ops.colocate_with(self.handle, ignore_existing=True):
                # A Saver wants all of an object on one device.
                tensors = {
                    name: tf.zeros([0, self.table.dim]),
                    name + checkpoint.BLOCKS: tf.identity(blocks),
                }
            self._specs = [
                saveable_object.SaveSpec(tensor, "", entry) for entry, tensor in tensors.items()
            ]
        return self._specs

    def restore(self, restored_tensors: Any, restored_shapes: Any = None) -> Any:
        """Takes what a Saver read; or, of `init_from_checkpoint`, the name alone."""
        del restored_shapes
        if len(restored_tensors) == 1:
            restored_tensors = [None, self._blocks_beside(restored_tensors[0])]
        return self.table.load_blocks(restored_tensors[1])

    def _blocks_beside(self, named: tf.Tensor) -> tf.Tensor:
        # tf.compat.v1.train.init_from_checkpoint reads one tensor of a name that
        # it was given. The blocks are beside it in the same file.
        if named.op.type != "RestoreV2":
            raise TypeError(
                f"embedding variable {self.name!r} restores from a checkpoint, not from "
                f"{named.op.type}; write rows with upsert()"
            )
        prefix, names = named.op.inputs[:2]
        (name,) = tf.get_static_value(names)
        (blocks,) = tf.raw_ops.RestoreV2(
            prefix=prefix,
            tensor_names=[name.decode() + checkpoint.BLOCKS],
            shape_and_slices=[""],
            dtypes=[tf.variant],
        )
        return blocks
