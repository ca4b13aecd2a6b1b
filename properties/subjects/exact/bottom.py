"""BOT by Python's floats, rounded to each format; BOT-3 holds them to exact fractions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from spec import Array
from spec.bottom import Carrier, Operand, broadcast, nearest, spread

Function = Callable[..., float]

IEEE: Final[dict[str, Function]] = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / y,
    "neg": lambda x: -x,
    "inv": lambda x: 1 / x,
    "absolute": abs,
    "sign": lambda x: float((x > 0) - (x < 0)),
    "sqrt": math.sqrt,
    "exp": math.exp,
    "log": math.log,
    "power": math.pow,
}

DERIVATIVES: Final[dict[str, tuple[Function, ...]]] = {
    "add": (lambda x, y: 1.0, lambda x, y: 1.0),
    "sub": (lambda x, y: 1.0, lambda x, y: -1.0),
    "mul": (lambda x, y: y, lambda x, y: x),
    "div": (lambda x, y: 1 / y, lambda x, y: -x / y / y),
    "neg": (lambda x: -1.0,),
    "inv": (lambda x: -1 / x / x,),
    "absolute": (lambda x: float((x > 0) - (x < 0)),),
    "sign": (lambda x: 0.0,),
    "sqrt": (lambda x: 0.5 / math.sqrt(x),),
    "exp": (math.exp,),
    "log": (lambda x: 1 / x,),
    "power": (
        lambda x, y: y * math.pow(x, y - 1),
        lambda x, y: math.log(x) * math.pow(x, y),
    ),
}


def ieee(function: Function, *arguments: float) -> float:
    """Apply a function as IEEE does, that is, without an error: NaN or ∞ for no number."""
    try:
        return function(*arguments)
    except OverflowError:
        return math.inf
    except (ValueError, ZeroDivisionError):
        return math.nan


class ExactBottom:
    """Operations element by element."""

    def enter(self, x: Array, bottom: tuple[bool, ...]) -> Carrier:
        """Return an array as a carrier."""
        pairs = zip(x.values, bottom, strict=True)
        flags = tuple(flag or not math.isfinite(value) for value, flag in pairs)
        values = [0.0 if flag else v for v, flag in zip(x.values, flags, strict=True)]
        return Carrier(x.with_values(values), flags)

    def leave(self, x: Carrier) -> Array:
        """Return a carrier as a plain array."""
        pairs = zip(x.payload.values, x.bottom, strict=True)
        return x.payload.with_values([math.nan if flag else v for v, flag in pairs])

    def carriers(self, operands: tuple[Operand, ...]) -> list[Carrier]:
        """Return operands as carriers."""
        arrays = (x.payload if isinstance(x, Carrier) else x for x in operands)
        dtype = next(x.dtype for x in arrays if isinstance(x, Array))
        full = [
            Array((nearest(dtype, x),), (), dtype) if isinstance(x, (int, float)) else x
            for x in operands
        ]
        return [
            self.enter(x.payload, x.bottom)
            if isinstance(x, Carrier)
            else self.enter(x, (False,) * len(x.values))
            for x in full
        ]

    def apply(self, operation: str, *operands: Operand) -> Carrier:
        """Apply an operation."""
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
        function = IEEE[operation]
        return Array(tuple(nearest(dtype, ieee(function, *row)) for row in rows), shape, dtype)

    def gradients(
        self, operation: str, incoming: Array, *operands: Carrier
    ) -> tuple[Carrier, tuple[Array, ...]]:
        """Apply an operation, and its derivatives where its result is not ⊥.

        The gradients have the result's shape: they are not summed over an operand's broadcasts.
        """
        found = self.apply(operation, *operands)
        payloads = [x.payload for x in self.carriers(operands)]
        shape = found.payload.shape
        rows = list(zip(*(spread(x.values, x.shape, shape) for x in payloads), strict=True))
        gradients = []
        for derivative in DERIVATIVES[operation]:
            elements = zip(rows, incoming.values, found.bottom, strict=True)
            values = [0.0 if flag else g * ieee(derivative, *row) for row, g, flag in elements]
            gradients.append(incoming.with_values([nearest(incoming.dtype, v) for v in values]))
        return found, tuple(gradients)
