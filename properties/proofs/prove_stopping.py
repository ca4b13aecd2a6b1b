"""STOP for runs of any length, by induction.

A run is an infinite sequence of epochs. Epoch ``t`` is *watched* if it has samples with finite
targets, and *bad* if its coverage lies below the threshold; it is *good* if it is watched and not
bad. Three functions of ``t`` describe what lies before epoch ``t``, each defined by what it is at
0 and what epoch ``t`` makes of it:

- ``counter(t)``, the automaton's: one more for a watched bad epoch, 0 for a good one;
- ``seen(t)``, the number of watched epochs;
- ``calm(t)``, the epoch that follows the last good one, 0 if there was none.

The automaton stops at ``t`` if epoch ``t`` is watched and ``counter(t + 1) ≥ patience``. The
sentence that it is held to speaks of no counter: training stops at the first epoch ``t`` that is
watched and bad such that some ``s ≤ t`` has no good epoch in ``[s, t]`` and at least ``patience``
watched epochs in ``[s, t]``, that is, ``seen(t + 1) − seen(s) ≥ patience``.

**The invariant** at ``t``: ``counter(t) = seen(t) − seen(calm(t))``; ``0 ≤ calm(t) ≤ t``; no epoch
in ``[calm(t), t)`` is good; and ``calm(t)`` is 0 or follows a good epoch. It holds at 0, and if at
``t`` then at ``t + 1``, so it holds always.

**The lemma**: ``seen`` never decreases. From ``s`` on, by induction over the distance.

**Automaton ⇒ sentence**: take ``s = calm(t + 1)``. The invariant says that there is no good epoch
in ``[s, t]`` and that ``seen(t + 1) − seen(s)`` is the counter, which is at least the patience; as
that is at least 1, the counter is not 0, so epoch ``t`` was bad and ``s ≤ t``.

**Sentence ⇒ automaton**: ``calm(t + 1) ≤ s``, for otherwise the good epoch before it would lie in
``[s, t]``. By the lemma the counter, ``seen(t + 1) − seen(calm(t + 1))``, is at least
``seen(t + 1) − seen(s)``, which is at least the patience.

As both agree at every epoch, they agree on the first one.

z3 is asked about single epochs only. A claim for all epochs ``e`` that is to be proved is proved
of a free symbol ``e``; one that is known is used at those epochs that the argument names. So each
question is one of linear arithmetic without quantifiers, which z3 decides. What a claim is derived
from is ``given`` with it: definitions at an epoch, and what another test here proves.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction

import pytest
import z3

from properties.proofs.solver import prove
from spec.stopping import count_bad, watch

pytestmark = pytest.mark.proved

watched = z3.Function("watched", z3.IntSort(), z3.BoolSort())
coverage = z3.Function("coverage", z3.IntSort(), z3.RealSort())
counter = z3.Function("counter", z3.IntSort(), z3.IntSort())
seen = z3.Function("seen", z3.IntSort(), z3.IntSort())
calm = z3.Function("calm", z3.IntSort(), z3.IntSort())
threshold = z3.Real("threshold")
d, e, patience, s, t = z3.Ints("d e patience s t")


def bad(t: z3.ArithRef) -> z3.BoolRef:
    """Say that the coverage of epoch ``t`` lies below the threshold."""
    return coverage(t) < threshold


def good(t: z3.ArithRef) -> z3.BoolRef:
    """Say that epoch ``t`` is watched and not bad."""
    return z3.And(watched(t), z3.Not(bad(t)))


def step(
    count: z3.ArithRef, watched: z3.BoolRef, coverage: z3.ArithRef, threshold: z3.ArithRef
) -> z3.ArithRef:
    """Return the automaton's counter after an epoch."""
    return z3.If(watched, z3.If(coverage < threshold, count + 1, 0), count)


START = z3.And(counter(0) == 0, seen(0) == 0, calm(0) == 0)
"""The definitions at 0."""


def epoch(t: z3.ArithRef) -> z3.BoolRef:
    """Define, for ``t ≥ 0``, what lies before epoch ``t + 1``."""
    return z3.And(
        counter(t + 1) == step(counter(t), watched(t), coverage(t), threshold),
        seen(t + 1) == seen(t) + z3.If(watched(t), 1, 0),
        calm(t + 1) == z3.If(good(t), t + 1, calm(t)),
    )


def counts(t: z3.ArithRef) -> z3.BoolRef:
    """State the invariant at ``t``, save that no epoch since ``calm(t)`` is good."""
    last = calm(t)
    follows = z3.Or(last == 0, good(last - 1))
    return z3.And(counter(t) == seen(t) - seen(last), last >= 0, last <= t, follows)


def none_good(start: z3.ArithRef, end: z3.ArithRef, e: z3.ArithRef) -> z3.BoolRef:
    """State that no epoch in ``[start, end)`` is good, as it says of epoch ``e``."""
    return z3.Implies(z3.And(start <= e, e < end), z3.Not(good(e)))


def invariant(t: z3.ArithRef, e: z3.ArithRef) -> z3.BoolRef:
    """State the invariant at ``t``, with what it says of epoch ``e``."""
    return z3.And(counts(t), none_good(calm(t), t, e))


