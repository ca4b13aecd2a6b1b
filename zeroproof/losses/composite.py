"""The composite training loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Shaped
from torch import Tensor

from zeroproof.losses.coverage import all_reach, rejection_term
from zeroproof.losses.projective import chordal_term, implicit_term, margin_term, sign_term
from zeroproof.losses.slopes import Angle, add, alike, check_mask, count, some, with_slopes
from zeroproof.scm.outputs import Outputs, as_tuple
from zeroproof.training.gap import check_thresholds
from zeroproof.training.transfer import Number


@dataclass(frozen=True)
class LossConfig:
    """Which fit, and the weights of the other terms.

    Args:
        fit: ``"chordal"`` or ``"implicit"``.
        gamma: γ of the implicit fit; > 0.
        lambda_margin, lambda_sign, lambda_rej: weights ≥ 0; a term of weight 0 is still
            logged.
        target_coverage: coverage wanted of the finite-target samples, in [0, 1].
        tau_train: threshold used when a call gives no ``tau``; ≥ 0.

    Raises:
        ValueError: a field outside its range.

    Meets: LOSS-6, LOSS-16.
    """

    fit: str = "chordal"
    gamma: float = 1e-9
    lambda_margin: float = 0.1
    lambda_sign: float = 1.0
    lambda_rej: float = 0.01
    target_coverage: float = 0.95
    tau_train: float = 1e-4

    def __post_init__(self) -> None:
        if self.fit not in ("chordal", "implicit"):
            raise ValueError(f"fit must be 'chordal' or 'implicit', got {self.fit!r}")
        if not self.gamma > 0:
            raise ValueError(f"gamma must be > 0, got {self.gamma!r}")
        for name in ("lambda_margin", "lambda_sign", "lambda_rej"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be finite and ≥ 0, got {getattr(self, name)!r}")
        if not 0 <= self.target_coverage <= 1:
            raise ValueError(f"target_coverage must be in [0, 1], got {self.target_coverage!r}")
        check_thresholds(0.0, self.tau_train, ("0", "tau_train"))

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each term by its name."""
        return {
            "fit": 1.0,
            "margin": self.lambda_margin,
            "sign": self.lambda_sign,
            "rejection": self.lambda_rej,
        }


