"""What stands between the cells of tables, and the cells as numbers and intervals."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]

SIGNS = str.maketrans("≤⩽≥⩾’−‐‑–—", "<<>>'-----") | {ord("∞"): "inf"}
NUMBER = r"[+-]? ?(?:(?:[1-9]\d?\d?(?:[ ,']\d{3})+|\d+)(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?"
END = rf"({NUMBER}|[+-]?inf(?:inity)?)"
INTERVAL = re.compile(rf"{END}(?: ?- ?{END})?", re.ASCII)
GROUPED = re.compile(
    r"[+-]?[1-9]\d?\d?([ ,'’\xa0\u2009\u202f])\d{3}(?:\1\d{3})*(?:\.\d*)?", re.ASCII
)


def delimiter(text: str, needed: Sequence[str]) -> str:
    """Return what stands between the cells of a text whose first line with all needed names them.

    A delimiter within quotes is none; but where all names are quoted, their quotes are left away.
    """
    plain, unquoted = (
        re.sub('"([^"]*)"', by, text).split("\n")
        for by in ("", lambda match: match[1].replace("\n", " "))
    )
    pairs = [pair for pair in zip(plain, unquoted, strict=True) if pair[0].strip()]
    has = {*needed}.issubset
    lines = ((i, line) for kind in zip(*pairs, strict=True) for i, line in enumerate(kind))
    head = next((i for i, line in lines if has(re.split(r"\s*[\t;|,]\s*", line))), 0)
    # A comma may be the decimal sign, so it is the delimiter where no other is.
    signs = (sign for sign in "\t;|" if all(sign in line for line, _ in pairs[head : head + 2]))
    return next(signs, ",")


def _ends(cell: str) -> tuple[float, float]:
    """Return both ends of a cell with a decimal point; NaN if it is no number."""
    text = " ".join(cell.translate(SIGNS).lower().split())
    text = re.sub("^>=? ?([^<>i]+)$", r"\1-inf", text)  # >5 is 5-inf, but >inf is nothing
    text = re.sub("^<=? ?([^<>i]+)$", r"-inf-\1", text)
    match = INTERVAL.fullmatch(text)
    found = [re.sub("[ ,']", "", end) for end in match.groups() if end] if match else ["nan"]
    ends = [float(end) for end in found if "inf" in end or abs(float(end)) < np.inf]  # not 1e400
    right = len(ends) == len(found) and ends[0] <= ends[-1]
    return (ends[0], ends[-1]) if right else (np.nan, np.nan)


def parse(cells: Any, decimal: str) -> Array:
    """Return both ends of each cell, (2, rows); NaN where it is no number."""
    # An apostrophe, too, may stand between thousands.
    cells = cells if decimal == "." else cells.str.replace(".", "'").str.replace(",", ".")
    grouped = GROUPED.fullmatch
    plain = [text.replace(match[1], "") if (match := grouped(text)) else text for text in cells]
    numbers = pd.to_numeric(np.array(plain, dtype=object), errors="coerce")
    ends = np.stack([numbers, numbers]).astype(np.float64)
    # Our own parser is slow, so it reads each distinct text once.
    odd = ~np.isfinite(ends[0])
    codes, texts = pd.factorize(cells[odd])
    ends[:, odd] = np.array([_ends(text) for text in texts]).reshape(-1, 2)[codes].T
    return ends


def decimal_sign(cells: Any, usual: str) -> tuple[str, bool]:
    """Return the sign that makes more cells numbers, and False if it was a tie.

    1.234 is a number by either sign, 1.5 is not.
    """
    texts = _signed(cells)
    point, comma = (np.isfinite(parse(texts, sign)).any(axis=0).sum() for sign in ".,")
    return (usual if point == comma else "." if point > comma else ","), bool(point != comma)


def open_cell(cells: Any) -> str:
    """Return a cell that the two decimal signs read differently, or an empty text."""
    texts = _signed(cells)
    point, comma = (parse(texts, sign) for sign in ".,")
    either = ((point != comma) & np.isfinite(point) & np.isfinite(comma)).any(axis=0)
    return str(texts[either].iloc[0]) if either.any() else ""


def _signed(cells: Any) -> Any:
    signed = (cell for cell in cells.to_numpy().ravel() if "." in cell or "," in cell)
    return pd.Series([*islice(signed, 10_000)], dtype=object)
