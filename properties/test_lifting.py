"""LIFT: targets to tuples."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from properties.compare import assert_same, floats, leaf, tensor_of
from properties.strategies import several, targets
from spec import lifting
from zeroproof.inference import InferenceConfig, strict_inference
from zeroproof.training.targets import lift_targets, orientation

INTEGER_DTYPES = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


@st.composite
def labels(draw: st.DrawFn) -> Tensor:
    """Draw targets of any dtype and shape."""
    (like,) = draw(several(1))
    return draw(targets(like.dtype, like.shape), label="y")


def _check_lift(y: Tensor, keep: Tensor) -> None:
    Y_n, Y_d = lift_targets(y)
    lifted = [lifting.lift(value) for value in floats(y)]
    for actual, part in ((Y_n, 0), (Y_d, 1)):
        expected = tensor_of([pair[part] for pair in lifted], y)
        assert_same(actual[keep], expected[keep], f"part {part} of the lift of {y!r}")


@given(labels())
def test_LIFT_1_finite(y: Tensor) -> None:
    """A finite y lifts to (y, 1), bit for bit."""
    _check_lift(y, torch.isfinite(y))


@given(labels())
def test_LIFT_2_infinite(y: Tensor) -> None:
    """±∞ lifts to (±1, 0)."""
    _check_lift(y, torch.isinf(y))


@given(labels())
def test_LIFT_3_unoriented(y: Tensor) -> None:
    """NaN lifts to (1, 0), and has no orientation; ±∞ have theirs, finite targets none."""
    _check_lift(y, torch.isnan(y))
    expected = [lifting.orientation(value) for value in floats(y)]
    assert orientation(y).flatten().tolist() == expected, f"orientation of {y!r}"
    assert orientation(y).shape == y.shape, "orientation keeps the shape"


@given(labels())
def test_LIFT_4_round_trip(y: Tensor) -> None:
    """Decoding the lift gives y back bitwise, and ⊥ for every singular target."""
    decoded = strict_inference(*lift_targets(y), InferenceConfig(tau_infer=1.0, tau_train=1.0))
    expected = [lifting.unlift(*lifting.lift(value)) for value in floats(y)]
    assert_same(decoded.value, tensor_of(expected, y), f"round trip of {y!r}")
    assert_same(decoded.bottom, ~torch.isfinite(y), f"⊥ of the round trip of {y!r}")


@given(labels())
def test_LIFT_5_parts(y: Tensor) -> None:
    """Y_d is 0 or 1, and both parts are finite."""
    Y_n, Y_d = lift_targets(y)
    assert set(floats(Y_d)) <= {0.0, 1.0}, f"Y_d of {y!r} is {Y_d!r}"
    assert bool(torch.isfinite(Y_n).all()), f"Y_n of {y!r} is {Y_n!r}"
    assert not bool(((Y_n == 0) & (Y_d == 0)).any()), f"the lift of {y!r} holds (0, 0)"


@given(labels(), st.booleans())
def test_LIFT_6_keeps(y: Tensor, tracked: bool) -> None:
    """Shape, dtype and device are kept, no graph is made, and the input is untouched."""
    y = leaf(y) if tracked else y
    before = y.detach().clone()
    for part in lift_targets(y):
        kinds = (part.shape, part.dtype, part.device)
        assert kinds == (y.shape, y.dtype, y.device), f"lift of {y!r} became {part!r}"
        assert not part.requires_grad, "the lift is outside any graph"
        part.fill_(7.0)
    assert_same(y, before, "writing to the lift left the input as it was")


@given(labels(), st.data())
def test_LIFT_7_elementwise(y: Tensor, data: st.DataObject) -> None:
    """Lifting commutes with taking elements in any order, with repetition."""
    flat = y.flatten()
    chosen = data.draw(
        st.lists(st.integers(0, max(len(flat) - 1, 0)), max_size=6 if len(flat) else 0)
    )
    index = torch.tensor(chosen, dtype=torch.int64)
    for whole, part in zip(lift_targets(y), lift_targets(flat[index]), strict=True):
        assert_same(part, whole.flatten()[index], f"lift of elements {chosen} of {y!r}")


@given(
    st.sampled_from(INTEGER_DTYPES),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_LIFT_8_integers(dtype: torch.dtype, values: list[int], default: torch.dtype) -> None:
    """Integer targets lift to the default float dtype."""
    y = torch.tensor(values, dtype=torch.int64).to(dtype)
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        Y_n, Y_d = lift_targets(y)
    finally:
        torch.set_default_dtype(before)
    assert_same(Y_n, y.to(default), f"numerators of {y!r}")
    assert_same(Y_d, torch.ones(len(values), dtype=default), f"denominators of {y!r}")


@given(st.sampled_from([torch.bool, torch.complex64, torch.complex128]), st.integers(0, 3))
def test_LIFT_8_no_lift(dtype: torch.dtype, size: int) -> None:
    """Bool and complex targets are a TypeError."""
    y = torch.zeros(size, dtype=dtype)
    for function in (lift_targets, orientation):
        with pytest.raises(TypeError, match="dtype"):
            function(y)


def test_LIFT_3_two_kinds_of_pole() -> None:
    """NaN and +∞ share a lift, and only the orientation tells them apart."""
    y = torch.tensor([math.nan, math.inf])
    Y_n, Y_d = lift_targets(y)
    assert Y_n.tolist() == [1.0, 1.0], "both numerators are +1"
    assert Y_d.tolist() == [0.0, 0.0], "both denominators are 0"
    assert orientation(y).tolist() == [0, 1], "only +∞ is oriented"
