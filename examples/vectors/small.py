"""A tiny implementation, checked: ``python small.py vectors.json``."""

import math
import sys

from read import check, report


def lift(y):
    """Lift targets to tuples."""
    if y["dtype"] in ("bool", "complex64", "complex128"):
        raise TypeError(f"{y['dtype']} has no lift")
    tops = [v if math.isfinite(v) else -1.0 if v == -math.inf else 1.0 for v in y["values"]]
    ends = [float(math.isfinite(value)) for value in y["values"]]
    dtype = y["dtype"] if "float" in y["dtype"] else "float64"
    like = {"shape": y["shape"], "dtype": dtype}
    return {"Y_n": {**like, "values": tops}, "Y_d": {**like, "values": ends}}


def decode(P, Q, tau_infer, tau_train, gauge):
    """Decode tuples at a threshold on their size, in double precision."""
    if P["shape"] != Q["shape"]:
        raise ValueError("P and Q differ in shape")
    if not 0 <= tau_infer <= tau_train < math.inf or gauge not in ("raw", "unit"):
        raise ValueError("the thresholds or the gauge do not exist")
    if gauge != "raw" or P["dtype"] != "float64":
        raise NotImplementedError
    values, gap = [], []
    for p, q in zip(P["values"], Q["values"], strict=True):
        low = not (math.isfinite(p) and math.isfinite(q)) or q == 0 or abs(q) < tau_infer
        value = math.nan if low else p / q
        values.append(value if math.isfinite(value) else math.nan)
        gap.append(math.isfinite(value) and abs(q) < tau_train)
    return {"value": {**P, "values": values}, "bottom": [v != v for v in values], "gap": gap}


# Quotients of this size and beyond are rounded to ∞.
OVERFLOW = {
    "float16": 65520.0,
    "bfloat16": 2.0**128 * (1 - 2.0**-9),
    "float32": 2.0**128 * (1 - 2.0**-25),
    "float64": math.inf,
}


def bottom_mask(form, first, second, tau):
    """Tell which outputs are ⊥."""
    bottom, limit = [], OVERFLOW[first["dtype"]]
    for x, y in zip(first["values"], second["values"], strict=True):
        if form == "tuple":
            low = not (math.isfinite(x) and math.isfinite(y)) or y == 0 or abs(y) < tau
            bottom.append(low or abs(x / y) >= limit)
        else:
            bottom.append(not math.isfinite(x) or (form != "value" and y != 0))
    return {"bottom": bottom}


def watch(coverages, threshold, patience):
    """Count epochs in a row whose coverage is low, and stop at the patience."""
    counters, stops, bad = [], [], 0
    for coverage in coverages:
        if coverage is not None:
            bad = bad + 1 if coverage < threshold else 0
        counters.append(bad)
        stops.append(coverage is not None and bad >= patience)
        if stops[-1]:
            break
    return {"counters": counters, "stops": stops}


def probability(P, Q, lower_n, lower_d, upper_n, upper_d):
    """Return the probabilities of arcs under tuples."""
    found, parts = [], (P, Q, lower_n, lower_d, upper_n, upper_d)
    for p, q, a, b, c, d in zip(*(part["values"] for part in parts), strict=True):
        size = math.hypot(a, b) * math.hypot(c, d)
        sine, cosine = (c * b - a * d) / size, (a * c + b * d) / size
        if sine == 0:  # a line, or the whole of them
            found.append(float(cosine < 0))
            continue
        side, square = math.copysign(1.0, sine), p * p + q * q  # below 0 it runs through infinity
        x = cosine + 4 * (1 + square) * (p * b - q * a) * (p * d - q * c) / size
        found.append(math.atan2((1 + 2 * square) * abs(sine), side * x) / math.pi)
    return {"m": {**P, "values": found}}


TABLE = {
    "lift": lift,
    "decode": decode,
    "bottom_mask": bottom_mask,
    "probability": probability,
    "watch": watch,
}

if __name__ == "__main__":
    sys.exit(not report(check(sys.argv[1], TABLE)))
