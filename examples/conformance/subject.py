"""``poles`` as a subject: the specification's arrays become NumPy's, and back."""

from contextlib import nullcontext

import numpy as np
import poles

from zeroproof_conformance import Unsupported, spec


def to_numpy(x):
    """Return an array of the specification as one of NumPy."""
    if x.dtype == "bfloat16":
        raise Unsupported("NumPy has no bfloat16")
    return np.array(x.values, dtype=x.dtype).reshape(x.shape)


def to_array(x):
    """Return an array of NumPy as one of the specification."""
    return spec.Array(tuple(x.astype(float).flatten().tolist()), x.shape, x.dtype.name)


class Poles:
    """What ``poles`` has of the chapters LIFT and DEC."""

    def using_default_dtype(self, dtype):
        if dtype != "float64":
            raise Unsupported("integers become float64")
        return nullcontext()

    def lift(self, y):
        Y_n, Y_d = poles.lift(to_numpy(y))
        return to_array(Y_n), to_array(Y_d)

    def orientation(self, y):
        return to_array(poles.orientation(to_numpy(y)))

    def unlift(self, y):
        return to_array(poles.decode(*poles.lift(to_numpy(y)), tau=1.0))

    def lift_effects(self, y):
        given = to_numpy(y)
        for part in poles.lift(given):
            np.asarray(part)[...] = 7
        return spec.lifting.Effects(to_array(given), tracked=False)

    def decode(self, case):
        if case.gauge != "raw" or case.tau_infer > case.tau_train:
            raise Unsupported("one threshold at a time, on |Q| itself")
        P, Q = to_numpy(case.P), to_numpy(case.Q)
        value = poles.decode(P, Q, case.tau_infer)
        trusted = poles.decode(P, Q, case.tau_train)
        bottom, gap = np.isnan(value), np.isnan(trusted) & ~np.isnan(value)
        flags = (tuple(mask.flatten().tolist()) for mask in (bottom, gap))
        return spec.decoding.Strict(to_array(value), *flags)
