"""POL: gradient policies."""

from __future__ import annotations

import math
from typing import TypeAlias

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from properties.assertions import assert_clause
from properties.formats import HALVES, every
from properties.strategies import FLAGS, TELLING, arrays, masks, several, singular_numbers
from spec import Array
from spec.coverage import FORMS
from spec.policies import POLICIES, SELECTING, GatedWindow, Policies, TrainsGated
from spec.scopes import LAYERS, Forward, Scopes

RULES = ("POL-1", "POL-2", "POL-3", "POL-4")
Case: TypeAlias = tuple[Array, tuple[bool, ...]]
names = st.sampled_from(sorted(POLICIES))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw incoming gradients, NaN and ±∞ among them, and flags of ⊥."""
    g = draw(arrays())
    return g, draw(masks(g.shape))


@pytest.mark.parametrize("id", RULES)
@given(case=cases())
@example(case=(TELLING, FLAGS))
def test_POL_1_to_4_of_gradients(subject: Policies, id: str, case: Case) -> None:
    assert_clause(id, subject, *case)


@given(st.sampled_from(SELECTING), cases(), singular_numbers)
def test_POL_5_selects(subject: Policies, policy: str, case: Case, incoming: float) -> None:
    g, bottom = case
    poisoned = [incoming if b else x for x, b in zip(g.values, bottom, strict=True)]
    assert_clause("POL-5", subject, policy, g.with_values(poisoned), bottom)


@given(names, cases())
@example("clamp", (TELLING, FLAGS))
def test_POL_6_idempotent(subject: Policies, policy: str, case: Case) -> None:
    assert_clause("POL-6", subject, policy, *case)


@given(names, several(2), st.data())
def test_POL_7_independent(
    subject: Policies, policy: str, arrays: list[Array], data: st.DataObject
) -> None:
    g, other = arrays
    bottom, kept = (data.draw(masks(g.shape), label=name) for name in ("bottom", "kept"))
    assert_clause("POL-7", subject, policy, g, other, bottom, kept)


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_POL_7_beside_larger(subject: Policies, policy: str) -> None:
    g, other = Array.of([0.5, 0.75]), Array.of([0.5, 8.0])
    assert_clause("POL-7", subject, policy, g, other, (False, True), (True, False))


# Names may be spelt in any case.
unknown = st.text(max_size=8).filter(lambda name: name.lower() not in POLICIES)


@st.composite
def forwards(draw: st.DrawFn) -> Forward:
    """Draw a forward of a layer, with defaults of it and of its classes."""
    layer = draw(st.sampled_from(LAYERS))
    registered = [name for name in LAYERS if draw(st.booleans())]
    defaults = tuple((name, draw(names)) for name in registered)
    scopes = tuple(draw(st.lists(names, max_size=4)))
    own = draw(st.none() | names), scopes, layer, defaults, draw(st.booleans())
    return Forward(*own, draw(st.none() | names))


PROBED = (("probe", "passthrough"), ("probe.special", "reject"))


@given(forwards(), names, unknown)
@example(Forward("project", ("reject", "clamp"), defaults=PROBED[:1]), "passthrough", "clip")
@example(Forward(None, ("reject", "project"), defaults=PROBED[:1]), "passthrough", "")
@example(Forward(None, (), "probe.special()", PROBED), "project", "clip")
@example(Forward(None, (), "probe.special()", PROBED[:1], True), "reject", "clip")
@example(Forward(None, (), "probe", PROBED[:1]), "reject", "clip")
@example(Forward(None, ("project",), recomputed=True), "passthrough", "clip")
@example(Forward(None, ("passthrough",), recomputed=True), "reject", "clip")
@example(Forward(None, ("passthrough",), inside="reject"), "clamp", "clip")
@example(Forward(None, ("passthrough",), recomputed=True, inside="reject"), "clamp", "clip")
@example(Forward(None, (), recomputed=True, inside="passthrough"), "reject", "clip")
@settings(max_examples=50)
def test_POL_8_scope(subject: Scopes, run: Forward, later: str, unknown: str) -> None:
    assert_clause("POL-8", subject, run, later, unknown)


OUTPUTS = {
    "value": ([1.0, math.nan, math.inf], [0.0] * 3),
    "pair": ([1.0, 1.0, math.nan], [1.0, 0.0, 0.0]),
    "carrier": ([1.0, 1.0, -math.inf], [1.0, 0.0, 0.0]),
    "tuple": ([1.0, 0.0, math.inf], [0.0, 0.0, 1.0]),
}


@given(
    st.none() | names, st.sampled_from(FORMS),
    several(3, shapes=st.sampled_from([(1,), (5,), (3, 2)])), masks((3,)), st.none() | names,
)  # fmt: skip
def test_POL_9_reach(
    subject: TrainsGated, policy: str | None, form: str, arrays: list[Array],
    bottom: tuple[bool, ...], default: str | None,
) -> None:  # fmt: skip
    assert_clause("POL-9", subject, policy, form, *arrays, bottom, default)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("policy", [None, *sorted(POLICIES)])
def test_POL_9_forms(subject: TrainsGated, policy: str | None, form: str) -> None:
    """Outputs that are ⊥ in each way, and ones that only seem to be."""
    parts = [Array.of(x, "float32") for x in (*OUTPUTS[form], [3.0, -0.25, 0.5])]
    for default in (None, "reject", "passthrough"):
        assert_clause("POL-9", subject, policy, form, *parts, (False, True, False), default)


@st.composite
def clamped_windows(draw: st.DrawFn) -> GatedWindow:
    """Draw micro-batches of unequal sizes, whose gradients lie within CLAMP's bounds and beyond."""
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    number = st.integers(-64, 64).map(lambda k: k / 16) | st.sampled_from([1024.0, -math.inf])
    batches = (draw(st.lists(number, min_size=n, max_size=n)) for n in sizes)
    gradients = tuple(Array.of(batch, "float32") for batch in batches)
    bottom, layer = draw(masks((max(sizes),))), draw(st.booleans())
    chosen: tuple[str | None, str | None] = (None, "clamp") if layer else ("clamp", None)
    again = layer and draw(st.booleans())
    return GatedWindow(gradients, bottom, *chosen, draw(st.booleans()), again)


