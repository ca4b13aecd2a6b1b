"""``python -m spec``: the clauses, with the evidence for each."""

from __future__ import annotations

import argparse
import inspect
import json
import shutil
import sys
import textwrap
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from . import CLAUSES, SPEC_VERSION
from .clause import Clause
from .evidence import Evidence, evidence_of, read_trace
from .glossary import GLOSSARY
from .lock import LOCK, read_lock, updated, write_lock
from .offer import WIDTH, asked, methods, offered, protocol_of
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
        "properties": sorted({name for kind in evidence.properties.values() for name in kind}),
        "met_by": evidence.met_by,
        "unmet": evidence.unmet,
    }


def table(rows: list[tuple[Clause, Evidence]], width: int) -> str:
    """Return the glossary and the table of clauses, sentences folded to the width."""
    lines = [f"specification {SPEC_VERSION}, {len(rows)} clauses", "", "words"]
    for term, meaning in GLOSSARY.items():
        lines.append(_folded(f"  {term:<13}{meaning}", width, 15))
    return "\n".join([*lines, "", "clauses", listed(rows, width)])


def listed(rows: list[tuple[Clause, Evidence]], width: int) -> str:
    """Return the ids of clauses with their evidence, and their sentences folded to the width."""
    lines = []
    for clause, evidence in rows:
        kinds = ", ".join(evidence.kinds) or "no evidence"
        lines.append(f"{clause.id:<9}[{kinds}]" + (" [not yet met]" if evidence.unmet else ""))
        lines.append(_folded(" " * 9 + clause.sentence, width, 9))
    return "\n".join(lines)


def _folded(text: str, width: int, indent: int) -> str:
    return textwrap.fill(text, max(width, 49), subsequent_indent=" " * indent)


def whole(clause: Clause, evidence: Evidence) -> str:
    """Return all that there is to say of a clause."""
    parts = [(clause.id, [clause.sentence])]
    for claim in clause.claims:
        faults = [f"  catches: {wrong}" for wrong in evidence.faults.get(claim.id, [])]
        parts.append((f"Claim {claim.id}", [claim.text, *faults]))
    parts += [("Why", [clause.why])] if clause.why else []
    parts += [("Source", [clause.source]), ("Since", [clause.since])]
    parts += [(kind.capitalize(), evidence.properties[kind]) for kind in evidence.kinds]
    parts += [("Met by", evidence.met_by)] if evidence.met_by else []
    parts += [("Not yet met", [evidence.unmet])] if evidence.unmet else []
    folded = ["\n".join([head, *(_folded(t, WIDTH, 4) for t in texts)]) for head, texts in parts]
    protocol, names = protocol_of(clause), asked(clause)
    folded.append(f"A subject offers\n{offered(protocol, names)}")
    if others := ", ".join(name for name in methods(protocol) if name not in names):
        folded.append(f"Other clauses ask for\n{_folded(f'  {others}', WIDTH, 2)}")
    folded.append(f"Predicate\n{inspect.getsource(clause.predicate).rstrip()}")
    return "\n\n".join(folded)


def main(arguments: list[str] | None = None) -> int:
    """Print the words and the clauses, or one clause; lock the clauses, or write the vectors."""
    parser = argparse.ArgumentParser(prog=f"python -m {__package__}", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    commands = parser.add_subparsers(dest="command")
    show = commands.add_parser("show", help="print one clause whole, or the sentences of a chapter")
    show.add_argument("id", help="such as LIFT-2 or LIFT")
    commands.add_parser("lock", help="write the hashes of the clauses as they stand")
    vectors = commands.add_parser("vectors", help="write the test vectors")
    vectors.add_argument("--out", type=Path, default=VECTORS, help="a file (%(default)s)")
    chosen = parser.parse_args(arguments)
    trace, width = read_trace(), shutil.get_terminal_size().columns
    rows = [(clause, evidence_of(clause, trace)) for clause in CLAUSES.values()]
    if chosen.command == "show":
        wanted = [row for row in rows if chosen.id.upper() in (row[0].id, row[0].chapter)]
        if not wanted:
            chapters = ", ".join(dict.fromkeys(c.chapter for c in CLAUSES.values()))
            parser.error(f"there is no clause or chapter {chosen.id!r}; chapters are {chapters}")
        print(whole(*wanted[0]) if "-" in chosen.id else listed(wanted, width))
    elif chosen.command == "lock":
        digests = {clause.id: clause.digest for clause in CLAUSES.values()}
        write_lock(updated(digests, read_lock() if LOCK.exists() else {}, SPEC_VERSION))
    elif chosen.command == "vectors":
        write(chosen.out)
    elif chosen.json:
        clauses = [as_json(*row) for row in rows]
        table_of = {"version": SPEC_VERSION, "glossary": GLOSSARY, "clauses": clauses}
        print(json.dumps(table_of, indent=1))
    else:
        print(table(rows, width))
    return 0


if __name__ == "__main__":
    if isinstance(sys.stdout, TextIOWrapper):  # ⊥ is in few of the older encodings
        sys.stdout.reconfigure(errors="replace")
    try:
        sys.exit(main())
    except BrokenPipeError:  # whoever reads has read enough, as head does
        sys.stdout = None
