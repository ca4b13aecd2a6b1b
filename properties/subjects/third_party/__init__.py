"""Packages that one can install, as subjects.

Both ship a ``zeroproof`` of their own, so each lies in a folder of its own, and a process that
imports it from there carries out what its subject is asked to do.
"""

from properties.subjects.third_party.remote import Remote, remote


def version_0_4_3() -> Remote:
    """Return zeroproofml 0.4.3."""
    return remote("zeroproofml==0.4.3", "Version043")


def version_0_6_1() -> Remote:
    """Return zeroproofml 0.6.1."""
    return remote("zeroproofml==0.6.1", "Version061")
