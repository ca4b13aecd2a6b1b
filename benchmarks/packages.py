"""Other versions of the trainer, each in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parent.parent


class FetchError(RuntimeError):
    """A package could not be installed; the message is the installer's last line."""


def fetch(requirement: str, folder: Path) -> Path:
    """Install a package, once, into a folder that goes before others on a worker's path.

    Those of zeroproofml are in this environment, under the same constraints, so that all
    contestants run on the very same torch.
    """
    place = folder / requirement.replace("==", "-")
    if place.exists():
        return place
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as new:
        target = Path(new) / "package"
        options = ["--quiet", "--retries", "1", "--target", str(target)]
        if requirement.startswith("zeroproofml"):
            options.append("--no-deps")
        constraints = ["-c", str(ROOT / "constraints.txt")]
        command = [sys.executable, "-m", "pip", "install", *options, *constraints, requirement]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise FetchError((done.stderr.strip() or "pip failed").splitlines()[-1])
        with suppress(OSError):  # another process was first
            target.rename(place)
    return place


def environment(package: Path) -> dict[str, str]:
    """Return the environment of a worker that imports ``zeroproof`` from a folder.

    Two packages have that name, so the folder comes first on the path.
    """
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(package), str(ROOT)])}
