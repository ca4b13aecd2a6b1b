"""What tests of the tools share: the test vectors, and how a conformance report is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from spec import vectors

EXAMPLES = Path(__file__).parents[2] / "examples" / "vectors"
FILE = json.loads(vectors.VECTORS.read_text("utf-8"))
CASES: list[dict[str, Any]] = FILE["cases"]


def by_id(report: Any) -> dict[str, Any]:
    return {clause["id"]: clause for clause in report["clauses"]}
