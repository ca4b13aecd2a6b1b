"""Cells as people write them: numbers with any signs, intervals, blanks."""

from __future__ import annotations

import re
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]

# Kinds of cells: numbers and intervals, those with the other sign between thousands, and others.
PLAIN, THOUSANDS, BLANK, TEXT = range(4)
BLANKS = {"", "na", "n/a", "n.a.", "#n/a", "#na", "<na>", "null", "none", "-", "--", "?", "."}
# One sign for each meaning; the first ones are the full-width signs of Japanese keyboards.
SIGNS: dict[int, str] = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
SIGNS |= dict.fromkeys(map(ord, "−‐‑‒–—"), "-")
SIGNS |= {
    ord("’"): "'",
    ord("∞"): "inf",
    ord("≤"): "<",
    ord("≥"): ">",
    ord("⩽"): "<",
    ord("⩾"): ">",
}
# In these, [d] is the decimal sign, and [o] the one of point and comma that it is not.
NUMBER = r"(?:[+-]? ?(?:(?:[1-9]\d?\d?(?:[o ']\d\d\d?)*[o ']\d{3}|\d+)(?:[d]\d*)?|[d]\d+)"
NUMBER += r"(?:e[+-]?\d+)?|[+-]?inf(?:inity)?)"
CELL = rf"(?P<sign>[<>]=?|=[<>])? ?(?P<low>{NUMBER})(?: ?(?:-|\.\.|to) ?(?P<high>{NUMBER}))?"
UNIT = rf"(?P<about>[~≈±$€£]|ca\.?)? ?(?P<number>{NUMBER}) ?"
UNIT += r"(?P<unit>[^\s\d.,²³]\D{,11}(?:(?<=[a-zA-Z])[23])?)?"  # such as % or g/cm3
# What is a number by this decimal sign alone; 1.234 may be one by either.
PROOF = r"^[<>=≤≥ ]*[+−-]?(?:0*[d]\d+|\d+[d](?:\d?\d?|\d{4,})|\d{4,}[d]\d{3}|\d+[d]\d+(?=[eE])"
PROOF += "|[1-9]\\d?\\d?(?:(?:[o ’'\xa0\u2009\u202f]\\d{3})+[d]\\d+|(?:[o]\\d{3}){2,}))"
PROOF += r"(?:[eE][+-]?\d+)?(?=$| ?[-–] ?[+-]?\d)"


def _by_decimal(pattern: str) -> dict[str, re.Pattern[str]]:
    """Return a pattern for each decimal sign."""
    pairs = [(d, pattern.replace("[d]", f"[{d}]").replace("[o", f"[{o}")) for d, o in (".,", ",.")]
    return {d: re.compile(text, re.ASCII | re.MULTILINE) for d, text in pairs}


CELLS, UNITS, PROOFS = map(_by_decimal, (CELL, UNIT, PROOF))


def proofs(cells: Any) -> int:
    """Return how many more cells prove a decimal point than prove a decimal comma."""
    text = "\n".join(cells)
    for sign, other, vote in ((".", ",", 1), (",", ".", -1)):
        if other not in text and PROOFS[sign].search(text):
            return vote  # soon found in a long column, and as good as the number
    point, comma = (len(PROOFS[sign].findall(text)) for sign in ".,")
    return point - comma


def _ends(cell: str, decimal: str) -> tuple[float, float, int]:
    """Return both ends and the kind of a cell."""
    text, nan, inf = " ".join(cell.translate(SIGNS).lower().split()), np.nan, np.inf
    if text in BLANKS or text == "nan":
        return nan, nan, PLAIN if text == "nan" else BLANK
    match = CELLS[decimal].fullmatch(text)
    if match is None:
        return nan, nan, TEXT
    other = ".,".replace(decimal, "")
    digits = str.maketrans(decimal, ".", f" '{other}")
    low, high = (float((match[end] or match["low"]).translate(digits)) for end in ("low", "high"))
    sign, finite = match["sign"] or "", np.isfinite(low)
    if low > high or (sign and (match["high"] or not finite)) or not (finite or "inf" in text):
        return nan, nan, TEXT
    kind = THOUSANDS if other in text.replace("..", "") else PLAIN
    return -inf if "<" in sign else low, inf if ">" in sign else high, kind


def parse(cells: Any, decimal: str) -> Array:
    """Return both ends and the kind of each cell, (3, rows); the ends of nan are NaN."""
    # Plain numbers by pandas, which is fast; the rest once for each text.
    plain = cells if decimal == "." else cells.str.replace(".", "x").str.replace(",", ".")
    found = np.zeros((3, len(cells)))
    found[:2] = pd.to_numeric(plain, errors="coerce").to_numpy(np.float64)
    odd = ~np.isfinite(found[0])
    codes, texts = pd.factorize(cells[odd])
    found[:, odd] = np.array([_ends(text, decimal) for text in texts]).reshape(-1, 3)[codes].T
    return found
