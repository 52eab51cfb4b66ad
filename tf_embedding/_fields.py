# Copyright 2026 The tf_embedding Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checks of the fields of options, which name the option, the field and its range."""

from __future__ import annotations

from typing import Any


def integer(option: Any, field: str, low: int, high: int = 2**63 - 1) -> None:
    """Raises ValueError unless the field is an integer in [low, high]."""
    value = getattr(option, field)
    if isinstance(value, bool) or not hasattr(value, "__index__") or not low <= value <= high:
        raise ValueError(
            f"{field} of {type(option).__name__} is {value!r}; it must be an integer in "
            f"[{low}, {high}]"
        )


def number(option: Any, field: str, low: float, high: float = float("inf")) -> None:
    """Raises ValueError unless the field is a finite number in [low, high]."""
    value = getattr(option, field)
    fits = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not fits or not low <= value <= high or value == float("inf"):
        raise ValueError(
            f"{field} of {type(option).__name__} is {value!r}; it must be a finite number in "
            f"[{low}, {high}]"
        )


def one_of(option: Any, field: str, *kinds: type) -> None:
    """Raises TypeError unless the field is None or of one of the kinds."""
    value = getattr(option, field)
    if value is not None and not isinstance(value, kinds):
        names = ", ".join(kind.__name__ for kind in kinds)
        raise TypeError(
            f"{field} of {type(option).__name__} is {value!r}; it must be one of {names}, or None"
        )


def choice(option: Any, field: str, *choices: str) -> None:
    """Raises ValueError unless the field is one of the choices."""
    value = getattr(option, field)
    if value not in choices:
        raise ValueError(
            f"{field} of {type(option).__name__} is {value!r}; it must be one of "
            f"{', '.join(repr(one) for one in choices)}"
        )
