"""A subject that is right, and answers in other types than ours."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from functools import wraps
from typing import Any

import numpy as np

from properties.subjects import exact
from spec import Array


def foreign(value: Any) -> Any:
    """Return lists for tuples and NumPy's scalars for Python's, at any depth."""
    if type(value) in (tuple, list):
        return [foreign(part) for part in value]
    if type(value) is float:
        return np.float64(value)
    if type(value) is int and abs(value) < 2**63:
        return np.int64(value)
    if is_dataclass(value):
        return replace(value, **{f.name: foreign(getattr(value, f.name)) for f in fields(value)})
    return value


class Foreign(exact.Exact):
    """The exact reference, whose answers are made foreign for whoever is not part of it."""

    def __getattribute__(self, name: str) -> Any:
        member = super().__getattribute__(name)
        inside = sys._getframe(1).f_globals["__name__"].startswith(exact.__name__)
        if name.startswith("_") or isinstance(member, type) or inside:
            return member

        @wraps(member)
        def answering(*arguments: Any, **options: Any) -> Any:
            return foreign(member(*arguments, **options))

        return answering

    def policy_gradient(self, policy: str, g: Array, bottom: Sequence[bool]) -> Array:
        """Put −0 at ⊥, as a product with 0 may."""
        found = super().policy_gradient(policy, g, bottom)
        put = [b and policy != "passthrough" for b in bottom]
        return found.with_values([-0.0 if p else v for p, v in zip(put, found.values, strict=True)])

    def output_gradient(
        self, policy: str | None, form: str, first: Array, second: Array, g: Array
    ) -> list[Array]:
        """Put −0 where nothing may pass."""
        found = super().output_gradient(policy, form, first, second, g)
        sign = -1.0 if policy == "reject" else 1.0
        return [x.with_values([sign * v for v in x.values]) for x in found]
