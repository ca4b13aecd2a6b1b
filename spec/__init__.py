"""The standard: what ``zeroproof`` means, exactly.

Chapters in reading order: ``lifting`` (targets to tuples), ``bottom`` (numbers with ⊥ and the
IEEE formats), ``thresholds``, ``decoding`` (tuples to values), ``policies`` (gradients at ⊥),
``losses``, ``coverage``, ``stopping``, ``update``, ``epochs``. Everything is computed with
``Fraction``; a function is its rule, and its docstring names the clauses that it states. Nothing
here knows the implementation.
"""

SPEC_VERSION = "0.1.0"
