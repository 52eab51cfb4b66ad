# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""The Keras 2 that this package talks to, and the row variable of its layers.

TensorFlow 2.15 carries Keras 2 as `tf.keras`. From 2.16 on `tf.keras` is
Keras 3 and Keras 2 lives in the package `tf_keras` (which `tf.keras` becomes
again under `TF_USE_LEGACY_KERAS=1`). Nothing is patched in either.
"""

import sys
from typing import Any, NoReturn, Optional

import numpy as np
import tensorflow as tf

from tf_embedding import variable as variable_lib


def _import_keras() -> Any:
    """Returns the module of Keras 2.

    Raises:
      ImportError: TensorFlow is 2.16 or newer and tf_keras is not installed.
    """
    release = tuple(int(part) for part in tf.__version__.split(".")[:2])
    if release < (2, 16):
        # Keras 2 gives tf.keras no version here; Keras 3, put over it, would.
        if getattr(tf.keras, "__version__", "2").startswith("2"):
            return tf.keras
    try:
        import tf_keras
    except ImportError as error:
        raise ImportError(
            f"tf_embedding.keras2 needs Keras 2, which TensorFlow "
            f"{tf.__version__} does not carry: pip install "
            f"'tf_keras=={release[0]}.{release[1]}.*'."
        ) from error
    return tf_keras


keras: Any = _import_keras()

OPTIMIZER_NAMES = (
    "SGD",
    "Adagrad",
    "RowwiseAdagrad",
    "RMSprop",
    "Adam",
    "AdamW",
    "Ftrl",
    "GroupFtrl",
    "AdagradDecay",
)


def choices() -> str:
    """The optimizer classes that can train rows, for error texts."""
    return "te.optimizers." + "|".join(OPTIMIZER_NAMES)


def require_one_replica(what: str) -> None:
    """Refuses a distribution strategy that has several replicas.

    Args:
      what: The thing that cannot be used under it, for the error text.

    Raises:
      NotImplementedError: The current strategy has more than one replica.
    """
    strategy = tf.distribute.get_strategy()
    replicas = strategy.num_replicas_in_sync
    if replicas > 1:
        raise NotImplementedError(
            f"{what} cannot be trained on the {replicas} replicas of "
            f"{type(strategy).__name__}: gradients of rows are not summed "
            "across replicas. Use a strategy with one replica, or none."
        )


def calling_optimizer() -> Optional[Any]:
    """The Keras 2 optimizer whose method is running, the innermost; or None.

    Stock optimizers do not say who they are to what they call, and the call
    stack is the one place that does.
    """
    kinds = (keras.optimizers.Optimizer, keras.optimizers.legacy.Optimizer)
    frame: Any = sys._getframe(1)
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, kinds):
            return owner
        frame = frame.f_back
    return None


class _Carrier(np.ndarray):
    """An empty array with the state of a table on its back."""

    state: dict[str, Any]


class Snapshot:
    """The whole table of a layer at one moment, as `get_weights` returns it.

    `set_weights` takes it back, slots, frequencies and versions included, so
    that EarlyStopping(restore_best_weights=True) works.

    Attributes:
      state: dict of numpy arrays, see `te.EmbeddingVariable.state`.
      shape: (rows, dim).
    """

    def __init__(self, variable: "LayerVariable") -> None:
        """Copies all rows of `variable`."""
        self._name = variable.name
        self.state = {
            key: np.asarray(value) for key, value in variable.state().items()
        }
        self.shape: tuple[int, ...] = self.state["values"].shape

    @property
    def dtype(self) -> NoReturn:
        """Refuses. Legacy .h5 files come here: they would drop the keys."""
        raise TypeError(
            f"The embedding rows of {self._name!r} are no array: a legacy .h5 "
            "file cannot hold them. Use save_weights with a .weights.h5 file "
            "or in the TensorFlow format, or model.save with .keras or in the "
            "SavedModel format. Their arrays are in the snapshot's `state`."
        )

    def __array__(self, dtype: Any = None, copy: Any = None) -> _Carrier:
        """For set_weights, which makes an array of all that it is given."""
        del copy
        carrier = np.ndarray.__new__(_Carrier, (0,), dtype or np.float32)
        carrier.state = self.state
        return carrier


class LayerVariable(variable_lib.EmbeddingVariable):
    """The `te.EmbeddingVariable` of a Keras 2 layer.

    Keras 2 treats it as any weight of the model. This class answers what Keras
    then asks of it: `get_weights`, `set_weights`, and a clear error where a
    stock optimizer would try to give it slots.
    """

    @property
    def _unique_id(self) -> str:
        # The key under which a stock Keras 2 optimizer files a variable: the
        # first thing it asks for. The optimizers of this package never do.
        raise self._not_by_stock()

    @_unique_id.setter
    def _unique_id(self, value: str) -> None:
        del value  # Set by TensorFlow's constructor.

    @property
    def constraint(self) -> None:
        """None. A legacy optimizer without slots asks for no more than this."""
        legacy = keras.optimizers.legacy.Optimizer
        if isinstance(calling_optimizer(), legacy):
            raise self._not_by_stock()

    def _not_by_stock(self) -> ValueError:
        return ValueError(
            f"A stock Keras 2 optimizer cannot train the embedding rows of "
            f"{self.name!r}. Compile the model with an optimizer of this "
            f"package, which trains dense weights as the stock one does and "
            f"the rows too ({choices()}), or give the layer an optimizer of "
            f"its own: optimizer='adagrad'."
        )

    def numpy(self) -> Snapshot:
        """The whole table, for `get_weights`.

        Raises:
          TypeError: A stock layer (DenseFeatures) is being saved to a .keras or
            .weights.h5 file. It would write an empty array.
        """
        if sys._getframe(1).f_code.co_name == "save_own_variables":
            raise TypeError(
                f"A stock layer cannot write the embedding rows of {self.name!r} "
                "to a .keras or .weights.h5 file. Use "
                "te.layers.DenseFeatures, which can, or tf.train.Checkpoint, or "
                "the SavedModel format."
            )
        return Snapshot(self)

    def assign(self, value: Any, *args: Any, **kwargs: Any) -> None:
        """Replaces the whole table, for `set_weights`.

        Args:
          value: What Keras makes of a `Snapshot`.
          *args: Ignored.
          **kwargs: Ignored.

        Raises:
          TypeError: `value` is not a snapshot.
        """
        del args, kwargs
        state = getattr(getattr(value, "base", None), "state", None)
        if state is None:
            raise TypeError(
                f"The embedding rows of {self.name!r} can be set to what "
                "get_weights() returned for such rows, not to an array: rows "
                "mean nothing without their keys. Use variable.upsert(keys, "
                "values) or variable.load_state(state)."
            )
        self.load_state(state)
