"""C-GMVAE against the authors' code (numbers made by it), torch.distributions and autograd."""

from collections.abc import Iterator

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from torch.func import jacrev, vmap

from ibca_lightning.heads import CGMVAEHead
from ibca_lightning.heads.peers.latent.c_gmvae import label_contrast, positive_mixture_log_density
from ibca_lightning.losses import masked_bce
from ibca_lightning.system.errors import InputError
from tests.heads.contract import BATCH, CHANNELS, LABELS, features, labels


@pytest.fixture
def noise(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """What `randn_like` gives next."""
    given: list[torch.Tensor] = []
    source: Iterator[torch.Tensor] = iter(given)
    monkeypatch.setattr(torch, "randn_like", lambda x: next(source).reshape(x.shape))
    return given


def small_head(seed: int = 0) -> CGMVAEHead:
    torch.manual_seed(seed)
    return CGMVAEHead(CHANNELS, LABELS, latent=6, embedding=20, dropout=0.0)


def test_logits_and_losses_are_those_of_the_reference(noise: list[torch.Tensor]) -> None:
    """A training step of JunwenBai/c-gmvae (`--reg gmvae`) without dropout, with its noise; then its evaluation."""
    head = CGMVAEHead(3, 2, latent=2, embedding=4, dropout=0.0).train()
    for i, parameter in enumerate(head.parameters()):
        wave = torch.cos(torch.arange(parameter.numel()) * 1.3 + i).reshape(parameter.shape)
        parameter.data.copy_(wave * 2 / parameter.shape[-1] ** 0.5)
    x = torch.sin(torch.arange(36.0)).abs().reshape(3, 3, 2, 2)
    truth = torch.tensor([[1, 0], [1, 1], [0, 1]])
    noise.append(torch.tensor([[0.5, -1.0], [1.5, 0.2], [-0.7, 0.3]]))
    noise.append(torch.tensor([[-0.4, 0.8], [0.1, -1.2], [0.9, 0.6]]))
    output = head(x, truth)
    logits = torch.tensor([[0.0491925, -0.0698273], [0.0145071, -0.1610720], [0.0936433, -0.0689378]])
    torch.testing.assert_close(output.logits, logits, rtol=0, atol=1e-5)
    # The code sums the cross-entropy over the 2 labels. With 2 labels, L / 2 = 1 divides its KL and contrast.
    found = {name: loss.item() for name, loss in output.losses.items()}
    expected = {"label": 1.3696476 / 2, "sample": 1.4350690 / 2, "kl": 6 * 6.0791869, "contrast": 0.6954732}
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-5)
    assert masked_bce(output.logits, truth).item() == pytest.approx(1.4199377 / 2, abs=1e-5)
    at_evaluation = torch.tensor([[0.1450474, -0.0065219], [0.0803576, -0.0316627], [0.0872671, -0.0364269]])
    torch.testing.assert_close(head.eval()(x).logits, at_evaluation, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_features_of_half_precision_are_pooled_in_float32(dtype: torch.dtype) -> None:
    head, x = small_head().eval(), features().to(dtype)
    torch.testing.assert_close(head(x).logits, head(x.float()).logits, rtol=0, atol=1e-6)


def test_prior_is_the_mixture_of_torch() -> None:
    torch.manual_seed(0)
    z, mean, log_variance = torch.randn(BATCH, 6), torch.randn(LABELS, 6), torch.randn(LABELS, 6)
    got = positive_mixture_log_density(z, mean, log_variance, labels() == 1)
    for b, positive in enumerate([[0, 1], [0, 2]]):
        components = Independent(Normal(mean[positive], (0.5 * log_variance[positive]).exp()), 1)
        mixture = MixtureSameFamily(Categorical(torch.ones(2)), components)
        torch.testing.assert_close(got[b], mixture.log_prob(z[b]))
    assert got.isfinite().all()


def test_contrast_by_hand() -> None:
    logits = torch.log(torch.tensor([[1.0, 2.0, 5.0], [1.0, 2.0, 5.0], [1.0, 2.0, 5.0]]))
    truth = torch.tensor([[0, 1, 1], [1, 0, -1], [0, -1, 0]])
    # shares of 1/4 and 5/8; of 1/3 once the unknown label is out; no positive label
    expected = -torch.tensor([torch.tensor([0.25, 0.625]).log().mean(), torch.tensor(1 / 3).log(), 0.0])
    torch.testing.assert_close(label_contrast(logits, truth), expected)


def test_pictures_without_a_positive_label_train_by_their_feature_decodings_alone(noise: list[torch.Tensor]) -> None:
    head, truth = small_head().train(), labels()  # the first two pictures have positive labels
    first, second = torch.randn(BATCH, 6), torch.randn(BATCH, 6)
    noise += [first, second, first[:2], second[:2], first[2:], second[2:]]
    together = head(features(), truth).losses
    with_positive = head(features()[:2], truth[:2]).losses
    without = head(features()[2:], truth[2:]).losses
    for name in ("label", "kl", "contrast"):
        torch.testing.assert_close(together[name], with_positive[name])
        assert without[name] == 0
    assert without["sample"] > 0


def test_unknown_labels_move_nothing() -> None:
    truth = torch.tensor([[1, 0, -1, -1, 0], [1, 1, 0, -1, -1], [0, 0, 1, -1, 0], [-1, -1, -1, -1, -1]])
    head = small_head().train()
    torch.manual_seed(1)
    sum(head(features(), truth).losses.values()).backward()
    embeddings = head.get_parameter("encode_label.layers.0.weight")
    assert embeddings.grad is not None
    assert (embeddings.grad[:, 3] == 0).all()  # unknown everywhere
    assert (embeddings.grad[:, :3].abs().sum(0) > 0).all()


def test_attention_is_the_linearised_network_of_evaluation() -> None:
    head, x = small_head(), features()

    def classify(pooled: torch.Tensor) -> torch.Tensor:
        return head.eval()._logits(pooled[None], head._posterior(pooled[None])[0])[0]

    pooled = x.mean((-2, -1))
    torch.testing.assert_close(head.eval()(x).logits, vmap(classify)(pooled))
    maps = torch.einsum("blc,bchw->blhw", vmap(jacrev(classify))(pooled), x)
    expected = maps.flatten(2).softmax(-1).view_as(maps)
    for training in (True, False):  # without noise and dropout in training too
        torch.testing.assert_close(head.train(training)(x).attention, expected, rtol=1e-4, atol=1e-6)


def test_initial_attention_is_near_uniform() -> None:
    torch.manual_seed(0)
    attention = CGMVAEHead(416, LABELS).eval()(torch.randn(2, 416, 8, 8).relu()).attention * 64
    assert attention.min() > 0.2
    assert attention.max() < 5


def test_zero_weights_turn_losses_off_and_keep_every_parameter() -> None:
    head = CGMVAEHead(CHANNELS, LABELS, kl=0.0, contrast=0.0).train()
    losses = head(features(), labels()).losses
    assert losses["kl"] == 0
    assert losses["contrast"] == 0
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in head.parameters())


@pytest.mark.parametrize(
    ("option", "value"), [("latent", 0), ("embedding", 0), ("kl", -1.0), ("contrast", -0.1), ("dropout", 1.0)]
)
def test_wrong_options_are_refused(option: str, value: float) -> None:
    with pytest.raises(InputError, match=option):
        CGMVAEHead(2, 1, **{option: value})
