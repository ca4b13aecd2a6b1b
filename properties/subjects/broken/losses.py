"""Losses that go wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from properties.subjects.broken.register import breaks
from properties.subjects.exact import Exact
from properties.subjects.zeroproof import ZeroProof
from properties.tensors import measured, to_tensor
from spec import Array
from spec.formats import FORMATS
from spec.loss_terms import Row, Slope, at_ceiling, cross, implicit_weight, squared_sizes
from spec.losses import Case, Measured, cast
from spec.training_loss import Options


@breaks("LOSS-1")
class MovingDenominator(Exact):
    """The implicit loss's gradient is that of the whole quotient, denominator included."""

    def slope(self, name: str, element: Row, guard: Fraction) -> Slope:
        """Return the derivative of the quotient."""
        in_P, in_Q = super().slope(name, element, guard)
        if name != "implicit":
            return in_P, in_Q
        P, Q, Y_n, Y_d = element
        shrink = 2 * (cross(*element) / implicit_weight(*element, guard)) ** 2
        return in_P - shrink * P * Y_n**2, in_Q - shrink * Q * Y_d**2


@breaks("LOSS-1")
class FlatCeiling(Exact):
    """A term at its ceiling is clamped, and has no gradient to come down by."""

    def slope(self, name: str, element: Row, guard: Fraction) -> Slope:
        """Return no slope at the ceiling."""
        if name == "implicit" and at_ceiling(element, guard, FORMATS["float32"], 1):
            return Fraction(0), Fraction(0)
        return super().slope(name, element, guard)


@breaks("LOSS-2")
class WithoutTargetSize(Exact):
    """The chordal loss divides by the size of the prediction only."""

    def term(self, name: str, element: Row, guard: Fraction, case: Case) -> Fraction:
        """Return the squared distance of the target from the line."""
        P, Q = element[:2]
        if name == "chordal" and P * P + Q * Q:
            return cross(*element) ** 2 / (P * P + Q * Q)
        return super().term(name, element, guard, case)


@breaks("LOSS-2")
@breaks("LOSS-14")
class GuardedDivision(Exact):
    """An ε in the denominator keeps the chordal loss defined, and lets it shrink tuples."""

    def term(self, name: str, element: Row, guard: Fraction, case: Case) -> Fraction:
        """Return the squared sine with ε added to the sizes."""
        if name == "chordal":
            return cross(*element) ** 2 / (squared_sizes(*element) + Fraction(1e-9))
        return super().term(name, element, guard, case)


@breaks("LOSS-15")
class FrozenChord(Exact):
    """The chordal loss's gradient holds the denominator constant, as the implicit loss's does."""

    def slope(self, name: str, element: Row, guard: Fraction) -> Slope:
        """Return the gradient of the numerator."""
        sizes = squared_sizes(*element)
        if name != "chordal" or not sizes:
            return super().slope(name, element, guard)
        turn = 2 * cross(*element) / sizes
        return turn * element[3], -turn * element[2]


@breaks("LOSS-3")
class MarginAtPoles(Exact):
    """The margin pushes the denominators of infinite targets away from 0, too."""

    def counted(self, name: str, Y_d: Array, mask: Array | None) -> list[int]:
        """Count every target for the margin."""
        return super().counted("chordal" if name == "margin" else name, Y_d, mask)


@breaks("LOSS-3")
class ClippedMargin(Exact):
    """The margin's shortfall is clamped so that its square is finite, and the gradient with it."""

    def slope(self, name: str, element: Row, guard: Fraction) -> Slope:
        """Return no slope where the shortfall is clamped."""
        clamped = name == "margin" and guard - abs(element[1]) > Fraction(10) ** 18
        return (Fraction(0), Fraction(0)) if clamped else super().slope(name, element, guard)


@breaks("LOSS-4")
class SignEverywhere(Exact):
    """Finite targets are charged for the sign of their tuple, which means nothing."""

    def counted(self, name: str, Y_d: Array, mask: Array | None) -> list[int]:
        """Count every target for the sign."""
        return super().counted("chordal" if name == "sign" else name, Y_d, mask)


@breaks("LOSS-4")
class SquaredCosine(Exact):
    """The sign loss is one minus the squared cosine, to which both orientations are alike."""

    def term(self, name: str, element: Row, guard: Fraction, case: Case) -> Fraction:
        """Return the squared sine."""
        return super().term("chordal" if name == "sign" else name, element, guard, case)


@breaks("LOSS-5")
class HardRejection(Exact):
    """The rejection loss counts samples, and a count has no gradient."""

    def rejection(self, case: Case, mask: Array | None, tau: float, goal: float) -> Measured:
        """Return the value alone."""
        found = super().rejection(case, mask, tau, goal)
        return Measured(found.value, Array.full(0.0, case[0]), Array.full(0.0, case[1]))


@breaks("LOSS-5")
class RejectionOfPoles(Exact):
    """Coverage is over all samples, so that the network must answer where there is no value."""

    def rejection(self, case: Case, mask: Array | None, tau: float, goal: float) -> Measured:
        """Call every target finite."""
        P, Q, Y_n, Y_d = case
        return super().rejection((P, Q, Y_n, Array.full(1.0, Y_d)), mask, tau, goal)


@breaks("LOSS-5")
class RejectionOfZero(Exact):
    """The gradient is that of ``|Q|``, which is 0 at the very zero that it should leave."""

    def rejection(self, case: Case, mask: Array | None, tau: float, goal: float) -> Measured:
        """Return no gradient at 0."""
        found = super().rejection(case, mask, tau, goal)
        pairs = zip(case[1].values, found.in_Q.values, strict=True)
        in_Q = case[1].with_values([slope if q else 0.0 for q, slope in pairs])
        return Measured(found.value, found.in_P, in_Q)


