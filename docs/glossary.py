"""The page of the words, which stands before the chapters."""

from docs.sources import prose
from spec.glossary import GLOSSARY


def glossary_page() -> str:
    """Return the page of the words."""
    lines = ["# Glossary\n", "These words have one meaning in all clauses.\n"]
    return "\n".join([*lines, *(f"**{t}**\n: {prose(m)}\n" for t, m in GLOSSARY.items())])
