"""AttVIB against the authors' code (numbers made by it), torch.distributions and autograd."""

from collections.abc import Iterator

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence
from torch.func import jacrev, vmap

from ibca_lightning.heads import AttVIBHead
from ibca_lightning.heads.peers.latent.att_vib import standard_normal_kl
from ibca_lightning.system.errors import InputError
from tests.heads.contract import CHANNELS, LABELS, features, labels


@pytest.fixture
def noise(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """What `randn_like` gives next, in the shape asked for."""
    given: list[torch.Tensor] = []
    source: Iterator[torch.Tensor] = iter(given)
    monkeypatch.setattr(torch, "randn_like", lambda x: next(source).reshape(x.shape))
    return given


def test_logits_and_divergence_are_those_of_the_reference(noise: list[torch.Tensor]) -> None:
    """A training step of ashleylqx/AIB (CUB experiments, WRN), the backbone the identity, its noise given."""
    head = AttVIBHead(3, 2, latent=4).train()
    for i, parameter in enumerate(head.parameters()):
        parameter.data.copy_(torch.cos(torch.arange(parameter.numel()) * 1.3 + i).reshape(parameter.shape))
    head.attention_std.bias.data.fill_(4.0)  # so that the noise of the attention counts
    x = torch.sin(torch.arange(24.0)).abs().reshape(2, 3, 2, 2)
    noise.append(torch.tensor([[0.5, -1.0, 0.25, 2.0], [1.5, 0.0, -0.5, 1.0]]))
    noise.append(torch.tensor([[1.0, -1.0, 0.5, -0.5], [0.2, 0.4, -0.6, -0.8]]))
    seen: dict[str, torch.Tensor] = {}
    head.encode.register_forward_hook(lambda _m, _i, output: seen.update(output=output))
    logits = head(x, torch.ones(2, 2, dtype=torch.int8)).logits
    expected = torch.tensor([[-1.3466046, 0.6423591], [-2.0528080, 0.3917374]])
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)
    mean, raw = seen["output"].chunk(2, dim=-1)
    std = torch.nn.functional.softplus(raw - 5)
    # the code takes the divergence at exp(s), s being what it draws z with
    assert standard_normal_kl(mean, std.exp()).mean().item() == pytest.approx(2.9474616, abs=1e-5)


def test_bottleneck_is_the_divergence_of_torch() -> None:
    torch.manual_seed(0)
    head = AttVIBHead(CHANNELS, LABELS, latent=6, beta=0.3).train()
    seen: dict[str, torch.Tensor] = {}
    head.encode.register_forward_hook(lambda _m, _i, output: seen.update(output=output))
    loss = head(features(), labels()).losses["bottleneck"]
    mean, raw = seen["output"].chunk(2, dim=-1)
    posterior = Independent(Normal(mean, torch.nn.functional.softplus(raw - 5)), 1)
    prior = Independent(Normal(torch.zeros_like(mean), torch.ones_like(mean)), 1)
    torch.testing.assert_close(loss, 0.3 / LABELS * kl_divergence(posterior, prior).mean())


def test_evaluation_is_the_mean_of_the_noise(noise: list[torch.Tensor]) -> None:
    torch.manual_seed(0)
    head, x = AttVIBHead(CHANNELS, LABELS), features()
    noise += [torch.zeros(4, 24), torch.zeros(4, 256)]
    torch.testing.assert_close(head.eval()(x).logits, head.train()(x).logits)


def test_noise_reaches_the_logits(noise: list[torch.Tensor]) -> None:
    torch.manual_seed(0)
    head, x = AttVIBHead(CHANNELS, LABELS).train(), features()
    plain, quiet, loud = torch.zeros(4, 24), torch.zeros(4, 256), 50 * torch.ones(4, 256)
    noise += [plain, quiet, plain, loud, plain + 50, quiet]
    logits = [head(x).logits for _ in range(3)]
    assert (logits[0] - logits[1]).abs().max() > 1e-3
    assert (logits[0] - logits[2]).abs().max() > 1e-3


def test_attention_is_the_linearised_classifier_on_the_attended_map() -> None:
    torch.manual_seed(0)
    head, x = AttVIBHead(CHANNELS, LABELS).eval(), features()
    a = head.attention_mean(x).sigmoid()
    attended = x + a * x

    def classify(pooled: torch.Tensor) -> torch.Tensor:
        return head.classify(head.decode(head.encode(pooled)[: head.latent]))

    pooled = attended.mean((-2, -1))
    torch.testing.assert_close(head(x).logits, vmap(classify)(pooled))
    maps = torch.einsum("blc,bchw->blhw", vmap(jacrev(classify))(pooled), attended)
    torch.testing.assert_close(head(x).attention, maps.flatten(2).softmax(-1).view_as(maps), rtol=1e-4, atol=1e-6)


def test_without_beta_the_loss_is_gone() -> None:
    assert AttVIBHead(CHANNELS, LABELS, beta=0.0).train()(features(), labels()).losses == {}


def test_divergence_of_a_vanishing_deviation_is_finite() -> None:
    head = AttVIBHead(CHANNELS, LABELS).train()
    head.encode.bias.data.fill_(-1e4)
    loss = head(features(), labels()).losses["bottleneck"]
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in head.parameters())


@pytest.mark.parametrize(("option", "value"), [("latent", 0), ("beta", -0.1)])
def test_wrong_options_are_refused(option: str, value: float) -> None:
    with pytest.raises(InputError, match=option):
        AttVIBHead(2, 1, **{option: value})
