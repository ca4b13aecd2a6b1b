"""Targets with poles, as tuples, in NumPy."""

import numpy as np


def lift(y):
    """Return ``Y_n, Y_d``: a number y as y/1, a pole as ±1/0."""
    if y.dtype.kind not in "iuf":
        raise TypeError(f"{y.dtype} is no target; convert it to floats")
    if y.dtype.kind in "iu":
        y = y.astype(float)
    pole = ~np.isfinite(y)
    Y_n = np.where(pole, np.where(np.isnan(y), 1, np.sign(y)), y)
    return Y_n, (~pole).astype(y.dtype)


def orientation(y):
    """Return the side from which a pole is reached: −1 or +1, and 0 where there is none."""
    if y.dtype.kind not in "iuf":
        raise TypeError(f"{y.dtype} is no target; convert it to floats")
    return np.where(np.isinf(y), np.sign(y), 0).astype("int8")


def decode(P, Q, tau):
    """Return P/Q, or NaN where |Q| < τ or there is no finite quotient."""
    if P.shape != Q.shape or not 0 <= tau < np.inf:
        raise ValueError(f"shapes {P.shape} and {Q.shape} differ, or {tau} is no threshold")
    with np.errstate(all="ignore"):
        value = P / Q
    finite = np.isfinite(P) & np.isfinite(Q) & np.isfinite(value)
    return np.where(finite & (np.abs(Q) >= tau), value, np.nan)
