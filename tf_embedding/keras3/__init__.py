# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""The Keras 3 face: what `te.layers`, `te.optimizers` and `te.callbacks` are.

A layer shows its rows to Keras as one `keras.Variable` (variable.py). From
there two roads lead to the fused update of the rows:

* A stock optimizer hands the gradient to the variable itself, by Keras'
  `overwrite_with_gradient`; the variable finds the optimizer at work and runs
  the rule of the same name (updates.py).
* A `te.optimizers` class knows rows and sends their gradients through the
  steps that Keras takes for dense ones: un-scaling, accumulation, clipping
  (optimizers.py).

Importing this package registers its classes for deserialization under the
package name `tf_embedding` and changes nothing else in Keras. A process that
loads a saved model imports it first:

>>> import tf_embedding.keras3
"""

import keras

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        "tf_embedding needs Keras on TensorFlow, but the Keras backend is "
        f"{keras.backend.backend()!r}. "
        "Set KERAS_BACKEND=tensorflow before Keras is imported."
    )

from tf_embedding.keras3 import callbacks, layers, optimizers

__all__ = ["callbacks", "layers", "optimizers"]
