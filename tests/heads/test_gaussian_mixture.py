"""The bottleneck's maths against torch.distributions, closed forms, naive loops and Monte Carlo."""

import math

import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence

from ibca_lightning.heads.gaussian_mixture import (
    GaussianEncoder,
    GaussianMixture,
    bottleneck_loss,
    evidence_against_background,
    gaussian_log_density,
    log_sum_exp,
    restricted_log_prior,
    soft_clamp,
)

B, L, K, D, N = 3, 4, 2, 5, 7
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
LEFT_OUT = -0.5 * D * math.log(2 * math.pi)  # of every log density


def mixture(class_weights: bool = True) -> GaussianMixture:
    torch.manual_seed(0)
    model = GaussianMixture(L, K, D, init_std=1.0, class_weights=class_weights)
    for parameter in (model.raw_log_std, model.background_log_weight):
        torch.nn.init.normal_(parameter, std=0.7)
    if class_weights:
        torch.nn.init.normal_(model.class_log_weight, std=0.7)
    return model.requires_grad_(False)


def points(count: int = N) -> Tensor:
    return torch.randn(B, D, count, generator=torch.Generator().manual_seed(1)).transpose(1, 2)


def density(model: GaussianMixture, z: Tensor) -> Tensor:
    return model(z) + LEFT_OUT


def components(model: GaussianMixture) -> tuple[Tensor, Tensor]:
    return model.mean, soft_clamp(model.raw_log_std).exp()


def test_density_is_that_of_torch_distributions() -> None:
    mean, std = components(mixture())
    for z, tolerance in ((points(), TOLERANCE), (100 * points(), {"rtol": 1e-4, "atol": 1e-3})):
        expected = Independent(Normal(mean, std), 1).log_prob(z[:, :, None])
        found = gaussian_log_density(z, mean, -2 * std.log()) + LEFT_OUT
        torch.testing.assert_close(found, expected, **tolerance)


def test_density_gradient() -> None:
    mean, std = (x.double() for x in components(mixture()))
    inputs = [x.requires_grad_() for x in (points().double(), mean.clone(), std.log())]
    assert torch.autograd.gradcheck(gaussian_log_density, inputs)


