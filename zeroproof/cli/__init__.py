"""The command ``zeroproof``."""
