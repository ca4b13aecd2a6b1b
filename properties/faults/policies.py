"""Gradient policies that go wrong."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from properties.faults.register import fault, zeroproof_fault
from properties.subjects.exact.policies import SCOPES
from spec import Array
from spec.policies import POLICIES, GatedWindow
from zeroproof.autodiff import policies


def rule_fault(claim: str, wrong: str, rule: Callable[[float, float, bool], float]) -> None:
    """Register one of the policies by another rule, of the right result, ``g`` and the flag."""
    number = int(claim.removeprefix("POL-").partition(".")[0]) - 1
    policy = list(POLICIES)[number] if number < len(POLICIES) else "clamp"

    def override(real: Any, name: str, g: Array, bottom: Any) -> Any:
        found = real(name, g, bottom)
        rows = zip(found.values, g.values, bottom, strict=True)
        return found.with_values([rule(*row) for row in rows]) if name == policy else found

    fault(claim, wrong, policy_gradient=override)


for claim, wrong, rule in (
    ("POL-1.1", "CLAMP forgets the mask.", lambda y, g, b: POLICIES["clamp"](g, False)),
    ("POL-1.2", "NaN passes through CLAMP.", lambda y, g, b: g if g != g and not b else y),
    ("POL-1.3", "CLAMP bounds by 2.", lambda y, g, b: max(-2, min(g, 2)) if abs(y) == 1 else y),
    ("POL-1.3", "CLAMP gives 0 for ±∞.", lambda y, g, b: 0.0 if math.isinf(g) else y),
    ("POL-2.1", "PROJECT masks by a product.", lambda y, g, b: g * (not b)),
    ("POL-2.2", "PROJECT clamps.", lambda y, g, b: max(-1.0, min(y, 1.0))),
    ("POL-2.2", "PROJECT loses the sign of 0.", lambda y, g, b: y + 0.0),
    ("POL-3.1", "REJECT rejects at ⊥ only.", lambda y, g, b: 0.0 if b else g),
    ("POL-4.1", "PASSTHROUGH replaces NaN by 0.", lambda y, g, b: 0.0 if g != g else y),
    ("POL-5.1", "CLAMP masks by a product.", lambda y, g, b: g * 0 if b else y),
    ("POL-6.1", "CLAMP halves what is in bounds.", lambda y, g, b: y / 2),
):
    rule_fault(claim, wrong, rule)


def norm_clipped(real: Any, name: str, g: Array, bottom: Any) -> Any:
    """Under CLAMP, divide by the largest gradient of all."""
    found = real("project" if name == "clamp" else name, g, bottom)
    size = max([1.0, *(abs(x) for x in found.values if abs(x) < math.inf)])
    return found.with_values([x / size for x in found.values]) if name == "clamp" else found


fault("POL-7.1", "CLAMP divides by the largest of all.", policy_gradient=norm_clipped)
fault("POL-7.2", "Gradients come back flat.",
      policy_gradient=lambda real, *a: Array.of(real(*a).values, a[1].dtype))
fault("POL-7.2", "Half-precision gradients come back in float32.",
      policy_gradient=lambda real, *a: replace(real(*a), dtype="float32"))
fault("POL-8.1", "A scope counts before an explicit policy.",
      forward=lambda real, policy, *a: real(None if SCOPES.get() else policy, *a))
fault("POL-8.2", "The outermost scope counts.", scopes=lambda real: real()[:1])
fault("POL-8.3", "A default counts before the scopes.",
      chosen=lambda real, policy, layer: (policy or real.__self__.defaults.get(layer) or
          real(policy, layer)))
fault("POL-8.4", "A default is not looked up.",
      chosen=lambda real, policy, layer: real(policy, None))
fault("POL-8.5", "Defaults are looked up by the layer alone.",
      chosen=lambda real, policy, layer: real(policy, layer if layer in real.__self__.defaults else
          None))
fault("POL-8.5", "The default of the farthest class counts.",
      chosen=lambda real, policy, layer: real(policy, layer and layer.partition(".")[0]))
fault("POL-8.6", "With nothing set, the policy is PROJECT.",
      chosen=lambda real, policy, layer: real(policy or (None if SCOPES.get() or
          real.__self__.defaults else "project"), layer))


def late(real: Any, policy: str, layer: str, g: Array, bottom: Any, *inside: str) -> Any:
    """Ask for the policy at the backward."""
    subject = real.__self__
    return lambda: subject.policy_gradient(subject.chosen(policy, layer), g, bottom)


fault("POL-8.7", "The policy is the one in force at the backward.", forward=late)
fault("POL-8.8", "A recomputed forward has the policy of the backward.", recomputed_forward=late)
for method in ("forward", "recomputed_forward"):
    fault("POL-8.13", f"A scope inside it does not reach a {method}.",
          **{method: lambda real, policy, layer, g, bottom, *_: real(policy, layer, g, bottom)})


def _of_first_layer(real: Any, functions: Any, now: Any) -> Any:
    walked = list(functions)
    found = real(iter(walked), now)
    settings = [s for ctx, _ in walked for s in getattr(ctx, "_zeroproof_settings", [])]
    return settings[0] if settings else found


zeroproof_fault("POL-8.13", "A checkpoint keeps the policy of its first layer.",
      "zeroproof.autodiff.policies._setting_at_forward", _of_first_layer)
zeroproof_fault("POL-8.8", "Reentrant checkpointing has the policy of the backward.",
      "zeroproof.autodiff.policies._setting_at_forward", lambda real, functions, now: now)
zeroproof_fault("POL-8.5", "A layer's classes are not asked for their defaults.",
      "zeroproof.autodiff.policies._default_of",
      lambda real, layer: real(layer if policies._defaults.get(layer) else None))


@contextmanager
def kept_on_exception(real: Any, policy: str) -> Iterator[None]:
    """Close the scope at the end of its block, which an exception never reaches."""
    token = SCOPES.set((*SCOPES.get(), policy)) if policy in POLICIES else real(policy).__enter__()
    yield
    SCOPES.reset(token)


@contextmanager
def closes_all(real: Any, policy: str) -> Iterator[None]:
    """Close every scope at the end of one."""
    with real(policy):
        yield
    SCOPES.set(())


def shared(stack: Any) -> Any:
    """Return overrides that keep the scopes in ``stack.policies``."""

    @contextmanager
    def opened(real: Any, policy: str) -> Iterator[None]:
        if policy not in POLICIES:
            raise ValueError(policy)
        outer = scopes()
        stack.policies = (*outer, policy)
        try:
            yield
        finally:
            stack.policies = outer

    def scopes(*_: Any) -> tuple[str, ...]:
        return getattr(stack, "policies", ())

    return {"policy_scope": opened, "scopes": scopes}


fault("POL-8.9", "An exception leaves its scope open.", policy_scope=kept_on_exception)
fault("POL-8.9", "Leaving a scope leaves all.", policy_scope=closes_all)
fault("POL-8.10", "A scope holds in all threads.", **shared(SimpleNamespace()))
fault("POL-8.11", "A scope holds in all tasks of its thread.", **shared(threading.local()))
fault("POL-8.12", "An unknown policy is taken for CLAMP.",
      policy_gradient=lambda real, name, *a: real(name if name in POLICIES else "clamp", *a))
fault("POL-8.12", "An unknown default is taken for CLAMP.",
      set_default=lambda real, layer, name: real(layer, name if name in POLICIES else None))


def of_outputs(change: Callable[..., float]) -> Any:
    """Return an override that changes a tuple's first part, given the form and both parts."""

    def override(real: Any, policy: Any, form: str, first: Array, second: Array, g: Array) -> Any:
        pairs = zip(first.values, second.values, strict=True)
        changed = first.with_values([change(form, *pair) for pair in pairs])
        return real(policy, form, changed, second, g)

    return override


