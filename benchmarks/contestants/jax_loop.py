"""The same update in JAX: MLP, composite loss, finite check, Adam, and a row of measures."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from typing import Any

from benchmarks.contestants.problem import BATCHES, Feed, start
from benchmarks.job import Job, Work

TAU, RATE, BETA_1, BETA_2, EPSILON, GOAL = 1e-4, 1e-3, 0.9, 0.999, 1e-8, 0.95
jax: Any = None  # of an environment that is not this one's


def per_step(device: str, batch: int) -> Job:
    """One jitted call for each update."""
    state, batches, update = _problem(device, batch)
    step = jax.jit(update, donate_argnums=0)

    def job(steps: int) -> Work:
        def work() -> None:
            row = None
            for index in range(steps):
                state[0], row = step(state[0], batches[index % BATCHES])
            jax.block_until_ready(row)

        return work

    return job


def scan(device: str, batch: int) -> Job:
    """One jitted call for every ``BATCHES`` updates."""
    state, batches, update = _problem(device, batch)
    stacked = [jax.numpy.stack(parts) for parts in zip(*batches, strict=True)]
    epoch = jax.jit(lambda state: jax.lax.scan(update, state, stacked), donate_argnums=0)

    def job(steps: int) -> Work:
        def work() -> None:
            rows = None
            for _ in range(max(steps // BATCHES, 1)):
                state[0], rows = epoch(state[0])
            jax.block_until_ready(rows)

        return work

    return job


def _problem(device: str, batch: int) -> tuple[list[Any], list[Any], Callable[..., Any]]:
    global jax
    if device == "cpu" and hasattr(os, "sched_setaffinity"):  # XLA takes every core that it sees
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    jax = import_module("jax")
    model, _ = start(64, "cpu")
    weights = [jax.numpy.asarray(p.detach().numpy().T) for p in model.parameters()]
    zeros = [jax.numpy.zeros_like(w) for w in weights]
    feed = Feed(batch, "cpu").batches
    batches = [tuple(jax.numpy.asarray(part.numpy()) for part in pair) for pair in feed]
    state = (weights, zeros, [w.copy() for w in zeros], jax.numpy.zeros(()))
    return [state], batches, _update


def _update(state: Any, batch: Any) -> Any:
    np = jax.numpy
    weights, first, second, count = state
    (loss, row), gradients = jax.value_and_grad(_loss, has_aux=True)(weights, *batch)
    norms = np.stack([np.square(g).sum() for g in gradients])
    finite = np.isfinite(loss) & np.isfinite(norms).all()
    count = count + finite
    c_1, c_2 = 1 - BETA_1**count, 1 - BETA_2**count
    new_first = [BETA_1 * m + (1 - BETA_1) * g for m, g in zip(first, gradients, strict=True)]
    new_second = [BETA_2 * v + (1 - BETA_2) * g * g for v, g in zip(second, gradients, strict=True)]
    new_weights = [
        w - RATE * (m / c_1) / (np.sqrt(v / c_2) + EPSILON)
        for w, m, v in zip(weights, new_first, new_second, strict=True)
    ]
    kept = [
        [np.where(finite, new, old) for new, old in zip(news, olds, strict=True)]
        for news, olds in ((new_weights, weights), (new_first, first), (new_second, second))
    ]
    return (*kept, count), np.concatenate([np.stack([finite * 1.0, loss]), row])


def _loss(weights: Any, x: Any, y: Any) -> Any:
    """Return the composite loss of ``zeroproof.losses``, and what ``SCMTrainer`` measures."""
    np, constant = jax.numpy, jax.lax.stop_gradient
    for index in range(0, len(weights), 2):
        x = x @ weights[index] + weights[index + 1]
        x = jax.nn.silu(x) if index < len(weights) - 2 else x
    P, Q = x[:, 0], x[:, 1]
    singular = ~np.isfinite(y)
    Y_n, Y_d = np.where(np.isnan(y), 1.0, np.clip(y, *_ends(y))), np.where(singular, 0.0, 1.0)
    larger = constant(np.maximum(np.abs(P), np.abs(Q)))
    larger = larger + (larger == 0)
    p, q = P / larger, Q / larger
    shrink, target = jax.lax.rsqrt(p * p + q * q), np.hypot(Y_n, Y_d)
    sine = (p * Y_d - q * Y_n) * shrink / target
    cosine = (p * Y_n + q * Y_d) * shrink / target
    oriented, finite, n = np.isinf(y), ~singular, np.maximum((~singular).sum(), 1)
    sign = np.where(oriented, 1 - cosine, 0.0).sum() / np.maximum(oriented.sum(), 1)
    size = np.abs(Q)
    margin = np.where(finite, np.square(jax.nn.relu(TAU - size)), 0.0).sum() / n
    bottom = ~((size >= TAU) & (np.maximum(np.abs(P / Q), size) < np.inf))
    lost = finite & bottom
    gap = jax.nn.relu(lost.sum() / n - (1 - GOAL))
    soft = np.where(lost, size, 0.0).sum() / n
    rejection = gap * gap - 2 * gap * (soft - constant(soft))
    fit = np.square(sine).mean()
    known = size < np.inf
    counts = [(~bottom).sum(), finite.sum(), (finite & ~bottom).sum(), known.sum()]
    sizes = [np.where(known, size, 0.0).sum(), np.where(known, size, np.inf).min()]
    row = np.stack([fit, margin, sign, rejection, *counts, *sizes])
    return fit + 0.1 * margin + sign + 0.01 * rejection, constant(row)


def _ends(y: Any) -> tuple[Any, Any]:
    """Return what −∞ and +∞ lift to, and leave finite targets alone."""
    np = jax.numpy
    return np.where(np.isinf(y), -1.0, -np.inf), np.where(np.isinf(y), 1.0, np.inf)
