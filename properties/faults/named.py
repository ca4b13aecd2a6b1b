"""Each fault as a subject with a name, for ``zeroproof-conformance`` and its snippets.

``properties.faults.named:TAU_5_1`` is the first fault of TAU-5.1, ``TAU_5_1_2`` its second. Its
patches stay in force in the process that makes it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from properties.faults import FAULTS


def names() -> dict[str, int]:
    """Return the places of the faults by their names."""
    found: dict[str, int] = {}
    for place, fault in enumerate(FAULTS):
        name = fault.claim.replace("-", "_").replace(".", "_")
        count = sum(other.claim == fault.claim for other in FAULTS[:place])
        found[f"{name}_{count + 1}" if count else name] = place
    return found


@cache
def _made(place: int) -> object:
    return FAULTS[place].subject().__enter__()


def __getattr__(name: str) -> Callable[[], object]:
    if name not in names():
        raise AttributeError(f"there is no fault {name}")

    def make() -> object:
        """Make the subject, once in a process."""
        return _made(names()[name])

    return make
