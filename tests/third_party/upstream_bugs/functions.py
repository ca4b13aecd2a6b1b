"""Findings about single functions."""

import threading
from importlib import import_module

import torch

from tests.third_party.upstream_bugs import of


@of("0.4.3", "0.6.1")
def half_precision_nan() -> bool:
    losses = import_module("zeroproof.losses")
    P, Q, Y_n, Y_d = (torch.tensor([x], dtype=torch.float16) for x in (0.0, 0.0, 1.0, 0.0))
    half = losses.implicit_loss(P, Q, Y_n, Y_d)
    wide = losses.implicit_loss(P.float(), Q.float(), Y_n.float(), Y_d.float())
    return bool(half.isnan()) and wide.item() == 0


@of("0.4.3", "0.6.1")
def half_precision_zero() -> bool:
    losses = import_module("zeroproof.losses")
    P, Q, Y_n, Y_d = (torch.tensor([x], dtype=torch.float16) for x in (1e-4, 1.0, 0.0, 1.0))
    half = losses.implicit_loss(P, Q, Y_n, Y_d)
    wide = losses.implicit_loss(P.float(), Q.float(), Y_n.float(), Y_d.float())
    return half.item() == 0 and wide.item() > 1e-9


@of("0.4.3", "0.6.1")
def large_target_overflows() -> bool:
    losses = import_module("zeroproof.losses")
    one, large = torch.ones(1), torch.full((1,), 1e20)
    return bool(losses.implicit_loss(one, one, large, one).isnan())


@of("0.4.3")
def nan_through_clamp_and_project() -> bool:
    policies = import_module("zeroproof.autodiff.policies").GradientPolicy
    layers = import_module("zeroproof.layers.scm_rational")
    found = []
    for policy in (policies.CLAMP, policies.PROJECT):
        layer = layers.SCMRationalLayer(0, 1, gradient_policy=policy)
        with torch.no_grad():
            layer.denominator.copy_(torch.tensor([0.0, 1.0]))
        output, bottom = layer(torch.tensor([0.0, 1.0]))  # the first one at the pole
        output.sum().backward()
        found.append(bool(layer.numerator.grad.isnan().any()) and bottom.tolist() == [True, False])
    return all(found)


@of("0.4.3")
def policy_leaks_across_threads() -> bool:
    autodiff, seen = import_module("zeroproof.autodiff.policies"), []
    with autodiff.gradient_policy(autodiff.GradientPolicy.REJECT):
        thread = threading.Thread(target=lambda: seen.append(autodiff.get_policy()))
        thread.start()
        thread.join()
    return seen == [autodiff.GradientPolicy.REJECT]


@of("0.4.3", "0.6.1")
def threshold_from_global_generator() -> bool:
    before = torch.get_rng_state()
    import_module("zeroproof.training").perturbed_threshold(0.0, 1.0)
    return not torch.equal(before, torch.get_rng_state())


@of("0.4.3", "0.6.1")
def rejection_without_gradient() -> bool:
    losses = import_module("zeroproof.losses")
    Q = torch.zeros(3, requires_grad=True)
    loss = losses.rejection_loss(Q.abs() < 0.5, target_coverage=1.0)
    return loss.item() == 1 and not loss.requires_grad


@of("0.4.3")
def nan_through_masked_margin() -> bool:
    losses = import_module("zeroproof.losses")
    Q, finite = torch.tensor([0.0, torch.nan]), torch.tensor([True, False])
    return bool(losses.margin_loss(Q, 0.5, mask_finite=finite).isnan())


@of("0.4.3")
def nan_through_masked_sign() -> bool:
    losses = import_module("zeroproof.losses")
    P, singular = torch.tensor([1.0, torch.nan]), torch.tensor([True, False])
    one, zero = torch.ones(2), torch.zeros(2)
    return bool(losses.sign_consistency_loss(P, one, one, zero, mask_singular=singular).isnan())


@of("0.4.3", "0.6.1")
def shapes_broadcast() -> bool:
    losses = import_module("zeroproof.losses")
    flat, column = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([[1.0], [2.0], [3.0]])
    one = torch.ones(3)
    right = losses.implicit_loss(flat, one, flat, one)
    wrong = losses.implicit_loss(flat, one, column, one[:, None])
    return right.item() == 0 and wrong.item() > 0.1


@of("0.4.3")
def overflow_is_no_bottom() -> bool:
    scm = import_module("zeroproof.scm")
    value, bottom = scm.scm_mul_torch(torch.tensor([-3.0]), torch.tensor([2.0**127]))
    return value.item() == -torch.inf and not bottom.item()


