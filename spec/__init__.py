"""The standard: what ``zeroproof`` means, exactly.

Chapters in reading order: ``algebra`` (numbers with ⊥) and ``laws`` (what holds of them),
``formats`` (the IEEE formats that approximate them), ``bottom`` (arrays of them), ``lifting``
(targets to tuples), ``thresholds``, ``decoding`` (tuples to values), ``policies`` (gradients at
⊥), ``losses``, ``coverage``, ``stopping``, ``update``, ``epochs``, ``checkpoints``. Each states
its rule as exact functions (``Fraction``), names what a *subject* must offer, and lists its
clauses: a sentence, a source, and a predicate over a subject.
Nothing here knows an implementation.

``python -m spec`` prints the clauses with their evidence; ``python -m spec show LIFT-2`` one.
"""

from .algebra import BOTTOM
from .arrays import Array, identical, same
from .bottom import Carrier
from .clause import CLAUSES, Clause, Violation, check

SPEC_VERSION = "0.2.0"

from . import laws, lifting, loss_numerics, losses, training_loss  # noqa: E402, F401

__all__ = [
    "BOTTOM",
    "CLAUSES",
    "SPEC_VERSION",
    "Array",
    "Carrier",
    "Clause",
    "Violation",
    "check",
    "identical",
    "same",
]