class SCMTrainingLoss:
    """fit + λ_margin·margin + λ_sign·sign + λ_rej·rejection; a ``loss_fn`` of the trainer.

    Args:
        config: the fit and the weights; None takes the defaults of :class:`LossConfig`.

    Meets: LOSS-6, LOSS-16.

    Example:
        >>> loss, terms = SCMTrainingLoss()((torch.ones(2), torch.ones(2)),
        ...                                 (torch.ones(2), torch.ones(2)))
        >>> loss.item(), sorted(terms)
        (0.0, ['fit', 'margin', 'rejection', 'sign'])
    """

    def __init__(self, config: LossConfig | None = None) -> None:
        self.config = config or LossConfig()

    def __call__(
        self,
        outputs: Outputs,
        lifted: tuple[Tensor, Tensor],
        *,
        tau: Number | None = None,
        targets: Shaped[Tensor, "..."] | None = None,
        loss_weights: Mapping[str, Number] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the total and its unweighted terms.

        Args:
            outputs: a model's outputs in any form; a value ``v`` counts as ``(v, 1)``.
            lifted: the lifted targets ``(Y_n, Y_d)``, of the outputs' shape.
            tau: threshold on ``|Q|``, a float or a tensor; None takes ``config.tau_train``.
            targets: the raw targets, which alone tell NaN (unoriented) from +∞; without them
                every ``Y_d = 0`` counts as oriented.
            loss_weights: weights by name (fit, margin, sign, rejection) in the place of the
                configured ones, floats or tensors. With a float 0 a term is only logged, whatever
                it is; a tensor multiplies.

        The total can be differentiated twice, in the outputs only.

        Raises:
            ValueError: an unknown name in ``loss_weights``, shapes that differ, or targets, ``tau``
                or weights that require a gradient.
        """
        P, Q = as_tuple(outputs)
        Y_n, Y_d = lifted
        weights: dict[str, Number] = {**self.config.weights}
        unknown = set(loss_weights or ()) - set(weights)
        if unknown:
            raise ValueError(
                f"loss_weights names unknown terms {sorted(unknown)}; known are {sorted(weights)}"
            )
        weights.update(loss_weights or {})
        tau = self.config.tau_train if tau is None else tau
        P, Q, Y_n, Y_d = alike(P, Q, Y_n, Y_d)
        numbers = (w.to(P.dtype) if isinstance(w, Tensor) else w for w in weights.values())
        oriented = Y_d == 0 if targets is None else targets.isinf()
        check_mask(oriented, P)
        total, *terms = with_slopes(self._rule, (P, Q), Y_n, Y_d, oriented, tau, *numbers)
        return total, dict(zip(weights, terms, strict=True))

    def _rule(
        self,
        gradient: Number,
        P: Tensor,
        Q: Tensor,
        Y_n: Tensor,
        Y_d: Tensor,
        oriented: Tensor,
        tau: Number,
        *weights: Number,
    ) -> tuple[tuple[Number, ...], tuple[Tensor, Tensor]]:
        config, (w_fit, _, w_sign, _) = self.config, weights
        # What a float 0 weighs must not become a product, in which NaN counts.
        pulls = [0.0 if _is_zero(weight) else weight * gradient for weight in weights]
        angle, n = Angle.between(P, Q, Y_n, Y_d), max(P.numel(), 1)
        sign, share = sign_term(angle, oriented)
        chordal = config.fit == "chordal"
        speed = angle.cosine * (pulls[0] * (2.0 / n) if chordal else 0.0)
        in_P, fall = angle.turn(add(speed, pulls[2] * share, oriented))
        if chordal:
            fit = chordal_term(angle, n)
        else:
            fit, slopes = implicit_term(P, Q, Y_n, Y_d, config.gamma, None)
            in_P, fall = add(in_P, pulls[0], slopes[0]), add(fall, pulls[0], -slopes[1])
        if _is_zero(w_fit):  # then NaN counts at most among the oriented
            counts = oriented & (not _is_zero(w_sign))
            in_P, fall = (torch.where(counts, slope, 0.0) for slope in (in_P, fall))
        margin, rejection, lack = self._of_denominators(P, Q, Y_d, angle, tau, fit, pulls)
        fall = fall if lack is None else fall + lack
        terms = fit, margin, sign, rejection
        parts = zip(weights, terms, strict=True)
        total = sum(weight * term for weight, term in parts if not _is_zero(weight))
        return (total, *terms), (in_P, -fall)

    def _of_denominators(
        self,
        P: Tensor,
        Q: Tensor,
        Y_d: Tensor,
        angle: Angle,
        tau: Number,
        fit: Number,
        pulls: Sequence[Number],
    ) -> tuple[Number, Number, Tensor | None]:
        """Return margin, rejection, and by how much their part falls with ``Q``; None for 0."""
        # A fit that is a number tells that there is no wait, and that all tuples are finite.
        if not isinstance(fit, Tensor) and fit == fit and all_reach(angle, tau, Y_d):
            return 0.0, 0.0, None
        finite = Y_d != 0
        n = some(count(finite, Q))
        margin, lack = margin_term(angle.size, tau, finite, n)
        rejection, low, rise = rejection_term(
            P, Q, angle.larger, tau, self.config.target_coverage, finite, n
        )
        push = torch.copysign(low.to(Q.dtype), Q) * (pulls[3] * rise)
        steep = pulls[1] if _is_zero(pulls[1]) else 2.0 * pulls[1] / n
        return margin, rejection, add(push, steep, lack * Q.sgn())


def _is_zero(weight: Number) -> bool:
    return not isinstance(weight, Tensor) and weight == 0
