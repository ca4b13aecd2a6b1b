"""Rational fits to the finite labels of curves with poles, in one dimension, without a network."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
from numpy.polynomial.chebyshev import chebval, chebvander
from scipy.interpolate import AAA

from learning.curves import NOISES
from learning.data import CURVES, GRID, Array, chordal_error, sample_curve
from learning.jobs import Job, Row

DEGREES, ITERATIONS = range(1, 9), 30


def measure(job: Job) -> list[Row]:
    """Fit all curves and seeds in both ways; return the errors on the grid, as rows of curves."""
    rows = []
    for curve in CURVES:
        for seed in job.seeds:
            x, y = (part.double().numpy() for part in sample_curve(curve, seed, NOISES[job.case]))
            seen = np.isfinite(y)
            for method, fit in FITS.items():
                error = chordal_error(curve, fit(x[seen, 0], y[seen]))
                rows.append(Row("curves", f"{curve}, {job.case}", method, seed, error))
    return rows


def aaa(x: Array, y: Array) -> Array:
    """Interpolate by AAA with SciPy's defaults, labels with noise, too.

    Its ``rtol`` is relative to the largest label, but noise to each: one of the noise's size ends
    with too few terms. Numbers of terms chosen on held-out rows do worse on most curves.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of noise, to which it does not converge
        values: Array = AAA(x, y)(GRID)
    return values


def least_squares(x: Array, y: Array) -> Array:
    """Fit P/Q of equal degrees by rational least squares; BIC chooses the degree.

    A parameter costs ``log(n) / 2``, and P/Q has ``2 degree + 1``.
    """

    def criterion(fit: tuple[float, Array]) -> float:
        return len(x) * math.log(fit[0]) + (len(fit[1]) - 1) * math.log(len(x))

    _, c = min((_sanathanan_koerner(x, y, degree) for degree in DEGREES), key=criterion)
    P, Q = np.split(c, 2)
    values: Array = chebval(GRID, P) / chebval(GRID, Q)
    return values


def _sanathanan_koerner(x: Array, y: Array, degree: int) -> tuple[float, Array]:
    """Return the mean squared sine, and the coefficients of P and of Q in Chebyshev's basis.

    Each iteration divides P − yQ by the last one's ‖(P, Q)‖, which makes it the sine.
    """
    basis = chebvander(x, degree)
    sines = np.hstack([basis, -y[:, None] * basis]) / np.hypot(1, y)[:, None]
    length = np.ones_like(x)
    for _ in range(ITERATIONS):
        c = np.linalg.svd(sines / length[:, None], full_matrices=False)[2][-1]
        length = np.hypot(*(basis @ part for part in np.split(c, 2)))
    return float(np.mean((sines @ c / length) ** 2)), c


FITS: dict[str, Callable[[Array, Array], Array]] = {
    "AAA (SciPy)": aaa,
    "rational least squares": least_squares,
}
