"""A violation among many elements, brought down to few: what Hypothesis does not shrink."""

from __future__ import annotations

from dataclasses import is_dataclass, replace
from typing import Any, Final

from properties.assertions import Unsupported
from spec import Array, Violation, check

MANY: Final = 32  # elements, more than which only an exhaustive property has


def smaller(
    id: str, subject: object, error: BaseException, inputs: tuple[object, ...]
) -> tuple[BaseException, tuple[object, ...]]:
    """Return a violation in a part of the arrays, which are halved as long as it shows."""
    size = _elements(inputs)
    while isinstance(error, Violation) and size > MANY:
        for half in (slice(size // 2), slice(size // 2, None)):
            part = _cut(inputs, size, half)
            try:
                check(id, subject, *part)
            except Violation as violation:
                error, inputs, size = violation, part, _elements(part)
                break
            except (Exception, Unsupported):
                continue
        else:
            break
    return error, inputs


def _elements(value: Any) -> int:
    """Return how many elements the longest array has."""
    if isinstance(value, Array):
        return value.shape[0] if len(value.shape) == 1 else 0
    if is_dataclass(value):
        return _elements(list(vars(value).values()))
    return max(map(_elements, value), default=0) if isinstance(value, (tuple, list)) else 0


def _cut(value: Any, size: int, half: slice) -> Any:
    """Return a value with half of everything in it that has so many elements."""
    if isinstance(value, Array):
        kept = value.values[half]
        return replace(value, values=kept, shape=(len(kept),)) if value.shape == (size,) else value
    if isinstance(value, (tuple, list)):
        long = len(value) == size
        return value[half] if long else type(value)(_cut(part, size, half) for part in value)
    if is_dataclass(value) and not isinstance(value, type):
        parts = {name: _cut(part, size, half) for name, part in vars(value).items()}
        return replace(value, **parts)
    return value