@of("0.6.1")
def quotient_is_bottom() -> bool:
    scm = import_module("zeroproof.scm")
    one, small = (torch.tensor([x], dtype=torch.float16) for x in (1.0, 2.0**-10))
    _, bottom = scm.scm_div_torch(one, small)
    return bool(bottom) and (one / small).item() == 1024


@of("0.4.3")
def nan_through_masked_root() -> bool:
    scm = import_module("zeroproof.scm")
    x = torch.zeros(1, requires_grad=True)
    scm.scm_sqrt_torch(x, torch.tensor([True]))[0].sum().backward()
    return bool(x.grad.isnan())


@of("0.4.3", "0.6.1")
def lift_in_a_graph() -> bool:
    training = import_module("zeroproof.training")
    return training.lift_targets(torch.ones(1, requires_grad=True))[0].requires_grad


@of("0.4.3", "0.6.1")
def truth_values_lifted() -> bool:
    training = import_module("zeroproof.training")
    return training.lift_targets(torch.tensor([True]))[0].dtype == torch.bool


@of("0.4.3", "0.6.1")
def integers_stay_integers() -> bool:
    training = import_module("zeroproof.training")
    return training.lift_targets(torch.tensor([1]))[1].dtype == torch.int64


@of("0.4.3", "0.6.1")
def negative_threshold() -> bool:
    return import_module("zeroproof.training").perturbed_threshold(-1.0, -1.0) == -1


@of("0.4.3")
def zero_denominator_in_gap() -> bool:
    inference = import_module("zeroproof.inference")
    config = inference.InferenceConfig(tau_infer=0.0, tau_train=1.0)
    found = inference.strict_inference(torch.zeros(1), torch.zeros(1), config=config)
    return not found.bottom_mask.item() and found.gap_mask.item()


@of("0.4.3")
def infinite_tuple_decoded() -> bool:
    inference = import_module("zeroproof.inference")
    found = inference.strict_inference(torch.tensor([torch.inf]), torch.ones(1))
    return found.decoded.item() == torch.inf and not found.bottom_mask.item()


@of("0.4.3", "0.6.1")
def threshold_rounded() -> bool:
    inference = import_module("zeroproof.inference")
    P = torch.tensor([2.0**-24], dtype=torch.float16)
    config = inference.InferenceConfig(tau_infer=1.3 * 2.0**-24)
    return not inference.strict_inference(P, P, config=config).bottom_mask.item()


@of("0.4.3", "0.6.1")
def decode_broadcasts() -> bool:
    inference = import_module("zeroproof.inference")
    return inference.strict_inference(torch.ones(3), torch.ones(1, 3)).decoded.shape == (1, 3)


@of("0.4.3", "0.6.1")
def nan_not_clamped() -> bool:
    policies = import_module("zeroproof.autodiff.policies").GradientPolicy
    layers = import_module("zeroproof.layers.scm_rational")
    layer = layers.SCMRationalLayer(0, 0, gradient_policy=policies.CLAMP)
    output, bottom = layer(torch.ones(1))
    output.backward(torch.tensor([torch.nan]))
    return bool(layer.numerator.grad.isnan()) and not bottom.item()


@of("0.4.3", "0.6.1")
def implicit_loss_infinite() -> bool:
    losses = import_module("zeroproof.losses")
    P, Q, Y_n, Y_d = (torch.tensor([x]) for x in (0.0, 1e15, 1.0, 0.0))
    return losses.implicit_loss(P, Q, Y_n, Y_d).item() == torch.inf


@of("0.4.3")
def margin_over_all() -> bool:
    losses = import_module("zeroproof.losses")
    Q, finite = torch.zeros(2), torch.tensor([True, False])
    return losses.margin_loss(Q, 1.0, mask_finite=finite).item() == 0.5  # of one finite target


@of("0.4.3", "0.6.1")
def sign_over_all() -> bool:
    losses = import_module("zeroproof.losses")
    one, zero, singular = torch.ones(2), torch.zeros(2), torch.tensor([True, False])
    loss = losses.sign_consistency_loss(-one, zero, one, zero, mask_singular=singular)
    return loss.item() == 1  # of one singular target, at the opposite of it


@of("0.4.3", "0.6.1")
def sign_pushes_no_tuple() -> bool:
    losses = import_module("zeroproof.losses")
    P, Q = (torch.zeros(1, requires_grad=True) for _ in "PQ")
    losses.sign_consistency_loss(P, Q, torch.ones(1), torch.zeros(1)).backward()
    return P.grad.item() < -1e4


@of("0.4.3", "0.6.1")
def nan_of_nothing() -> bool:
    losses, none = import_module("zeroproof.losses"), torch.zeros(0)
    return bool(losses.sign_consistency_loss(none, none, none, none).isnan())
