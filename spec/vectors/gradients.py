"""Cases of POL: gradients at ⊥ and elsewhere, under each policy."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from random import Random
from typing import Any, Final

from ..arrays import Array
from ..coverage import FORMS
from ..formats import FORMATS
from ..heads import shared_gradients
from ..policies import POLICIES, SELECTING, output_gradients
from ..scopes import in_force
from .cases import ZERO, Case, filled
from .numbers import SINGULAR, edges, neighbours, some

OWN: Final = dict(zip(POLICIES, ("POL-1", "POL-2", "POL-3", "POL-4"), strict=True))


def _under(policy: str, g: Array, bottom: Sequence[bool]) -> Array:
    pairs = zip(g.values, bottom, strict=True)
    return g.with_values([POLICIES[policy](x, b) for x, b in pairs])


def _case(clauses: str, policy: str, g: Array, bottom: list[bool]) -> Case:
    given = {"policy": policy, "g": g, "bottom": bottom}
    return Case(clauses, given, {"gradient": _under(policy, g, bottom)})


def policy(name: str, random: Random) -> Iterator[Case]:
    """Return as ``gradient`` what gradients ``g`` become under a ``policy`` (``clamp``,
    ``project``, ``reject`` or ``passthrough``), given for each element whether it is ``bottom``.
    """
    for policy, dtype in product(POLICIES, FORMATS):
        for x in (*neighbours(dtype, 1.0), *SINGULAR, *some(random, dtype, 2, 3)):
            yield _case(OWN[policy], policy, Array.of([x, x], dtype), [False, True])
        g = Array.of(edges(dtype), dtype)
        yield _case(OWN[policy], policy, g, [False] * len(g.values))
        values = (*SINGULAR, 0.25, -2.0, *some(random, dtype, 1))
        g = Array(values, (2, 3), dtype)
        for bottom in ([False] * 6, [True] * 6, [True, False] * 3, [False, False, True] * 2):
            yield _case(f"{OWN[policy]} POL-7", policy, g, bottom)
            yield _case(f"{OWN[policy]} POL-6", policy, _under(policy, g, bottom), bottom)
    for policy, dtype, x in product(SELECTING, FORMATS, (*SINGULAR, 1.0)):
        g = Array.of([x], dtype)
        given = {"policy": policy, "g": g, "bottom": [True]}
        yield Case("POL-5", given, {"gradient": filled(g, [ZERO])})


def policy_value(name: str, random: Random) -> Iterator[Case]:
    """Return as ``x`` what values ``x`` become that are put under a ``policy``, given for each
    element whether it is ``bottom``.
    """
    for policy, dtype in product(POLICIES, FORMATS):
        x = Array.of([*SINGULAR, -0.0, *some(random, dtype, 4)], dtype)
        yield Case("POL-11", {"policy": policy, "x": x, "bottom": [True, False] * 4}, {"x": x})


def scoped_policy(name: str, random: Random) -> Iterator[Case]:
    """Run the forward inside nested ``scopes`` of policies, outermost first, in a layer with a
    ``default`` policy, under an ``explicit`` one or none (null), and return the ``gradient`` that
    ``g`` becomes at elements of which some are ``bottom``, when the backward runs outside.
    """
    g, bottom = Array.of([2.0, math.nan, 0.5], "float32"), [False, False, True]
    given: dict[str, Any] = {"scopes": (), "default": None, "explicit": None}
    given |= {"g": g, "bottom": bottom}
    nestings = ((), ("project",), ("clamp", "reject"), ("reject", "passthrough", "clamp"))
    defaults, explicits = (None, "passthrough", "reject"), (None, "project")
    for nested, default, explicit in product(nestings, defaults, explicits):
        policies = {"scopes": nested, "default": default, "explicit": explicit}
        gradient = _under(in_force(explicit, nested, default), g, bottom)
        yield Case("POL-8", given | policies, {"gradient": gradient})
    for unknown in ({"scopes": ("clip",)}, {"default": "clip"}, {"explicit": "clip"}):
        yield Case("POL-8", given | unknown, refusal="ValueError")


def output_gradient(name: str, random: Random) -> Iterator[Case]:
    """Train under a ``policy`` (null: none) a model that returns ``first`` and ``second`` in a
    ``form``, let the gradient ``g`` of the loss come back to each part, and return the parts'
    ``gradients``. The form is ``value`` (there is no second part), ``pair`` or ``carrier`` (the
    second is the flags of ⊥) or ``tuple``, of which the second part may be one column for all
    outputs of a sample, to which the first column of ``g`` comes back.
    """
    g = Array.of([2.0, 2.0, math.nan, -math.inf, 0.5, -2.0], "float32")
    first = Array.of([1.0, math.nan, 1.0, math.inf, 0.0, -3.0], "float32")
    for policy, form in product((None, *POLICIES), FORMS):
        third = math.nan if form == "tuple" else 1.0  # the others are flags
        second = Array.of([0.0, 0.0, third, 1.0, 0.0, 1.0], "float32")
        given = {"policy": policy, "form": form, "first": first, "second": second, "g": g}
        found = output_gradients(policy, form, first, second, g)
        yield Case("POL-9", given, {"gradients": found})
    P = Array((0.0, -0.0, 1.0, math.inf, 0.0, -3.0), (3, 2), "float32")
    Q, g = Array((0.0, 1.0, 0.0), (3, 1), "float32"), Array(g.values, (3, 2), "float32")
    for policy in (None, *POLICIES):
        given = {"policy": policy, "form": "tuple", "first": P, "second": Q, "g": g}
        yield Case("POL-13", given, {"gradients": shared_gradients(policy, P, Q, g)})
