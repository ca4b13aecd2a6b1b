"""Where in an epoch training is, so that it can go on from there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from zeroproof.training.checkpoint import plain, random_state, restore_random_state
from zeroproof.training.ranks import Ranks


class Position:
    """The place of a loader within its epoch.

    A loader that has a ``state_dict`` tells its own place, and is put there again. Any other
    begins its epoch anew, from the random state of then, and what was trained on is passed over.

    Args:
        loader: yields the micro-batches of an epoch each time it is walked.
        ranks: who trains along, each with a loader of its own.

    Meets: RES-1.
    """

    def __init__(self, loader: Any, ranks: Ranks) -> None:
        self._loader, self._ranks = loader, ranks
        self.start()

    def start(self) -> None:
        """Begin an epoch."""
        self._at_start = random_state(self._loader)
        self._exhausted = False
        self._resumed: dict[str, Any] | None = None

    @property
    def resumed(self) -> bool:
        """Whether the next walk goes on inside of an epoch."""
        return self._resumed is not None

    def walk(self, done: int) -> Iterator[Any]:
        """Walk the epoch's micro-batches; after a resume those that follow the ``done`` first."""
        resumed, self._resumed = self._resumed, None
        if resumed is None:
            yield from self._loader
        else:
            if resumed["loader"] is None:
                restore_random_state(self._at_start, self._loader)
            # Exhausted, its next ones would be those of the next epoch.
            batches = iter(() if resumed["exhausted"] else self._loader)
            for _ in range(done if resumed["loader"] is None else 0):
                next(batches, None)
            restore_random_state(resumed["random"], self._loader)
            yield from batches
        self._exhausted = True

    def state_dict(self) -> dict[str, Any]:
        """Return the place, of all ranks."""
        loader = self._loader
        own = {
            "exhausted": self._exhausted,
            "at_start": plain(self._at_start),
            "random": plain(random_state(loader)),
            "loader": loader.state_dict() if hasattr(loader, "state_dict") else None,
        }
        return {"ranks": self._ranks.share(own)}

    def load_state_dict(self, state: dict[str, Any], *, inside: bool) -> None:
        """Put the random state back, and inside an epoch the loader.

        Raises ValueError for the state of another number of ranks.
        """
        if len(state["ranks"]) != self._ranks.size:
            raise ValueError(
                f"it is the state of {len(state['ranks'])} ranks, and here are {self._ranks.size}"
            )
        own = state["ranks"][self._ranks.rank]
        if own["loader"] is not None:
            self._loader.load_state_dict(own["loader"])
        restore_random_state(own["random"], self._loader)
        if inside:
            self._at_start, self._resumed = own["at_start"], own
            self._exhausted = own["exhausted"]