def as_form(**forms: str) -> Any:
    """Return an override that takes one form of outputs for another."""
    return lambda real, policy, form, *a: real(policy, forms.get(form, form), *a)


for claim, wrong, override in (
    ("POL-9.1", "The policy acts on decoded values only.",
     lambda real, policy, form, *a: real(None if form == "tuple" else policy, form, *a)),
    ("POL-9.1", "The gradient of the denominator never arrives.", lambda real, *a: real(*a)[:1]),
    ("POL-9.2", "The mask beside a value is not read.", as_form(pair="value")),
    ("POL-9.2", "PASSTHROUGH reaches into a carrier's ⊥.", as_form(carrier="pair")),
    ("POL-9.2", "Of values only NaN is ⊥.",
     of_outputs(lambda form, x, _: 1.0 if math.isinf(x) and form != "tuple" else x)),
    ("POL-9.3", "A tuple at infinity is ⊥, so no pole is learned.",
     of_outputs(lambda form, p, q: math.nan if form == "tuple" and q == 0 else p)),
    ("POL-9.3", "(0, 0) is a tuple.", of_outputs(lambda form, p, q: p or float(form == "tuple"))),
    ("POL-9.5", "Without a policy the outputs are under CLAMP.",
     lambda real, policy, *a: real(policy or "clamp", *a)),
):  # fmt: skip
    fault(claim, wrong, output_gradient=override)
