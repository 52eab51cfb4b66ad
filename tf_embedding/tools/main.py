# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""The command line: finds the subcommand, reads its flags, runs it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import tensorflow as tf
from absl import app, flags

from tf_embedding.tools import errors, progress

# The module of each subcommand, in the order of the help text. A module has a
# function for each of its commands: `define_NAME(flags)` and `run_NAME(args, flags)`.
COMMANDS = {
    "inspect": ("inspect_command", "tables, sizes, histograms of frequency, age and norm"),
    "get": ("rows_command", "the rows of keys"),
    "top": ("rows_command", "the rows of highest frequency, norm or version"),
    "diff": ("diff_command", "what differs between two checkpoints"),
    "verify": ("verify_command", "reads every byte and says what is damaged"),
    "export": ("export_command", "to npz, Parquet, CSV, word2vec or TensorBoard's projector"),
    "import": ("import_command", "from npz, Parquet, word2vec, GloVe, DeepRec or TFRA"),
    "strip": ("rewrite_command", "a copy without slots or without rare keys"),
    "reshard": ("rewrite_command", "a copy in another number of parts"),
}


def usage() -> str:
    """The help text of the whole command."""
    lines = ["usage: tf-embedding COMMAND [ARGUMENTS] [FLAGS]", "", "Commands:"]
    lines += [f"  {name:8} {summary}" for name, (_, summary) in COMMANDS.items()]
    lines += ["", "tf-embedding COMMAND --help has the flags of a command."]
    lines += ["Exit codes: 0 done; 1 different, missing or damaged; 2 it could not be done."]
    return "\n".join(lines)


def main(argv: Sequence[str]) -> int:
    """Runs `argv`, the command's own name first; returns its exit code."""
    if len(argv) < 2 or argv[1] in ("--help", "-h", "help"):
        print(usage())
        return errors.OK if len(argv) >= 2 else errors.FAILED
    name = argv[1]
    if name not in COMMANDS:
        print(f"tf-embedding: {name!r} is no command\n\n{usage()}", file=sys.stderr)
        return errors.FAILED
    module = importlib.import_module(f"tf_embedding.tools.{COMMANDS[name][0]}")
    values = flags.FlagValues()  # type: ignore[no-untyped-call]
    values.set_gnu_getopt(True)
    flags.DEFINE_bool("help", False, "Shows this text.", short_name="h", flag_values=values)
    flags.DEFINE_bool(
        "progress",
        None,
        "Shows how far it is, on standard error; by default where that is a terminal.",
        flag_values=values,
    )
    getattr(module, f"define_{name}")(values)
    run = getattr(module, f"run_{name}")
    try:
        args = values([f"tf-embedding {name}", *argv[2:]])[1:]
        if values.help:
            print(f"{run.__doc__.strip()}\n\nFlags:{values.get_help()}")
            return errors.OK
        progress.show(values.progress)
        return int(run(args, values))
    except flags.Error as error:
        print(f"tf-embedding {name}: {error}", file=sys.stderr)
    except (errors.ToolError, OSError, tf.errors.OpError) as error:
        print(f"tf-embedding {name}: {error}", file=sys.stderr)
    return errors.FAILED


def _all_arguments(argv: Sequence[str]) -> list[str]:
    # absl's own flags keep their defaults: every argument is the subcommand's.
    flags.FLAGS(list(argv[:1]))
    return list(argv)


def entry_point() -> None:
    """What the console script calls."""
    app.run(main, flags_parser=_all_arguments)
