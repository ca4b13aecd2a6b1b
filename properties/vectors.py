"""The operations of the test vectors, as a subject offers them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import is_dataclass
from fractions import Fraction
from functools import partial
from typing import Any

from spec import Array
from spec.carriers import ARITY, Carrier
from spec.choosing import HeldOut
from spec.coverage import Predicted, Timed
from spec.decoding import Tuples
from spec.losses import LOSSES
from spec.runs import MicroBatch, Plan
from spec.update import WIDE
from spec.vectors.trainings import parts_of

Table = dict[str, Callable[..., Any]]
Term = Sequence[Any] | str


def given(x: Any) -> Any:
    """Return arguments as the specification's subjects take them."""
    if isinstance(x, list):
        return tuple(map(given, x))
    if not isinstance(x, dict):
        return x
    parts = {name: given(value) for name, value in x.items()}
    if "shape" in parts:
        return Array(**parts)
    if "samples" in parts:
        return MicroBatch(**parts | {"slope": Fraction(parts["slope"])})
    return parts


def plain(x: Any) -> Any:
    """Return results as a reader takes them."""
    if isinstance(x, Fraction):
        return float(x)
    x = vars(x) if is_dataclass(x) else x
    if isinstance(x, Mapping):
        return {name: plain(value) for name, value in x.items()}
    return [plain(value) for value in x] if isinstance(x, (list, tuple)) else x


def operations(subject: Any) -> Table:
    """Return what a subject offers, under the names of the vectors and with their arguments."""
    table = {**_elementwise(subject), **_tuples(subject), **_trainer(subject)}
    table |= _likelihoods(subject)
    return {name: _between(call) for name, call in table.items()}


def _between(call: Callable[..., Any]) -> Callable[..., Any]:
    return lambda **arguments: plain(call(**given(arguments)))


def _by_name(*calls: Callable[..., Any]) -> Table:
    return {call.__name__: call for call in calls}


def _value(term: Term, meadow: Any, variables: Mapping[str, float]) -> Any:
    if isinstance(term, str):
        return variables[term] if term in variables else getattr(meadow, term)
    return getattr(meadow, term[0])(*(_value(x, meadow, variables) for x in term[1:]))


def _elementwise(subject: Any) -> Table:
    def evaluate(dtype: str, left: Term, right: Term, variables: Mapping[str, float]) -> Any:
        meadow = subject.meadow(dtype)
        sides = (_value(side, meadow, variables) for side in (left, right))
        return dict(zip(("left", "right"), sides, strict=True))

    def apply(of: str, **operands: Any) -> Any:
        return {"value": subject.leave(subject.apply(of, *operands.values()))}

    def backward(of: str, operands: Sequence[Array], incoming: Array) -> Any:
        carriers = [subject.enter(x, (False,) * len(x.values)) for x in operands]
        found, gradients = subject.gradients(of, incoming, *carriers)
        return {"value": subject.leave(found), "gradients": gradients}

    def scoped_policy(
        scopes: Sequence[str], default: str | None, explicit: str | None, **g: Any
    ) -> Any:
        """Run the forward in scopes, and the backward outside."""
        subject.set_default("vectors", default)
        try:
            with ExitStack() as stack:
                for policy in scopes:
                    stack.enter_context(subject.policy_scope(policy))
                backward = subject.forward(explicit, "vectors", **g)
            return {"gradient": backward()}
        finally:
            subject.set_default("vectors", None)

    return {
        **_by_name(evaluate, backward, scoped_policy),
        **{of: partial(apply, of) for of in ARITY},
        "enter": lambda x, bottom: subject.enter(x, bottom),
        "leave": lambda payload, bottom: {"x": subject.leave(Carrier(payload, bottom))},
        "policy": lambda **given: {"gradient": subject.policy_gradient(**given)},
        "policy_value": lambda **given: {"x": subject.policy_value(**given)},
        "output_gradient": lambda **given: {"gradients": subject.output_gradient(**given)},
    }


def _predicted(form: str, first: Array, second: Array, targets: Array | None = None) -> Predicted:
    return Predicted(form, first, second, targets or first)


