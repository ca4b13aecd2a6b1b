"""Train-time thresholds, perturbed to close the gap between training and inference."""

from __future__ import annotations

import random

import torch

from zeroproof.utils.checks import check_thresholds, check_type


def perturbed_threshold(
    tau_min: float,
    tau_max: float,
    *,
    generator: torch.Generator | random.Random | None = None,
) -> float:
    """Draw a threshold on ``|Q|`` uniformly from ``[tau_min, tau_max]``.

    It is drawn from a generator of torch (on the CPU) or of Python, or for None by the operating
    system. No global random state is ever touched.

    Raises:
        TypeError: an end that is no number, or another generator.
        ValueError: ends that TAU-3 refuses.

    Meets: TAU-1, TAU-2, TAU-3, TAU-4, TAU-5, TAU-6.

    Example:
        >>> perturbed_threshold(0.5, 0.5)
        0.5
    """
    tau_min, tau_max = check_thresholds(tau_min, tau_max, ("tau_min", "tau_max"))
    if isinstance(generator, torch.Generator):
        u = torch.rand((), dtype=torch.float64, generator=generator).item()
    else:
        wanted = "a torch.Generator, a random.Random or None"
        check_type("generator", generator, (random.Random, type(None)), wanted)
        u = (generator or random.SystemRandom()).random()
    return lerp(tau_min, tau_max, u)


def midpoint(tau_min: float, tau_max: float) -> float:
    """Return the threshold of validations, finite wherever the ends are. Meets: TAU-8."""
    return 0.5 * tau_min + 0.5 * tau_max


def lerp(tau_min: float, tau_max: float, u: float) -> float:
    """Return the threshold at the fraction ``u`` of the way, never outside. Meets: TAU-1."""
    return min(max(tau_min + (tau_max - tau_min) * u, tau_min), tau_max)
