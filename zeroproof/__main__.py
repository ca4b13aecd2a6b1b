"""Run the command: ``python -m zeroproof``."""

import sys

from zeroproof.command.main import main

sys.exit(main())
