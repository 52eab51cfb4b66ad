# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a dense variable would do, and an embedding variable refuses."""

from __future__ import annotations

from typing import Any, Optional


class NoDenseValue:
    """Each way to read or write a resource variable whole: an error with the remedy."""

    name: str

    def _no_dense_value(self, what: str) -> TypeError:
        return TypeError(
            f"{what}: embedding variable {self.name!r} has no dense value. Look keys up with "
            "tf.nn.embedding_lookup, write with upsert(), read all rows with export(), train with "
            "tf_embedding.optimizers or, in place of tf.compat.v1.train, tf_embedding.train. "
            "tf.custom_gradient and tf.recompute_grad read every variable they meet as dense: do "
            "the lookup outside and pass its result in"
        )

    def value(self) -> Any:
        raise self._no_dense_value("value")

    def read_value(self) -> Any:
        raise self._no_dense_value("read_value")

    def read_value_no_copy(self) -> Any:
        raise self._no_dense_value("read_value_no_copy")

    def gather_nd(self, indices: Any, name: Optional[str] = None) -> Any:
        raise self._no_dense_value("gather_nd")

    def numpy(self) -> Any:
        raise self._no_dense_value("numpy")

    def _read_variable_op(self, no_copy: bool = False) -> Any:
        raise self._no_dense_value("reading the variable whole")

    def _dense_var_to_tensor(
        self, dtype: Any = None, name: Optional[str] = None, as_ref: bool = False
    ) -> Any:
        raise self._no_dense_value("conversion to a tensor")

    def assign(self, *args: Any, **kwargs: Any) -> Any:
        raise self._no_dense_value("assign")

    def assign_add(self, *args: Any, **kwargs: Any) -> Any:
        raise self._no_dense_value("assign_add")

    def assign_sub(self, *args: Any, **kwargs: Any) -> Any:
        raise self._no_dense_value("assign_sub")

    def _stock_update(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            f"a stock optimizer cannot update embedding variable {self.name!r}, whose rows hold "
            "their own optimizer state. Use tf_embedding.optimizers or tf_embedding.rules.apply"
        )

    scatter_add = scatter_sub = scatter_update = scatter_mul = scatter_div = _stock_update
    scatter_min = scatter_max = batch_scatter_update = _stock_update
