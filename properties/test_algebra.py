"""ALG: the laws of common meadows, over rational numbers and over floats."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from properties.assertions import assert_clause
from properties.strategies import numbers, rounded, singular_numbers
from spec import BOTTOM, CLAUSES
from spec.algebra import Bottom, Number
from spec.formats import FORMATS, Floats, Format, round_to
from spec.laws import LAWS, Computes, sides

FEW = (BOTTOM, Fraction(0), Fraction(1), Fraction(-1), Fraction(2), Fraction(-1, 3))


@cache
def variables(kind: str, arity: int) -> st.SearchStrategy[Any]:
    """Numbers of a kind, 0 and ⊥ among them; often all are ordinary, so that nothing overflows."""
    if kind == "rational":
        return st.tuples(*[st.one_of(st.sampled_from(FEW), st.fractions())] * arity)
    # These have all their digits, and so show what is rounded.
    ordinary = st.integers(-2048, 2048).map(lambda n: rounded(n / 256, kind))
    anything = st.one_of(
        numbers(kind), singular_numbers, st.sampled_from([0.0, -0.0, 1.0, -1.0, 49.0])
    )
    return st.one_of(st.tuples(*[ordinary] * arity), st.tuples(*[anything] * arity))


@cache
def assignments(id: str, kind: str) -> st.SearchStrategy[Any]:
    """Values for the variables of a law; for one that ⊥ breaks, several, ⊥ and 0 in each place."""
    arity = len(LAWS[id].variables)
    values = variables(kind, arity)
    if not CLAUSES[id].must_fail:
        return values
    bottom, zero, one = FEW[:3] if kind == "rational" else (math.nan, 0.0, 1.0)
    rest = [one] * (arity - 1)
    breaking = [(*rest[:i], x, *rest[i:]) for i in range(arity) for x in (zero, bottom)]
    return st.lists(values, max_size=2).map(lambda drawn: (*drawn, *breaking))


def property_of(id: str) -> Callable[[Computes], None]:
    """Return the property that a subject meets a law with all kinds of its numbers."""

    @given(st.data())
    def test(subject: Computes, data: st.DataObject) -> None:
        kind = data.draw(st.sampled_from(subject.kinds), label="kind")
        assert_clause(id, subject, kind, *data.draw(assignments(id, kind), label="elements"))

    return test


# Such as test_ALG_1_addition_commutes.
for _id, _law in LAWS.items():
    globals()[f"test_{_id.replace('-', '_')}_{_law.name}"] = property_of(_id)


@pytest.mark.exhaustive
@pytest.mark.parametrize("id", LAWS)
def test_ALG_among_a_few_numbers(subject: Computes, id: str) -> None:
    """All assignments of ⊥, 0 and other numbers: four to up to three variables, two to four."""
    chosen = FEW if len(LAWS[id].variables) < 4 else (*FEW[:2], *FEW[4:])
    few: dict[str, Sequence[Any]] = {"rational": chosen}
    few["float32"] = [
        math.nan if isinstance(x, Bottom) else rounded(float(x), "float32") for x in chosen
    ]
    for kind in few.keys() & set(subject.kinds) if not CLAUSES[id].must_fail else ():
        for values in itertools.product(few[kind], repeat=len(LAWS[id].variables)):
            assert_clause(id, subject, kind, *values)


@pytest.mark.exhaustive
@pytest.mark.parametrize("id", [id for id, law in LAWS.items() if law.floats])
def test_ALG_says_of_each_law_what_survives_rounding(
    monkeypatch: pytest.MonkeyPatch, id: str
) -> None:
    """Among all numbers of a tiny format a law is exact if and only if it is said to be."""
    monkeypatch.setitem(FORMATS, "tiny", Format(precision=2, least=-1, greatest=1))
    rounded = {round_to("tiny", Fraction(k, 4)) for k in range(-12, 13)}
    every: list[Number] = [BOTTOM, *(Fraction(x) for x in rounded if not isinstance(x, Bottom))]
    law, exact = LAWS[id], True
    arity = len(law.variables)
    choice = every if arity < 4 else every[:7]
    for values in itertools.product(choice, repeat=arity):
        floats = Floats("tiny")
        left, right = sides(law.equation, floats, *values)
        if not law.given or len(set(sides(law.given, floats, *values))) == 1:
            exact &= left == right
    assert exact == (law.floats == "exact")
