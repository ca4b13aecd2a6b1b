"""The lock: a hash of every clause that ever stood, so that none changes in silence.

``lock.json`` holds, for each id, the versions of the specification in which the clause changed
and its digest there; None where it was withdrawn. An id is never used again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, TypeAlias

from . import CHAPTERS

LOCK: Final = Path(__file__).with_name("lock.json")
CHANGELOG: Final = Path(__file__).parent.with_name("CHANGELOG.md")

ID: Final = re.compile(rf"\b(?:{'|'.join(CHAPTERS)})-\d+\b")
RANGE: Final = re.compile(rf"\b({'|'.join(CHAPTERS)})-(\d+) to \1-(\d+)\b")
HEAD: Final = re.compile(r"^- ([^:]*):", re.MULTILINE)

Lock: TypeAlias = Mapping[str, Mapping[str, str | None]]


def read_lock() -> dict[str, dict[str, str | None]]:
    """Return the locked digests by id and version."""
    lock: dict[str, dict[str, str | None]] = json.loads(LOCK.read_text("utf-8"))
    return lock


def ids_in(text: str) -> list[str]:
    """Return the clause ids in a text, those of ranges included.

    Example:
        >>> ids_in("ALG-1 to ALG-3, BOT-2: lists of claims.")
        ['ALG-1', 'ALG-3', 'BOT-2', 'ALG-2']
    """
    ranges = [
        f"{chapter}-{number}"
        for chapter, first, last in RANGE.findall(text)
        for number in range(int(first), int(last) + 1)
    ]
    return list(dict.fromkeys([*ID.findall(text), *ranges]))


def problems(digests: Mapping[str, str], lock: Lock, changelog: str) -> Iterator[str]:
    """Walk what is wrong: clauses that differ from the lock, or changed without a line.

    The digests are those of the clauses as they stand.
    """
    for id in sorted(digests.keys() | lock.keys()):
        versions = lock.get(id, {})
        locked = list(versions.values())[-1] if versions else None
        if digests.get(id) != locked:
            yield f"{id} differs from the lock: raise SPEC_VERSION, and run 'python -m spec lock'"
        if locked is None and any(versions.values()) and id in digests:
            yield f"{id} was withdrawn; its id is never used again"
        for version in list(versions)[1:]:
            rest = changelog.partition(f"## Specification {version}\n")[2]
            lines = HEAD.findall(rest.partition("\n## ")[0])
            if id not in [named for line in lines for named in ids_in(line)]:
                yield f"{id} changed in {version}, and no line '{id}: …' of the changelog says how"


def updated(
    digests: Mapping[str, str], lock: Lock, version: str
) -> dict[str, dict[str, str | None]]:
    """Return the lock with the clauses as they stand.

    Raises ValueError where a clause that is locked under this version already has changed.
    """
    new = {id: dict(versions) for id, versions in lock.items()}
    for id in sorted(digests.keys() | lock.keys()):
        versions = new.setdefault(id, {})
        if versions and list(versions.values())[-1] == digests.get(id):
            continue
        if version in versions:
            raise ValueError(f"{id} is locked under {version} and has changed; raise SPEC_VERSION")
        versions[version] = digests.get(id)
    return new


def write_lock(lock: Lock) -> None:
    """Write the lock: ids sorted, versions as they came, since 0.10.0 is later than 0.9.0."""
    LOCK.write_text(json.dumps(dict(sorted(lock.items())), indent=1) + "\n", "utf-8")
