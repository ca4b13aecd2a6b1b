"""POL: gradient policies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from properties.assertions import assert_clause
from properties.formats import every
from properties.strategies import FLAGS, TELLING, masks, several, singular_numbers
from spec import Array
from spec.policies import FORMS, POLICIES, SELECTING, Policies

HALVES = ("float16", "bfloat16")
Case: TypeAlias = tuple[Array, tuple[bool, ...]]
names = st.sampled_from(sorted(POLICIES))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw incoming gradients, NaN and ±∞ among them, and flags of ⊥."""
    (g,) = draw(several(1))
    return g, draw(masks(g.shape))


@given(cases())
@example((TELLING, FLAGS))
def test_POL_1_clamps(subject: Policies, case: Case) -> None:
    assert_clause("POL-1", subject, *case)


@given(cases())
@example((TELLING, FLAGS))
def test_POL_2_projects(subject: Policies, case: Case) -> None:
    assert_clause("POL-2", subject, *case)


@given(cases())
@example((TELLING, FLAGS))
def test_POL_3_rejects(subject: Policies, case: Case) -> None:
    assert_clause("POL-3", subject, *case)


@given(cases())
@example((TELLING, FLAGS))
def test_POL_4_passes(subject: Policies, case: Case) -> None:
    assert_clause("POL-4", subject, *case)


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


@given(st.lists(names, max_size=4), st.none() | names, st.none() | names, names, unknown)
@example(["reject"], "project", None, "passthrough", "clip")
@example([], None, "reject", "passthrough", "")
@settings(max_examples=50)
def test_POL_8_scope(
    subject: Policies,
    scopes: Sequence[str],
    default: str | None,
    explicit: str | None,
    later: str,
    unknown: str,
) -> None:
    assert_clause("POL-8", subject, scopes, default, explicit, later, unknown)


@given(names, st.sampled_from(FORMS), several(3, shapes=st.sampled_from([(1,), (5,), (3, 2)])))
@example("project", "pair", [Array.of(x) for x in ([1.0, 1.0], [1.0, 0.0], [3.0, 3.0])])
@example("project", "tuple", [Array.of(x) for x in ([1.0, 0.0, 1.0], [0.0] * 3, [3.0] * 3)])
def test_POL_9_reach(subject: Policies, policy: str, form: str, arrays: list[Array]) -> None:
    assert_clause("POL-9", subject, policy, form, *arrays)


@given(names, cases())
def test_POL_11_keeps_values(subject: Policies, policy: str, case: Case) -> None:
    assert_clause("POL-11", subject, policy, *case)


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("clause", ["POL-1", "POL-2", "POL-3", "POL-4"])
def test_POL_1_to_4_everywhere(subject: Policies, clause: str, dtype: str) -> None:
    """All values of the half-precision formats, ⊥ and not."""
    g = every(dtype)
    for flag in (False, True):
        assert_clause(clause, subject, g, [flag] * len(g.values))


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_POL_5_and_6_everywhere(subject: Policies, policy: str, dtype: str) -> None:
    """All values of the half-precision formats, every other one ⊥."""
    g = every(dtype)
    bottom = [index % 2 == 0 for index in range(len(g.values))]
    assert_clause("POL-6", subject, policy, g, bottom)
    assert_clause("POL-11", subject, policy, g, bottom)
    if policy in SELECTING:
        assert_clause("POL-5", subject, policy, g, bottom)


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("form", FORMS)
def test_POL_9_everywhere(subject: Policies, form: str, dtype: str) -> None:
    """All values of the half-precision formats as outputs, and as the gradients that come back."""
    x = every(dtype)
    flags = x.with_values([float(index % 3 == 0) for index in range(len(x.values))])
    for other in (0.0, 1.0, math.nan):
        second = Array.full(other, like=x) if form == "tuple" else flags
        assert_clause("POL-9", subject, "project", form, x, second, x)
