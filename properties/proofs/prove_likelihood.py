"""LIK, for all real numbers: what follows from its formulas by algebra.

Logarithm and arc tangent grow, so bounds and equalities of losses and probabilities are those of
their arguments.
"""

from __future__ import annotations

import pytest
import z3

from properties.proofs.solver import prove, refute

pytestmark = pytest.mark.proved
Line = tuple[z3.ArithRef, z3.ArithRef]

P, Q, cos, sin = z3.Reals("P Q cos sin")
L, M, U = (tuple(z3.Reals(f"{end}_n {end}_d")) for end in "LMU")
SIZE, X = P * P + Q * Q, (P, Q)
UNIT = L[0] * L[0] + L[1] * L[1] == 1


def cross(x: Line, end: Line) -> z3.ArithRef:
    return x[0] * end[1] - x[1] * end[0]


def width(x: Line, end: Line) -> z3.ArithRef:
    """Return what LIK-1 divides by."""
    return 1 + 4 * (1 + x[0] * x[0] + x[1] * x[1]) * cross(x, end) * cross(x, end)


def angle(lower: Line, upper: Line) -> Line:
    """LIK-2: return cosine and sine of π times an arc's probability, but for a positive factor."""
    C, S = lower[0] * upper[0] + lower[1] * upper[1], cross(upper, lower)
    return C + 4 * (1 + SIZE) * cross(X, lower) * cross(X, upper), (1 + 2 * SIZE) * S


def test_the_density_of_a_line_has_bounds() -> None:
    bound, w = 1 + 2 * SIZE, width(X, L)
    prove("LIK-5", z3.And(w >= 1, w <= bound * bound), given=UNIT)
    prove("LIK-5", (w == 1) == (cross(X, L) == 0), given=UNIT)
    prove("LIK-5", w == bound * bound, given=z3.And(UNIT, P * L[0] + Q * L[1] == 0))
    refute("LIK-5", z3.Implies(UNIT, w <= bound))


def test_no_line_is_special() -> None:
    given = cos * cos + sin * sin == 1
    x, line = ((a * cos + b * sin, b * cos - a * sin) for a, b in (X, L))
    prove("LIK-4", x[0] * x[0] + x[1] * x[1] == SIZE, given=given)
    prove("LIK-4", cross(x, line) == cross(X, L), given=given)
    prove(
        "LIK-4",
        z3.And(width((-P, Q), (-L[0], L[1])) == width(X, L), width((-P, -Q), L) == width(X, L)),
    )


def test_angles_of_neighbouring_arcs_add_up() -> None:
    (x, y), (u, v), whole = angle(L, M), angle(M, U), angle(L, U)
    given = M[0] * M[0] == 1 - M[1] * M[1]
    # Angles of complex numbers add up in the product.
    for part, of in ((x * u - y * v, whole[0]), (x * v + y * u, whole[1])):
        prove("LIK-3", z3.simplify(part - width(X, M) * of, som=True) == 0, given=given)
    prove("LIK-3", (angle(L, U)[1] > 0) == (cross(U, L) > 0))  # so that no arc has a negative one


def test_a_resolution_bounds_the_loss_from_below() -> None:
    square, sharp, size = z3.Reals("square sharp size")  # ρ², ε² and (1 + 2ρ²)²
    prove("LIK-8", 1 + 4 * (1 + square) * square == (1 + 2 * square) * (1 + 2 * square))
    wide, given = 1 - sharp + sharp * size, z3.And(sharp >= 0, sharp <= 1, size >= 1)
    prove("LIK-8", wide * wide >= 4 * sharp * (1 - sharp) * size, given=given)
    refute("LIK-8", z3.Implies(given, wide * wide >= 4 * sharp * size))


def test_what_outputs_miss_together() -> None:
    X, Y, along = z3.Reals("X_1 X_2 X_3"), z3.Reals("Y_1 Y_2 Y_3"), z3.Real("along")
    square, dot = sum(x * x for x in X), sum(x * y for x, y in zip(X, Y, strict=True))
    missed = sum((x - along * y) * (x - along * y) for x, y in zip(X, Y, strict=True))
    given = z3.And(sum(y * y for y in Y) == 1, along == dot)
    prove("LIK-9", missed == square - along * along, given=given)
    prove("LIK-9", z3.And(missed >= 0, missed <= square), given=given)
    parts = [x - (P * L[0] + Q * L[1]) * y for x, y in zip((P, Q), L, strict=True)]
    one = parts[0] * parts[0] + parts[1] * parts[1]  # of one output it is LIK-1's
    prove("LIK-9", one == cross((P, Q), L) * cross((P, Q), L), given=UNIT)


def test_other_outputs_make_an_output_surer() -> None:
    own, whole, alone = z3.Reals("own whole alone")
    given = z3.And(own >= 0, own <= whole, alone >= 0, alone * (1 + alone) == own * (1 + whole))
    prove("LIK-10", z3.And(own <= alone, alone <= whole), given=given)
