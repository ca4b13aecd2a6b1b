"""RES: checkpoints of ``SCMTrainer``, saved by a process that is killed, loaded from bad files."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from properties.assertions import Unsupported
from properties.subjects.files import Checkpoints, Kill
from properties.subjects.third_party.adapters.training import trainer_of
from spec.checkpoints import Killed


class PublicCheckpoints(Checkpoints):
    """``save_checkpoint`` and ``load_checkpoint``."""

    _trainer_of = staticmethod(trainer_of)

    def _shown(self, trainer: Any) -> str:
        return repr([trainer.model.state_dict(), trainer.optimizer.state_dict()])

    def _newer(self, path: str) -> None:
        raise Unsupported("a version of the files")

    def _of_more_ranks(self, path: str) -> None:
        raise Unsupported("training on several ranks")

    def save_killed(self, at: int) -> Killed:
        """Save over an old checkpoint: killed before the file is written, within, or not."""
        save = torch.save

        def cut(state: object, path: str) -> None:
            if at > 0:
                save(state, path)
                os.truncate(path, 100)
            raise Kill

        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder) / "run.pt")
            self._filled(1.0).save_checkpoint(path)
            done = False
            try:
                with mock.patch("torch.save", cut if at < 2 else save):
                    self._filled(2.0).save_checkpoint(path)
                done = True
            except Kill:
                pass
            reader = self._filled(3.0)
            try:
                reader.load_checkpoint(path)
                found = {1.0: "old", 2.0: "new"}[reader.model.bias.item()]
            except Exception:
                found = "neither"
        return Killed(found, done)

    def survives(self, what: str) -> bool:
        """Leave out what no option saves."""
        if what == "object of the user":
            raise Unsupported("objects of the user in a checkpoint")
        return super().survives(what)