@breaks("LOSS-6")
class DeafWeights(Exact):
    """The weights of a curriculum are taken and ignored."""

    def weights(self, options: Options) -> tuple[dict[str, Fraction], dict[str, Fraction]]:
        """Return the configured weights only."""
        return super().weights(options)[0], {}


@breaks("LOSS-6")
class NaNIsPositive(Exact):
    """An unoriented target is charged for its sign, as if it were +∞."""

    def training_loss(
        self, P: Array, Q: Array, y: Array, options: Options
    ) -> tuple[Measured, dict[str, float]]:
        """Lift NaN as +∞."""
        oriented = [value if value == value else float("inf") for value in y.values]
        return super().training_loss(P, Q, y.with_values(oriented), options)


@breaks("LOSS-16")
class AnyWeight(Exact):
    """A weight of an unknown name is dropped without a word."""

    def weights(self, options: Options) -> tuple[dict[str, Fraction], dict[str, Fraction]]:
        """Return the weights whose names are known."""
        configured, given = super().weights(options)
        return configured, {name: weight for name, weight in given.items() if name in configured}


@breaks("LOSS-7")
class MeanOfAll(Exact):
    """The sum over the kept elements is divided by the number of all."""

    def mean(self, terms: list[Fraction], case: Case) -> Fraction:
        """Divide by the number of all elements."""
        return sum(terms, Fraction(0)) / max(len(case[0].values), 1)


@breaks("LOSS-8")
class HalfPrecision(Exact):
    """Half-precision tuples are measured in half precision."""

    def measured(self, case: Case, value: Fraction, slopes: Any) -> Measured:
        """Round the value to the tuples' format."""
        found = super().measured(case, value, slopes)
        return Measured(cast(value, case[0].dtype), found.in_P, found.in_Q)


@breaks("LOSS-8")
class ObeysAutocast(Exact):
    """Under autocast the loss is computed in bfloat16."""

    reduced = False

    @contextmanager
    def reduced_precision(self) -> Iterator[None]:
        """Round to bfloat16 within."""
        self.reduced = True
        yield
        self.reduced = False

    def measured(self, case: Case, value: Fraction, slopes: Any) -> Measured:
        """Round the value to bfloat16 under autocast."""
        if self.reduced:
            value = Fraction(min(cast(value, "bfloat16"), float(FORMATS["bfloat16"].largest)))
        return super().measured(case, value, slopes)


@breaks("LOSS-11")
class ShortMantissa(Exact):
    """Each term passes through a format of eleven bits, as tensor cores' shortcuts do."""

    def term(self, name: str, element: Row, guard: Fraction, case: Case) -> Fraction:
        """Round a bounded term to float16."""
        exact = super().term(name, element, guard, case)
        return Fraction(cast(exact, "float16")) if name in ("chordal", "sign") else exact


class Naive(ZeroProof):
    """A loss as one would write it down; the others are ``zeroproof``'s."""

    name = "chordal"

    def loss(self, name: str, P: Array, Q: Array, Y_n: Array, Y_d: Array, **given: Any) -> Measured:
        """Return the written-down loss by its name."""
        if name != self.name:
            return super().loss(name, P, Q, Y_n, Y_d, **given)
        p, q = (to_tensor(x).requires_grad_() for x in (P, Q))
        mask = torch.ones_like(p) if given.get("mask") is None else to_tensor(given["mask"])
        terms = self.terms(p, q, to_tensor(Y_n), to_tensor(Y_d))
        return measured(self.reduce(terms, mask.bool()), p, q)

    def terms(self, P: Tensor, Q: Tensor, Y_n: Tensor, Y_d: Tensor) -> Tensor:
        """Return the squared sines."""
        sizes = (P.square() + Q.square()) * (Y_n.square() + Y_d.square())
        return (P * Y_d - Q * Y_n).square() / sizes

    def reduce(self, terms: Tensor, mask: Tensor) -> Tensor:
        """Return the mean under the mask, 0 without any."""
        return terms.masked_fill(~mask, 0.0).sum() / mask.sum().clamp(min=1)


@breaks("LOSS-9")
class Overflowing(Naive):
    """Sizes are squared as they come, and 1e20 has no square in float32."""


@breaks("LOSS-12")
class Broadcasting(Naive):
    """Shapes that differ are broadcast: every prediction meets every target."""


@breaks("LOSS-7")
class MaskByProduct(Naive):
    """A mask multiplies the terms, and NaN times 0 is NaN."""

    def reduce(self, terms: Tensor, mask: Tensor) -> Tensor:
        """Multiply by the mask."""
        return (terms * mask).sum() / mask.sum().clamp(min=1)


@breaks("LOSS-7")
class MaskedTooLate(Naive):
    """The mask selects terms after their arithmetic, and the gradient of a masked NaN is NaN."""


@breaks("LOSS-13")
class MeanOfNothing(Naive):
    """The mean of the kept elements is NaN where there are none."""

    def reduce(self, terms: Tensor, mask: Tensor) -> Tensor:
        """Return the mean of what is kept."""
        return terms[mask].mean()


@breaks("LOSS-10")
class GuardedCosine(Naive):
    """torch's cosine guards its division with an ε, and pulls at (0, 0) with 1/ε."""

    name = "sign"

    def terms(self, P: Tensor, Q: Tensor, Y_n: Tensor, Y_d: Tensor) -> Tensor:
        """Return one minus torch's cosine at the targets without a value."""
        tuples, targets = torch.stack([P, Q], dim=-1), torch.stack([Y_n, Y_d], dim=-1)
        cosine = torch.nn.functional.cosine_similarity(tuples, targets, dim=-1)
        return (1 - cosine).masked_fill(Y_d != 0, 0.0)
