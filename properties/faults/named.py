"""Each fault as a subject with a name, for ``zeroproof-conformance`` and its snippets.

``properties.faults.named:TAU_2_1`` is the first fault of TAU-2.1, ``TAU_2_1_2`` its second. Its
patches stay in force in the process that makes it, until ``restore()``.
"""

import re
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache

from properties.faults import FAULTS, Fault

_patches = ExitStack()


def names() -> dict[str, Fault]:
    found: dict[str, Fault] = {}
    for fault in FAULTS:
        name = re.sub(r"\W", "_", fault.claim)
        count = sum(other.claim == fault.claim for other in found.values())
        found[f"{name}_{count + 1}" if count else name] = fault
    return found


@cache
def __getattr__(name: str) -> Callable[[], object]:
    if name not in names():
        raise AttributeError(f"there is no fault {name}")
    return cache(lambda: _patches.enter_context(names()[name].subject()))


def restore() -> None:
    """Take back the patches of the faults that were made."""
    _patches.close()
    __getattr__.cache_clear()
