"""The composite training loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce

import torch
from jaxtyping import Shaped
from torch import Tensor

from zeroproof.losses.arithmetic import (
    angle,
    check_constant,
    check_tau,
    mean,
    prepare_tuples,
    widen_alike,
)
from zeroproof.losses.coverage import rejection_term
from zeroproof.losses.likelihood import interval_term, likelihood_term
from zeroproof.losses.terms import implicit_term, margin_term, squares_term
from zeroproof.scm.arcs import Lifted, is_interval, kinds
from zeroproof.scm.outputs import (
    Outputs,
    as_tuple,
    is_projective,
    shares_denominator,
    tuple_bottom,
    widen,
)
from zeroproof.utils.checks import (
    check_number,
    check_pair,
    check_same_shape,
    check_scalar,
    check_type,
    explains,
    instance_or_default,
    weight_range,
)

FITS = "chordal", "implicit", "likelihood", "squares"
RANGES = {"gamma": "(0, ∞]", "target_coverage": "[0, 1]"}
"""Of the options of a loss, where they are not all numbers ≥ 0."""


@dataclass(frozen=True)
class LossConfig:
    """Which fit, and the weights of the other terms; ValueError for a field outside its range.

    Args:
        fit: ``"chordal"``, ``"implicit"``, ``"likelihood"`` or ``"squares"`` (LOSS-18). The
            likelihood needs tuples whose length is free: a value ``v`` counts as ``(v, 1)``, and
            would be fitted some percent too large.
        gamma: γ of the implicit fit; > 0.
        resolution: of the likelihood, an angle in radians; ≥ 0 (LIK-8).
        first_resolution: where a training begins, ≥ 0; the trainer narrows it to ``resolution``
            over the first 70 % of its epochs, of which one or two are too few. While it is wide the
            whole curve counts, and fewer fits miss a narrow pole. A validation has the last one.
        lambda_margin, lambda_sign, lambda_rej: weights ≥ 0; a term of weight 0 is still
            logged. None is 1, and 0 with the likelihood: a tuple that runs through a simple pole
            keeps the sign of P, which +∞ on one side and −∞ on the other contradict.
        target_coverage: coverage wanted of the finite-target samples, in [0, 1].
        tau_train: threshold used when a call gives no ``tau``; ≥ 0.

    Meets: LOSS-6, LOSS-16.
    """

    fit: str = "chordal"
    gamma: float = 1e-9
    resolution: float = 3e-3
    first_resolution: float = 0.7
    lambda_margin: float = 0.1
    lambda_sign: float | None = None
    lambda_rej: float = 0.01
    target_coverage: float = 0.95
    tau_train: float = 1e-4

    def __post_init__(self) -> None:
        if self.fit not in FITS:
            raise ValueError(f"fit must be one of {', '.join(FITS)}, got {self.fit!r}")
        for name, number in vars(self).items():
            if name != "fit" and not (name == "lambda_sign" and number is None):
                allowed = RANGES.get(name, "[0, ∞)")
                object.__setattr__(self, name, check_number(name, number, allowed))

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each term by its name."""
        sign = float(self.fit != "likelihood") if self.lambda_sign is None else self.lambda_sign
        return {
            "fit": 1.0,
            "margin": self.lambda_margin,
            "sign": sign,
            "rejection": self.lambda_rej,
        }


