"""TAU: the drawn threshold."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from properties.compare import assert_same
from spec import thresholds
from zeroproof.training.gap import perturbed_threshold

ends = st.one_of(
    st.sampled_from([0.0, 5e-324, 1e-9, 1e-4, 1.0, 1.7976931348623157e308]),
    st.floats(min_value=0.0, allow_nan=False, allow_infinity=False),
)
bad_ends = st.one_of(
    st.floats(max_value=0.0, exclude_max=True), st.sampled_from([math.nan, math.inf])
)
seeds = st.integers(0, 2**63 - 1)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(ends, ends, seeds)
def test_TAU_1_between_the_ends(a: float, b: float, seed: int) -> None:
    """Every draw lies in [τ_min, τ_max]."""
    low, high = sorted((a, b))
    source = generator(seed)
    for _ in range(20):
        tau = perturbed_threshold(low, high, generator=source)
        least = thresholds.threshold(low, high, Fraction(0))
        greatest = thresholds.threshold(low, high, Fraction(1))
        assert math.isfinite(tau), f"draw {tau!r} from [{low!r}, {high!r}] is not finite"
        assert least <= Fraction(tau) <= greatest, f"{tau!r} is outside [{low!r}, {high!r}]"


@given(ends, seeds)
def test_TAU_2_equal_ends(end: float, seed: int) -> None:
    """Equal ends give exactly that value, with a generator and without."""
    expected = float(thresholds.threshold(end, end, Fraction(1, 3)))
    assert perturbed_threshold(end, end, generator=generator(seed)) == expected, "drawn"
    assert perturbed_threshold(end, end) == expected, "without a generator"


def _refuses(function: Callable[[float, float], object], low: float, high: float) -> bool:
    try:
        function(low, high)
    except ValueError:
        return True
    return False


@given(st.one_of(ends, bad_ends), st.one_of(ends, bad_ends))
def test_TAU_3_bad_ends(low: float, high: float) -> None:
    """A ValueError is raised for exactly those ends that are negative, not finite or crossed."""
    expected = _refuses(thresholds.check, low, high)
    assert _refuses(perturbed_threshold, low, high) == expected, f"ends {low!r}, {high!r}"


def test_TAU_3_names_the_end() -> None:
    """The error names the end that is wrong."""
    with pytest.raises(ValueError, match="tau_max"):
        perturbed_threshold(0.0, math.nan)


@given(seeds)
def test_TAU_4_global_state(seed: int) -> None:
    """A draw leaves torch's global random state untouched, with a generator and without."""
    before = torch.get_rng_state()
    perturbed_threshold(0.0, 1.0, generator=generator(seed))
    perturbed_threshold(0.0, 1.0)
    assert_same(torch.get_rng_state(), before, "the global random state")


@given(ends, ends, seeds)
def test_TAU_5_same_seed(a: float, b: float, seed: int) -> None:
    """The same seed gives the same thresholds; draws of one generator differ."""
    low, high = sorted((a, b))
    first, second = generator(seed), generator(seed)
    drawn = [perturbed_threshold(low, high, generator=first) for _ in range(5)]
    again = [perturbed_threshold(low, high, generator=second) for _ in range(5)]
    assert drawn == again, f"seed {seed} gave {drawn} and then {again}"
    if high > 2 * low and high > 1e-300:
        assert len(set(drawn)) > 1, f"five draws from [{low!r}, {high!r}] are all {drawn[0]!r}"


@given(st.sampled_from([(0.0, 1.0), (1e-6, 1e-4), (1e-4, 1e-3), (1.0, 5.0)]), seeds)
def test_TAU_6_uniform(interval: tuple[float, float], seed: int) -> None:
    """A thousand draws are as close to the uniform law as all but 1e-12 of such samples."""
    source = generator(seed)
    draws = [perturbed_threshold(*interval, generator=source) for _ in range(1000)]
    distance = thresholds.distance_from_uniform(draws, *interval)
    bound = thresholds.critical_distance(len(draws), 1e-12)
    assert distance <= bound, f"distance {float(distance):.3f} from uniform exceeds {bound:.3f}"
