"""Predicted tuples with their targets, over the whole range of magnitudes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

from hypothesis import strategies as st

from properties.strategies import (
    batch_shapes,
    labels,
    layouts,
    magnitudes,
    masks,
    numbers,
    rounded,
    several,
    singular_numbers,
    wide_dtypes,
)
from spec import Array
from spec.formats import FORMATS
from spec.lifting import lift
from spec.losses import Case
from spec.training_loss import TERMS, Batch, Options

Floats = tuple[float, float, float, float]


def problem(rows: Sequence[Floats], dtype: str = "float32") -> Case:
    """Return a vector of elements ``P, Q, Y_n, Y_d``, rounded to a format."""
    P, Q, Y_n, Y_d = (Array.of([rounded(r[part], dtype) for r in rows], dtype) for part in range(4))
    return P, Q, Y_n, Y_d


@st.composite
def _target(draw: st.DrawFn, dtype: str, lifted: bool) -> tuple[float, float]:
    kind = draw(st.integers(0, 3))
    if kind == 0:
        return draw(st.sampled_from([1.0, -1.0])), 0.0
    if kind == 1 or lifted:
        return draw(magnitudes(dtype)), 1.0
    return draw(magnitudes(dtype)), draw(magnitudes(dtype))


def _resized(a: float, b: float, size: float) -> tuple[float, float]:
    largest = max(abs(a), abs(b))
    return (a / largest * size, b / largest * size) if largest else (0.0, 0.0)


@st.composite
def _row(draw: st.DrawFn, dtype: str, lifted: bool) -> Floats:
    Y_n, Y_d = draw(_target(dtype, lifted))
    kind = draw(st.sampled_from(["free", "alike", "parallel", "orthogonal", "zero"]))
    if kind == "zero":
        return draw(st.sampled_from([0.0, -0.0])), 0.0, Y_n, Y_d
    if kind == "free":
        return draw(magnitudes(dtype)), draw(magnitudes(dtype)), Y_n, Y_d
    size = draw(magnitudes(dtype, -30, 30))
    if kind == "alike":
        return *_resized(draw(st.floats(-1.0, 1.0)), 1.0, size), Y_n, Y_d
    turn = draw(st.sampled_from([0.0, 1e-7, -1e-7, 1e-4, -1e-4, 1e-2, -1e-2]))
    y_n, y_d = _resized(Y_n, Y_d, 1.0)
    p, q = (y_n, y_d) if kind == "parallel" else (-y_d, y_n)
    return *_resized(p - turn * q, q + turn * p, size), Y_n, Y_d


def _normal(x: float, dtype: str) -> float:
    """Replace what is subnormal in the dtype: there a float's own rounding is not relative."""
    smallest = float(FORMATS[dtype].smallest_normal)
    return x if abs(x) >= smallest else math.copysign(0.0, x)


@st.composite
def problems(
    draw: st.DrawFn, dtypes: st.SearchStrategy[str] = wide_dtypes, *, lifted: bool = False
) -> Case:
    """Draw elements whose numbers are 0 or lie between 1e-38 and 1e38, and are normal.

    Predictions are of any size, and often nearly parallel or orthogonal to their target.
    """
    dtype = draw(dtypes, label="dtype")
    rows = draw(st.lists(_row(dtype, lifted), min_size=1, max_size=5), label="rows")
    size = len(rows)
    shape = draw(st.sampled_from([(size,), (size, 1), (1, size), (1, size, 1)]), label="shape")
    columns = (
        [_normal(rounded(x, dtype), dtype) for x in part] for part in zip(*rows, strict=True)
    )
    P, Q, Y_n, Y_d = (Array(tuple(column), shape, dtype, draw(layouts)) for column in columns)
    return P, Q, Y_n, Y_d


@st.composite
def extreme_problems(draw: st.DrawFn) -> Case:
    """Draw elements of any finite numbers in any format."""
    P, Q, Y_n, Y_d = draw(several(4, shapes=batch_shapes, singular=False))
    return P, Q, Y_n, Y_d


@st.composite
def singular_problems(draw: st.DrawFn) -> Case:
    """Draw elements of which some parts of the predictions are ±∞ or NaN."""
    P, Q, Y_n, Y_d = draw(problems(lifted=True))
    P, Q = (x.with_values([draw(st.just(v) | singular_numbers) for v in x.values]) for x in (P, Q))
    return P, Q, Y_n, Y_d


