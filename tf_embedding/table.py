# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""What owns the tables of an embedding variable, and speaks for them.

`EmbeddingTable`, a `TrackableResource`, owns the C++ table and speaks for it in
checkpoints and SavedModels. A variable in parts has several tables, each owned by a
`PartTable`, and one `PartitionedTable` (`tf_embedding.parts`) that speaks for them all.
"""

from __future__ import annotations

import contextlib
from typing import Any, Mapping, Optional

import tensorflow as tf
from tensorflow.python.ops import handle_data_util

from tf_embedding import checkpoint, initializers, saveable, saver
from tf_embedding._library import ops
from tf_embedding.table_options import TableOptions

# The shared_name under which TensorFlow makes a resource that its handle owns.
_ANONYMOUS = "cd2c89b7-88b7-44c8-ad83-06c2a9158347"


class PartTable(tf.saved_model.experimental.TrackableResource):  # type: ignore[misc]
    """Owns the table of one part: makes it, gives and takes its content."""

    def __init__(
        self,
        dim: int,
        shared_name: str,
        spec: initializers.InitializerSpec,
        options: TableOptions,
        op_name: Optional[str],
    ) -> None:
        super().__init__(device="")
        self._dim = dim
        self._shared_name = shared_name
        self._spec = spec
        self._options = options
        self._op_name = op_name

    @property
    def dim(self) -> int:
        """The length of a vector."""
        return self._dim

    @property
    def shared_name(self) -> str:
        """The name under which graphs find the table."""
        return self._shared_name

    def _create_resource(self) -> tf.Tensor:
        # Outside graphs the handle owns the table: it is freed with the last
        # variable or function that holds the handle. A graph runs this op
        # anew in each of its functions, so there the table needs a name.
        shared_name = _ANONYMOUS if tf.executing_eagerly() else self._shared_name
        spec = self._spec
        attributes = self._options.attributes()
        if tf.compat.v1.get_default_graph().building_function:
            # Of a SavedModel, which is to serve on any device: the same values.
            attributes["row_dtype"] = tf.float32
        handle = ops.tf_embedding_variable_handle(
            shared_name=shared_name,
            dim=self._dim,
            initializer=spec.kind,
            init_a=spec.a,
            init_b=spec.b,
            seed=spec.seed or 0,
            matrix=[] if spec.matrix is None else spec.matrix.ravel().tolist(),
            shape=[None, self._dim],
            name=self._op_name,
            **attributes,
        )
        handle._handle_data = handle_data_util.create_handle_data(
            tf.TensorShape([0, self._dim]), tf.float32
        )
        return handle

    def _initialize(self) -> None:
        """The op that makes the table leaves nothing to do."""

    def _destroy_resource(self) -> None:
        # Of a table that a loaded SavedModel made under a name.
        tf.raw_ops.DestroyResourceOp(resource=self.resource_handle, ignore_lookup_error=True)

    def export_state(self) -> dict[str, tf.Tensor]:
        """All content as named tensors, of one moment."""
        return dict(
            zip(saveable.STATE, ops.tf_embedding_export(handle=self.resource_handle, dim=self._dim))
        )

    def import_state(self, state: Mapping[str, Any]) -> Any:
        """Makes the content exactly this."""
        return ops.tf_embedding_import(handle=self.resource_handle, **state)


class EmbeddingTable(saver.Saved, PartTable):
    """Owns the one table of a variable: saves and restores it too."""

    def handles(self) -> list[tf.Tensor]:
        """Of the tables of all parts, in order."""
        return [self.resource_handle]

    def save_blocks(self) -> tf.Tensor:
        """All content as a tensor that can be saved; see `checkpoint.save_blocks`."""
        return checkpoint.save_blocks([self.resource_handle])

    def load_blocks(self, blocks: tf.Tensor) -> Any:
        """Makes the content that of saved blocks; see `checkpoint.load_blocks`."""
        return checkpoint.load_blocks([self.resource_handle], blocks)


def device_of_next_variable() -> Any:
    """A scope of the device that the device functions in force give a variable.

    A setter of parameter servers knows TensorFlow's variables by their op, and
    counts them to deal them out; so it is asked by one such op, which never runs.
    """
    graph = tf.compat.v1.get_default_graph()
    if tf.executing_eagerly() or not graph._device_function_stack.peek_objs():
        return contextlib.nullcontext()
    probe = tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[], name="embedding_device")
    return tf.compat.v1.device(probe.device)


def make_tables(
    dim: int,
    num_parts: int,
    shared_name: str,
    spec: initializers.InitializerSpec,
    options: TableOptions,
    name: Optional[str],
) -> list[PartTable]:
    """The tables of a variable, one for each part.

    Args:
      dim: the length of a vector.
      num_parts: how many.
      shared_name: of the resource; parts add their number to it.
      spec: of initial vectors.
      options: of each of them.
      name: of the ops in a graph; None outside graphs.
    """
    # An absolute op name, so that op, resource and checkpoint key agree.
    if num_parts == 1:
        op_name = None if name is None else f"{name}/"
        return [EmbeddingTable(dim, shared_name, spec, options, op_name)]
    return [
        PartTable(
            dim,
            f"{shared_name}/part_{number}",
            spec,
            options,
            None if name is None else f"{name}/part_{number}/",
        )
        for number in range(num_parts)
    ]
