"""Operations on arrays with ⊥ that go wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from operator import sub, truediv
from typing import Any

from properties.faults.register import fault, zeroproof_fault
from spec import Array
from spec.carriers import Carrier
from spec.formats import FORMATS
from zeroproof.scm import SCMTensor

Apply = Callable[..., Carrier]


def instead(
    x: Carrier, values: Iterable[float] | None = None, bottom: Iterable[bool] | None = None
) -> Carrier:
    """Return a carrier with other values, or other flags."""
    payload = x.payload if values is None else x.payload.with_values(list(values))
    return Carrier(payload, x.bottom if bottom is None else tuple(bottom))


def each(change: Callable[..., float], x: Carrier) -> Carrier:
    """Return a carrier with ``change(value, is_bottom)`` for each value."""
    return instead(x, map(change, x.payload.values, x.bottom))


def no_bottom(x: Carrier) -> Carrier:
    sound = each(lambda v, flag: 0.0 if flag or not math.isfinite(v) else v, x)
    return instead(sound, bottom=[False] * len(x.bottom))


def unsigned_zeros(x: Array) -> Array:
    return x.with_values([v + 0.0 for v in x.values])


def smallest_normal(x: Array) -> float:
    return float(FORMATS[x.dtype].smallest_normal)


def after(change: Callable[..., Carrier], *only: str) -> Callable[..., Any]:
    """Return an override that changes results of operations, all or some, tracked or not."""

    def override(real: Any, operation: str, *operands: Any) -> Any:
        found = real(operation, *operands)
        if only and operation not in only:
            return found
        return change(found) if isinstance(found, Carrier) else (change(found[0]), found[1])

    return override


def before(only: str, change: Callable[..., tuple[Any, ...]]) -> Apply:
    """Return an override by which an operation gets ``change(apply, *operands)``."""

    def override(apply: Apply, operation: str, *operands: Any) -> Carrier:
        given = change(apply, *operands) if operation == only else operands
        return apply(operation, *given)

    return override


def swapped(at: int, *kinds: type) -> Apply:
    """Return an override that swaps two operands if the one at a place is of some kinds."""

    def override(apply: Apply, operation: str, *operands: Any) -> Carrier:
        swap = len(operands) == 2 and isinstance(operands[at], kinds)
        return apply(operation, *(operands[::-1] if swap else operands))

    return override


def raises_on_zero(apply: Apply, x: Carrier, y: Carrier) -> tuple[Carrier, Carrier]:
    if 0.0 in y.payload.values:
        raise ZeroDivisionError("float division by zero")
    return x, y


fault("BOT-1.1", "A result is a vector.",
      apply=after(lambda x: Carrier(Array.of(x.payload.values, x.payload.dtype), x.bottom)))
fault("BOT-1.2", "The result takes the mask of the first operand.",
      apply=lambda apply, of, x, *others: apply(of, x, *map(no_bottom, others)))
fault("BOT-1.2", "A mask that is broadcast flags only as many elements as it has itself.",
      apply=lambda apply, of, *x: instead(found := apply(of, *x), bottom=[any(y.bottom[i : i + 1] ==
          (True,) for y in x) for i in range(len(found.bottom))]))
fault("BOT-2.1", "A division by zero raises.", apply=before("div", raises_on_zero))
fault("BOT-2.2", "NaN and ±∞ stay in the payload, unflagged.",
      apply=lambda apply, of, *x: Carrier(host := apply.__self__.ieee(of, *(y.payload for y in x)),
          (False,) * len(host.values)))
fault("BOT-2.3", "The payload of ⊥ is 1.",
      apply=after(lambda x: each(lambda v, flag: 1.0 if flag else v, x)))
fault("BOT-3.1", "A small number is added to every divisor.",
      apply=before("div", lambda apply, x, y: (x, apply("add", y, 1e-9))))
fault("BOT-3.2", "The argument of a logarithm is clamped.",
      apply=before("log", lambda _, x: (each(lambda v, _: max(v, 2.0**-14), x),)))
fault("BOT-3.2", "A power is that of the absolute value.",
      apply=before("power", lambda apply, x, y: (apply("absolute", x), y)))
fault("BOT-3.3", "An exponential saturates at the largest number.",
      apply=after(lambda x: instead(each(lambda v, flag: float(FORMATS[x.payload.dtype].largest) if
          flag else v, x), bottom=[False] * len(x.bottom)), "exp"))
fault("BOT-3.4", "A result below the smallest normal number is ⊥.",
      apply=after(lambda x: instead(x, bottom=[abs(v) < smallest_normal(x.payload) for v in
          x.payload.values])))
fault("BOT-3.5", "A zero has no sign.",
      apply=after(lambda x: Carrier(unsigned_zeros(x.payload), x.bottom)))
fault("BOT-3.6", "The host library flushes small numbers to zero.",
      ieee=lambda ieee, *a: (x := ieee(*a)).with_values([0.0 * v if abs(v) < smallest_normal(x) else
          v for v in x.values]))
fault("BOT-3.7", "A result is a float64.",
      apply=after(lambda x: Carrier(Array(x.payload.values, x.payload.shape), x.bottom)))
fault("BOT-4.1", "Infinities enter as numbers.",
      enter=lambda enter, x, marked: Carrier(x, tuple(m or math.isnan(v) for v, m in zip(x.values,
          marked, strict=True))))
fault("BOT-4.1", "Flags are ignored.",
      enter=lambda enter, x, marked: enter(x, (False,) * len(marked)))
fault("BOT-4.2", "−0 enters as 0.",
      enter=lambda enter, x, marked: enter(unsigned_zeros(x), marked))
fault("BOT-4.3", "⊥ leaves as its payload.", leave=lambda leave, x: x.payload)
fault("BOT-4.4", "−0 leaves as 0.", leave=lambda leave, x: unsigned_zeros(leave(x)))
fault("BOT-4.5", "An array leaves as a vector.",
      leave=lambda leave, x: Array.of(leave(x).values, x.payload.dtype))
fault("BOT-4.6", "One flag is broadcast to all elements.",
      enter=lambda enter, x, marked: enter(x, (marked * len(x.values))[: len(x.values)]))


def gradient_of(change: Callable[..., Iterable[float]]) -> Callable[..., Any]:
    """Return an override of the gradients; ``change`` gets one, the arriving one, and the flags."""

    def override(real: Any, operation: str, incoming: Array, *operands: Any) -> Any:
        found, gradients = real(operation, incoming, *operands)
        changed = [list(change(g.values, incoming.values, found.bottom)) for g in gradients]
        return found, tuple(g.with_values(v) for g, v in zip(gradients, changed, strict=True))

    return override


def dtype_of(operands: tuple[Any, ...]) -> str:
    arrays = (x.payload if isinstance(x, Carrier) else x for x in operands)
    return next(x.dtype for x in arrays if isinstance(x, Array))


def share(flags: tuple[bool, ...]) -> float:
    return flags.count(False) / max(len(flags), 1)


fault("BOT-5.1", "Gradients are multiplied with the mask, and NaN · 0 is NaN.",
      gradients=gradient_of(lambda g, arriving, flags: [a * 0.0 if flag else v for v, a, flag in
          zip(g, arriving, flags, strict=True)]))
fault("BOT-5.2", "Gradients are means over the elements that are not ⊥.",
      gradients=gradient_of(lambda g, _, flags: [v * share(flags) for v in g]))
fault("BOT-5.3", "Values are scaled by the share of elements that are not ⊥.",
      gradients=after(lambda x: each(lambda v, _: v * share(x.bottom), x)))
fault("BOT-6.1", "One ⊥ element makes all elements ⊥.",
      apply=after(lambda x: instead(x, bottom=[any(x.bottom)] * len(x.bottom))))
fault("BOT-6.2", "Only the first 22 elements are computed.",
      apply=after(lambda x: instead(x, bottom=[*x.bottom[:22], *[True] * len(x.bottom[22:])])))
fault("BOT-7.1", "Tracked operands are replaced by others that lose the sign of zero.",
      gradients=after(lambda x: Carrier(unsigned_zeros(x.payload), x.bottom)))
fault("BOT-8.1", "NaN in a plain array counts as 0.",
      carriers=lambda carriers, operands: carriers(tuple(
          x.with_values([0.0 if math.isnan(v) else v for v in x.values]) if isinstance(x, Array)
          else x for x in operands)))
fault("BOT-8.1", "A plain array on the left goes to the right.", apply=swapped(0, Array))
fault("BOT-8.2", "A number stays wider than the array that it meets.",
      apply=lambda apply, of, *x: apply(of, *(Array((y,), (), dtype_of(x)) if
          isinstance(y, (int, float)) else y for y in x)))
fault("BOT-8.2", "A number on the left goes to the right.", apply=swapped(0, int, float))
fault("BOT-9.1", "The operator ** multiplies.",
      operate=lambda operate, of, *x: operate("mul" if of == "power" else of, *x))
fault("BOT-9.2", "x - 1 computes 1 - x.", operate=swapped(-1, int, float, Array))
fault("BOT-9.3", "1 - x computes x - 1.", operate=swapped(0, int, float, Array))
for name, compute in (("rsub", sub), ("rtruediv", truediv), ("rpow", pow)):
    zeroproof_fault("BOT-9.3", f"__{name}__ has its operands swapped.",
          f"zeroproof.scm.carrier.SCMTensor.__{name}__",
          lambda _, *operands, compute=compute: compute(*operands))
fault("BOT-10.1", "Flags stay in place.",
      select=lambda real, x, chosen: instead(real(x, chosen), bottom=x.bottom[: len(chosen)]))
zeroproof_fault("BOT-10.1", "The mask is left behind.",
      "zeroproof.scm.carrier.SCMTensor.__getitem__",
      lambda _, x, index: SCMTensor(x.payload[index]))
fault("BOT-11.1", "Gradients pass straight through.",
      gradients=gradient_of(lambda g, arriving, flags: arriving if len(g) == len(arriving) else g))
zeroproof_fault("BOT-11.1", "The gradient is doubled.",
      "zeroproof.scm.carrier._Tracked.backward", lambda real, ctx, g: real(ctx, 2 * g))
fault("BOT-11.2", "A broadcast operand receives the mean.",
      summed=lambda summed, x, values, shape: summed(x, [v * len(x.values) / len(values) for v in
          values], shape))
fault("BOT-11.3", "Beside a constant the operands are swapped.",
      gradients=lambda real, of, incoming, *x: real(of, incoming, *(x if all(isinstance(y, Carrier)
          for y in x) else x[::-1])))
fault("BOT-11.4", "The gradient has the result's shape.",
      summed=lambda summed, x, values, shape: Array(tuple(values), shape, x.dtype))
zeroproof_fault("BOT-11.5", "A gradient of 0 is multiplied by an infinite derivative.",
      "zeroproof.scm.carrier._times", lambda _, gradient, slope: gradient * slope)
fault("BOT-11.6", "An infinite gradient stays infinite.",
      gradients=lambda real, of, incoming, *x: (real(of, incoming, *x)[0], tuple(g.with_values([
          math.inf if math.isinf(i) else v for i, v in zip(incoming.values, g.values,
              strict=True)])
          if g.shape == incoming.shape else g for g in real(of, incoming, *x)[1])))
