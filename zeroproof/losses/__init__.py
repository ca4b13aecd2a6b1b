"""Losses on projective tuples, coverage, and their composite."""

from zeroproof.losses.composite import LossConfig, SCMTrainingLoss
from zeroproof.losses.coverage import coverage, rejection_loss
from zeroproof.losses.likelihood import interval_loss, likelihood_loss
from zeroproof.losses.terms import (
    chordal_loss,
    implicit_loss,
    margin_loss,
    sign_consistency_loss,
    squares_loss,
)

__all__ = [
    "LossConfig",
    "SCMTrainingLoss",
    "chordal_loss",
    "coverage",
    "implicit_loss",
    "interval_loss",
    "likelihood_loss",
    "margin_loss",
    "rejection_loss",
    "sign_consistency_loss",
    "squares_loss",
]
