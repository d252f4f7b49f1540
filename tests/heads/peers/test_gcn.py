"""ML-GCN's graph and logits against the authors' code; what its graph is made of."""

import warnings

import pytest
import torch

from ibca_lightning.heads import GCNHead
from ibca_lightning.heads.peers.graphs.gcn import adjacency, label_graph
from ibca_lightning.system.errors import InputError
from tests.terms.contract import wave

# A case of three labels by the authors' code (util.py, models.py): how often each comes, and two together.
NUMBER, TOGETHER = torch.tensor([10.0, 5, 4]), torch.tensor([[0.0, 4, 1], [4, 0, 3], [1, 3, 0]])
KNOWN = NUMBER[:, None].expand(3, 3)
ADJACENCY = [[1, 0.12499994, 0], [0.24999975, 1, 0.24999975], [0, 0.12499994, 1]]
GRAPH = [[0.88888894, 0.19244993, 0], [0.09622502, 0.66666689, 0.09622502], [0, 0.19244993, 0.88888894]]
LOGITS = [[4.11541317, 0.27516452, -0.76822253], [-4.00007535, -0.26972463, 0.74748151]]


def exactly(found: torch.Tensor, expected: list[list[float]]) -> None:
    torch.testing.assert_close(found.double(), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-7)


def test_the_graph_is_that_of_the_authors_code() -> None:
    exactly(adjacency(TOGETHER, KNOWN, 0.4, 0.25), ADJACENCY)
    exactly(label_graph(TOGETHER, KNOWN, 0.4, 0.25), GRAPH)


def test_same_weights_same_logits_as_the_authors_code() -> None:
    head = GCNHead(4, 3, hidden=2).double()
    values = {"first": wave(2, 3, a=0.5), "second": wave(3, 4, a=0.25), "embedding": wave(3, 2)}
    for name, value in values.items():
        setattr(head, name, torch.nn.Parameter(value))
    head.links.copy_(label_graph(TOGETHER, KNOWN, 0.4, 0.25))
    output = head(wave(2, 4, a=0.8)[..., None, None])
    torch.testing.assert_close(output.logits.double(), torch.tensor(LOGITS).double(), rtol=0, atol=2e-6)


def test_each_channel_is_read_at_its_largest_position() -> None:
    head = GCNHead(2, 1, hidden=4)
    x = torch.tensor([[[[3.0, 1, 0]], [[0, 2, 5]]]])
    weight = torch.stack([head(torch.eye(2)[:, :, None, None]).logits[at, 0] for at in range(2)])
    output = head(x)
    torch.testing.assert_close(output.logits[0, 0], weight @ torch.tensor([3.0, 5]))
    expected = torch.stack([3 * weight[0], torch.tensor(0.0), 5 * weight[1]])
    torch.testing.assert_close(output.contribution[0, 0, 0], expected)
    torch.testing.assert_close(output.attention[0, 0, 0], (weight @ x[0, :, 0]).softmax(-1))


def test_the_graph_is_made_of_known_labels_and_stays_in_the_weights() -> None:
    labels = torch.tensor([[1, 1, 0], [1, -1, 0], [1, -1, 0], [0, 1, 0], [0, 0, 1], [0, 1, -1]], dtype=torch.int8)
    head = GCNHead(4, 3)
    assert head.needs_labels
    torch.testing.assert_close(head.links, torch.eye(3))
    head.see_labels(labels)
    # P(2 | 1) = 1 of 1 picture in which both are known, P(1 | 2) = 1 of 3, below the threshold.
    exactly(
        head.links, label_graph(torch.tensor([[0, 1, 0], [0, 0, 0], [0, 0, 0]]), torch.ones(3, 3), 0.4, 0.25).tolist()
    )
    assert (head.links > 0).int().tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    other = GCNHead(4, 3)
    other.load_state_dict(head.state_dict())
    assert torch.equal(other.links, head.links)


def test_a_loop_that_never_shows_it_the_labels_is_told_once() -> None:
    x, y = torch.rand(2, 4, 2, 2), torch.tensor([[1, 0, 1]] * 2)
    seen, restored, head = GCNHead(4, 3), GCNHead(4, 3), GCNHead(4, 3)
    seen.see_labels(torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]]))
    restored.load_state_dict(seen.state_dict())
    with pytest.warns(UserWarning, match=r"GCNHead: its graph joins no labels, as nobody called see_labels"):
        head(x, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for quiet in (head, seen, restored, GCNHead(4, 3).eval()):
            quiet(x, y)


def test_neighbours_have_a_say() -> None:
    """Of joined labels the one's embedding moves the other's logit; of others it does not."""
    head = GCNHead(4, 3)
    head.see_labels(torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]]))
    x = torch.rand(1, 4, 2, 2)
    before = head(x).logits
    head.embedding.data[1] += 1
    moved = (head(x).logits - before).abs()[0] > 1e-6
    assert moved.tolist() == [True, True, False]


@pytest.mark.parametrize(
    "options", [{"threshold": 0.0}, {"threshold": 1.1}, {"weight": 1.0}, {"weight": -1}, {"hidden": 0}]
)
def test_wrong_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"GCNHead's {next(iter(options))}"):
        GCNHead(4, 3, **options)
