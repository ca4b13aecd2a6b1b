"""The readers of the test vectors, in Python and JavaScript, tell right from wrong alike."""

from __future__ import annotations

import json
import math
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from spec import CLAUSES, vectors
from spec.vectors.cases import written
from tests.tooling.helpers import CASES, EXAMPLES

NODE = shutil.which("node")


def counted(shown: str) -> dict[str, dict[str, int]]:
    """Return what a reader printed."""
    rows = [line.split("  ") for line in shown.splitlines()]
    parts = {id: [e.split(" ", 1) for e in entries if "/" not in e] for id, *entries in rows}
    return {id: {kind: int(n) for n, kind in entries} for id, entries in parts.items()}


@cache
def run(*command: str) -> tuple[int, dict[str, dict[str, int]]]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, counted(done.stdout)


def node(tmp_path: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script that imports the reader and the example."""
    if NODE is None:
        pytest.skip("node is not installed")
    names = {"READ": EXAMPLES / "read.mjs", "SMALL": EXAMPLES / "small.mjs"}
    for name, path in names.items():
        script = script.replace(name, json.dumps(path.as_uri()))
    (tmp_path / "script.mjs").write_text(script, "utf-8")
    command = [NODE, str(tmp_path / "script.mjs"), str(vectors.VECTORS)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_example_in_python_passes_what_it_offers() -> None:
    status, counts = run(sys.executable, str(EXAMPLES / "small.py"), str(vectors.VECTORS))
    assert status == 0
    assert {id for id, count in counts.items() if "failed" in count} == set()
    assert counts["LIFT-2"].keys() == {"passed"}
    assert counts["LOSS-2"].keys() == {"not offered"}
    assert counts.keys() == CLAUSES.keys() - vectors.WITHOUT.keys()


@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_the_example_in_javascript_passes_what_it_offers() -> None:
    status, counts = run(str(NODE), str(EXAMPLES / "small.mjs"), str(vectors.VECTORS))
    assert status == 0
    assert {id for id, count in counts.items() if "failed" in count} == set()
    python = run(sys.executable, str(EXAMPLES / "small.py"), str(vectors.VECTORS))[1]
    for id in ("LIFT-1", "LIFT-2", "LIFT-3", "STOP-1", "COV-1", "LIK-3"):
        assert counts[id] == python[id]
    assert counts["DEC-1"]["passed"] > python["DEC-1"]["passed"]  # float32, too


def _hasty(small: Any, name: str) -> Callable[..., Any]:
    """Return a wrong variant of an operation of the example."""

    def nan_is_no_lift(y: Any) -> Any:
        lifted = small.lift(y)
        lifted["Y_n"]["values"] = [0.0 if v != v else n for v, n in zip(
            y["values"], lifted["Y_n"]["values"], strict=True)]  # fmt: skip
        return lifted

    def equal_is_below(coverages: Any, threshold: float, patience: int) -> Any:
        return small.watch(coverages, math.nextafter(threshold, 2), patience)

    def never_raises(P: Any, Q: Any, **options: Any) -> Any:
        return small.decode(P, {**Q, "shape": P["shape"]}, **options)

    def crashes(**outputs: Any) -> Any:
        raise KeyError("first")

    wrong = {"lift": nan_is_no_lift, "watch": equal_is_below, "decode": never_raises}
    return wrong.get(name, crashes)


@pytest.mark.parametrize(
    ("operation", "broken"),
    [
        ("lift", {"LIFT-3", "LIFT-5", "LIFT-6", "LIFT-7"}),
        ("watch", {"STOP-1", "STOP-2"}),
        ("decode", {"DEC-6"}),
        ("bottom_mask", {"COV-1"}),
    ],
)
def test_a_wrong_implementation_in_python_fails(
    reader: Any, operation: str, broken: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    read, small = reader
    table = {**small.TABLE, operation: _hasty(small, operation)}
    found = read.check(vectors.VECTORS, table)
    failed = {id: kinds["failed"] for id, kinds in found.items() if "failed" in kinds}
    assert failed.keys() == broken
    assert not read.report(found)
    shown = capsys.readouterr().out.splitlines()
    for id, cases in failed.items():
        assert any(line.split()[0] == id and line.endswith(cases[0]) for line in shown)


WRONG = """
import { check, report } from READ;
import { TABLE } from SMALL;
const lift = ({ y }) => ({ Y_n: y, Y_d: { ...y, values: y.values.map(() => 1) } });
const watch = (given) => { throw new Error("not yet"); };
process.exitCode = report(check(process.argv[2], { ...TABLE, lift, watch })) ? 0 : 1;
"""


def test_a_wrong_implementation_in_javascript_fails(tmp_path: Path) -> None:
    done = node(tmp_path, WRONG)
    assert (done.returncode, done.stderr) == (1, "")
    failed = {id for id, count in counted(done.stdout).items() if "failed" in count}
    singular = {"LIFT-2", "LIFT-3", "LIFT-5", "LIFT-6", "LIFT-7", "LIFT-8"}
    assert failed == singular | {"STOP-1", "STOP-2", "STOP-6"}


def numbers(x: Any) -> set[str]:
    """Return all numbers of the file as they stand there."""
    if isinstance(x, (list, dict)):
        return set().union(*map(numbers, x.values() if isinstance(x, dict) else x))
    return {x} if isinstance(x, str) and (x.lstrip("-")[:2] == "0x" or x in SINGULAR) else set()


SINGULAR = ("nan", "inf", "-inf")


BITS = """
import { readFileSync } from "node:fs";
import { number } from READ;
for (const text of JSON.parse(readFileSync(new URL("texts.json", import.meta.url)))) {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, number(text));
  console.log(view.getBigUint64(0).toString(16).padStart(16, "0"));
}
"""


def test_numbers_have_the_same_bits_in_both_languages(tmp_path: Path) -> None:
    texts = sorted(numbers(CASES))
    assert len(texts) > 1000
    (tmp_path / "texts.json").write_text(json.dumps(texts), "utf-8")
    done = node(tmp_path, BITS)
    bits = [struct.pack(">d", float.fromhex(text)).hex() for text in texts]
    assert done.stdout.split() == bits, done.stderr


FITS = [
    (0.0, "0x0.0p+0", True),
    (-0.0, "0x0.0p+0", False),
    (1.0, "0x1.0000000000001p+0", False),
    (math.nan, "nan", True),
    (math.inf, "nan", False),
    (1.0, {"least": "0x1.0p+0", "most": "0x1.0p+0"}, True),
    (2.0, {"most": "0x1.8p+0"}, False),
    (math.inf, {"least": "0x1.0p+0"}, False),
    (math.nan, {"least": "0x1.0p+0"}, False),
    (math.nan, None, True),
    ([1, 2], [1, None], True),
    ([1, 2], [1], False),
    ([1], [1, None], False),
    ({"a": 1, "b": 2}, {"a": 1}, True),
    ({"a": 1}, {"a": 2}, False),
    ("clamp", "clamp", True),
    ("clamp", "reject", False),
    (True, False, False),
]


FITTED = """
import { readFileSync } from "node:fs";
import { fits, number } from READ;
const found = (x) => (typeof x === "string" ? number(x) : x);
const pairs = JSON.parse(readFileSync(new URL("pairs.json", import.meta.url)));
console.log(JSON.stringify(pairs.map(([x, y]) => fits(found(x), y))));
"""


def test_a_result_fits_or_not_alike_in_both_languages(reader: Any, tmp_path: Path) -> None:
    read = reader[0]
    expected = [right for _, _, right in FITS]
    assert [read.fits(found, read.read(wanted)) for found, wanted, _ in FITS] == expected
    pairs = [[written(found), wanted] for found, wanted, _ in FITS]
    (tmp_path / "pairs.json").write_text(json.dumps(pairs), "utf-8")
    done = node(tmp_path, FITTED)
    assert json.loads(done.stdout) == expected, done.stderr