@st.composite
def middling_problems(draw: st.DrawFn) -> Case:
    """Draw elements of numbers that factors up to a million do not drive to an end of a format."""
    P, Q, Y_n, Y_d = (
        x.with_values([v if 1e-30 < abs(v) < 1e30 else 0.0 for v in x.values])
        for x in draw(problems())
    )
    return P, Q, Y_n, Y_d


@st.composite
def problems_without_tuples(draw: st.DrawFn) -> Case:
    """Draw elements of which the prediction, the target or both are ``(0, 0)``."""
    dtype = draw(wide_dtypes, label="dtype")
    one = st.tuples(numbers(dtype, singular=False), numbers(dtype, singular=False))
    none = st.tuples(*[st.sampled_from([0.0, -0.0])] * 2)
    element = st.one_of(st.tuples(none, one), st.tuples(one, none), st.tuples(none, none))
    rows = draw(st.lists(element, min_size=1, max_size=4))
    return problem([(*prediction, *target) for prediction, target in rows], dtype)


@st.composite
def samples(draw: st.DrawFn, dtypes: st.SearchStrategy[str] = wide_dtypes) -> Case:
    """Draw tuples of any magnitude, ±∞ and NaN too, with lifted targets, samples first."""
    P, Q = draw(several(2, dtypes, batch_shapes, singular=draw(st.booleans())))
    finite = draw(st.one_of(masks(P.shape), st.just((True,) * len(P.values))))
    pairs = [lift(1.0 if known else math.inf) for known in finite]
    Y_n, Y_d = (P.with_values([pair[part] for pair in pairs]) for part in (0, 1))
    return P, Q, Y_n, Y_d


def flags(case: Case) -> st.SearchStrategy[Array]:
    """Masks for the elements of a problem."""
    shape = case[0].shape
    return masks(shape).map(lambda values: Array(values, shape, "bool"))


def other_shapes(case: Case) -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes that are not a problem's: a column, a row, a longer one, a single element."""
    shape, size = case[0].shape, len(case[0].values)
    choices = {(*shape, 1), (1, *shape), (size, 1), (size,), (size + 1,), (1,), ()}
    return st.sampled_from(sorted(choices - {shape}))


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    """Draw tuples over all magnitudes with raw targets: finite ones, ±∞ and NaN."""
    P, Q, Y_n, Y_d = draw(problems(lifted=True))
    singular = draw(labels(st.just(P.dtype), st.just(P.shape)))
    targets = []
    for n, d, label in zip(Y_n.values, Y_d.values, singular.values, strict=True):
        oriented = math.nan if math.isnan(label) else math.copysign(math.inf, n)
        targets.append(n if d else oriented)
    return P, Q, Y_n.with_values(targets)


weights = st.one_of(st.sampled_from([0.0, 0.01, 0.5, 1.0, 2.0]), st.floats(0.0, 1e3, width=32))
goals = st.one_of(st.integers(0, 16).map(lambda n: n / 16), st.floats(0.0, 1.0), st.just(0.95))


@st.composite
def options(draw: st.DrawFn) -> Options:
    """Draw what a training loss is made with."""
    configured = st.fixed_dictionaries({name: weights for name in TERMS if name != "fit"})
    given = draw(st.dictionaries(st.sampled_from(TERMS), weights))
    tau = draw(st.sampled_from([0.0, 1e-4, 0.5, 2.0, 1e30]) | st.floats(0.0, 1e3))
    scalar = draw(st.booleans())
    scalars = {k: Array((rounded(w, "float32"),), (), "float32") for k, w in given.items()}
    made: Options = {
        "fit": draw(st.sampled_from(["chordal", "implicit"])),
        "tau": Array((tau,), ()) if scalar else tau,
        "goal": draw(goals),
        "weights": draw(st.none() | configured),
        "given": {**(scalars if scalar else given)},
    }
    return {**made, "bare": True} if draw(st.integers(0, 3)) == 3 else made


@st.composite
def lost(draw: st.DrawFn) -> tuple[Batch, Options]:
    """Draw a batch with ±∞ and NaN, and options that drop the terms in which these count."""
    (P, Q, _, Y_d), made = draw(singular_problems()), draw(options())
    y = Y_d.with_values([1.0 if d else draw(singular_numbers) for d in Y_d.values])
    given = dict.fromkeys(draw(st.sampled_from(list(combinations(TERMS, 3)))), 0.0)
    made["given"] = {**{k: w for k, w in made["given"].items() if k not in given}, **given}
    return (P, Q, y), made
