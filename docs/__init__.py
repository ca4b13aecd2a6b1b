"""The book: a site made of the clauses, the docstrings and a guide that points to them."""
