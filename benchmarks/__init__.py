"""Benchmarks: ratios of contestants that take turns in one run; ``nox -s bench``."""
