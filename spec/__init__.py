"""The standard: what ``zeroproof`` means, exactly.

Chapters in reading order: ``algebra`` (numbers with ⊥) and ``laws`` (what holds of them),
``formats`` (the IEEE formats that approximate them), ``bottom`` (arrays of them), ``lifting``
(targets to tuples), ``thresholds``, ``decoding`` (tuples to values), ``policies`` (gradients at
⊥), ``loss_terms``, ``losses``, ``loss_numerics`` and ``training_loss``, ``coverage``,
``stopping``, ``update``, ``epochs``, ``checkpoints``. Each states its rule as exact functions
(``Fraction``), names what a *subject* must offer, and lists its clauses: a sentence, a source,
and a predicate over a subject.
Nothing here knows an implementation.

``python -m spec`` prints the clauses with their evidence, ``python -m spec show LIFT-2`` one;
``python -m spec vectors`` writes the test vectors.
"""

from typing import Final

from . import (
    automaton,
    bottom,
    checkpoints,
    clause,
    coverage,
    decoding,
    epochs,
    laws,
    lifting,
    loss_numerics,
    losses,
    policies,
    processes,
    stopping,
    thresholds,
    training_loss,
    update,
)
from .algebra import BOTTOM
from .arrays import Array, identical, same
from .clause import Clause, Violation, check

SPEC_VERSION: Final = "0.3.0"

# The chapters of ids, in reading order; importing their modules has registered the clauses.
CHAPTERS: Final = (
    "ALG", "BOT", "LIFT", "TAU", "DEC", "POL", "LOSS", "COV", "STOP", "ACC", "AMP", "STEP", "VAL",
    "LOG", "CUR", "RES", "DDP",
)  # fmt: skip
CLAUSES: Final[dict[str, Clause]] = {
    entry.id: entry
    for entry in sorted(
        clause.CLAUSES.values(), key=lambda c: (CHAPTERS.index(c.chapter), c.number)
    )
}

__all__ = [
    "BOTTOM",
    "CHAPTERS",
    "CLAUSES",
    "SPEC_VERSION",
    "Array",
    "Clause",
    "Violation",
    "automaton",
    "bottom",
    "check",
    "checkpoints",
    "coverage",
    "decoding",
    "epochs",
    "identical",
    "laws",
    "lifting",
    "loss_numerics",
    "losses",
    "policies",
    "processes",
    "same",
    "stopping",
    "thresholds",
    "training_loss",
    "update",
]
