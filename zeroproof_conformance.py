"""The conformance suite under one name, in a checkout and where it is installed.

A subject takes from here what it needs of the specification, :data:`spec`, and says by
:class:`Unsupported` what it does not offer.
"""

import sys
from collections.abc import Sequence

import spec
from properties.assertions import Unsupported

__all__ = ["Unsupported", "main", "spec"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command ``zeroproof-conformance``."""
    from properties.conformance.command import main as command

    return command(arguments)


if __name__ == "__main__":
    sys.exit(main())
