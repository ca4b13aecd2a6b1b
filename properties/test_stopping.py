"""STOP: the early stop on coverage."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import assume, example, given
from hypothesis import strategies as st

from spec import stopping
from zeroproof.training.stopping import CoverageStop

Coverages = list[float | None]

thresholds = st.one_of(st.sampled_from([0.0, 0.1, 1 / 3, 0.5, 0.9, 1.0]), st.floats(0.0, 1.0))
patiences = st.integers(1, 4)


@st.composite
def runs(draw: st.DrawFn) -> tuple[Coverages, float]:
    """Draw a threshold and coverages, many of them close to it or equal."""
    threshold = draw(thresholds, label="threshold")
    near = [max(threshold - 1e-16, 0.0), threshold, min(threshold + 1e-16, 1.0), 0.0, 1.0, None]
    one = st.one_of(st.sampled_from(near), st.floats(0.0, 1.0))
    return draw(st.lists(one, max_size=12), label="coverages"), threshold


def _exactly(coverages: Coverages) -> list[Fraction | None]:
    return [None if coverage is None else Fraction(coverage) for coverage in coverages]


def _stop_epoch(coverages: Coverages, threshold: float, patience: int) -> int | None:
    stop = CoverageStop(threshold=threshold, patience=patience)
    return next((e for e, coverage in enumerate(coverages) if stop.observe(coverage)), None)


@given(runs(), patiences)
@example(([0.4, 0.4, 0.6, 0.4, 0.4], 0.5), 3)
@example(([0.5, 0.5], 0.5), 1)
@example(([0.4, None, 0.4], 0.5), 2)
def test_STOP_3_automaton(run: tuple[Coverages, float], patience: int) -> None:
    """Training stops exactly where the reference automaton does."""
    coverages, threshold = run
    expected = stopping.stop_epoch(_exactly(coverages), Fraction(threshold), patience)
    found = _stop_epoch(coverages, threshold, patience)
    assert found == expected, f"{run}, patience {patience}: stopped at {found}, not {expected}"


@given(runs())
def test_STOP_1_counter(run: tuple[Coverages, float]) -> None:
    """Below the threshold the counter rises by one, else it returns to 0; equality is not below."""
    coverages, threshold = run
    stop = CoverageStop(threshold=threshold, patience=len(coverages) + 1)
    expected = 0
    for epoch, coverage in enumerate(_exactly(coverages)):
        stopped = stop.observe(coverages[epoch])
        expected = stopping.count_bad(expected, coverage, Fraction(threshold))
        assert stop.bad_epochs == expected, f"counter after epoch {epoch} of {run}"
        assert stopped is False, f"patience outlasts {run}, but epoch {epoch} stopped it"


@given(st.floats(0.1, 1.0), st.integers(2, 5), st.integers(1, 4))
def test_STOP_2_consecutive(threshold: float, patience: int, rounds: int) -> None:
    """Bad epochs with a good one between them never add up, whatever their number."""
    bad: Coverages = [threshold / 2] * (patience - 1)
    coverages = [*bad, threshold] * rounds
    assert stopping.stop_epoch(_exactly(coverages), Fraction(threshold), patience) is None, "spec"
    assert _stop_epoch(coverages, threshold, patience) is None, f"{coverages} stopped"
    last = _stop_epoch(coverages + bad + bad[:1], threshold, patience)
    assert last == len(coverages) + patience - 1, f"{patience} bad ones in a row stop, at {last}"


@given(runs(), patiences, st.data())
def test_STOP_6_nothing_to_watch(
    run: tuple[Coverages, float], patience: int, data: st.DataObject
) -> None:
    """Epochs without finite targets, wherever they fall, change nothing but the numbering."""
    coverages, threshold = run
    watched = [coverage for coverage in coverages if coverage is not None]
    assume(watched)
    gaps = data.draw(st.lists(st.integers(0, 2), min_size=len(watched), max_size=len(watched)))
    spread: Coverages = []
    for gap, coverage in zip(gaps, watched, strict=True):
        spread += [None] * gap + [coverage]
    plain = _stop_epoch(list(watched), threshold, patience)
    expected = None if plain is None else plain + sum(gaps[: plain + 1])
    assert _stop_epoch(spread, threshold, patience) == expected, f"{spread} at {threshold}"
