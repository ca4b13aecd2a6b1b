"""RES-8 by the exact reference: an order that is drawn, and what of it a checkpoint holds."""

from __future__ import annotations

import random
from collections.abc import Sequence

from spec.replay import BATCHES, EPOCHS, REPEATED, Replayed, Samples


class Order:
    """The samples of each epoch, in an order that follows from the source."""

    def __init__(self, source: str, first: int = 0) -> None:
        self.source, self.first, self.drawn = source, first, 0

    def epoch(self, number: int) -> list[Samples]:
        seed = {"list": 0, "set_epoch of the sampler": number}.get(self.source, self.drawn)
        self.drawn += 1
        samples = list(range(self.first, self.first + 3 * BATCHES))
        random.Random(seed).shuffle(samples)
        return [tuple(samples[i : i + 3]) for i in range(0, len(samples), 3)]


class ExactReplays:
    """Begins an epoch twice, and compares all of it."""

    def replay(self, source: str, at: int) -> Replayed:
        order = Order(source)
        states, epochs = zip(
            *(
                (self.remembered(source, order.drawn), order.epoch(number))
                for number in range(EPOCHS)
            ),
            strict=True,
        )
        whole = [samples for samples_of in epochs for samples in samples_of]
        epoch = (at - 1) // BATCHES
        resumed = Order(source, first=99 if source.startswith("other") else 0)
        for _ in range(2):
            resumed.drawn = states[epoch] if source in REPEATED else resumed.drawn
            begun = resumed.epoch(epoch)
            if not self.repeats(epochs[epoch], begun):
                return Replayed(whole, [], self.refusal())
        rest = begun[at - BATCHES * epoch :]
        for number in range(epoch + 1, EPOCHS):
            rest += resumed.epoch(number)
        return Replayed(whole, rest, "")

    def remembered(self, source: str, drawn: int) -> int:
        """Return what a checkpoint holds of what was drawn."""
        return drawn

    def repeats(self, trained: list[Samples], begun: list[Samples]) -> bool:
        return trained == begun

    def refusal(self) -> str:
        return "the loader needs a state_dict"

    def epochs_told(self, place: str) -> Sequence[int]:
        return range(EPOCHS)
