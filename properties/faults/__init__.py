"""Faults: for each claim of the specification, the wrong subjects that it has to catch.

A module for each chapter; ``nox -s faults`` shows that every claim catches its own.
"""

from properties.faults import (
    algebra,
    bottom,
    coverage,
    decoding,
    epochs,
    lifting,
    losses,
    policies,
    runs,
    thresholds,
    update,
)
from properties.faults.register import FAULTS, Fault

__all__ = [
    "FAULTS",
    "Fault",
    "algebra",
    "bottom",
    "coverage",
    "decoding",
    "epochs",
    "lifting",
    "losses",
    "policies",
    "runs",
    "thresholds",
    "update",
]
