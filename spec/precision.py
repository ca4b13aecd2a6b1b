"""AMP: mixed precision."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Protocol

from .clause import clause, refused, require
from .runs import Plan, Trains

PRECISIONS: Final = ("float16", "bfloat16", "float32", "float64", "int8")
WIDE: Final = frozenset(("float32", "float64"))


@dataclass(frozen=True)
class Precision:
    """Dtypes as a run shows them, and whether a gradient scaler is at work.

    They are those of a matrix product in the forward, of what the loss is given (outputs and
    lifted targets), and of a matrix product of float32 tensors inside the loss.
    """

    forward: str
    loss: tuple[str, ...]
    inside: str
    scaled: bool


class Casts(Trains, Protocol):
    """A subject that trains in mixed precision."""

    def precision(self, dtype: str, option: str = "mixed_precision") -> Precision:
        """Train a float32 model under autocast, which an option of this name turns on.

        A dtype that cannot be had raises an error.
        """


@clause("AMP-1", source="Guide: mixed_precision; Ours: 1e-8² is 0 in float16", since="0.2.0")
def autocast(subject: Casts, dtype: str) -> None:
    """Autocast covers the forward, and nothing else.

    1. The forward runs under autocast to the dtype.
    2. The loss gets outputs and lifted targets in float32 or wider.
    3. The loss runs outside autocast: what it computes of float32 tensors is float32.
    """
    found = subject.precision(dtype)
    require(found.forward == dtype, "the forward ran in {}, not {}", found.forward, dtype)
    require(set(found.loss) <= WIDE, "the loss was given {}", found.loss, claim=2)
    wide = found.inside in WIDE
    require(wide, "the loss computed in {}, so under autocast", found.inside, claim=3)


@clause("AMP-2", source="Guide: amp_dtype", since="0.2.0")
def scaler(subject: Casts, dtype: str) -> None:
    """The dtype decides whether gradients are scaled.

    1. float16 uses a gradient scaler.
    2. bfloat16 uses none.
    """
    found, claim = subject.precision(dtype).scaled, 1 if dtype == "float16" else 2
    require(found == (claim == 1), "{} with a scaler: {}", dtype, found, claim=claim)


@clause("AMP-3", source="Ours: an option that is off must be free", since="0.2.0")
def off(subject: Trains, plan: Plan, dtype: str) -> None:
    """With mixed precision off, a run is bitwise identical to one without the option, whatever
    ``amp_dtype`` is.
    """
    found, expected = subject.train(replace(plan, precision=f"{dtype} off")), subject.train(plan)
    require(repr(found) == repr(expected), "{}: {}, not {}", plan, found, expected)


@clause("AMP-4", source="Ours: a silent swap spoils a comparison", since="0.2.0")
def no_swap(subject: Casts, dtype: str) -> None:
    """The dtype asked for is the one used, or an error says why not."""
    if refused(Exception, lambda: subject.precision(dtype)):
        return
    found = subject.precision(dtype).forward
    require(found == dtype, "asked for {}, the forward ran in {}", dtype, found)


@clause("AMP-5", source="Guide: use_amp; Ours: both names are in use", since="0.4.0")
def alias(subject: Casts, dtype: str) -> None:
    """``use_amp`` is another name for ``mixed_precision``: with either the run is the same."""
    found, expected = subject.precision(dtype, "use_amp"), subject.precision(dtype)
    require(found == expected, "use_amp gave {}, mixed_precision {}", found, expected)
