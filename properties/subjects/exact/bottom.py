"""BOT and ALG by Python's floats, rounded to each format; BOT-3 holds them to exact fractions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from spec import Array
from spec.algebra import Meadow, Rationals
from spec.carriers import PYTHON, Carrier, Elementwise, Operand, broadcast, ieee, spread
from spec.derivatives import DERIVATIVES
from spec.formats import FORMATS, nearest


class ExactBottom:
    """Operations element by element; ALG has its rational numbers and floats by them."""

    kinds = ("rational", *FORMATS)

    def meadow(self, kind: str) -> Meadow[Any]:
        return Rationals() if kind == "rational" else Elementwise(self, kind)

    def enter(self, x: Array, bottom: tuple[bool, ...]) -> Carrier:
        pairs = zip(x.values, bottom, strict=True)
        flags = tuple(flag or not math.isfinite(value) for value, flag in pairs)
        values = [0.0 if flag else v for v, flag in zip(x.values, flags, strict=True)]
        return Carrier(x.with_values(values), flags)

    def leave(self, x: Carrier) -> Array:
        pairs = zip(x.payload.values, x.bottom, strict=True)
        return x.payload.with_values([math.nan if flag else v for v, flag in pairs])

    def carriers(self, operands: tuple[Operand, ...]) -> list[Carrier]:
        arrays = (x.payload if isinstance(x, Carrier) else x for x in operands)
        dtype = next(x.dtype for x in arrays if isinstance(x, Array))
        carriers = []
        for x in operands:
            full = Array((nearest(dtype, x),), (), dtype) if isinstance(x, (int, float)) else x
            plain = full.payload if isinstance(full, Carrier) else full
            flags = x.bottom if isinstance(x, Carrier) else (False,) * len(plain.values)
            carriers.append(self.enter(plain, flags))
        return carriers

    def apply(self, operation: str, *operands: Operand) -> Carrier:
        carriers = self.carriers(operands)
        host = self.ieee(operation, *(x.payload for x in carriers))
        masks = [spread(x.bottom, x.payload.shape, host.shape) for x in carriers]
        bottom = tuple(map(any, zip(*masks, strict=True)))
        # Where there is no result in the reals, IEEE has NaN or ±∞.
        return self.enter(host, bottom)

    def ieee(self, operation: str, *operands: Array) -> Array:
        """Apply Python's own operation, and round its result.

        Rounding twice is harmless where the wider format has 2p + 2 bits.
        """
        shape, dtype = broadcast(*(x.shape for x in operands)), operands[0].dtype
        rows = zip(*(spread(x.values, x.shape, shape) for x in operands), strict=True)
        values = (nearest(dtype, ieee(PYTHON[operation], *row)) for row in rows)
        return Array(tuple(values), shape, dtype)

    def gradients(
        self, operation: str, incoming: Array, *operands: Operand
    ) -> tuple[Carrier, tuple[Array, ...]]:
        """Apply an operation, and its derivatives where its result is not ⊥."""
        found = self.apply(operation, *operands)
        payloads = [x.payload for x in self.carriers(operands)]
        shape = found.payload.shape
        columns = [found.payload.values, *(spread(x.values, x.shape, shape) for x in payloads)]
        rows = list(zip(*columns, strict=True))
        gradients = []
        for given, x, derivative in zip(operands, payloads, DERIVATIVES[operation], strict=True):
            elements = zip(rows, incoming.values, found.bottom, strict=True)
            slopes = [(g, ieee(derivative, *row), flag) for row, g, flag in elements]
            values = [0.0 if flag or (0 in (g, d) and g == g) else g * d for g, d, flag in slopes]
            gradients += [self.summed(x, values, shape)] if isinstance(given, Carrier) else []
        return found, tuple(gradients)

    def summed(self, x: Array, values: list[float], shape: tuple[int, ...]) -> Array:
        """Return an operand's gradient: the sum of values over its broadcasts."""
        sums = [-0.0] * len(x.values)
        for place, value in zip(spread(range(len(sums)), x.shape, shape), values, strict=True):
            sums[place] += value
        return x.with_values([nearest(x.dtype, v) for v in sums])

    def operate(self, operation: str, *operands: Operand) -> Carrier:
        """Apply an operation, which has no operator of its own here."""
        return self.apply(operation, *operands)

    def select(self, x: Carrier, chosen: Sequence[int]) -> Carrier:
        return x.take(chosen)
