"""Proofs that clauses hold for all inputs, found by z3.

Each file builds a chapter's rules out of symbols, proves its clauses of them, and ties the
symbols to the exact functions of ``spec`` on samples, so that what is proved is what is specified.
"""
