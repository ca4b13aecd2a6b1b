"""Thresholds that go wrong."""

import random

from properties.faults.register import fault, zeroproof_fault

fault("TAU-1.1", "τ is normal about the midpoint, so some draws lie beyond the ends.",
      draw=lambda draw, low, high, seed, count: [random.Random(tau).gauss((low + high) / 2, (high -
          low) / 2) for tau in draw(low, high, seed, count)])
fault("TAU-2.1", "A jitter is added after the draw.",
    draw=lambda draw, *a: [tau * (1 + 2.0**-50) for tau in draw(*a)])
zeroproof_fault("TAU-2.1", "τ is (1 − u)·τ_min + u·τ_max, which rounds.",
    "zeroproof.training.thresholds.lerp", lambda real, low, high, u: (1 - u) * low + u * high)
fault("TAU-3.1", "Negative ends are taken for 0.",
    draw=lambda draw, low, high, *a: draw(max(low, 0.0), max(high, 0.0), *a))
fault("TAU-3.1", "An infinite end is taken for a large one.",
    draw=lambda draw, low, high, *a: draw(low, min(high, 1e308), *a))
fault("TAU-3.2", "Crossed ends are swapped in silence.",
    draw=lambda draw, low, high, *a: draw(min(low, high), max(low, high), *a))
fault("TAU-3.3", "An upper end of 0 raises ValueError.",
    draw=lambda draw, low, high, *a: draw(low, high or -1.0, *a))
fault("TAU-4.1", "τ is drawn from the global generator where no seed is given.",
    draw=lambda draw, low, high, seed, count: [tau if seed is not None
        else random.uniform(low, high) for tau in draw(low, high, seed, count)])
fault("TAU-4.1", "A seed is that of the global generator.",
    draw=lambda draw, low, high, seed, count: (draw(low, high, seed, count) if seed is None
        else random.seed(seed) or [low] * count))
fault("TAU-5.1", "The seed is ignored.", draw=lambda draw, a, b, seed, n: draw(a, b, None, n))
fault("TAU-5.2", "Every seed is 0.",
    draw=lambda draw, a, b, seed, n: draw(a, b, seed and 0, n))
fault("TAU-5.2", "The highest bit of a seed is dropped.",
    draw=lambda draw, a, b, seed, n: draw(a, b, None if seed is None else seed % 2**31, n))
fault("TAU-5.3", "No seed is the seed 0.",
    draw=lambda draw, a, b, seed, n: draw(a, b, seed or 0, n))
fault("TAU-6.1", "The generator is seeded for every draw, so that all draws are equal.",
    draw=lambda draw, a, b, seed, n: draw(a, b, seed, 1) * n)
fault("TAU-6.1", "τ is the mean of three draws, so it keeps to the middle.",
    draw=lambda draw, a, b, seed, n: [sum(draws) / 3
        for draws in zip(*[iter(draw(a, b, seed, 3 * n))] * 3, strict=True)])
fault("TAU-6.2", "The upper 5 % of the interval are never drawn.",
    draw=lambda draw, a, b, *c: [min(max(a + (tau - a) * 0.95, a), b) for tau in draw(a, b, *c)])
fault("TAU-6.3", "Every draw is repeated.",
    draw=lambda draw, a, b, seed, n: [tau for tau in draw(a, b, seed, n) for _ in "ab"][:n])
fault("TAU-6.3", "τ has 1001 levels.",
    draw=lambda draw, a, b, *c: [a + (b - a) * (round((tau - a) / (b - a) * 1000) / 1000)
        for tau in draw(a, b, *c)])
