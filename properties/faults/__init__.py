"""Faults: for each claim of the specification, the wrong subjects that it has to catch.

A module for each chapter; ``pytest properties/test_faults.py`` shows that every claim catches its
own.
"""

from importlib import import_module
from pkgutil import iter_modules

from properties.faults.register import FAULTS, Fault

__all__ = ["FAULTS", "Fault"]

# A chapter's faults are registered when its module is imported.
for chapter in iter_modules(__path__, f"{__name__}."):
    import_module(chapter.name)
