"""Hypothesis properties of ``zeroproof`` against ``spec``, one file per chapter."""