class SCMTrainingLoss:
    """fit + λ_margin·margin + λ_sign·sign + λ_rej·rejection; a ``loss_fn`` of the trainer.

    Args:
        config: the fit and the weights; None takes the defaults of :class:`LossConfig`.

    Meets: LOSS-6, LOSS-16, LIK-13.

    Example:
        >>> loss, terms = SCMTrainingLoss()((torch.ones(2), torch.ones(2)),
        ...                                 (torch.ones(2), torch.ones(2)))
        >>> loss.item(), sorted(terms)
        (0.0, ['fit', 'margin', 'rejection', 'sign'])
    """

    def __init__(self, config: LossConfig | None = None) -> None:
        self.config = instance_or_default("config", config, LossConfig)

    @explains(
        tau_train="it is called tau",
        fit_loss="the fit is a part of this loss; see LossConfig(fit=...)",
        mask_finite="it follows from the lifted targets",
        mask_singular="it follows from targets",
        is_bottom="it follows from outputs and tau",
    )
    def __call__(
        self,
        outputs: Outputs,
        lifted: Lifted,
        *,
        tau: float | Tensor | None = None,
        targets: Shaped[Tensor, "..."] | tuple[Tensor, Tensor] | None = None,
        loss_weights: Mapping[str, float | Tensor] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the total and its unweighted terms.

        Args:
            outputs: a model's outputs in any form; a value ``v`` counts as ``(v, 1)``. Where ``Q``
                is one column for several outputs, the likelihood is their joint one (LIK-9).
            lifted: the lifted targets ``(Y_n, Y_d)``, of the outputs' shape; or the pair of the
                lifted ends of intervals, for the fit ``"likelihood"``.
            tau: threshold on ``|Q|``; None takes ``config.tau_train``.
            targets: the raw targets, which alone tell NaN (unoriented) from +∞.
            loss_weights: weights by name (fit, margin, sign, rejection) in the place of the
                configured ones; also the likelihood's ``resolution``. A float 0 drops the term
                from the total, even a NaN; a tensor only multiplies.

        The total can be differentiated twice, in the outputs only. Raises ValueError for an unknown
        name in ``loss_weights``, shapes that differ, and what requires a gradient beside outputs.
        """
        weights, resolution = self._weights(loss_weights)
        tau = check_tau(self.config.tau_train if tau is None else tau)
        check_constant(resolution, *weights.values())
        self._check_forms(outputs, lifted, targets)
        zero = {name for name, weight in weights.items() if _is_zero(weight)}
        terms = self._terms(outputs, lifted, targets, tau, resolution, zero)
        weighed = [w * terms[name] for name, w in weights.items() if name not in zero]
        if zero >= {"fit", "sign"}:  # then, too, P has a gradient: 0
            weighed += [x.flatten()[:0].sum() for x in widen(*as_tuple(outputs))]
        return reduce(torch.add, weighed), {name: term.detach() for name, term in terms.items()}

    def _check_forms(self, outputs: Outputs, lifted: Lifted, targets: object) -> None:
        """Raise TypeError or ValueError for what this fit does not take."""
        check_type("targets", targets, (Tensor, tuple, type(None)), "a tensor, an Interval or None")
        check_pair("lifted", lifted)
        if not is_interval(lifted):
            return
        for ends in lifted:
            check_pair("lifted", ends)
        if self.config.fit != "likelihood":
            raise ValueError(
                f"fit={self.config.fit!r} takes exact targets; intervals need fit='likelihood'"
            )
        if is_projective(outputs) and shares_denominator(*outputs):
            raise ValueError(
                "intervals have no joint likelihood; train on exact targets, or give each output "
                "a denominator of its own with shared_denominator=False"
            )

    def default_curriculum(self, max_epochs: int) -> Callable[[int], dict[str, float]] | None:
        """Return the resolution of each epoch, as weights; None for a fit that has none.

        The trainer takes them unless its ``loss_weights`` or ``loss_curriculum`` replace them.
        Meets: CUR-3.
        """
        first, last = self.config.first_resolution, self.config.resolution

        def resolution(epoch: int) -> dict[str, float]:
            left = max(0.0, 1.0 - epoch / (0.7 * max_epochs))
            return {"resolution": last + (first - last) * left**3}

        return resolution if self.config.fit == "likelihood" else None

    def _weights(
        self, given: Mapping[str, float | Tensor] | None
    ) -> tuple[dict[str, float | Tensor], float | Tensor]:
        """Return the weights by name, and the resolution."""
        weights: dict[str, float | Tensor] = {**self.config.weights}
        weights["resolution"] = self.config.resolution
        given = {} if given is None else given
        check_type("loss_weights", given, Mapping, "a dict of numbers by name, or None")
        if unknown := set(given) - set(weights):
            raise ValueError(
                f"loss_weights names unknown terms {sorted(unknown)}; known are {sorted(weights)}"
            )
        for name, weight in given.items():
            weights[name] = check_scalar(f"loss_weights[{name!r}]", weight, weight_range(name))
        return weights, weights.pop("resolution")

    def _terms(
        self,
        outputs: Outputs,
        lifted: Lifted,
        targets: object,
        tau: float | Tensor,
        resolution: float | Tensor,
        zero: set[str],
    ) -> dict[str, Tensor]:
        config, raw = self.config, as_tuple(outputs)
        parts = [*lifted[0], *lifted[1]] if is_interval(lifted) else [*lifted]
        P, Q, *parts = widen_alike(*raw, *parts)
        lower, upper = (parts[0], parts[1]), (parts[-2], parts[-1])
        finite, oriented = kinds((lower, upper))
        if isinstance(targets, Tensor):
            check_same_shape(outputs=P, targets=targets)
            oriented = targets.isinf()
        bottom = tuple_bottom(*raw, tau)  # in their own dtype, as they are decoded
        sine, cosine = angle(P, Q, *lower)
        if "fit" in zero or config.fit == "squares":  # a NaN then counts only if oriented
            _, cosine = angle(*prepare_tuples(oriented, P, Q, *lower))
        if config.fit == "chordal":
            fit = mean(sine * sine)
        elif config.fit == "implicit":
            fit = mean(implicit_term(P, Q, *lower, config.gamma))
        elif config.fit == "squares":
            fit = squares_term(finite & ~bottom, P, Q, *lower)
        elif is_interval(lifted):
            fit = mean(interval_term(P, Q, lower, upper, resolution))
        else:
            shared = is_projective(outputs) and shares_denominator(*outputs)
            fit = mean(likelihood_term(P, Q[..., :1] if shared else Q, *lower, resolution))
        return {
            "fit": fit.to(P.dtype),
            "margin": mean(margin_term(torch.where(finite, Q, 0.0), tau), finite),
            "sign": mean(1.0 - cosine, oriented),
            "rejection": rejection_term(P, Q, bottom, config.target_coverage, finite),
        }


def _is_zero(weight: float | Tensor) -> bool:
    return not isinstance(weight, Tensor) and weight == 0


LossConfig.__init__ = explains(  # type: ignore[method-assign]
    epsilon_sing="singular are the targets that are not finite"
)(LossConfig.__init__)
