"""Values as text: the expression that makes one again, and what a person is shown of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Final, cast

FRACTION: Final = re.compile(r"Fraction\((-?\d+), (\d+)\)")


def expression(value: object, types: set[type] | None = None) -> str:
    """Return an expression for a value, without the fields that have their default.

    The types that it names, but for those of Python itself, are added to ``types``.

    Example:
        >>> from fractions import Fraction
        >>> from spec import Array
        >>> expression((Array((0.5,), (1,)), Fraction(2, 3), ["a"]))
        "(Array(values=(0.5,), shape=(1,)), Fraction(2, 3), ['a'])"
    """
    if types is not None and type(value).__module__ != "builtins":
        types.add(type(value))
    if is_dataclass(value):
        known = [(f.name, getattr(value, f.name), f.default) for f in fields(value)]
        given = [(n, v) for n, v, usual in known if usual is MISSING or repr(v) != repr(usual)]
        parts = ", ".join(f"{name}={expression(part, types)}" for name, part in given)
        return f"{type(value).__name__}({parts})"
    if type(value) is dict:
        pairs = [f"{expression(k, types)}: {expression(v, types)}" for k, v in value.items()]
        return f"{{{', '.join(pairs)}}}"
    if type(value) in (tuple, list):
        items = cast(Sequence[object], value)
        parts = ", ".join(expression(item, types) for item in items)
        return f"[{parts}]" if isinstance(value, list) else f"({parts}{',' * (len(items) == 1)})"
    return repr(value)


def readable(part: object) -> object:
    """Return what a person is shown of a value: floats in place of fractions.

    Example:
        >>> from fractions import Fraction
        >>> readable([Fraction(1, 3), (Fraction(2), "b")])
        "[0.3333333333333333, (2.0, 'b')]"
    """
    if isinstance(part, (str, int, float)):
        return part
    text = str(part) if isinstance(part, BaseException) else expression(part)
    return FRACTION.sub(lambda found: str(as_float(*map(int, found.groups()))), text)


def as_float(numerator: int, denominator: int) -> float:
    """Return the quotient, infinite where it exceeds every float."""
    try:
        return numerator / denominator
    except OverflowError:
        return float("inf") if numerator > 0 else -float("inf")
