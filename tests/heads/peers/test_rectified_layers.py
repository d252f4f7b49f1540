"""The written-out linearisation against autograd."""

import torch
import torch.nn.functional as F
from torch.func import jacrev, vmap

from ibca_lightning.heads.layers import Float32Linear
from ibca_lightning.heads.peers.latent.rectified_layers import RectifiedLayers, class_activation, normalise_pull_back

B, L = 5, 3


def test_network_is_the_sequential_one() -> None:
    torch.manual_seed(0)
    net, x = RectifiedLayers((4, 6, 2), slopes=(0.0, 0.1)), torch.randn(B, 4)
    first, second = net.layers
    plain = torch.nn.Sequential(first, torch.nn.ReLU(), second, torch.nn.LeakyReLU(0.1))
    torch.testing.assert_close(net(x), plain(x))


def test_linearised_network_is_the_one_without_dropout() -> None:
    torch.manual_seed(0)
    net = RectifiedLayers((4, 6, 7, 2), slopes=(0.0, 0.3, 0.1), dropout=0.9)
    x, v = torch.randn(B, 4), torch.randn(B, L, 2)
    in_training, pull_back = net.train().linearise(x)
    torch.testing.assert_close(in_training, net.eval()(x))
    torch.testing.assert_close(pull_back(v), v @ vmap(jacrev(net))(x))


def test_pull_back_of_a_norm_is_the_jacobian() -> None:
    torch.manual_seed(0)
    u, v = torch.randn(B, 4), torch.randn(B, L, 4)
    expected = v @ vmap(jacrev(lambda x: F.normalize(x, dim=-1)))(u)
    torch.testing.assert_close(normalise_pull_back(u, v), expected)
    assert normalise_pull_back(torch.zeros(1, 4), v[:1]).isfinite().all()


def test_dropout_is_of_training_alone() -> None:
    torch.manual_seed(0)
    net, x = RectifiedLayers((4, 400), dropout=0.5), torch.ones(1, 4)
    kept = net.eval()(x)
    dropped = net.train()(x)
    share = (dropped[kept > 0] == 0).float().mean()
    assert 0.35 < share < 0.65
    torch.testing.assert_close(dropped[dropped > 0], 2 * kept[dropped > 0])


def test_linear_is_exact_under_autocast_and_with_half_weights() -> None:
    torch.manual_seed(0)
    layer, x = Float32Linear(300, 2), torch.randn(B, 300)
    exact = layer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(layer(x), exact)  # bfloat16 is 1e-2 apart
    half = layer.to(torch.bfloat16)
    assert half(x.bfloat16()).dtype == torch.float32


def test_class_activation_by_hand() -> None:
    features = torch.arange(4.0).reshape(1, 2, 1, 2)  # channels (0, 1) and (2, 3)
    jacobian = torch.tensor([[[1.0, 0.0], [1.0, -2.0]]])
    torch.testing.assert_close(class_activation(jacobian, features), torch.tensor([[[0.0, 1.0], [-4.0, -5.0]]]))
