"""Thresholds that go wrong."""

import random

from properties.faults.register import fault

fault(
    "TAU-1.1",
    "τ is normal about the midpoint, so some draws lie beyond the ends.",
    draw=lambda draw, low, high, seed, count: [
        random.Random(tau).gauss((low + high) / 2, (high - low) / 2)
        for tau in draw(low, high, seed, count)
    ],
)
fault(
    "TAU-2.1",
    "A jitter is added after the draw.",
    draw=lambda draw, *a: [tau * (1 + 2.0**-50) for tau in draw(*a)],
)
fault(
    "TAU-3.1",
    "Crossed ends are swapped in silence.",
    draw=lambda draw, low, high, *a: draw(min(low, high), max(low, high), *a),
)
fault(
    "TAU-4.1",
    "τ is drawn from the global generator where no seed is given.",
    draw=lambda draw, low, high, seed, count: [
        tau if seed is not None else random.uniform(low, high)
        for tau in draw(low, high, seed, count)
    ],
)
fault("TAU-5.1", "The seed is ignored.", draw=lambda draw, a, b, seed, n: draw(a, b, None, n))
fault(
    "TAU-5.1",
    "The generator is seeded anew for every draw, so that all are equal.",
    draw=lambda draw, a, b, seed, n: draw(a, b, seed, 1) * n,
)
fault(
    "TAU-6.1",
    "τ is the mean of three draws, so it keeps to the middle.",
    draw=lambda draw, a, b, seed, n: [
        sum(draws) / 3 for draws in zip(*[iter(draw(a, b, seed, 3 * n))] * 3, strict=True)
    ],
)
