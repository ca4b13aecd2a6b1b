"""Losses that forget a mask, a setting or a format, but not always."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from properties.faults.losses import HALF, REDUCED, marked
from properties.faults.register import fault
from spec import Array
from spec.losses import GAMMA, TAU, Measured, cast
from spec.training_loss import number


def _defaults(real: Any, *case: Any, mask: Any = None, **options: Any) -> Any:
    return real(*case, mask=mask, **({"tau": options.get("tau", TAU)} if mask else options))


def _kept_only(real: Any, name: str, *case: Any, mask: Any = None, **options: Any) -> Measured:
    found: Measured = real(name, *case, mask=mask, **options)
    if not mask or name == "rejection":
        return found
    kept = [i for i, keep in enumerate(mask.values) if keep]
    few = [replace(x, values=[x.values[i] for i in kept], shape=(len(kept),)) for x in case]
    return replace(found, value=real(name, *few, **options).value)


fault("LOSS-1.1", "Under a mask γ is that of the guide.", loss=_defaults)
fault("LOSS-1.3", "Under a mask N is the number of kept elements.", loss=_kept_only)
fault("LOSS-5.1", "Under a mask the goal is 1.", loss=_defaults)
fault("LOSS-6.1", "Without raw targets the sum is the fit.", training_loss=lambda real, P, Q, y, o:
    (replace((f := real(P, Q, y, o))[0], value=f[1]["fit"] if o.get("bare") else f[0].value), f[1]))
fault("LOSS-6.2", "Without raw targets the sum has no gradient in P.",
    training_loss=lambda real, P, Q, y, o: (replace((f := real(P, Q, y, o))[0],
        in_P=P.full(0.0, P) if o.get("bare") else f[0].in_P), f[1]))
fault("LOSS-6.1", "The sum of an empty batch is 0/0.", training_loss=lambda real, P, *a:
    (replace((f := real(P, *a))[0], value=f[0].value if P.values else math.nan), f[1]))
fault("LOSS-6.2", "The gradient in Q is flat.", training_loss=lambda real, *a: (replace(
    (f := real(*a))[0], in_Q=Array.of(f[0].in_Q.values, f[0].in_Q.dtype)), f[1]))
fault("LOSS-6.7", "A configured weight of 0 multiplies, and NaN times 0 is NaN.",
    dropped=lambda real, options: {n for n, w in options["given"].items() if w == 0})
fault("LOSS-6.10", "Weights of a call stay.", training_loss=lambda real, P, Q, y, o:
    real(P, Q, y, {**o, "given": {**o.get("before", {}), **o["given"]}}))
fault("LOSS-6.9", "A τ of a call stays.", training_loss=lambda real, P, Q, y, o: real(P, Q, y,
    {**o, "tau": number(o["tau"]) + (o.get("bare", False) and "before" in o)}))
fault("LOSS-7.1", "Under a mask a cap is that of the kept elements.", loss=_kept_only)
fault("LOSS-8.1", "τ is rounded to half precision.", loss=lambda real, name, *c, tau=TAU, **o:
    real(name, *c, tau=cast(tau, c[1].dtype) if name == "margin" else tau, **o))
fault("LOSS-8.1", "Under a mask half precision stays half.", loss=lambda real, name, *c, mask=None,
    **o: replace(f := real(name, *c, mask=mask, **o), value=cast(f.value, c[0].dtype) if mask else
        f.value))
fault("LOSS-10.2", "A γ below float32's numbers is 0, and 0/0 is NaN.",
    loss=lambda real, *c, gamma=GAMMA, **o: replace(f := real(*c, gamma=gamma, **o),
        value=f.value if gamma > 1e-45 else math.nan))
fault("LOSS-10.3", "Beside a tuple (0, 0) is pulled.", shared=lambda real, slopes:
    {i: s if any(s) or not any(map(any, slopes.values())) else (HALF, HALF)
        for i, s in real(slopes).items()})
fault("LOSS-16.2", "Without raw targets no shapes are compared.",
    check_options=lambda real, P, y, o: real(P, P if o.get("bare") else y, o),
    check_shapes=lambda real, *parts: None)
fault("LOSS-18.3", "The gradient in P is flat.", squares=lambda real, *c, **o: replace(
    f := real(*c, **o), in_P=Array.of(f.in_P.values, f.in_P.dtype)))
fault("LOSS-18.5", "The mean over an empty batch is 0/0.",
    squares=lambda real, *c, **o: real(*c, **o) if c[0].values else Measured(math.nan, c[0], c[1]))
fault("LOSS-18.6", "A single element is broadcast.", check_shapes=lambda real, *parts:
    real(*(x for x in parts if {*x.shape} != {1} or len({len(x.shape) for x in parts}) > 1)))
fault("LOSS-18.8", "Under autocast the squares are computed in bfloat16.",
    reduced_precision=marked, squares=lambda real, *c, **o: replace(f := real(*c, **o),
        value=cast(f.value, "bfloat16") if REDUCED else f.value))
