"""Print whether each finding about a version shows."""

import json
import sys

from tests.third_party.upstream_bugs import OF, functions, trainer, trainer_checkpoints

__all__ = ["functions", "trainer", "trainer_checkpoints"]  # which register what they find

json.dump({finding.__name__: finding() for finding in OF[sys.argv[1]]}, sys.stdout)
