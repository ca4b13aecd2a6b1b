"""``SCMTrainer`` on several processes, each with micro-batches of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import weakref

import torch

from benchmarks.contestants import training
from benchmarks.job import Job, Unavailable, Work


class _Rank:
    """One of the processes; it answers each line that it is sent with a line."""

    def __init__(self, device: str, batch: int, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.contestants.processes", device, str(batch)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        )

    def send(self, line: str) -> None:
        assert self._process.stdin is not None
        print(line, file=self._process.stdin, flush=True)

    def wait(self) -> None:
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise RuntimeError("a rank ended before its time; see above")

    def close(self) -> None:
        self._process.communicate()


def _all(ranks: list[_Rank], line: str) -> None:
    for rank in ranks:
        rank.send(line)
    for rank in ranks:
        rank.wait()


def _close(ranks: list[_Rank]) -> None:
    for rank in ranks:
        rank.close()


def trainer(device: str, batch: int, processes: int) -> Job:
    """``SCMTrainer.fit`` on so many processes, which are told here when to begin."""
    if device == "cuda" and processes > torch.cuda.device_count():
        raise Unavailable(f"there are not {processes} GPUs")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(processes),
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
    }
    names = map(str, range(processes))
    ranks = [_Rank(device, batch, common | {"RANK": n, "LOCAL_RANK": n}) for n in names]

    def job(steps: int) -> Work:
        _all(ranks, str(steps))
        return lambda: _all(ranks, "go")

    weakref.finalize(job, _close, ranks)
    return job


def main() -> None:
    """Be one of the ranks, until the input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever else is printed must not get between the answers
    device, batch = sys.argv[1:]
    job = training.trainer(device, int(batch))
    for line in sys.stdin:
        work = job(int(line))
        print("ready", file=answers)
        sys.stdin.readline()
        work()
        print("done", file=answers)


if __name__ == "__main__":
    main()
