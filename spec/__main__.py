"""``python -m spec``: the clauses, with the evidence for each."""

from __future__ import annotations

import argparse
import inspect
import json
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, get_type_hints

from . import CLAUSES, SPEC_VERSION
from .clause import Clause
from .evidence import Evidence, evidence_of, read_trace
from .lock import LOCK, read_lock, updated, write_lock
from .vectors import VECTORS, write


def as_json(clause: Clause, evidence: Evidence) -> dict[str, Any]:
    """Return a clause as plain data."""
    return {
        "id": clause.id,
        "sentence": clause.sentence,
        "claims": [
            {"id": claim.id, "text": claim.text, "faults": evidence.faults.get(claim.id, [])}
            for claim in clause.claims
        ],
        "why": clause.why,
        "source": clause.source,
        "since": clause.since,
        "must_fail": clause.must_fail,
        "evidence": evidence.kinds,
        "properties": evidence.all_properties,
        "met_by": evidence.met_by,
        "unmet": evidence.unmet,
    }


def table(rows: list[tuple[Clause, Evidence]], width: int) -> str:
    """Return the table of clauses, sentences folded to the width."""
    lines = [f"specification {SPEC_VERSION}, {len(rows)} clauses", ""]
    for clause, evidence in rows:
        kinds = ", ".join(evidence.kinds) or "no evidence"
        lines.append(f"{clause.id:<9}[{kinds}]" + (" [not yet met]" if evidence.unmet else ""))
        lines += textwrap.wrap(clause.sentence, max(width - 9, 40), initial_indent=" " * 9,
                               subsequent_indent=" " * 9)  # fmt: skip
    return "\n".join(lines)


def whole(clause: Clause, evidence: Evidence) -> str:
    """Return all that there is to say of a clause."""
    parts = [f"{clause.id}\n{clause.sentence}"]
    for claim in clause.claims:
        faults = [f"  catches: {wrong}" for wrong in evidence.faults.get(claim.id, [])]
        parts.append("\n".join([f"Claim {claim.id}\n{claim.text}", *faults]))
    parts += [f"Why\n{clause.why}"] if clause.why else []
    parts += [f"Source\n{clause.source}", f"Since\n{clause.since}"]
    for kind in evidence.kinds:
        parts.append("\n".join([kind.capitalize(), *evidence.properties[kind]]))
    parts += ["\n".join(["Met by", *evidence.met_by])] if evidence.met_by else []
    parts += [f"Not yet met\n{evidence.unmet}"] if evidence.unmet else []
    parts.append("\n".join(["A subject offers", *offered(clause.predicate)]))
    parts.append(f"Predicate\n{inspect.getsource(clause.predicate).rstrip()}")
    return "\n\n".join(parts)


def offered(predicate: Callable[..., None]) -> Iterator[str]:
    """Walk what a subject has to offer for a predicate: signatures, and what they return."""
    protocol = get_type_hints(predicate)["subject"]
    for kind in reversed(protocol.__mro__):
        for name, member in vars(kind).items() if kind is not Protocol else ():
            function = member.fget if isinstance(member, property) else member
            if not name.startswith("_") and inspect.isfunction(function):
                signature = str(inspect.signature(function)).replace("'", "")
                yield f"  {name}{signature}"
                yield textwrap.indent(inspect.getdoc(function) or "", " " * 6)


def main(arguments: list[str] | None = None) -> int:
    """Print the table, the same as JSON, or one clause; lock the clauses, or write the vectors."""
    parser = argparse.ArgumentParser(prog="python -m spec", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    commands = parser.add_subparsers(dest="command")
    show = commands.add_parser("show", help="print one clause whole")
    show.add_argument("id", help="such as LIFT-2")
    commands.add_parser("lock", help="write the hashes of the clauses as they stand")
    vectors = commands.add_parser("vectors", help="write the test vectors")
    vectors.add_argument("--out", type=Path, default=VECTORS, help="a file (%(default)s)")
    chosen = parser.parse_args(arguments)
    trace = read_trace()
    if chosen.command == "show":
        clause = CLAUSES.get(chosen.id.upper())
        if clause is None:
            chapters = ", ".join(dict.fromkeys(c.chapter for c in CLAUSES.values()))
            parser.error(f"there is no clause {chosen.id!r}; chapters are {chapters}")
        print(whole(clause, evidence_of(clause, trace)))
    elif chosen.command == "lock":
        digests = {clause.id: clause.digest for clause in CLAUSES.values()}
        write_lock(updated(digests, read_lock() if LOCK.exists() else {}, SPEC_VERSION))
    elif chosen.command == "vectors":
        write(chosen.out)
    else:
        rows = [(clause, evidence_of(clause, trace)) for clause in CLAUSES.values()]
        if chosen.json:
            clauses = [as_json(*row) for row in rows]
            print(json.dumps({"version": SPEC_VERSION, "clauses": clauses}, indent=1))
        else:
            print(table(rows, shutil.get_terminal_size().columns))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:  # whoever reads has read enough, as head does
        sys.stdout = None
