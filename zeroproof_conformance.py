"""The conformance suite under one name, in a checkout and where it is installed.

A subject takes from here what it needs of the specification, :data:`spec`, and says by
:class:`Unsupported` what it does not offer.
"""

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from io import TextIOWrapper

import spec
from properties.assertions import Unsupported

__all__ = ["Unsupported", "main", "spec"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command ``zeroproof-conformance``."""
    if missing := [name for name in ("hypothesis", "pytest") if find_spec(name) is None]:
        sys.stderr.write(
            f'zeroproof-conformance needs {" and ".join(missing)}: run "pip install '
            '\'.[conformance]\'" in a checkout, or "pip install hypothesis pytest"\n'
        )
        return 2
    from properties.conformance.command import main as command

    if isinstance(sys.stdout, TextIOWrapper):  # ⊥ is in few of the older encodings
        sys.stdout.reconfigure(errors="replace")
    return command(arguments)


if __name__ == "__main__":
    sys.exit(main())
