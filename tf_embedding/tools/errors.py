# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the tools raise, and what their exit codes mean."""

from __future__ import annotations

import importlib
from typing import Any

# Exit codes of the command.
OK = 0
DIFFERENT = 1  # diff found a difference, get a key without a row, verify damage
FAILED = 2  # a wrong command line, or a file that cannot be read or written


class ToolError(ValueError):
    """Something is wrong with an input; the message names it and the remedy."""


class DamagedError(ToolError):
    """A checkpoint's bytes are not what was written."""


def require(module: str, what: str) -> Any:
    """Imports a package that only some of the tools need.

    Raises:
      ToolError: it is not installed. The message names the extra that brings it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        raise ToolError(
            f"{what} needs {package}, which is not installed; "
            "pip install 'tf-embedding[tools]' brings it"
        ) from error
