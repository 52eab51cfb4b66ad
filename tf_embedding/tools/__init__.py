# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""The command `tf-embedding`: looks into checkpoints, compares, converts and mends them.

`python -m tf_embedding.tools` is the same command. docs/tools.md has each of its
subcommands with what it prints. All of them read and write block by block, a
block being a range of hashes, so that a checkpoint may be larger than memory:

    bundle.py    TensorFlow's checkpoint files, by offset
    blocks.py    the elements of a table: blocks of rows and footers
    tables.py    the tables of a checkpoint or Keras file, range by range
    writing.py   tables from rows in any order, by way of temporary files
    readers.py   rows from npz, Parquet, word2vec and GloVe files
    *_command.py the subcommands
"""
