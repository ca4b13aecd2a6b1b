"""The standard: what ``zeroproof`` means, exactly.

Chapters in reading order: ``algebra`` (numbers with ⊥), ``laws``, ``meadows`` and ``signs`` (what
holds of them), ``formats`` (IEEE formats), ``carriers``, ``bottom`` and ``derivatives`` (arrays
with ⊥), ``lifting`` (targets to tuples), ``thresholds``, ``decoding`` (tuples to values),
``policies``, ``scopes`` and ``reach`` (gradients at ⊥), ``loss_terms``, ``losses``,
``single_losses``, ``loss_numerics``, ``training_loss``,
``coverage``, ``stopping``, ``accumulation``, ``precision``, ``update``, ``epochs``, ``logs``,
``checkpoints``, ``processes``. Each states its rule as exact functions (``Fraction``), names what
a *subject* must offer, and lists its clauses: a sentence, a source, and a predicate over a subject.
Nothing here knows an implementation.

``python -m spec`` prints the clauses with their evidence, ``python -m spec show LIFT-2`` one;
``python -m spec vectors`` writes the test vectors.
"""

from typing import Final

from . import (
    accumulation,
    automaton,
    bottom,
    checkpoints,
    clause,
    coverage,
    decoding,
    derivatives,
    epochs,
    laws,
    lifting,
    logs,
    loss_numerics,
    losses,
    meadows,
    policies,
    precision,
    processes,
    reach,
    scopes,
    side_by_side,
    signs,
    single_losses,
    stopping,
    thresholds,
    training_loss,
    update,
)
from .algebra import BOTTOM
from .arrays import Array, identical, same
from .clause import Clause, Violation, check

SPEC_VERSION: Final = "0.4.0"

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
    "accumulation",
    "automaton",
    "bottom",
    "check",
    "checkpoints",
    "coverage",
    "decoding",
    "derivatives",
    "epochs",
    "identical",
    "laws",
    "lifting",
    "logs",
    "loss_numerics",
    "losses",
    "meadows",
    "policies",
    "precision",
    "processes",
    "reach",
    "same",
    "scopes",
    "side_by_side",
    "signs",
    "single_losses",
    "stopping",
    "thresholds",
    "training_loss",
    "update",
]
