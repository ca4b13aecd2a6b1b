"""Lifts that go wrong."""

import math
from dataclasses import replace

from properties.faults.register import fault, zeroproof_fault
from spec import Array
from zeroproof.scm.outputs import is_projective


def _imputed(y: Array) -> Array:
    return y.with_values([0.0 if math.isnan(x) else x for x in y.values])


def _bool_as_uint8(y: Array) -> Array:
    return replace(y, dtype="uint8") if y.dtype == "bool" else y


fault("LIFT-1.1", "A finite target passes through an addition, which loses the sign of −0.0.",
    lift=lambda lift, y: lift(y.with_values([x + 0.0 for x in y.values])))
fault("LIFT-2.1", "±∞ is clipped to a large finite number.",
    lift=lambda lift, y: lift(y.with_values([math.copysign(1e4, x) if math.isinf(x) else x
        for x in y.values])))
fault("LIFT-2.1", "−∞ lifts to the positive side.",
    lift=lambda lift, y: lift(y.with_values([abs(x) if math.isinf(x) else x for x in y.values])))
fault("LIFT-3.1", "NaN is imputed as 0.", lift=lambda lift, y: lift(_imputed(y)))
fault("LIFT-3.2", "NaN is taken for +∞, orientation included.",
    orientation=lambda orientation, y:
        orientation(y.with_values([math.inf if math.isnan(x) else x for x in y.values])))
fault("LIFT-4.1", "Decoding loses the sign of −0.0.",
    unlift=lambda unlift, y: y.with_values([x + 0.0 for x in unlift(y).values]))
fault("LIFT-4.2", "A pole decodes to the ±∞ that it was.", unlift=lambda unlift, y: unlift(y) and y)
fault("LIFT-5.1", "The denominator of a pole is a small number.",
    lift=lambda lift, y: (lift(y)[0], y.with_values([max(d, 1e-9) for d in lift(y)[1].values])))
fault("LIFT-5.2", "A pole keeps its ±∞.", lift=lambda lift, y: (y, lift(y)[1]))
fault("LIFT-5.3", "NaN lifts to (0, 0).", lift=lambda lift, y: (lift(_imputed(y))[0], lift(y)[1]))
fault("LIFT-6.1", "All targets lift to float32.",
    lift=lambda lift, y: [replace(part, dtype="float32") for part in lift(y)])
fault("LIFT-6.2", "A lift is part of a graph.",
    lift_effects=lambda effects, y: replace(effects(y), tracked=True))
fault("LIFT-6.3", "The numerator of a finite target is a view of it.",
    lift_effects=lambda effects, y: replace(effects(y), input=Array.full(7.0, y)))
fault("LIFT-7.1", "One NaN makes all targets of its batch NaN.",
    lift=lambda lift, y: lift(Array.full(math.nan, y) if any(map(math.isnan, y.values)) else y))
zeroproof_fault("LIFT-8.1", "Integers become float32, whatever the default.",
    "zeroproof.training.targets._as_float",
    lambda real, y: real(y.float() if "int" in str(y.dtype) else y))
fault("LIFT-8.2", "Unsigned bytes are read as signed ones.",
      as_floats=lambda floats, y: floats(y.with_values([(x + 128) % 256 - 128 if y.dtype == "uint8"
          else x for x in y.values])))
zeroproof_fault("LIFT-8.2", "Integers are rounded to bfloat16 twice, by way of float32.",
    "zeroproof.training.targets._to_odd", lambda real, y: y)
fault("LIFT-8.3", "Truth values lift as 0 and 1.", lift=lambda lift, y: lift(_bool_as_uint8(y)))
fault("LIFT-8.3", "Truth values have an orientation.",
    orientation=lambda orientation, y: orientation(_bool_as_uint8(y)))
fault("LIFT-8.3", "Complex targets are refused with ValueError.",
    as_floats=lambda floats, y: int("") if y.dtype.startswith("complex") else floats(y))
fault("LIFT-9.1", "An open interval is taken for its finite end.",
    lift_interval=lambda real, low, high: (real(low, high)[0], real(low, high.with_values([a if
        math.isinf(b) else b for a, b in zip(low.values, high.values, strict=True)]))[1]))
fault("LIFT-9.2", "A lower end may lie above the upper one.",
    check_interval=lambda real, low, high: low.shape == high.shape or real(low, high))
zeroproof_fault("LIFT-9.2", "An end that is NaN lifts to an infinity.",
    "zeroproof.training.targets.check_interval",
    lambda real, interval: real(type(interval)(*(end.nan_to_num(0.0) for end in interval))))
zeroproof_fault("LIFT-9.3", "Ends are broadcast.",
    "zeroproof.training.targets.check_same_shape", lambda real, *tensors: None)
fault("LIFT-11.1", "Values are clipped to ±1.",
      as_tuples=lambda tuples, outputs: [part.with_values([min(max(x, -1.0), 1.0) for x in
          part.values]) for part in tuples(outputs)])
fault("LIFT-11.2", "⊥ enters as (0, 0).",
      as_tuples=lambda tuples, outputs: [part.with_values([x * d for x, d in zip(part.values,
          tuples(outputs)[1].values, strict=True)]) for part in tuples(outputs)])
fault("LIFT-11.3", "A tuple enters with a positive denominator.",
    as_tuples=lambda tuples, outputs: (tuples(outputs)[0],
        outputs.first.with_values([abs(q) for q in tuples(outputs)[1].values])))
fault("LIFT-11.4", "A decoded value enters without its gradient.",
    loss_of_outputs=lambda loss, outputs: (loss(outputs) if outputs.form == "tuple"
        else replace(loss(outputs), gradient=Array.full(0.0, outputs.first))))
zeroproof_fault("LIFT-11.4", "In the training loss ⊥ enters as (0, 0).",
    "zeroproof.losses.composite.as_tuple",
    lambda real, outputs: (real(outputs) if is_projective(outputs)
        else (real(outputs)[0] * real(outputs)[1], real(outputs)[1])))
