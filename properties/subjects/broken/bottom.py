"""Operations on arrays with ⊥ that go wrong."""

from __future__ import annotations

import math

from properties.subjects.broken.register import breaks
from properties.subjects.exact import Exact
from spec import Array
from spec.bottom import Carrier, Operand
from spec.formats import FORMATS


@breaks("BOT-1")
class MaskOfTheFirst(Exact):
    """The result takes the mask of the first operand."""

    def apply(self, operation: str, *operands: Operand) -> Carrier:
        """Forget the others' masks."""
        first, *others = self.carriers(operands)
        unmasked = [Carrier(x.payload, (False,) * len(x.bottom)) for x in others]
        return super().apply(operation, first, *unmasked)


@breaks("BOT-1")
class MaskNotBroadcast(Exact):
    """The mask of an operand that is broadcast flags only the elements that it has itself."""

    def apply(self, operation: str, *operands: Operand) -> Carrier:
        """Leave what lies beyond a short mask unflagged."""
        found = super().apply(operation, *operands)
        masks = [x.bottom for x in self.carriers(operands)]
        flags = [any(m[i] for m in masks if i < len(m)) for i in range(len(found.bottom))]
        return Carrier(found.payload, tuple(flags))


@breaks("BOT-2")
class UnmaskedOverflow(Exact):
    """What overflows stays ±∞ in the payload."""

    def apply(self, operation: str, *operands: Operand) -> Carrier:
        """Return IEEE's result under the operands' masks only."""
        carriers = self.carriers(operands)
        host = self.ieee(operation, *(x.payload for x in carriers))
        sound = super().apply("add" if len(carriers) == 2 else "neg", *carriers)
        pairs = zip(host.values, sound.bottom, strict=True)
        return Carrier(host.with_values([0.0 if b else v for v, b in pairs]), sound.bottom)


@breaks("BOT-2")
class RaisesOnZero(Exact):
    """A division by zero raises, as Python's does."""

    def apply(self, operation: str, *operands: Operand) -> Carrier:
        """Divide like Python."""
        if operation == "div" and 0.0 in self.carriers(operands)[1].payload.values:
            raise ZeroDivisionError("float division by zero")
        return super().apply(operation, *operands)


@breaks("BOT-3")
class GuardedDivision(Exact):
    """The divisor is kept from zero by adding a small number to it."""

    def apply(self, operation: str, *operands: Operand) -> Carrier:
        """Divide by ``y + 1e-9``."""
        if operation == "div":
            operands = (operands[0], super().apply("add", operands[1], 1e-9))
        return super().apply(operation, *operands)


@breaks("BOT-3")
class ClampedLogarithm(Exact):
    """The argument of the logarithm is clamped to what is positive, so that log 0 is a number."""

    def apply(self, operation: str, *operands: Operand) -> Carrier:
        """Clamp the argument."""
        if operation == "log":
            (x,) = self.carriers(operands)
            least = float(FORMATS[x.payload.dtype].smallest_normal)
            clamped = [max(v, least) for v in x.payload.values]
            operands = (Carrier(x.payload.with_values(clamped), x.bottom),)
        return super().apply(operation, *operands)


@breaks("BOT-3")
class Saturation(Exact):
    """What overflows becomes the largest finite number."""

    def apply(self, operation: str, *operands: Operand) -> Carrier:
        """Saturate exponentials."""
        found = super().apply(operation, *operands)
        if operation != "exp":
            return found
        largest = float(FORMATS[found.payload.dtype].largest)
        absent = self.carriers(operands)[0].bottom
        triples = zip(found.payload.values, found.bottom, absent, strict=True)
        values = [largest if flag and not gone else v for v, flag, gone in triples]
        return Carrier(found.payload.with_values(values), absent)


@breaks("BOT-3")
class FlushedSubnormals(Exact):
    """Numbers below the smallest normal one are flushed to zero."""

    def apply(self, operation: str, *operands: Operand) -> Carrier:
        """Flush the results."""
        found = super().apply(operation, *operands)
        least = float(FORMATS[found.payload.dtype].smallest_normal)
        values = [v if abs(v) >= least else math.copysign(0.0, v) for v in found.payload.values]
        return Carrier(found.payload.with_values(values), found.bottom)


@breaks("BOT-4")
class EntersUnchecked(Exact):
    """Only NaN enters as ⊥, infinities pass as numbers."""

    def enter(self, x: Array, bottom: tuple[bool, ...]) -> Carrier:
        """Look for NaN."""
        pairs = zip(x.values, bottom, strict=True)
        return Carrier(x, tuple(flag or math.isnan(value) for value, flag in pairs))


@breaks("BOT-4")
class LeavesAsZero(Exact):
    """⊥ leaves as its placeholder."""

    def leave(self, x: Carrier) -> Array:
        """Return the payload."""
        return x.payload


@breaks("BOT-5")
class MaskedByProduct(Exact):
    """Gradients are multiplied with the mask, and NaN · 0 is NaN."""

    def gradients(
        self, operation: str, incoming: Array, *operands: Carrier
    ) -> tuple[Carrier, tuple[Array, ...]]:
        """Multiply by 0 where ⊥."""
        found, gradients = super().gradients(operation, incoming, *operands)
        products = []
        for x in gradients:
            triples = zip(x.values, incoming.values, found.bottom, strict=True)
            products.append([g * 0.0 if flag else v for v, g, flag in triples])
        return found, tuple(incoming.with_values(values) for values in products)


@breaks("BOT-6")
class OneForAll(Exact):
    """One ⊥ element makes all elements ⊥, as a check of the whole batch does."""

    def apply(self, operation: str, *operands: Operand) -> Carrier:
        """Flag all or none."""
        found = super().apply(operation, *operands)
        flags = (any(found.bottom),) * len(found.bottom)
        values = [0.0 if flag else v for v, flag in zip(found.payload.values, flags, strict=True)]
        return Carrier(found.payload.with_values(values), flags)


@breaks("BOT-7")
class RoundedGraph(Exact):
    """Tracked operands are replaced by others that absorb a rounding error."""

    def gradients(
        self, operation: str, incoming: Array, *operands: Carrier
    ) -> tuple[Carrier, tuple[Array, ...]]:
        """Return another function's values."""
        found, gradients = super().gradients(operation, incoming, *operands)
        lost = [v + 0.0 for v in found.payload.values]
        return Carrier(found.payload.with_values(lost), found.bottom), gradients


@breaks("BOT-8")
class WideNumbers(Exact):
    """A Python number stays as it is, wider than the array that it meets."""

    def apply(self, operation: str, *operands: Operand) -> Carrier:
        """Compute with the number itself."""
        if not any(isinstance(x, float) for x in operands):
            return super().apply(operation, *operands)
        arrays = (x.payload if isinstance(x, Carrier) else x for x in operands)
        dtype = next(x.dtype for x in arrays if isinstance(x, Array))
        given = [Array((x,), (), dtype) if isinstance(x, float) else x for x in operands]
        return super().apply(operation, *given)
