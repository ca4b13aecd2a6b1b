"""Losses that go wrong in their arithmetic, and training losses."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from properties.faults.losses import of
from properties.faults.register import fault, zeroproof_fault
from spec.formats import FORMATS
from spec.losses import cast

HERE = "properties.subjects.zeroproof.losses"


def _squared_sines(P: Tensor, Q: Tensor, Y_n: Tensor, Y_d: Tensor) -> Tensor:
    sizes = (P.square() + Q.square()) * (Y_n.square() + Y_d.square())
    return (P * Y_d - Q * Y_n).square() / sizes


def naive(reduce: Any) -> Any:
    """Return an override by the chordal loss as one would write it down, reduced under a mask."""

    def chordal(real: Any, *case: Tensor, mask: Tensor | None = None) -> Tensor:
        terms = _squared_sines(*(x.float() if x.itemsize == 2 else x for x in case))
        reduced: Tensor = reduce(terms, torch.ones_like(terms) > 0 if mask is None else mask)
        return reduced

    return chordal


def _selected(terms: Tensor, mask: Tensor) -> Tensor:
    return terms.masked_fill(~mask, 0.0).sum() / mask.sum().clamp(min=1)


CHORDAL = f"{HERE}.chordal_loss"

fault(
    "LOSS-7.1",
    "The sum over the kept elements is divided by the number of all.",
    mean=lambda real, terms, case: sum(terms, Fraction(0)) / max(len(case[0].values), 1),
)
zeroproof_fault(
    "LOSS-7.1",
    "The mask of the implicit loss is ignored.",
    f"{HERE}.implicit_loss",
    lambda real, *case, mask=None, **options: real(*case, **options),
)
zeroproof_fault(
    "LOSS-7.2",
    "A mask multiplies the terms, and NaN times 0 is NaN.",
    CHORDAL,
    naive(lambda terms, mask: (terms * mask).sum() / mask.sum().clamp(min=1)),
)
zeroproof_fault(
    "LOSS-7.3",
    "A mask selects terms after their arithmetic, and the gradient of a masked NaN is NaN.",
    CHORDAL,
    naive(_selected),
)


def _in_half(real: Any, case: Any, value: Any, slopes: Any) -> Any:
    return replace(real(case, value, slopes), value=cast(value, case[0].dtype))


@contextmanager
def _marked(real: Any) -> Any:
    _REDUCED.append(True)
    yield
    _REDUCED.pop()


_REDUCED: list[bool] = []


def _if_reduced(real: Any, case: Any, value: Any, slopes: Any) -> Any:
    most = float(FORMATS["bfloat16"].largest)
    return real(case, Fraction(min(cast(value, "bfloat16"), most)) if _REDUCED else value, slopes)


fault("LOSS-8.1", "Half-precision tuples are measured in half precision.", measured=_in_half)
fault(
    "LOSS-8.2",
    "The gradient at half-precision tuples comes in float32.",
    measured=lambda real, case, *a: real(
        [replace(x, dtype="float64" if x.dtype == "float64" else "float32") for x in case], *a
    ),
)
fault(
    "LOSS-8.3",
    "Under autocast the loss is computed in bfloat16.",
    reduced_precision=_marked,
    measured=_if_reduced,
)
zeroproof_fault("LOSS-9.1", "Sizes are squared as they come.", CHORDAL, naive(_selected))
zeroproof_fault(
    "LOSS-9.1",
    "The largest threshold becomes infinite in the tuples' format.",
    f"{HERE}.margin_loss",
    lambda real, Q, tau, mask: ((tau - Q.abs()).relu()[mask].square()).mean().nan_to_num(0.0, 1e39),
)


def _overflowing(real: Any, *arguments: Any) -> Any:
    found = real(*arguments)
    in_P = [g * math.inf if abs(g) > 2.0**117 else g for g in found.in_P.values]
    return replace(found, in_P=found.in_P.with_values(in_P))


fault("LOSS-9.2", "The gradient overflows on its way, by 2¹⁰.", measured=_overflowing)
zeroproof_fault(
    "LOSS-9.3",
    "A clamp takes NaN for a number.",
    "zeroproof.losses.projective.bounded",
    lambda real, x, low, high: max(low, min(high, x)),
)
fault(
    "LOSS-10.1",
    "At (0, 0) the chordal loss is 0.",
    term=of("chordal", lambda right, e, _: right if any(e[:2]) and any(e[2:]) else Fraction(0)),
)
fault(
    "LOSS-10.2",
    "At (0, 0) the implicit loss is 1, as if it were one of angles.",
    term=of("implicit", lambda right, e, _: right if any(e[:2]) and any(e[2:]) else Fraction(1)),
)


def _cosine(real: Any, P: Tensor, Q: Tensor, Y_n: Tensor, Y_d: Tensor, **_: Any) -> Tensor:
    tuples, targets = torch.stack([P, Q], dim=-1), torch.stack([Y_n, Y_d], dim=-1)
    cosine = torch.nn.functional.cosine_similarity(tuples, targets, dim=-1)
    return (1 - cosine)[Y_d == 0].sum() / (Y_d == 0).sum().clamp(min=1)


zeroproof_fault(
    "LOSS-10.3",
    "torch's cosine guards its division with an ε, and pulls at (0, 0) with 1/ε.",
    f"{HERE}.sign_consistency_loss",
    _cosine,
)
fault(
    "LOSS-11.1",
    "Each term passes through a format of eleven bits, as tensor cores' shortcuts do.",
    term=lambda real, name, *a: (
        Fraction(cast(real(name, *a), "float16")) if name in ("chordal", "sign") else real(name, *a)
    ),
)
fault(
    "LOSS-11.2",
    "Each slope passes through a format of eight bits.",
    slope=lambda real, *a: tuple(
        Fraction(half) if math.isfinite(half := cast(s, "bfloat16")) else s for s in real(*a)
    ),
)
zeroproof_fault(
    "LOSS-11.2",
    "The rejection's gradient is rounded to a half.",
    "zeroproof.losses.coverage.rejection_term",
    lambda real, *a: ((r := real(*a))[0], r[1], float(torch.tensor(float(r[2])).bfloat16())),
)
zeroproof_fault(
    "LOSS-12.1",
    "Shapes that differ are broadcast: every prediction meets every target.",
    CHORDAL,
    naive(_selected),
)
zeroproof_fault(
    "LOSS-12.1",
    "A mask is broadcast.",
    f"{HERE}.rejection_loss",
    lambda real, P, Q, tau, mask, **a: real(P, Q, tau, mask=mask.broadcast_to(Q.shape), **a),
)
zeroproof_fault(
    "LOSS-13.1",
    "The mean of the kept elements is NaN where nothing is kept.",
    CHORDAL,
    naive(lambda terms, mask: terms[mask].mean()),
)
zeroproof_fault(
    "LOSS-13.2",
    "The sign loss of targets without a pole pulls all the same.",
    f"{HERE}.sign_consistency_loss",
    lambda real, *case, oriented=None: (
        real(*case, oriented=oriented)
        if (case[3] == 0).any()
        else (case[0] - case[0].detach()).sum()
    ),
)
fault(
    "LOSS-17.1",
    "γ = 0 is taken, and a perfect prediction costs 0/0.",
    loss=lambda real, *a, **options: real(*a, **{**options, "gamma": 1e-9}),
)
fault(
    "LOSS-17.2",
    "A goal in percent is taken for a fraction.",
    loss=lambda real, *a, **options: real(*a, **{**options, "goal": 1.0}),
)

fault(
    "LOSS-6.1",
    "The margin is left out of the sum.",
    weights=lambda real, options: {**real(options), "margin": Fraction(0)},
)
fault(
    "LOSS-6.2",
    "The gradient of the sum is without that of the sign.",
    sum=lambda real, slopes, weights: real({**slopes, "sign": 0.0}, weights),
)
fault(
    "LOSS-6.3",
    "The fit is the chordal loss, whatever is configured.",
    training_loss=lambda real, P, Q, y, options: real(P, Q, y, {**options, "fit": "chordal"}),
)
fault(
    "LOSS-6.4",
    "The default of λ_margin is 1, as that of the sign.",
    weights=lambda real, options: (
        {"margin": Fraction(1), **{k: w for k, w in real(options).items() if k != "margin"}}
        if options["weights"] is None and not options["given"]
        else real(options)
    ),
)
fault(
    "LOSS-6.5",
    "The weights of a curriculum are taken and ignored.",
    weights=lambda real, options: real({**options, "given": {}}),
)
fault(
    "LOSS-6.5",
    "Weights that are scalars are ignored.",
    weights=lambda real, options: real(
        {**options, "given": {k: w for k, w in options["given"].items() if isinstance(w, float)}}
    ),
)
fault(
    "LOSS-6.5",
    "A weight of the fit does not replace its 1.",
    weights=lambda real, options: {**real(options), "fit": Fraction(1)},
)
fault(
    "LOSS-6.6",
    "A target that is NaN is charged for its sign, as if it were +∞.",
    training_loss=lambda real, P, Q, y, options: real(
        P, Q, y.with_values([v if v == v else math.inf for v in y.values]), options
    ),
)
fault(
    "LOSS-6.6",
    "The terms are returned with their weights.",
    training_loss=lambda real, *a: (
        (found := real(*a))[0],
        {name: value * (0.01 if name == "rejection" else 1) for name, value in found[1].items()},
    ),
)
fault("LOSS-6.7", "A weight of 0 multiplies, and NaN times 0 is NaN.", dropped=lambda *_: set())
zeroproof_fault(
    "LOSS-6.7",
    "A fit of weight 0 gives NaN gradients.",
    "zeroproof.losses.composite._is_zero",
    lambda real, weight: False,
)


def _known(real: Any, P: Any, Q: Any, y: Any, options: Any) -> Any:
    known = {
        k: w for k, w in options["given"].items() if k in ("fit", "margin", "sign", "rejection")
    }
    return real(P, Q, y, {**options, "given": known})


fault("LOSS-16.1", "A weight of an unknown name is dropped in silence.", training_loss=_known)
zeroproof_fault(
    "LOSS-16.2",
    "Targets are broadcast.",
    "zeroproof.losses.composite.alike",
    lambda real, *parts: [x.broadcast_to(parts[0].shape) for x in parts],
)
fault(
    "LOSS-16.3",
    "A weight below 0 is taken, and rewards what it should charge.",
    check_options=lambda real, P, y, options: real(P, y, {**options, "weights": None}),
)
fault(
    "LOSS-16.3",
    "Every fit of another name is the implicit one.",
    training_loss=lambda real, P, Q, y, options: real(
        P, Q, y, {**options, "fit": "chordal" if options["fit"] == "chordal" else "implicit"}
    ),
)
