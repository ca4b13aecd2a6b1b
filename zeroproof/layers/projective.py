"""Heads that turn features into projective tuples, and an MLP that ends in one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zeroproof.autodiff.policies import GradientPolicy, get_policy, register_policy
from zeroproof.scm.outputs import gate_tuple, widen


class ProjectiveHead(nn.Module):
    """Base of the heads: linear parts of the features, combined to ``(P, Q)``.

    The gradient follows the policy of the scope, if there is one (default PASSTHROUGH).

    Args:
        in_features: size of the last dimension of the features.
        out_features: number of tuples.
        shared_denominator: whether all of them have one ``Q``, and so their poles together.

    Meets: POL-8.
    """

    parts: int

    def __init__(
        self, in_features: int, out_features: int, *, shared_denominator: bool = False
    ) -> None:
        super().__init__()
        self.sizes = [out_features] * self.parts
        if shared_denominator:
            self.sizes[1] = 1  # the part that makes Q
        self.linear = nn.Linear(in_features, sum(self.sizes))

    def combine(self, *parts: Tensor) -> tuple[Tensor, Tensor]:
        """Combine the linear parts, of which the second makes ``Q``, in float32 or wider."""
        raise NotImplementedError

    def forward(
        self, features: Float[Tensor, "*batch in_features"]
    ) -> tuple[Float[Tensor, "*batch out_features"], Float[Tensor, "*batch denominators"]]:
        """Return ``(P, Q)``; a shared ``Q`` has one column."""
        parts = self.linear(features).split(self.sizes, dim=-1)
        return gate_tuple(*self.combine(*widen(*parts)), get_policy(self))


register_policy(ProjectiveHead, GradientPolicy.PASSTHROUGH)


class FreeHead(ProjectiveHead):
    """``P`` and ``Q`` are the linear parts themselves.

    Their scale is free, and they cross any number of poles. Suited to curves with poles.

    Example:
        >>> P, Q = FreeHead(4, 1)(torch.zeros(3, 4))
        >>> P.shape
        torch.Size([3, 1])
    """

    parts = 2

    def combine(self, *parts: Tensor) -> tuple[Tensor, Tensor]:
        """Return the parts."""
        return parts[0], parts[1]


class GatedHead(ProjectiveHead):
    """``P = v·q + s·(1 − q)``, ``Q = q``: a value, and a pole that opens as the gate closes.

    ``q = sigmoid`` stays positive, so the value goes to ±∞ (``s = tanh`` is the orientation) but
    never crosses a pole. Suited to censored labels.

    Example:
        >>> P, Q = GatedHead(4, 1)(torch.zeros(3, 4))
        >>> bool((Q > 0).all())
        True
    """

    parts = 3

    def combine(self, *parts: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gated tuple."""
        value, gate, orientation = parts
        q = torch.sigmoid(gate)
        return value * q + torch.tanh(orientation) * (1 - q), q


class PoleHead(ProjectiveHead):
    """``P / Q = v + s / h``: a value plus a simple pole, scaled to ``Q = h / √(1 + h²)``.

    For large ``|h|`` the tuple is ``(±v, ±1)``, as for a regressor. At ``h = 0`` it is ``(s, 0)``,
    the pole with orientation ``s = tanh``. The sign of ``h`` may change, so it crosses single
    poles. In training it is less steady than the gated head on censored labels.

    Example:
        >>> P, Q = PoleHead(4, 1)(torch.zeros(3, 4))
        >>> bool((Q.abs() <= 1).all())
        True
    """

    parts = 3

    def combine(self, *parts: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scaled tuple."""
        value, h, orientation = parts
        size = torch.hypot(h, torch.ones_like(h))
        q = h / size
        return value * q + torch.tanh(orientation) / size, q


HEADS: dict[str, type[ProjectiveHead]] = {"free": FreeHead, "gated": GatedHead, "pole": PoleHead}


class ProjectiveMLP(nn.Module):
    """A multilayer perceptron that ends in a projective head.

    Args:
        in_features: number of features.
        out_features: number of outputs a sample; None gives one, without a dimension of its
            own: ``(batch,)``.
        hidden: widths of the hidden layers.
        head: ``"free"``, ``"gated"`` or ``"pole"``.
        shared_denominator: whether ``Q`` is one column for all outputs of a sample. They then have
            their poles together, and the fit ``"likelihood"`` is their joint one (LIK-9).
        input_scale: factor of the first layer's initial weights, and with 1 on average that of its
            biases; > 0. The larger it is, the more often the network bends over inputs of about
            unit size. None takes 5 over the number of features, at least 1: a curve with narrow
            poles needs many bends, a table of many columns suffers from them.

    Raises:
        ValueError: an unknown head, or a scale that is not positive.

    Example:
        >>> P, Q = ProjectiveMLP(3)(torch.zeros(5, 3))
        >>> P.shape
        torch.Size([5])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int | None = None,
        *,
        hidden: Sequence[int] = (64, 64),
        head: str = "free",
        shared_denominator: bool = False,
        input_scale: float | None = None,
    ) -> None:
        super().__init__()
        if head not in HEADS:
            raise ValueError(f"head must be one of {', '.join(HEADS)}, got {head!r}")
        input_scale = max(1.0, 5.0 / in_features) if input_scale is None else input_scale
        if not 0.0 < input_scale < float("inf"):
            raise ValueError(f"input_scale must be a finite number > 0, got {input_scale!r}")
        layers: list[nn.Module] = []
        width = in_features
        for size in hidden:
            layers += [nn.Linear(width, size), nn.SiLU()]
            width = size
        if layers:
            with torch.no_grad():
                weight, bias = layers[0].parameters()
                weight.mul_(input_scale)
                bias.mul_((1.0 + input_scale) / 2)
        self.body = nn.Sequential(*layers)
        self.head = HEADS[head](width, out_features or 1, shared_denominator=shared_denominator)
        self.scalar = out_features is None

    def forward(
        self, x: Float[Tensor, "batch in_features"]
    ) -> tuple[Float[Tensor, "batch *outputs"], Float[Tensor, "batch *denominators"]]:
        """Return ``(P, Q)``."""
        P, Q = self.head(self.body(x))
        return (P.squeeze(-1), Q.squeeze(-1)) if self.scalar else (P, Q)