def stops(t: z3.ArithRef) -> z3.BoolRef:
    """Say that the automaton stops at ``t``, if not before."""
    return z3.And(watched(t), counter(t + 1) >= patience)


def enough(s: z3.ArithRef, t: z3.ArithRef) -> z3.BoolRef:
    """State the sentence for ``s`` and ``t``, save that no epoch in ``[s, t]`` is good."""
    many = seen(t + 1) - seen(s) >= patience
    return z3.And(watched(t), bad(t), s >= 0, s <= t, many)


def test_STOP_1_counter() -> None:
    """A coverage below the threshold adds one, any other, an equal one too, returns to 0."""
    y, c = z3.Reals("y c")
    after = step(counter(t), z3.BoolVal(True), c, y)
    prove("STOP-1", after == counter(t) + 1, given=c < y)
    prove("STOP-1", after == 0, given=z3.Not(c < y))
    prove("STOP-1", after == 0, given=c == y)
    prove("STOP-1", step(counter(t), z3.BoolVal(False), c, y) == counter(t))


def test_STOP_1_training_stops_when_the_counter_reaches_the_patience() -> None:
    """Until it stops the counter is below the patience, so it stops at exactly the patience."""
    known = z3.And(patience >= 1, counter(t) < patience, epoch(t))
    prove("STOP-1", counter(0) < patience, given=z3.And(patience >= 1, START))
    prove("STOP-1", counter(t + 1) < patience, given=z3.And(known, z3.Not(stops(t))))
    prove("STOP-1", counter(t + 1) == patience, given=z3.And(known, stops(t)))


def test_STOP_2_the_invariant_at_the_start() -> None:
    """Before the first epoch nothing is counted, and nothing to count."""
    prove("STOP-2", invariant(z3.IntVal(0), e), given=START)


def test_STOP_2_the_invariant_from_epoch_to_epoch() -> None:
    """The counter stays the number of watched epochs since the last good one.

    That no epoch ``e`` in ``[calm(t + 1), t + 1)`` is good follows from the same of ``t``.
    """
    known = z3.And(t >= 0, epoch(t), invariant(t, e))
    prove("STOP-2", invariant(t + 1, e), given=known)


def test_STOP_2_a_good_epoch_forgets_all_bad_ones() -> None:
    """What was counted before a good epoch counts no more."""
    prove("STOP-2", counter(t + 1) == 0, given=z3.And(epoch(t), good(t)))


def test_STOP_3_lemma_seen_never_decreases() -> None:
    """By induction over the distance ``d``: ``seen(s) ≤ seen(s + d)``."""
    prove("STOP-3", seen(s) <= seen(s + 0))
    known = z3.And(s >= 0, d >= 0, seen(s) <= seen(s + d), epoch(s + d))
    prove("STOP-3", seen(s) <= seen(s + d + 1), given=known)


def test_STOP_3_where_the_automaton_stops_the_sentence_says_so() -> None:
    """The witness is ``s = calm(t + 1)``; ``e`` is any epoch that the sentence speaks of."""
    known = z3.And(t >= 0, patience >= 1, epoch(t), invariant(t + 1, e), stops(t))
    witness = calm(t + 1)
    claim = z3.And(enough(witness, t), none_good(witness, t + 1, e))
    prove("STOP-3", claim, given=known)


def test_STOP_3_where_the_sentence_says_so_the_automaton_stops() -> None:
    """The sentence is used at the epoch before ``calm(t + 1)``, the lemma up to ``s``."""
    last = calm(t + 1)
    known = z3.And(t >= 0, patience >= 1, epoch(t), counts(t + 1), enough(s, t))
    known = z3.And(known, none_good(s, t + 1, last - 1))
    prove("STOP-3", last <= s, given=known)
    lemma = z3.Implies(last <= s, seen(last) <= seen(s))
    prove("STOP-3", stops(t), given=z3.And(known, lemma))


COVERAGES = (None, Fraction(0), Fraction(1, 2), Fraction(2, 3))


def test_symbols_count_as_the_specification_does() -> None:
    limit = Fraction(1, 2)
    for count, covered in itertools.product(range(4), COVERAGES):
        exact = covered or Fraction(0)
        value = z3.Q(exact.numerator, exact.denominator)
        found = step(z3.IntVal(count), z3.BoolVal(covered is not None), value, z3.Q(1, 2))
        assert z3.simplify(found).as_long() == count_bad(count, covered, limit), f"{covered}"


def _sentence(run: Sequence[Fraction | None], limit: Fraction, patience: int) -> int | None:
    """Return the first epoch of which the sentence holds."""
    for t, covered in enumerate(run):
        for s in range(t + 1) if covered is not None and covered < limit else ():
            coverages = [c for c in run[s : t + 1] if c is not None]
            if all(c < limit for c in coverages) and len(coverages) >= patience:
                return t
    return None


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_the_sentence_is_that_of_the_specification(patience: int) -> None:
    """Over all runs of up to six epochs, the sentence read with Python's own quantifiers."""
    limit = Fraction(1, 2)
    for length in range(7):
        for run in itertools.product(COVERAGES[:3], repeat=length):
            seen = enumerate(watch(run, limit, patience))
            expected = next((epoch for epoch, (_, stops) in seen if stops), None)
            assert _sentence(run, limit, patience) == expected, f"{run}"
