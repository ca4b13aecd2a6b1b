"""RES-8: a loader that cannot say where it is, begun again and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from .clause import clause, require

EPOCHS: Final = 3
BATCHES: Final = 4
REPEATED: Final = (
    "list", "global generator of torch", "global generator of Python", "global generator of NumPy",
    "generators of the sampler", "generator of the data set", "counter of the sampler",
    "set_epoch of the sampler", "batch sampler of begun workers",
)  # fmt: skip
SOURCES: Final = (
    *REPEATED, "generator out of reach", "generator out of reach, at fetches", "other data",
    "other targets", "other data from the second micro-batch on",
)  # fmt: skip
PLACES: Final = (
    "loader", "sampler", "batch sampler", "sampler of the batch sampler",
    "sampler of the sampler", "data set", "data set of the data set",
)  # fmt: skip
Samples: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Replayed:
    """What an uninterrupted run trains on, what a resumed one does, and its error's text or ""."""

    whole: Sequence[Samples]
    resumed: Sequence[Samples]
    error: str


class Replays(Protocol):
    """A subject that resumes loaders without a ``state_dict``."""

    def replay(self, source: str, at: int) -> Replayed:
        """Train for :data:`EPOCHS` epochs of :data:`BATCHES` micro-batches, save the state after
        ``at`` of them, and continue in a new process.

        The order of the samples is drawn from one of :data:`SOURCES` for each epoch; of other data,
        or other targets, the samples are others in the new process. The batch sampler belongs to a
        loader with persistent workers, and draws a whole epoch's order when its iteration begins.
        A micro-batch of other targets is a mapping.
        In the new process that loader was iterated over once before the run.
        """

    def epochs_told(self, place: str) -> Sequence[int]:
        """Return the numbers that a part of the loader, at one of :data:`PLACES`, is given by its
        ``set_epoch``; repetitions are left out.
        """


@clause("RES-8", source="Ours: an order that differs repeats samples in silence", since="0.7.0")
def replays(subject: Replays, source: str, at: int, place: str) -> None:
    """A loader without a ``state_dict`` is replayed, and checked against what was trained on.

    1. A resumed run trains on the micro-batches of the uninterrupted run, if their order follows
       from global random states, from generators and numbers that the loader or a part of it
       holds, or from ``set_epoch``.
    2. If the loader does not repeat the first micro-batch of the epoch that was trained on, or,
       within the epoch, the latest one, an error is raised before any update.
    3. The error names the remedy, a loader with a ``state_dict``.
    4. The ``set_epoch`` of a loader, and of its samplers and data sets at any depth, is given the
       number of each epoch.
    """
    found = subject.replay(source, at)
    parts = source, at, found.resumed or found.error, found.whole[at:]
    exact = not found.error and list(found.resumed) == list(found.whole[at:])
    complaint = "order from {}, resumed after {}: {}, not {}"
    require(exact or source not in REPEATED, complaint, *parts)
    if not source.endswith("on") or at % BATCHES > 1:
        require(exact or (found.error != "" and not found.resumed), complaint, *parts, claim=2)
    require(exact or not found.error or "state_dict" in found.error, complaint, *parts, claim=3)
    told = list(subject.epochs_told(place))
    require(told == list(range(EPOCHS)), "a {} was given the epochs {}", place, told, claim=4)
