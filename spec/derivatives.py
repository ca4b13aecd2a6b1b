"""BOT: the gradients of operations on arrays with ⊥."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Final

from .algebra import Bottom, Number
from .arrays import Array
from .carriers import Bottoms, Carrier, Operand, spread
from .clause import clause, require
from .formats import FORMATS, nearest

DERIVATIVES: Final[dict[str, tuple[Callable[..., float], ...]]] = {
    "add": (lambda v, x, y: 1.0, lambda v, x, y: 1.0),
    "sub": (lambda v, x, y: 1.0, lambda v, x, y: -1.0),
    "mul": (lambda v, x, y: y, lambda v, x, y: x),
    "div": (lambda v, x, y: 1 / y, lambda v, x, y: -x / y / y),
    "neg": (lambda v, x: -1.0,),
    "inv": (lambda v, x: -1 / x**2,),
    "absolute": (lambda v, x: math.copysign(1.0, x),),
    "sign": (lambda v, x: 0.0,),
    "sqrt": (lambda v, x: 1 / (2 * v),),
    "exp": (lambda v, x: v,),
    "log": (lambda v, x: 1 / x,),
    "power": (lambda v, x, y: y * v / x, lambda v, x, y: v * Fraction(math.log(x))),
}
"""The derivatives of an operation by its operands, from its value ``v`` and these."""

FEW: Final = 16
"""How many ε of its terms' magnitude a gradient may be off, and one ε per term; BOT-11."""

LEAST, MOST = Fraction(1, 8), Fraction(8)
"""The sizes between which BOT-11 says something."""


def _term(
    operation: str, at: int, arriving: float, value: Number, row: tuple[Number, ...]
) -> Fraction | None:
    """Return what an element adds to a gradient; None where no claim says what."""
    if isinstance(value, Bottom) or not math.isfinite(arriving):
        return None
    incoming, *known = [Fraction(x) for x in (arriving, value, *row) if not isinstance(x, Bottom)]
    unreal = operation == "power" and at == 1 and known[1] < 0
    if unreal or not all(LEAST <= abs(x) <= MOST for x in (incoming, *known)):
        return None
    return incoming * Fraction(DERIVATIVES[operation][at](*known))


def _terms(
    operation: str, at: int, incoming: Array, found: Carrier, operands: list[Carrier]
) -> list[list[Fraction | None]]:
    """Return, for each element of an operand, the terms of its gradient; 0 at ⊥ in a sum."""
    like, shape = operands[at].payload, incoming.shape
    lost = Fraction(0) if like.shape != shape else None  # of which BOT-5 speaks
    terms: list[list[Fraction | None]] = [[] for _ in like.values]
    places = spread(range(len(terms)), like.shape, shape)
    rows = zip(*(x.numbers(shape) for x in operands), strict=True)
    elements = zip(places, incoming.values, found.numbers(shape), rows, found.bottom, strict=True)
    for place, arriving, value, row, flag in elements:
        terms[place].append(lost if flag else _term(operation, at, arriving, value, row))
    return terms


def _is_flat(operation: str, at: int, number: Number, row: list[Number]) -> bool:
    """Tell whether a derivative is 0."""
    if operation == "power":
        x, y = (Fraction(v) for v in row if not isinstance(v, Bottom))
        return (y == 0 and x != 0) if at == 0 else x == 1
    return operation in ("mul", "div", "sign") and DERIVATIVES[operation][at](number, *row) == 0


def _require_zeros(
    operation: str, at: int, incoming: Array, gradient: Array, rows: list[tuple[Number, ...]]
) -> None:
    """Check the gradients, of an operand as large as the result, that are 0 by a claim."""
    for arriving, value, (number, *row) in zip(incoming.values, gradient.values, rows, strict=True):
        flat = not isinstance(number, Bottom) and _is_flat(operation, at, number, row)
        claim = 5 if arriving == 0 else 6 if math.isinf(arriving) and flat else 0
        right = value == 0 or not claim or isinstance(number, Bottom)  # of which BOT-5 speaks
        complaint = "{} of {}: where {} arrives, the gradient is {}"
        require(right, complaint, operation, row, arriving, value, claim=claim or 1)


@clause("BOT-11", source="Ours: training must follow the function that it computes", since="0.4.0")
def derivatives(subject: Bottoms, operation: str, incoming: Array, *operands: Operand) -> None:
    """Gradients follow the derivative. What is said of their numbers holds where operands, results
    and gradients are from 1/8 to 8 in size, and up to (16 + n) ε magnitudes of n terms; what is
    said of shapes, dtypes, 0 and infinity holds everywhere.

    1. An operand's gradient is the arriving gradient times the operation's derivative.
    2. A broadcast operand's gradient is the sum over the elements that it reaches, without ⊥.
    3. A plain array or a number beside a carrier is a constant.
    4. A gradient has its operand's shape and dtype.
    5. An arriving gradient of 0 stays 0, also where the derivative is infinite or undefined.
    6. An infinite arriving gradient becomes 0 where the derivative is 0.

    So √(x·x) has at 0 the gradient 0, as |x| has. What else arrives at an infinite derivative
    becomes infinite, and the update is skipped (STEP-3).
    """
    found, gradients = subject.gradients(operation, incoming, *operands)
    carriers = [_carrier(x, incoming.dtype) for x in operands]
    tracked = [at for at, x in enumerate(operands) if isinstance(x, Carrier)]
    complaint = "{} gradients of {} carriers"
    require(len(gradients) == len(tracked), complaint, len(gradients), len(tracked), claim=3)
    for at, gradient in zip(tracked, gradients, strict=True):
        like, terms = carriers[at].payload, _terms(operation, at, incoming, found, carriers)
        if like.shape == incoming.shape == gradient.shape:
            rows = [found.numbers(like.shape), *(x.numbers(like.shape) for x in carriers)]
            _require_zeros(operation, at, incoming, gradient, list(zip(*rows, strict=True)))
        kept = (gradient.shape, gradient.dtype) == (like.shape, like.dtype)
        require(kept, "the gradient of {} is {}", like, gradient, claim=4)
        claim = 2 if like.shape != incoming.shape else 3 if len(tracked) < len(operands) else 1
        for x, value, reaching in zip(like.values, gradient.values, terms, strict=True):
            known = [term for term in reaching if term is not None]
            slack = (FEW + len(known)) * FORMATS[like.dtype].epsilon * sum(map(abs, known))
            near = math.isfinite(value) and abs(Fraction(value) - sum(known)) <= slack
            right = near or len(known) < len(reaching)
            complaint = "{}: the gradient at {} is {}, not {}"
            require(right, complaint, operation, x, value, sum(known), claim=claim)


def _carrier(x: Operand, dtype: str) -> Carrier:
    """Return an operand as a carrier."""
    if isinstance(x, (int, float)):
        x = Array((nearest(dtype, x),), (), dtype)
    return x if isinstance(x, Carrier) else Carrier(x, (False,) * len(x.values))
