"""Implementations that are wrong on purpose, each in one realistic way."""

from properties.subjects.broken import (  # noqa: F401
    training,
)
from properties.subjects.broken.register import BROKEN, Broken

__all__ = ["BROKEN", "Broken"]
