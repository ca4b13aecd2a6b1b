"""Proofs and counterexamples by z3, each recorded under the clause that it is about."""

from __future__ import annotations

from typing import Final

import z3

from properties.assertions import HELD

PATIENCE_MS: Final = 20_000


class ProofError(AssertionError):
    """A claim is false, or z3 cannot tell; the message has the countermodel."""


def _search(condition: z3.BoolRef, milliseconds: int) -> z3.ModelRef | None:
    """Return values under which the condition is true, None if there are none.

    Raises:
        ProofError: z3 gave up.
    """
    solver = z3.Solver()
    solver.set("timeout", milliseconds)
    # A fixed seed: what is decided once is decided again.
    solver.set("random_seed", 0)
    solver.add(condition)
    found = solver.check()
    if found == z3.unknown:
        raise ProofError(f"z3 gave up ({solver.reason_unknown()}) on {condition}")
    return solver.model() if found == z3.sat else None


def prove(
    id: str,
    claim: z3.BoolRef,
    *,
    given: z3.BoolRef | None = None,
    milliseconds: int = PATIENCE_MS,
) -> None:
    """Prove a claim for all values of its free symbols, or for those that meet a condition.

    Args:
        id: the clause that the claim is about.
        claim: a formula; nothing is assumed that it does not say.
        given: what the claim is derived from; it has to be possible.
        milliseconds: how long z3 may try.

    Raises:
        ProofError: the claim is false somewhere, nothing meets the condition, or z3 gave up.
    """
    if given is not None:
        if _search(given, milliseconds) is None:
            raise ProofError(f"{id} is derived from a contradiction: {given}")
        claim = z3.Implies(given, claim)
    model = _search(z3.Not(claim), milliseconds)
    if model is not None:
        raise ProofError(f"{id} is false at {model}: {claim}")
    HELD.add(id)


def refute(id: str, claim: z3.BoolRef, *, milliseconds: int = PATIENCE_MS) -> z3.ModelRef:
    """Prove that a claim is false somewhere, and return where.

    Raises:
        ProofError: the claim holds for all values, or z3 gave up.
    """
    model = _search(z3.Not(claim), milliseconds)
    if model is None:
        raise ProofError(f"{id}: this cannot be broken: {claim}")
    HELD.add(id)
    return model
