"""The operations of the test vectors, as a subject offers them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from fractions import Fraction
from typing import Any, Final

from spec import Array
from spec.carriers import ARITY, Carrier
from spec.coverage import Predicted
from spec.decoding import Tuples
from spec.losses import LOSSES
from spec.precision import WIDE
from spec.runs import DONE, REPORTED, MicroBatch, Plan, Trace

Table = dict[str, Callable[..., Any]]
Terms = Sequence[Any] | str


def given(x: Any) -> Any:
    """Return arguments as the specification's subjects take them, arrays as arrays."""
    if isinstance(x, dict) and "shape" in x:
        return Array(tuple(x["values"]), tuple(x["shape"]), x["dtype"])
    if isinstance(x, dict):
        return {name: given(value) for name, value in x.items()}
    return [given(value) for value in x] if isinstance(x, list) else x


def plain(x: Any) -> Any:
    """Return results as a reader takes them."""
    if isinstance(x, Array):
        return {"shape": list(x.shape), "dtype": x.dtype, "values": list(x.values)}
    if isinstance(x, Fraction):
        return float(x)
    if isinstance(x, Mapping):
        return {name: plain(value) for name, value in x.items()}
    return [plain(value) for value in x] if isinstance(x, (list, tuple)) else x


def _measured(found: Any) -> dict[str, Any]:
    return {"value": found.value, "in_P": found.in_P, "in_Q": found.in_Q}


def _plan(**options: Any) -> Plan:
    """Return a plan, whose options are lists where it has tuples."""
    given: dict[str, Any] = {"validation": ()} | options
    given = {n: tuple(value) if isinstance(value, list) else value for n, value in given.items()}
    epochs = tuple(map(_micro_batches, given["epochs"]))
    return Plan(**given | {"epochs": epochs, "validation": _micro_batches(given["validation"])})


def _micro_batches(batches: Sequence[Mapping[str, Any]]) -> tuple[MicroBatch, ...]:
    return tuple(MicroBatch(**{**batch, "slope": Fraction(batch["slope"])}) for batch in batches)


def _events(trace: Trace, kinds: Any) -> list[Any]:
    return [[event.kind, dict(event.values)] for event in trace.of(*kinds)]


class _Parts:
    """A subject, of which a part that it lacks is not offered."""

    def __init__(self, subject: object) -> None:
        self._subject = subject

    def __getattr__(self, name: str) -> Any:
        if not hasattr(self._subject, name):
            raise NotImplementedError(f"{self._subject!r} has no {name}")
        return getattr(self._subject, name)


