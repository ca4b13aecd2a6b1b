"""Meadows that go wrong: of rational numbers for a law's first claim, of floats for its second."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import copy
from fractions import Fraction
from functools import partial
from typing import Any, Final

from properties.faults.register import fault
from spec.algebra import Bottom
from spec.clause import CLAUSES
from spec.laws import number

Operation = Callable[..., Any]


def is_bottom(x: Any) -> bool:
    return isinstance(number(x), Bottom)


def replaced(real: Operation, kind: str, at: int, operations: dict[str, Operation]) -> Any:
    """Return the meadow of a kind, changed if a claim, or every claim (0), is about the kind.

    Each operation that replaces another gets the sound meadow first.
    """
    meadow, about = real(kind), 1 if kind == "rational" else 2
    wrong = copy(meadow)
    vars(wrong).update({name: partial(one, meadow) for name, one in operations.items()})
    return wrong if at in (0, about) else meadow


def sound(m: Any, x: Any) -> Any:
    """Return 0 for ⊥, and every number itself."""
    return m.zero if is_bottom(x) else x


def at_most_one(m: Any, x: Any) -> Any:
    return x if is_bottom(x) else min(x, m.one)


def floor(m: Any, x: Any) -> Any:
    return x if is_bottom(x) else m.one * math.floor(x)


def cut(found: Any) -> Any:
    """Return a carrier with numbers of 4 digits."""
    pairs = map(math.frexp, found.payload.values)
    values = [math.ldexp(int(m * 16) / 16, e) for m, e in pairs]
    return type(found)(found.payload.with_values(values), found.bottom)


# The laws, by their numbers, that a wrong meadow breaks; what is wrong with it; its operations.
WRONG: Final[tuple[tuple[str, str, dict[str, Operation]], ...]] = (
    ("1", "A sum takes the mask of its first operand.",
     {"add": lambda m, x, y: x if is_bottom(y) else m.add(x, y)}),
    ("2", "Sums saturate at 1.", {"add": lambda m, x, y: at_most_one(m, m.add(x, y))}),
    ("3", "A product takes the mask of its first operand.",
     {"mul": lambda m, x, y: x if is_bottom(y) else m.mul(x, y)}),
    ("4 8", "Products saturate at 1.", {"mul": lambda m, x, y: at_most_one(m, m.mul(x, y))}),
    ("5", "A small number is added to every sum, to keep it from zero.",
     {"add": lambda m, x, y: m.add(m.add(x, y), m.one * Fraction(1, 16))}),
    ("6", "A sum of opposites is 0, −⊥ + ⊥ included.",
     {"add": lambda m, x, y: m.zero if number(m.neg(y)) == number(x) else m.add(x, y)}),
    ("7", "Products below ½ are flushed to 0.",
     {"mul": lambda m, x, y: m.zero if abs(sound(m, m.mul(x, y))) < 0.5 else m.mul(x, y)}),
    ("9", "An opposite is never positive.", {"neg": lambda m, x: m.neg(m.absolute(x))}),
    ("10 11", "Sums leave out ⊥, as nansum does.",
     {"add": lambda m, x, y: m.add(sound(m, x), sound(m, y))}),
    ("12 15 23 43 45 46", "A division by zero is zero, as in proof assistants.",
     {"inv": lambda m, x: x if x == 0 else m.inv(x),
      "div": lambda m, x, y: m.mul(x, y) if y == 0 else m.div(x, y)}),
    ("16", "x / 0 is 0.", {"div": lambda m, x, y: m.mul(x, y) if y == 0 else m.div(x, y)}),
    ("13 14", "1 is added to what is inverted, so that zero has an inverse.",
     {"inv": lambda m, x: m.inv(m.add(x, m.one))}),
    ("17 18 19 20 21", "Quotients are rounded down to integers.",
     {"div": lambda m, x, y: floor(m, m.div(x, y))}),
    ("22", "A divisor ⊥ is left out.", {"div": lambda m, x, y: x if is_bottom(y) else m.div(x, y)}),
    ("24 41", "Zero times anything is 0, ⊥ included.",
     {"mul": lambda m, x, y: m.zero if 0 in (x, y) else m.mul(x, y)}),
    ("25", "The opposite of ⊥ is 0.", {"neg": lambda m, x: sound(m, m.neg(x))}),
    ("26 27", "The inverse of ⊥ is 0, as if it were ∞.",
     {"inv": lambda m, x: m.zero if is_bottom(x) else m.inv(x)}),
    ("28", "A fraction of equal parts is 1, 0 / 0 included.",
     {"div": lambda m, x, y: m.one if number(x) == number(y) else m.div(x, y)}),
    ("29 34 35 36", "The sign is a step: 1 for x > 0, otherwise 0.",
     {"sign": lambda m, x: x if is_bottom(x) else m.one * (x > 0)}),
    ("30 33", "Zero has the sign 1, as a sign bit has it.",
     {"sign": lambda m, x: m.one if x == 0 else m.sign(x)}),
    ("31 32", "⊥ has the sign 0.", {"sign": lambda m, x: sound(m, m.sign(x))}),
    ("37 39", "The sign is smooth, x / (1 + |x|).",
     {"sign": lambda m, x: m.div(x, m.add(m.one, m.absolute(x)))}),
    ("38", "A sum adds absolute values.",
     {"add": lambda m, x, y: m.add(m.absolute(x), m.absolute(y))}),
    ("40 44", "Every ⊥ is replaced by 0, so that products and quotients stay numbers.",
     {"mul": lambda m, x, y: m.mul(sound(m, x), sound(m, y)),
      "div": lambda m, x, y: sound(m, m.div(x, y))}),
    ("42", "A difference of equal operands is 0, ⊥ − ⊥ included.",
     {"sub": lambda m, x, y: m.zero if number(x) == number(y) else m.sub(x, y)}),
)  # fmt: skip
for laws, wrong, operations in WRONG:
    for clause in (CLAUSES[f"ALG-{law}"] for law in laws.split()):
        for at, claim in enumerate(clause.claims, 1):
            about = 0 if clause.must_fail else at
            fault(claim.id, wrong, meadow=partial(replaced, at=about, operations=operations))
fault("ALG-2.2", "Sums keep half of the digits, as in an accumulator that is too narrow.",
      apply=lambda apply, operation, *operands: (cut(apply(operation, *operands)) if operation ==
          "add" else apply(operation, *operands)))
fault("ALG-28.2", "A division multiplies with a rounded reciprocal, so that 49 / 49 is not 1.",
      apply=lambda apply, operation, x, *others: (apply("mul", x, apply("inv", *others)) if
          operation == "div" else apply(operation, x, *others)))
