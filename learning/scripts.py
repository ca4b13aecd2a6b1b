"""Tables that scripts in ``examples/`` make: an arm at full stretch, and certified fits."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from importlib import import_module

import torch

from benchmarks.packages import ROOT
from learning.jobs import Job, Row

FILES = {"Hahn1.dat": ("3", "3"), "Kirby2.dat": ("2", "2")}
SCRIPTS = {"arm": "arm_at_full_stretch", "certified": "certified_fit"}
AVAILABLE = [name for name, file in SCRIPTS.items() if (ROOT / f"examples/{file}.py").exists()]


def arm(job: Job) -> list[Row]:
    """Train the arm with one seed; return median errors in each band of ``|sin q₂|``."""
    script, (seed,) = import_module(f"examples.{SCRIPTS['arm']}"), job.seeds
    model = script.fit(*((500, 2) if job.quick else (8000, 200)), seed)
    q, dx = script.draw(20_000, torch.Generator().manual_seed(10_000))
    J, distance = script.jacobian(q), q[:, 1].sin().abs()
    with torch.no_grad():
        P, Q = model(script.features(q, dx))
    found = {"likelihood": P / Q, "damped least squares, which knows J": script.damped(J, dx)}
    rows = []
    for method, velocity in found.items():
        missed, numbers = script.missed(J, velocity, dx), dict[str, float]()
        for band, (low, high) in enumerate(script.BANDS):
            inside = (distance >= low) & (distance < high)
            numbers[f"band_{band}"] = missed[inside].median().item()
        rows.append(Row("arm", "", method, seed, numbers))
    return rows


def certified(job: Job) -> list[Row]:
    """Fit NIST's files with one seed of the starts; return digits that agree, and seconds."""
    rows = []
    for file, degrees in FILES.items():
        command = [sys.executable, f"examples/{SCRIPTS['certified']}.py", file, "--degrees"]
        command += [*degrees, "--seed", str(job.seeds[0]), *(["--starts", "1"] * job.quick)]
        started = time.perf_counter()
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        seconds = time.perf_counter() - started
        digits = re.search(r"LRE (\S+) of the sum, (\S+) of the worst parameter", done.stdout)
        assert digits, done.stdout
        numbers = {"sum": float(digits[1]), "worst": float(digits[2]), "seconds": seconds}
        rows.append(Row("certified", "", file, job.seeds[0], numbers))
    return rows
