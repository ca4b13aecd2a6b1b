"""The standard: what ``zeroproof`` means, exactly.

Chapters in reading order: ``algebra`` (numbers with ⊥), ``laws`` and ``meadows`` (what holds of
them), ``formats`` (IEEE formats), ``carriers``, ``bottom`` and ``derivatives`` (arrays with ⊥),
``lifting`` (targets to tuples), ``thresholds``, ``decoding`` and ``ranges`` (tuples to values),
``choosing`` and ``certifying`` (thresholds from held-out rows),
``policies`` and ``scopes`` (gradients at ⊥), ``loss_terms``, ``losses``, ``single_losses``,
``loss_numerics``, ``training_loss``, ``squares``, ``likelihood_terms``, ``likelihood``,
``likelihood_numerics``, ``joint_likelihood``, ``mixtures``, ``likelihood_fit``, ``coverage``,
``stopping``, ``accumulation``, ``update``, ``compiling``, ``finite``, ``options``, ``schedules``,
``automaton``, ``epochs``, ``logs``, ``checkpoints``, ``replay``, ``signals``, ``ranks``, ``heads``,
``refusals``.
Each states its rule as exact functions (``Fraction``), names what a *subject* must offer, and
lists its clauses: a sentence, a source, and a predicate over a subject. Nothing here knows an
implementation. ``python -m spec`` prints the clauses with their evidence, ``python -m spec show
LIFT-2`` one; ``python -m spec vectors`` writes the test vectors.
"""

from importlib import import_module
from typing import Final

from .algebra import BOTTOM
from .arrays import Array, identical, same
from .clause import CLAUSES as REGISTERED
from .clause import Clause, Violation, check

__all__ = ["BOTTOM", "CHAPTERS", "CLAUSES", "SPEC_VERSION", "Array", "Clause", "Violation", "check",
           "identical", "same"]  # fmt: skip

SPEC_VERSION: Final = "0.10.0"

# The chapters of ids, in reading order.
CHAPTERS: Final = (
    "ALG", "BOT", "LIFT", "TAU", "DEC", "THR", "POL", "LOSS", "LIK", "COV", "STOP", "ACC", "AMP",
    "STEP", "VAL", "LOG", "CUR", "RES", "DDP", "ARG",
)  # fmt: skip
# Importing a module registers its clauses.
for _module in (
    "meadows", "bottom", "derivatives", "lifting", "thresholds", "decoding", "ranges", "choosing",
    "certifying", "policies", "scopes", "losses", "single_losses", "loss_numerics", "training_loss",
    "squares", "likelihood", "likelihood_numerics", "joint_likelihood", "mixtures",
    "likelihood_fit", "coverage", "stopping", "accumulation", "update", "compiling", "finite",
    "options", "schedules", "automaton", "epochs", "logs", "checkpoints", "replay", "signals",
    "ranks", "heads", "refusals",
):  # fmt: skip
    import_module(f"{__name__}.{_module}")
CLAUSES: Final[dict[str, Clause]] = {
    entry.id: entry
    for entry in sorted(REGISTERED.values(), key=lambda c: (CHAPTERS.index(c.chapter), c.number))
}
