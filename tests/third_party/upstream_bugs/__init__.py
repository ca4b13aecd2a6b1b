"""What is wrong with the public packages, each shown by a few lines of their own public API.

``python -m tests.third_party.upstream_bugs 0.4.3``, with the package's folder first on the path,
prints as JSON whether each finding about that version shows. Nothing here knows of the
specification.
"""

from collections.abc import Callable

OF: dict[str, list[Callable[[], bool]]] = {"0.4.3": [], "0.6.1": []}


def of(*versions: str) -> Callable[[Callable[[], bool]], Callable[[], bool]]:
    """Note of which versions a finding is."""

    def note(finding: Callable[[], bool]) -> Callable[[], bool]:
        for version in versions:
            OF[version].append(finding)
        return finding

    return note
