"""ARG by the exact reference."""

from __future__ import annotations

from spec.refusals import REFUSED, RENAMED, Refusal


class ExactRefusals:
    """Looks an argument up in the table."""

    def refuse(self, operation: str, argument: str = "", wrong: str = "") -> Refusal:
        if not argument:
            return Refusal(None)
        place = RENAMED.get((operation, argument), "") if wrong == "keyword" else ""
        kind = TypeError if place else REFUSED[operation][argument][wrong]
        return Refusal(kind(f"{argument} cannot be {wrong}; {place}"))
