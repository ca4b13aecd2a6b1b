"""Without z3, as on a machine that is there for its GPU, these files are not even imported."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("z3") else ["*.py"]
