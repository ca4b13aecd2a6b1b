"""DEC-10 and POL-13: heads with a domain, and outputs of a sample that share a denominator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Protocol, TypeAlias

from .arrays import Array, identical
from .clause import clause, require
from .formats import FORMATS
from .policies import POLICIES, TrainsGated

Row: TypeAlias = Sequence[float]


class Mapped(Protocol):
    """A subject with a head of two polynomials of its input."""

    def rational(
        self, P: Row, Q: Row, domain: tuple[float, float] | None, x: Array
    ) -> tuple[Array, Array]:
        """Return ``(P(x), Q(x))`` of coefficients, the lowest power first, in the dtype of ``x``,
        over a domain or without one.
        """


def mapped(domain: tuple[float, float], x: float) -> Fraction:
    """Return what stands for ``x``, of which the polynomials are taken; DEC-10."""
    low, high = map(Fraction, domain)
    return (2 * Fraction(x) - low - high) / (high - low)


def polynomial(row: Row, t: Fraction) -> Fraction:
    """Return the value of a polynomial, the lowest power first."""
    return sum((Fraction(a) * t**k for k, a in enumerate(row)), Fraction(0))


@clause("DEC-10", source="Ours: high powers of inputs of any unit are useless", since="0.8.0")
def domains(subject: Mapped, P: Row, Q: Row, domain: tuple[float, float], x: Array) -> None:
    """A rational head may have a domain, from a low end to a high one.

    1. The head takes its polynomials of ``(2x − low − high)/(high − low)``, so of [−1, 1] in the
       domain.
    2. They are finite in the whole domain, also where ``high − low`` overflows.
    3. Without a domain, they are those of ``x``.
    """
    epsilon, ends = FORMATS[x.dtype].epsilon, [Fraction(abs(end)) for end in domain]
    # Of ends near each other, the middle is as uncertain as they are large.
    slack = 64 * epsilon * (1 + sum(ends) / abs(Fraction(domain[1]) - Fraction(domain[0])))
    found, plain = subject.rational(P, Q, domain, x), subject.rational(P, Q, None, x)
    for row, part, bare in zip((P, Q), found, plain, strict=True):
        for at, value, without in zip(x.values, part.values, bare.values, strict=True):
            t, size = mapped(domain, at), sum(abs(Fraction(a)) * k for k, a in enumerate(row, 1))
            parts = row, domain, at, value
            require(math.isfinite(value), "{} over {} at {} is {}", *parts, claim=2)
            wanted, bound = polynomial(row, t), slack * size
            right = abs(Fraction(value) - wanted) <= bound
            require(right, "{} over {} at {} is {}, not {}", *parts, float(wanted))
            if abs(at) <= 1:
                wanted = polynomial(row, Fraction(at))
                right = math.isfinite(without) and abs(Fraction(without) - wanted) <= bound
                require(right, "{} at {} is {}, not {}", row, at, without, float(wanted), claim=3)


def lost_samples(P: Array, Q: Array) -> list[bool]:
    """Tell of each sample whose outputs share a denominator whether they are no tuple; POL-13."""
    k, found = P.shape[-1], list[bool]()
    for i, q in enumerate(Q.values):
        parts = *P.values[i * k : i * k + k], q
        found.append(not (all(map(math.isfinite, parts)) and any(parts)))
    return found


def shared_gradients(policy: str | None, P: Array, Q: Array, g: Array) -> list[Array]:
    """Return what becomes of the gradients of such outputs, of ``Q`` that of its first output."""
    k, rule = P.shape[-1], POLICIES[policy or "passthrough"]
    lost = lost_samples(P, Q)
    in_P = [rule(value, lost[i // k]) for i, value in enumerate(g.values)]
    in_Q = [rule(*pair) for pair in zip(g.values[::k], lost, strict=True)]
    return [P.with_values(in_P), Q.with_values(in_Q)]


@clause(
    "POL-13", source="Ours: outputs with one denominator go to infinity together", since="0.8.0"
)
def one_tuple(subject: TrainsGated, policy: str | None, P: Array, Q: Array, g: Array) -> None:
    """For a policy, the outputs of a sample that share a denominator are one tuple.

    1. If a part is not finite, or all of them are 0, then the whole sample is ⊥.
    2. Otherwise no part of it is, even where ``Q`` and some of ``P`` are 0.
    """
    found, lost = subject.output_gradient(policy, "tuple", P, Q, g), lost_samples(P, Q)
    for part, given, wanted in zip(found, (P, Q), shared_gradients(policy, P, Q, g), strict=True):
        require(part.shape == given.shape, "{} got gradients {}", given, part)
        k = len(part.values) // len(lost)
        for i, (got, want) in enumerate(zip(part.values, wanted.values, strict=True)):
            parts, claim = (policy, P, Q, g, part, wanted), 1 if lost[i // k] else 2
            complaint = "{} at {} over {}: {} became {}, not {}"
            require(identical(got, want), complaint, *parts, claim=claim)
