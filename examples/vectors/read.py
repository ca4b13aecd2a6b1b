"""Check an implementation by the test vectors: Python's standard library, and nothing else."""

import json
import math
import re
from collections import defaultdict

NUMBER = re.compile(r"-?0x[01]\.[0-9a-f]+p[+-][0-9]+|-?inf|nan")


def read(x):
    """Return a value with numbers for their hexadecimal."""
    if isinstance(x, str):
        return float.fromhex(x) if NUMBER.fullmatch(x) else x
    if isinstance(x, list):
        return [read(value) for value in x]
    return {name: read(value) for name, value in x.items()} if isinstance(x, dict) else x


def fits(found, expected):
    """Tell whether what was found is what is expected: null is anything, a range is finite."""
    if isinstance(expected, dict) and expected.keys() & {"least", "most"}:
        low, high = expected.get("least", -math.inf), expected.get("most", math.inf)
        return math.isfinite(found) and low <= found <= high
    if isinstance(expected, dict):
        return all(fits(found[name], value) for name, value in expected.items())
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(fits, found, expected))
    if isinstance(expected, float):
        return float(found).hex() == expected.hex()  # which tells zeros apart, and no NaNs
    return expected is None or found == expected


def outcome(case, table):
    """Return what becomes of a case: passed, failed, or not offered."""
    if case["operation"] not in table:
        return "not offered"
    try:
        found = table[case["operation"]](**read(case["arguments"]))
        right = "result" in case and fits(found, read(case["result"]))
    except NotImplementedError:
        return "not offered"
    except Exception as error:
        right = case.get("refusal") in [kind.__name__ for kind in type(error).__mro__]
    return "passed" if right else "failed"


def check(path, table):
    """Return by clause which cases passed, failed, or are not offered by the table."""
    found = defaultdict(lambda: defaultdict(list))
    with open(path, encoding="utf-8") as file:
        for case in json.load(file)["cases"]:
            kind = outcome(case, table)
            for clause in case["clauses"]:
                found[clause][kind].append(case["id"])
    return found


def report(found):
    """Print the numbers, and of what failed the first; return whether nothing did."""
    for clause, kinds in found.items():
        parts = [f"{len(ids)} {kind}" for kind, ids in sorted(kinds.items())]
        print(clause, *parts, *kinds.get("failed", [])[:1], sep="  ")
    return not any("failed" in kinds for kinds in found.values())