class Offered:
    """What a subject offers, under the names of the vectors and with their arguments."""

    def __init__(self, subject: Any) -> None:
        self.subject: Any = _Parts(subject)

    def table(self) -> Table:
        own: Table = {
            name: getattr(self, name) for name in dir(self) if name[0] != "_" and name != "table"
        }
        for operation in ARITY:
            own[operation] = lambda of=operation, **given: self._apply(of, **given)
        for loss in LOSSES:
            own[f"{loss}_loss"] = lambda of=loss, **given: self._loss(of, **given)
        return {name: _between(call) for name, call in own.items() if name != "subject"}

    def lift(self, y: Array) -> Any:
        return dict(zip(("Y_n", "Y_d"), self.subject.lift(y), strict=True))

    def orientation(self, y: Array) -> Any:
        return {"orientation": self.subject.orientation(y)}

    def round_trip(self, y: Array) -> Any:
        return {"y": self.subject.unlift(y)}

    def as_tuples(self, **outputs: Any) -> Any:
        batch = Predicted(**outputs, targets=outputs["first"])
        return dict(zip("PQ", self.subject.as_tuples(batch), strict=True))

    def _apply(self, of: str, **operands: Any) -> Any:
        return {"value": self.subject.leave(self.subject.apply(of, *operands.values()))}

    def enter(self, x: Array, bottom: list[bool]) -> Any:
        carrier = self.subject.enter(x, tuple(bottom))
        return {"payload": carrier.payload, "bottom": carrier.bottom}

    def leave(self, payload: Array, bottom: list[bool]) -> Any:
        return {"x": self.subject.leave(Carrier(payload, tuple(bottom)))}

    def backward(self, of: str, operands: list[Array], incoming: Array) -> Any:
        carriers = [self.subject.enter(x, (False,) * len(x.values)) for x in operands]
        found, gradients = self.subject.gradients(of, incoming, *carriers)
        return {"value": self.subject.leave(found), "gradients": gradients}

    def evaluate(self, dtype: str, left: Terms, right: Terms, variables: Any) -> Any:
        meadow = self.subject.meadow(dtype)

        def value(term: Terms) -> Any:
            if isinstance(term, str):
                return variables[term] if term in variables else getattr(meadow, term)
            return getattr(meadow, term[0])(*map(value, term[1:]))

        return {"left": value(left), "right": value(right)}

    def draw(self, **options: Any) -> Any:
        return {"draws": self.subject.draw(**options)}

    def midpoint(self, tau_min: float, tau_max: float) -> Any:
        """Validate once, and return its threshold."""
        batch = (MicroBatch("v"),)
        plan = Plan((batch,), tau_min=tau_min, tau_max=tau_max, validation=batch)
        (event,) = self.subject.train(plan).of("validate")
        return {"tau": event.values["val_tau"]}

    def decode(self, **tuples: Any) -> Any:
        return vars(self.subject.decode(Tuples(**tuples)))

    def decode_backward(self, **tuples: Any) -> Any:
        in_P, in_Q = self.subject.decode_gradients(Tuples(**tuples))
        return {"in_P": in_P, "in_Q": in_Q}

    def policy(self, policy: str, g: Array, bottom: list[bool]) -> Any:
        return {"gradient": self.subject.policy_gradient(policy, g, bottom)}

    def policy_value(self, policy: str, x: Array, bottom: list[bool]) -> Any:
        return {"x": self.subject.policy_value(policy, x, bottom)}

    def scoped_policy(
        self, scopes: Any, default: str | None, explicit: str | None, g: Array, bottom: list[bool]
    ) -> Any:
        """Run the forward in scopes, and the backward outside."""
        self.subject.set_default("vectors", default)
        try:
            with ExitStack() as stack:
                for policy in scopes:
                    stack.enter_context(self.subject.policy_scope(policy))
                backward = self.subject.forward(explicit, "vectors", g, bottom)
            return {"gradient": backward()}
        finally:
            self.subject.set_default("vectors", None)

    def output_gradient(self, **given: Any) -> Any:
        return {"gradients": self.subject.output_gradient(**given)}

    def _loss(self, of: str, **given: Any) -> Any:
        return _measured(self.subject.loss(of, **given))

    def training_loss(self, P: Array, Q: Array, y: Array, **options: Any) -> Any:
        total, terms = self.subject.training_loss(P, Q, y, options)
        return {"total": total.value, "terms": terms, "in_P": total.in_P, "in_Q": total.in_Q}

    def bottom_mask(self, tau: float, **outputs: Any) -> Any:
        batch = Predicted(**outputs, targets=outputs["first"])
        return {"bottom": self.subject.bottom_mask(batch, tau)}

    def coverage(self, tau: float, **outputs: Any) -> Any:
        batch = Predicted(**outputs, targets=outputs["first"])
        return {"coverage": self.subject.batch_coverage(batch, tau)}

    def epoch_coverage(self, epoch: list[Any]) -> Any:
        def timed(tau: float, **batch: Any) -> tuple[Predicted, float]:
            return Predicted(**batch), tau

        return vars(self.subject.epoch_coverage([timed(**batch) for batch in epoch]))

    def watch(self, **given: Any) -> Any:
        seen = self.subject.watch(**given)
        return {"counters": [count for count, _ in seen], "stops": [stops for _, stops in seen]}

    def train(self, **options: Any) -> Any:
        """Carry out a plan, and show its trace in every way."""
        return dict(_shown(self.subject.train(_plan(**options))))

    def window_gradient(self, sizes: list[int], values: list[float]) -> Any:
        """Train on a window, and return by what its update divides the rate."""
        window = zip(sizes, values, strict=True)
        batches = tuple(MicroBatch("v" * size, Fraction(slope)) for size, slope in window)
        trace = self.subject.train(Plan((batches,), accumulation=len(batches)))
        return {"mean": (1 - Fraction(trace.parameters[0])) * 8}

    def validation_mean(self, sizes: list[int], values: list[float]) -> Any:
        """Train without a slope, so that losses are slopes, and return that of the validation."""
        batches = zip(sizes, values, strict=True)
        validation = tuple(MicroBatch("v" * size, Fraction(slope)) for size, slope in batches)
        plan = Plan(((MicroBatch("v", Fraction(0)),),), validation=validation)
        (event,) = self.subject.train(plan).of("validate")
        return {"mean": event.values["val_loss"]}

    def updates_per_epoch(self, micro_batches: int, n: int) -> Any:
        plan = Plan(((MicroBatch("v"),) * micro_batches,), accumulation=n)
        return {"updates": len(self.subject.train(plan).of("update"))}

    def phases(self, micro_batches: int) -> Any:
        return vars(self.subject.phases(micro_batches))

    def precision(self, dtype: str, option: str) -> Any:
        found = self.subject.precision(dtype, option)
        wide = WIDE.issuperset((*found.loss, found.inside))
        return {"forward": found.forward, "wide": wide, "scaled": found.scaled}

    def untrainable(self, case: str) -> Any:
        self.subject.untrainable(case)

    def loss_arguments(self, accepts: list[str], **options: Any) -> Any:
        calls = self.subject.loss_arguments(tuple(accepts), _plan(**options))
        return {"calls": [vars(call) | {"names": sorted(call.given)} for call in calls]}


def _between(call: Callable[..., Any]) -> Callable[..., Any]:
    return lambda **arguments: plain(call(**given(arguments)))


NUMBERED: Final = {"log": "micro_step", "validate": "epoch"}


def _shown(trace: Trace) -> Iterator[tuple[str, Any]]:
    """Walk a trace's parts by name."""
    for part, kinds in (("done", DONE), ("reported", REPORTED)):
        yield part, _events(trace, kinds)
    for part, kind, name in (
        ("w", "update", "w"), ("v", "update", "v"), ("global_steps", "update", "global_step"),
        ("losses", "log", "loss"), ("coverages", "log", "coverage"),
        ("micro_steps", "log", "micro_step"), ("logged_steps", "log", "global_step"),
        ("logged_rates", "log", "lr"), ("logged_skips", "log", "skipped"),
        ("skips", "skip", "skipped"), ("errors", "error", "global_step"),
        ("stops", "stop", "epoch"),
    ):  # fmt: skip
        yield part, [event.values[name] for event in trace.of(kind)]  # type: ignore[arg-type]
    order = trace.of("log", "validate")
    yield "order", [[event.kind, event.values[NUMBERED[event.kind]]] for event in order]
    yield "validations", [dict(event.values) for event in trace.of("validate")]
    yield "kept", [record["loss"] for record in trace.records]
    yield "val_history", [record["val_loss"] for record in trace.val_history]
    for part in ("parameters", "thresholds", "rate"):
        yield part, getattr(trace, part)
