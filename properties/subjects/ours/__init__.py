"""``zeroproof`` as a subject: arrays become tensors, and what it returns becomes arrays."""

from properties.subjects.ours.lifting import OursLifting


class Ours(OursLifting):
    """All of ``zeroproof``."""
