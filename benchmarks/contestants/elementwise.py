"""The composite loss against a copy, and the rational layer against plain Horner."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.contestants.problem import targets
from benchmarks.contestants.training import compiled
from benchmarks.job import Job
from zeroproof.layers import SCMRationalLayer
from zeroproof.losses import SCMTrainingLoss
from zeroproof.training.targets import lift_targets

# The forward reads P, Q, Y_n, Y_d and the raw targets. How steep the loss is depends on how many
# targets there are of each kind, and on the gradient that arrives, so no gradient can be written
# before the last element is read: the backward reads all five again (to keep two slopes would be to
# write and read four), and writes the gradients of P and Q.
TENSORS_MOVED = 12


def _repeat(once: Callable[[], object]) -> Job:
    def job(steps: int) -> Callable[[], None]:
        def work() -> None:
            for _ in range(steps):
                once()

        return work

    return job


def _noise(elements: int, device: str) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(elements, generator=generator) * 2 - 1).to(device)


def composite(device: str, elements: int, *, compile: bool = False) -> Job:
    """``SCMTrainingLoss``, forward and backward to P and Q."""
    y = targets(_noise(elements, device))
    Y_n, Y_d = lift_targets(y)
    P, Q = (_noise(elements, device).roll(shift).requires_grad_() for shift in (1, 2))
    loss_fn = SCMTrainingLoss()

    def total(P: Tensor, Q: Tensor, Y_n: Tensor, Y_d: Tensor, y: Tensor) -> Tensor:
        loss, _ = loss_fn((P, Q), (Y_n, Y_d), targets=y)
        return loss

    function = compiled(total, device) if compile else total

    def once() -> None:
        torch.autograd.grad(function(P, Q, Y_n, Y_d, y), (P, Q))

    return _repeat(once)


def copying(device: str, elements: int) -> Job:
    """A copy that moves the bytes that the composite loss must move at least."""
    source = torch.zeros(TENSORS_MOVED * elements // 2, device=device)
    destination = torch.zeros_like(source)
    return _repeat(lambda: destination.copy_(source))


def rational(device: str, elements: int, *, degrees: tuple[int, int] = (5, 4)) -> Job:
    """``SCMRationalLayer``, forward and backward to its input and coefficients."""
    layer = SCMRationalLayer(*degrees).to(device)
    _perturb(*layer.parameters())
    return _gradients(lambda x: layer(x)[0], list(layer.parameters()), elements, device)


def horner(device: str, elements: int, *, degrees: tuple[int, int] = (5, 4)) -> Job:
    """``P(x) / Q(x)`` by Horner's scheme and autograd, without masks, policy or thresholds."""
    numerator, denominator = (torch.zeros(d + 1, device=device) for d in degrees)
    _perturb(numerator, denominator)

    def polynomial(coefficients: Tensor, x: Tensor) -> Tensor:
        *rest, result = coefficients.unbind()
        for coefficient in reversed(rest):
            result = result * x + coefficient
        return result

    parameters = [numerator.requires_grad_(), denominator.requires_grad_()]
    return _gradients(
        lambda x: polynomial(numerator, x) / polynomial(denominator, x),
        *(parameters, elements, device),
    )


def _perturb(*parameters: Tensor) -> None:
    """Set coefficients without zeros, of a denominator that has no pole in [−1, 1]."""
    with torch.no_grad():
        for parameter in parameters:
            parameter.fill_(0.1)[0] = 1.0


def _gradients(
    function: Callable[[Tensor], Tensor], parameters: list[Tensor], elements: int, device: str
) -> Job:
    x = _noise(elements, device).requires_grad_()

    def once() -> None:
        torch.autograd.grad(function(x).sum(), (x, *parameters))

    return _repeat(once)
