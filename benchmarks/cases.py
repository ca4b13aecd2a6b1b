"""What is compared with what, and the targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PARTS = {
    "a": "SCMTrainer against a loop written by hand",
    "b": "SCMTrainer against the trainers of zeroproofml",
    "c": "the composite loss against a copy of the bytes that it must move",
    "d": "the rational layer against plain Horner",
    "e": "how the cost of a step grows",
    "f": "the compiled update against JAX",
}
OURS = "ours"
THEIRS = ("zeroproofml==0.4.3", "zeroproofml==0.6.1")
JAX = "jax==0.10.2"


@dataclass(frozen=True)
class Contestant:
    """A factory in ``benchmarks.contestants``, its options, and the package that it needs."""

    factory: str
    options: Mapping[str, Any] = field(default_factory=dict)
    package: str = OURS
    unit: int = 1  # its steps come in multiples of it


@dataclass(frozen=True)
class Ratio:
    """The time of one contestant over that of another; at most ``target``, where there is one."""

    part: str
    of: str
    to: str
    target: float | None = None


@dataclass(frozen=True)
class Peak:
    """The peak memory of one step of a contestant, in MiB; at most ``target``."""

    part: str
    of: str
    target: float | None = None


@dataclass(frozen=True)
class Case:
    """Contestants that take turns, and what is made of their times."""

    setting: str
    device: str
    contestants: Mapping[str, Contestant]
    ratios: tuple[Ratio, ...]
    peaks: tuple[Peak, ...] = ()


TRAINER, HOOKED = "SCMTrainer", "SCMTrainer with log hook"
BY_HAND, UNGUARDED = "loop by hand", "loop by hand that a NaN destroys"


def _training(device: str, batch: int, amp: str | None, mode: str = "") -> Case:
    """Parts a and b, which share the measurements of the trainer; "fused" is the optimizer."""
    compile, fused = mode == "compiled", mode == "fused"
    options: dict[str, Any] = {"device": device, "batch": batch, "amp": amp}
    options |= {"compile": compile, "fused": fused}
    contestants = {
        TRAINER: Contestant("training:trainer", options),
        HOOKED: Contestant("training:trainer", options | {"hook": True}),
        BY_HAND: Contestant("training:by_hand", options),
        UNGUARDED: Contestant("training:by_hand", options | {"guarded": False}),
    }
    aim = 1.10 if device == "cpu" and batch <= 64 else 1.05
    ratios = [
        Ratio("a", TRAINER, BY_HAND, aim if device == "cuda" or batch <= 1024 else None),
        Ratio("a", HOOKED, BY_HAND, aim if device == "cpu" and batch <= 1024 else None),
        Ratio("a", TRAINER, UNGUARDED),
    ]
    if amp is None and not fused:
        compiled_aim = 0.25 if batch <= 64 else 0.45
        aim = compiled_aim if compile else 0.85
        aims = {THEIRS[0]: aim} if batch <= 1024 and device == "cpu" else {}
        for package in THEIRS:
            theirs = {"device": device, "batch": batch}
            contestants[package] = Contestant("zeroproofml:trainer", theirs, package)
            ratios.append(Ratio("b", TRAINER, package, aims.get(package)))
    kind = amp or "float32"
    setting = f"batch {batch}, {kind}" + (mode and f", {mode}")
    return Case(setting, device, contestants, tuple(ratios))


def _whole_update(device: str, batch: int) -> Case:
    options: dict[str, Any] = {"device": device, "batch": batch}
    compiled, per_step, scan = "SCMTrainer compiled", "JAX, jit per step", "JAX, scan"
    contestants = {
        compiled: Contestant("training:trainer", options | {"compile": True, "hook": True}),
        BY_HAND: Contestant("training:by_hand", options | {"fused": True}),
        per_step: Contestant("jax_loop:per_step", options, JAX),
        scan: Contestant("jax_loop:scan", options, JAX, unit=8),
    }
    least = {("cpu", 64): 0.30, ("cpu", 1024): 0.60}.get((device, batch))
    ratios = (
        Ratio("f", compiled, BY_HAND, least),
        Ratio("f", compiled, per_step, 1.3 if device == "cpu" else 1.5),
        Ratio("f", compiled, scan),
    )
    return Case(f"batch {batch}, whole update", device, contestants, ratios)


def _composite(device: str, power: int, compile: bool) -> Case:
    elements = {"device": device, "elements": 2**power}
    contestants = {
        "composite loss": Contestant("elementwise:composite", elements),
        "copy": Contestant("elementwise:copying", elements),
    }
    ratios = [Ratio("c", "composite loss", "copy")]
    if compile:
        name = "composite loss, compiled"
        contestants[name] = Contestant("elementwise:composite", elements | {"compile": True})
        ratios.append(Ratio("c", name, "copy", 1.3 if device == "cuda" and power == 24 else None))
    return Case(f"2^{power} elements", device, contestants, tuple(ratios))


def _rational(device: str, power: int) -> Case:
    options = {"device": device, "elements": 2**power}
    contestants = {
        "SCMRationalLayer(5, 4)": Contestant("elementwise:rational", options),
        "plain Horner": Contestant("elementwise:horner", options),
    }
    layer, plain = contestants
    peaks = Peak("d", layer, 40.0 if power == 20 else None), Peak("d", plain)
    return Case(
        f"2^{power} float32 values", device, contestants, (Ratio("d", layer, plain, 1.0),), peaks
    )


def _growth(name: str, options: Mapping[str, Any], factory: str, values: list[Any]) -> Case:
    """Part e: one option takes several values; each is compared with the first."""
    contestants = {
        f"{name} {value}": Contestant(factory, {**options, name: value}) for value in values
    }
    first, *rest = contestants
    ratios = tuple(Ratio("e", of, first) for of in rest)
    return Case(f"cost by {name}", options["device"], contestants, ratios)


def cases(devices: list[str], *, quick: bool) -> list[Case]:
    """Return all cases; with ``quick`` small ones, none of which is compiled."""
    found: list[Case] = []
    for device in devices:
        amps = [None, "bf16", *(["fp16"] if device == "cuda" else [])]
        batches = [64] if quick else [64, 1024, 16384]
        for batch in batches:
            found += [_training(device, batch, amp) for amp in amps]
            if device == "cuda":
                found += [_training(device, batch, amp, "fused") for amp in (None, "fp16")]
        found += [_training(device, batch, None, "compiled") for batch in batches if not quick]
        found += [_whole_update(device, batch) for batch in batches[:2] if not quick]
        powers = [12] if quick else [12, 16, 20, 24]
        found += [_composite(device, power, not quick) for power in powers]
        found.append(_rational(device, 12 if quick else 20))
        trainer, rational = "training:trainer", "elementwise:rational"
        fixed, values = {"device": device, "batch": 64}, {"device": device, "elements": 2**16}
        grown: dict[str, tuple[dict[str, Any], str, list[Any]]] = {
            "batch": ({"device": device}, trainer, [64, 256, 1024, 4096, 16384]),
            "width": (fixed | {"batch": 1024}, trainer, [64, 128, 256, 512]),
            "degrees": (values, rational, [(1, 1), (2, 2), (4, 4), (8, 8), (16, 16)]),
            "accumulation": (fixed, trainer, [1, 2, 4, 8]),
            "processes": (fixed, "processes:trainer", [1, 2]),
        }
        for name, (options, factory, steps) in grown.items():
            found.append(_growth(name, options, factory, steps[:2] if quick else steps))
    return found
