"""Tests of the package as its users meet it; imported under a run-time type checker."""

from beartype import BeartypeConf, beartype

# An int is a float to whoever calls the package, and to mypy.
check = beartype(conf=BeartypeConf(is_pep484_tower=True))