def _tuples(subject: Any) -> Table:
    def as_tuples(**outputs: Any) -> Any:
        return dict(zip("PQ", subject.as_tuples(_predicted(**outputs)), strict=True))

    def decode_backward(**case: Any) -> Any:
        in_P, in_Q = subject.decode_gradients(Tuples(**case))
        return {"in_P": in_P, "in_Q": in_Q}

    def training_loss(P: Array, Q: Array, y: Array, **options: Any) -> Any:
        total, terms = subject.training_loss(P, Q, y, options)
        return {"total": total.value, "terms": terms, "in_P": total.in_P, "in_Q": total.in_Q}

    def squares_loss(P: Array, Q: Array, Y_n: Array, Y_d: Array, **options: Any) -> Any:
        return subject.squares(P, Q, Y_n, Y_d, **options)

    def bottom_mask(tau: float, **outputs: Any) -> Any:
        return {"bottom": subject.bottom_mask(_predicted(**outputs), tau)}

    def coverage(tau: float, **outputs: Any) -> Any:
        return {"coverage": subject.batch_coverage(_predicted(**outputs), tau)}

    def epoch_coverage(epoch: Sequence[dict[str, Any]]) -> Any:
        def timed(tau: float, **batch: Any) -> Timed:
            return _predicted(**batch), tau

        return subject.epoch_coverage([timed(**batch) for batch in epoch])

    def interval_coverage(tau: float, lower: Array, upper: Array, **outputs: Any) -> Any:
        return subject.interval_coverage(_predicted(**outputs, targets=lower), upper, tau)

    def lift_interval(**ends: Array) -> Any:
        parts = [part for end in subject.lift_interval(**ends) for part in end]
        return dict(zip(("lower_n", "lower_d", "upper_n", "upper_d"), parts, strict=True))

    def watch(**given: Any) -> Any:
        seen = subject.watch(**given)
        return {"counters": [count for count, _ in seen], "stops": [stops for _, stops in seen]}

    def choose_threshold(unit: float | None = None, **held: Array) -> Any:
        return {"tau": subject.choose_threshold(HeldOut(**held), unit)}

    def certify_threshold(rate: float, confidence: float | None = None, **held: Array) -> Any:
        return subject.certify_threshold(HeldOut(**held), rate, confidence)

    measures = squares_loss, bottom_mask, coverage, epoch_coverage, interval_coverage, watch
    chosen = choose_threshold, certify_threshold
    return {
        **_by_name(as_tuples, decode_backward, training_loss, lift_interval, *chosen, *measures),
        "lift": lambda y: dict(zip(("Y_n", "Y_d"), subject.lift(y), strict=True)),
        "orientation": lambda y: {"orientation": subject.orientation(y)},
        "round_trip": lambda y: {"y": subject.unlift(y)},
        "draw": lambda **ends: {"draws": subject.draw(**ends)},
        "decode": lambda **case: subject.decode(Tuples(**case)),
        **{f"{name}_loss": partial(subject.loss, name) for name in LOSSES},
    }


def _likelihoods(subject: Any) -> Table:
    def of_lines(loss: Callable[..., Any]) -> Callable[..., Any]:
        return lambda P, Q, Y_n, Y_d, resolution: loss(P, Q, Y_n, Y_d, resolution=resolution)

    def of_arcs(P: Array, Q: Array, resolution: float, **ends: Array) -> Any:
        return subject.interval_likelihood(P, Q, *_pair(**ends), resolution=resolution)

    def central_interval(P: Array, Q: Array, level: float) -> Any:
        return dict(zip(("lower", "upper"), subject.central_interval(P, Q, level), strict=True))

    def decode_within(lower: float, upper: float, **case: Any) -> Any:
        return subject.decode_within(Tuples(**case), lower, upper).strict

    return {
        **_by_name(central_interval, decode_within),
        "likelihood": of_lines(subject.likelihood),
        "joint_likelihood": of_lines(subject.joint_likelihood),
        "interval_likelihood": of_arcs,
        "probability": lambda P, Q, **ends: {"m": subject.probability(P, Q, *_pair(**ends))},
        "joint_probability": lambda P, Q, **ends: {
            "m": subject.joint_probability(P, Q, *_pair(**ends))
        },
        "decode_shared": lambda **case: subject.decode_shared(Tuples(**case)),
    }


def _pair(lower_n: Array, lower_d: Array, upper_n: Array, upper_d: Array) -> Any:
    return (lower_n, lower_d), (upper_n, upper_d)


def _window(sizes: Sequence[int], values: Sequence[float]) -> tuple[MicroBatch, ...]:
    """Return micro-batches with these slopes."""
    pairs = zip(sizes, values, strict=True)
    return tuple(MicroBatch("v" * size, Fraction(slope)) for size, slope in pairs)


def _trainer(subject: Any) -> Table:
    def validated(part: str, **options: Any) -> Any:
        """Train without a slope, so that losses are slopes, and return part of the validation."""
        plan = Plan(((MicroBatch("v", Fraction(0)),),), **options)
        (event,) = subject.train(plan).of("validate")
        return event.values[part]

    def midpoint(**ends: float) -> Any:
        return {"tau": validated("val_tau", validation=(MicroBatch("v"),), **ends)}

    def validation_mean(**batches: Any) -> Any:
        return {"mean": validated("val_loss", validation=_window(**batches))}

    def window_gradient(**batches: Any) -> Any:
        """Train on a window, and return by what its update divides the rate."""
        window = _window(**batches)
        trace = subject.train(Plan((window,), accumulation=len(window)))
        return {"mean": (1 - Fraction(trace.parameters[0])) * 8}

    def updates_per_epoch(micro_batches: int, n: int) -> Any:
        plan = Plan(((MicroBatch("v"),) * micro_batches,), accumulation=n)
        return {"updates": len(subject.train(plan).of("update"))}

    def precision(**run: str) -> Any:
        found = subject.precision(**run)
        wide = WIDE.issuperset((*found.loss, found.inside))
        return {"forward": found.forward, "wide": wide, "scaled": found.scaled}

    def loss_arguments(accepts: Sequence[str], **plan: Any) -> Any:
        calls = subject.loss_arguments(accepts, Plan(**plan))
        return {"calls": [vars(call) | {"names": sorted(call.given)} for call in calls]}

    means = midpoint, window_gradient, validation_mean
    return {
        **_by_name(*means, updates_per_epoch, precision, loss_arguments),
        "train": lambda **plan: parts_of(subject.train(Plan(**plan))),
        "phases": subject.phases,
        "untrainable": subject.untrainable,
    }