def test_log_sum_exp_is_that_of_torch_with_its_gradient() -> None:
    x = torch.randn(3, 4, 5, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    x[0, 0, :4], x[1] = -math.inf, x[1] + 1e4  # what is left out, and what would overflow
    x.requires_grad_()
    torch.testing.assert_close(log_sum_exp(x)[..., 0], x.logsumexp(-1))
    slopes = [
        torch.autograd.grad((y * torch.arange(4.0)).sum(), x)[0] for y in (log_sum_exp(x)[..., 0], x.logsumexp(-1))
    ]
    torch.testing.assert_close(*slopes)


def test_prior_with_every_class_is_a_mixture_of_torch_distributions() -> None:
    model = mixture()
    mean, std = components(model)
    expected = MixtureSameFamily(Categorical(logits=model.log_weight), Independent(Normal(mean, std), 1))
    got = restricted_log_prior(density(model, points()), model.log_weight, torch.ones(B, L))
    torch.testing.assert_close(got, expected.log_prob(points()), **TOLERANCE)


def test_a_class_with_several_looks_is_the_mean_of_their_densities() -> None:
    looks = 3
    torch.manual_seed(0)
    model = GaussianMixture(L, K, D, init_std=1.0, class_components=looks).requires_grad_(False)
    for parameter in (model.raw_log_std, model.class_log_weight, model.background_log_weight):
        torch.nn.init.normal_(parameter, std=0.7)
    mean, std = components(model)
    found = density(model, points())
    assert found.shape == (B, N, L + K)
    for m in range(L + K):
        own = [*range(m * looks, (m + 1) * looks)] if m < L else [L * looks + m - L]
        looks_of_m = Independent(Normal(mean[own][:, None, None], std[own][:, None, None]), 1)
        expected = looks_of_m.log_prob(points()).exp().mean(0).log()
        torch.testing.assert_close(found[..., m], expected, rtol=1e-4, atol=1e-4)


def test_prior_keeps_background_positive_and_unknown_classes() -> None:
    model = mixture()
    mean, std = components(model)
    labels = torch.tensor([[1, 0, -1, 0], [0, 0, 0, 0], [0, 1, 1, -1]], dtype=torch.int8)
    got = restricted_log_prior(density(model, points()), model.log_weight, labels)
    for b, allowed in enumerate(([0, 2, 4, 5], [4, 5], [1, 2, 3, 4, 5])):
        by_hand = MixtureSameFamily(
            Categorical(logits=model.log_weight[allowed]), Independent(Normal(mean[allowed], std[allowed]), 1)
        )
        torch.testing.assert_close(got[b], by_hand.log_prob(points()[b]), **TOLERANCE)


def test_prior_of_excluded_classes_has_no_gradient() -> None:
    model = mixture().requires_grad_()
    labels = torch.tensor([[1, 0, -1, 0]]).expand(B, L)
    restricted_log_prior(density(model, points()), model.log_weight, labels).sum().backward()
    for gradient in (model.mean.grad, model.raw_log_std.grad, model.class_log_weight.grad):
        assert gradient is not None
        moved = gradient.flatten(1).abs().sum(1) > 0 if gradient.dim() > 1 else gradient != 0
        assert moved[:L].tolist() == [True, False, True, False]


def test_evidence_is_that_of_a_naive_loop() -> None:
    model = mixture()
    mean, std = components(model)
    got = evidence_against_background(density(model, points()), model.background_log_weight)
    for b in range(B):
        for n in range(N):
            weighted = [
                (Normal(mean[m], std[m]).log_prob(points()[b, n]).sum() + (m >= L) * model.log_weight[m]).exp().item()
                for m in range(L + K)
            ]
            for l in range(L):  # noqa: E741
                expected = math.log(weighted[l] / sum(weighted[L:]))
                assert math.isclose(got[b, n, l].item(), expected, rel_tol=1e-4, abs_tol=1e-4)


def test_negative_entropy_is_that_of_torch_distributions() -> None:
    log_std = points()
    entropy = Normal(0.0, log_std.exp()).entropy().sum(-1)
    found = bottleneck_loss(log_std, torch.zeros_like(entropy) - LEFT_OUT)
    torch.testing.assert_close(found, -entropy.mean())


def test_bottleneck_averages_to_the_closed_form_for_one_gaussian() -> None:
    """A picture without a positive label, one background component: KL between two Gaussians."""
    torch.manual_seed(2)
    model = GaussianMixture(L, 1, D, init_std=1.0).requires_grad_(False)
    torch.nn.init.normal_(model.raw_log_std, std=0.5)
    mean, log_std = points(1), 0.5 * torch.randn(B, 1, D)
    prior = Normal(model.mean[L], soft_clamp(model.raw_log_std[L]).exp())
    expected = kl_divergence(Normal(mean[:, 0], log_std[:, 0].exp()), prior).sum(1).mean()

    samples = 40_000  # as positions: the loss is the mean over them
    z = mean + log_std.exp() * torch.randn(B, samples, D)
    log_prior = restricted_log_prior(density(model, z), model.log_weight, torch.zeros(B, L))
    got = bottleneck_loss(log_std.expand(-1, samples, -1), log_prior - LEFT_OUT)
    torch.testing.assert_close(got, expected, rtol=0.01, atol=0.0)


def test_bottleneck_averages_to_monte_carlo_for_a_mixture() -> None:
    model, labels = mixture(), torch.tensor([[1, 0, -1, 0], [0, 0, 0, 0], [0, 1, 1, -1]])
    mean, std = components(model)
    q_mean, q_log_std, samples = points(1), 0.3 * points(1), 40_000
    torch.manual_seed(3)
    z = q_mean + q_log_std.exp() * torch.randn(B, samples, D)
    log_prior = restricted_log_prior(density(model, z), model.log_weight, labels)
    got = bottleneck_loss(q_log_std.expand(-1, samples, -1), log_prior - LEFT_OUT)

    estimates = []
    for b, allowed in enumerate(([0, 2, 4, 5], [4, 5], [1, 2, 3, 4, 5])):
        q = Independent(Normal(q_mean[b, 0], q_log_std[b, 0].exp()), 1)
        p = MixtureSameFamily(
            Categorical(logits=model.log_weight[allowed]), Independent(Normal(mean[allowed], std[allowed]), 1)
        )
        draws = q.sample((samples,))
        estimates.append((q.log_prob(draws) - p.log_prob(draws)).mean())
    torch.testing.assert_close(got, torch.stack(estimates).mean(), rtol=0.01, atol=0.0)
    assert got > 0


def test_far_away_points_are_finite() -> None:
    model = mixture().requires_grad_()
    z = (1e3 * points()).requires_grad_()
    found = density(model, z)
    total = restricted_log_prior(found, model.log_weight, torch.zeros(B, L)).sum()
    (total + evidence_against_background(found, model.background_log_weight).softmax(1).square().sum()).backward()
    for tensor in (z, *model.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()


def test_class_weights_do_not_exist_when_nothing_can_learn_them() -> None:
    names = {name for name, _ in mixture(class_weights=False).named_parameters()}
    assert names == {"mean", "raw_log_std", "background_log_weight"}


def test_encoder_without_variance_is_its_mean() -> None:
    encoder = GaussianEncoder(D, 3, variational=False)
    mean, log_std = encoder(*(points() @ weight.T for weight in encoder.weights()))
    assert log_std is None
    torch.testing.assert_close(mean, encoder.mean(points()))


def test_encoder_with_variance_is_its_two_linear_maps() -> None:
    encoder = GaussianEncoder(D, 3, variational=True)
    torch.nn.init.normal_(encoder.log_std.bias)
    mean, log_std = encoder(*(points() @ weight.T for weight in encoder.weights()))
    torch.testing.assert_close(mean, encoder.mean(points()))
    torch.testing.assert_close(log_std, soft_clamp(encoder.log_std(points())))


def test_a_thousand_labels_fit_into_memory() -> None:
    """(B, N, M, D) floats would take 1.5 GB here."""
    model = GaussianMixture(1000, 8, 32)
    found = model(torch.randn(2, 576, 32))
    assert evidence_against_background(found, model.background_log_weight).shape == (2, 576, 1000)
