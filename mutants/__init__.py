"""Mutation testing of ``zeroproof``: ``nox -s mutants`` (Python 3.11 or newer, POSIX)."""