UNEQUAL = tuple(Array.of(g, "float32") for g in ([0.5], [4.0, -0.25, 0.75, -3.0, 1.0], [2.0]))


@given(clamped_windows())
@example(GatedWindow(UNEQUAL, (False,) * 5, "clamp"))
@example(GatedWindow(UNEQUAL[:2], (False,) * 5, "clamp", None, True))
@example(GatedWindow((Array.of([math.inf, 0.5], "float32"),), (False,) * 2, "clamp", None, True))
@example(GatedWindow(UNEQUAL, (False, True, False, False, False), None, "clamp"))
@example(GatedWindow(UNEQUAL, (False,) * 5, None, "clamp", True, True))
@settings(max_examples=50)
def test_POL_12_bounds_the_loss(subject: TrainsGated, window: GatedWindow) -> None:
    assert_clause("POL-12", subject, window)


@given(names, cases())
def test_POL_11_keeps_values(subject: Policies, policy: str, case: Case) -> None:
    assert_clause("POL-11", subject, policy, *case)


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("id", RULES)
def test_POL_1_to_4_everywhere(subject: Policies, id: str, dtype: str) -> None:
    g = every(dtype)
    for flag in (False, True):
        assert_clause(id, subject, g, [flag] * len(g.values))


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_POL_5_and_6_everywhere(subject: Policies, policy: str, dtype: str) -> None:
    g = every(dtype)
    bottom = [index % 2 == 0 for index in range(len(g.values))]
    assert_clause("POL-6", subject, policy, g, bottom)
    assert_clause("POL-11", subject, policy, g, bottom)
    if policy in SELECTING:
        assert_clause("POL-5", subject, policy, g, bottom)


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("form", FORMS)
def test_POL_9_everywhere(subject: TrainsGated, form: str, dtype: str) -> None:
    x = every(dtype)
    flags = x.with_values([float(index % 3 == 0) for index in range(len(x.values))])
    for other in (0.0, 1.0, math.nan):
        second = Array.full(other, like=x) if form == "tuple" else flags
        assert_clause("POL-9", subject, "project", form, x, second, x, (False,), None)