fault("POL-9.4", "A layer's default counts before the trainer's policy.",
      window_gradients=lambda real, w: real(replace(w, policy=w.default or w.policy)))
zeroproof_fault("POL-9.4", "The trainer's policy acts on outputs only.",
      "zeroproof.training.evaluation.gradient_policy", lambda real, policy: nullcontext())
fault("POL-9.6", "Without a policy the layers are under PASSTHROUGH.",
      window_gradients=lambda real, w: real(replace(w, policy=w.policy or "passthrough")))


def clamped_after(scale: Callable[[GatedWindow, Array], float]) -> Any:
    """Return an override that clamps what a gradient is multiplied by, as :func:`scale` tells."""

    def override(real: Any, window: GatedWindow) -> Any:
        units = [scale(window, g) for g in window.gradients]
        clamped = [
            g.with_values([max(-1 / u, min(x, 1 / u)) for x in g.values])
            for g, u in zip(window.gradients, units, strict=True)
        ]
        return real(replace(window, gradients=tuple(clamped)))

    return override


for claim, wrong, scale in (
    ("POL-12.1", "CLAMP bounds the weighted gradient of a micro-batch.",
     lambda w, g: 1 if w.default else len(g.values) / len(w.gradients[0].values)),
    ("POL-12.2", "CLAMP bounds the scaled gradient.",
     lambda w, g: 65536 if w.float16 and not w.default else 1),
    ("POL-12.3", "A layer bounds the weighted gradient.",
     lambda w, g: len(g.values) if w.default and not w.recomputed else 1),
    ("POL-12.4", "A recomputed layer bounds the scaled gradient.",
     lambda w, g: 65536 if w.float16 and w.recomputed else 1),
):  # fmt: skip
    fault(claim, wrong, window_gradients=clamped_after(scale))
zeroproof_fault("POL-12.1", "CLAMP is not told of weights and scales.",
      "zeroproof.training.update.grad_scale", lambda real, scale: nullcontext())
zeroproof_fault("POL-12.4", "A recomputed layer is not told of them.",
      "zeroproof.autodiff.policies._setting_at_forward", lambda real, functions, now:
          now._replace(grad_scale=1.0))
fault("POL-11.1", "The gate replaces values at ⊥ by 0.",
      policy_value=lambda real, policy, x, bottom: x.with_values([0.0 if b else v for v, b in
          zip(x.values, bottom, strict=True)]))
