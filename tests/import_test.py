# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Importing the package changes nothing for others."""

from __future__ import annotations

import subprocess
import sys

import tf_embedding as te

SNAPSHOT = '''
import sys, types
import tensorflow as tf
keras = tf.keras
keras.layers.Dense  # loads Keras before the first look


def members(root, name, seen, out, depth=0):
    if id(root) in seen or depth > 4:
        return
    seen.add(id(root))
    for key in sorted(vars(root)):
        if key.startswith("__"):
            continue
        value = vars(root)[key]
        out[name + "." + key] = id(value)
        is_module = isinstance(value, types.ModuleType)
        ours = getattr(value, "__name__" if is_module else "__module__", "") or ""
        if (is_module or isinstance(value, type)) and ours.split(".")[0] in (
            "tensorflow", "keras", "tf_keras"
        ):
            members(value, name + "." + key, seen, out, depth + 1)


def look():
    out = {}
    for name in ("tensorflow", "keras", "tf_keras"):
        if name in sys.modules:
            members(sys.modules[name], name, set(), out)
    return out

look()  # resolves what loads at first use
before = look()
modules = set(sys.modules)
import tf_embedding
after = look()
changed = [k for k in before if after.get(k) != before[k]]
added = [k for k in after if k not in before]
assert len(before) > 5000, len(before)
print("changed", changed[:10], "added", added[:10])
assert not changed and not added
new = {m.split(".")[0] for m in set(sys.modules) - modules}
# tf.load_op_library keeps the module that it makes under a hash.
new = {m for m in new if len(m) != 40}
assert new <= {"tf_embedding"} | set(sys.stdlib_module_names), new
'''


def test_tensorflow_and_keras_are_as_they_were() -> None:
    subprocess.run([sys.executable, "-c", SNAPSHOT], check=True)


def test_the_keras_face_changes_nothing_either() -> None:
    keras = "tf_embedding.layers, tf_embedding.optimizers"
    code = SNAPSHOT.replace("import tf_embedding\n", f"import tf_embedding\n{keras}\n")
    # Of modules, any that Keras loads late may come.
    code = code[: code.index("new = {m.split")]
    subprocess.run([sys.executable, "-c", code], check=True)


def test_columns_and_estimators_load_on_request_and_change_nothing() -> None:
    # Their classes go into lists that TensorFlow keeps for that; none of its names changes.
    code = SNAPSHOT.replace(
        "import tf_embedding\n",
        "import tf_embedding\n"
        "lazy = {'tf_embedding.feature_column', 'tf_embedding.estimator', 'tf_embedding.io'}\n"
        "assert not (lazy | {'tf_embedding.tools'}) & set(sys.modules)\n"
        "tf_embedding.feature_column, tf_embedding.estimator, tf_embedding.io\n"
        "assert lazy <= set(sys.modules)\n",
    )
    code = code[: code.index("new = {m.split")]
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_names() -> None:
    for name in te.__all__:
        assert getattr(te, name) is not None
        assert name in dir(te)
