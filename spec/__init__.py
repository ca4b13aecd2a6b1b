"""The standard: what ``zeroproof`` means, exactly.

Chapters in reading order: ``algebra`` (numbers with ⊥), ``bottom`` (the IEEE formats that
approximate them), ``lifting`` (targets to tuples), ``thresholds``, ``decoding`` (tuples to
values), ``policies`` (gradients at ⊥), ``losses``, ``coverage``, ``stopping``, ``update``,
``epochs``, ``checkpoints``. Each states its rule as exact functions (``Fraction``), names what a
*subject* must offer, and lists its clauses: a sentence, a source, and a predicate over a subject.
Nothing here knows an implementation.

``python -m spec`` prints the clauses with their evidence; ``python -m spec show LIFT-2`` one.
"""

from .arrays import Array, identical, same
from .clause import CLAUSES, Clause, Violation, check

SPEC_VERSION = "0.2.0"

__all__ = ["CLAUSES", "SPEC_VERSION", "Array", "Clause", "Violation", "check", "identical", "same"]

from . import lifting, loss_numerics, losses, training_loss  # noqa: E402, F401
