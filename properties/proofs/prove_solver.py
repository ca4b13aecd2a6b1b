"""The prover can fail: it refuses what is false, and what cannot be broken."""

from __future__ import annotations

import pytest
import z3

from properties.proofs.solver import ProofError, prove, refute

pytestmark = pytest.mark.proved

x = z3.Real("x")


def test_a_false_claim_is_refused_with_its_counterexample() -> None:
    with pytest.raises(ProofError, match=r"is false at \[x = 0\]"):
        prove("NONE-1", x * x != 0)


def test_a_contradiction_proves_nothing() -> None:
    prove("NONE-1", x * x > 4, given=x > 2)
    with pytest.raises(ProofError, match="derived from a contradiction"):
        prove("NONE-1", x != x, given=z3.And(x > 2, x < 1))


def test_a_claim_that_holds_cannot_be_refuted() -> None:
    with pytest.raises(ProofError, match="cannot be broken"):
        refute("NONE-1", x * x >= 0)


def test_what_z3_cannot_decide_is_no_proof() -> None:
    k, m, n = z3.Ints("k m n")
    beyond = z3.Implies(z3.And(m > 0, n > 0, k > 0), m * m * m + n * n * n != k * k * k)
    with pytest.raises(ProofError, match="gave up"):
        prove("NONE-1", beyond, milliseconds=100)
