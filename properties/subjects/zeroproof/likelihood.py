"""LIK by ``zeroproof``."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor

from properties.subjects.zeroproof.unchecked import unchecked
from properties.tensors import measured, to_array, to_tensor
from spec import Array
from spec.likelihood_terms import Lines
from spec.losses import Measured
from zeroproof.inference import central_interval, probability
from zeroproof.losses import interval_loss, likelihood_loss


def _tensors(*lines: Lines) -> list[tuple[Tensor, Tensor]]:
    return [(to_tensor(n), to_tensor(d)) for n, d in lines]


def _number_or_line(end: Lines, line: Any) -> Any:
    """Return an end that is the same for all elements as a number."""
    match [*{*zip(*(x.values for x in end), strict=True)}]:
        case [(number, 1.0)]:
            return number
        case [(number, 0.0)] if number:
            return math.copysign(math.inf, number)
    return line


class ZeroProofLikelihoods:
    """The likelihoods of ``zeroproof.losses``, and what ``zeroproof.inference`` makes of them."""

    _again = False

    def likelihood(self, P: Array, Q: Array, *line: Array, **options: Any) -> Measured:
        return self._mean(likelihood_loss, P, Q, *map(to_tensor, line), **options)

    def interval_likelihood(self, P: Array, Q: Array, *ends: Lines, **options: Any) -> Measured:
        return self._mean(interval_loss, P, Q, *_tensors(*ends), **options)

    def _mean(
        self, loss: Callable[..., Tensor], P: Array, Q: Array, *lines: Any,
        mask: Array | None = None, **options: Any,
    ) -> Measured:  # fmt: skip
        p, q = (to_tensor(x).requires_grad_() for x in (P, Q))
        kept = None if mask is None else to_tensor(mask)
        with unchecked():  # of shapes that differ
            value = loss(p, q, *lines, mask=kept, **options)
        return measured(value, p, q, again=self._again)

    def joint_likelihood(self, P: Array, Q: Array, *line: Array, **options: Any) -> Measured:
        return self.likelihood(P, Q, *line, **options)

    def joint_probability(self, P: Array, Q: Array, *ends: Lines) -> Array:
        return self.probability(P, Q, *ends)

    def joint_interval(self, P: Array, Q: Array, level: float) -> tuple[Array, Array]:
        return self.central_interval(P, Q, level)

    def probability(self, P: Array, Q: Array, *ends: Lines) -> Array:
        given = map(_number_or_line, ends, _tensors(*ends))
        return to_array(probability(to_tensor(P), to_tensor(Q), *given))

    def central_interval(self, P: Array, Q: Array, level: float) -> tuple[Array, Array]:
        lower, upper = central_interval(to_tensor(P), to_tensor(Q), level)
        return to_array(lower), to_array(upper)
