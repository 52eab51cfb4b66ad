# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""`python -m tf_embedding.tools`: the command `tf-embedding`."""

from tf_embedding.tools.main import entry_point

if __name__ == "__main__":
    entry_point()
