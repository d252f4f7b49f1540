"""Metric learning and the contrast of cells: hand-worked cases."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ibca_lightning.heads import HeadOutput
from ibca_lightning.system.errors import InputError
from ibca_lightning.terms import CellContrast, MetricLearning, Setting, Step
from ibca_lightning.terms.cell_contrast import contrast, spaced
from ibca_lightning.terms.metric_learning import jaccard, supervised_contrast
from tests.terms.contract import wave


def step(features: Tensor, labels: Tensor, mask: Tensor | None = None) -> Step:
    attention = torch.full((*labels.shape, *features.shape[-2:]), 1 / features[0, 0].numel())
    output = HeadOutput(labels.float(), attention, {})
    batch = {"index": torch.arange(len(labels)), "mask": mask}
    return Step(batch, labels, output, features, torch.nn.Identity(), lambda _: output)


def metric(x: Tensor, labels: list[list[int]]) -> Tensor:
    """Of pictures (B, C) of one cell."""
    return MetricLearning(1.0, 0.5)(step(x[..., None, None], torch.tensor(labels)))["metric_learning"]


def test_equal_labels_are_the_contrast_of_three_points_by_hand():
    x = F.normalize(wave(3, 2).float(), dim=1)
    e = (x @ x.T / 0.5).exp()
    expected = 0.0
    for i in range(3):
        others = [j for j in range(3) if j != i]
        expected -= sum(math.log(e[i, j] / sum(e[i, k] for k in others)) for j in others) / 2 / 3
    assert float(metric(2 * x, [[1, 0]] * 3)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("pictures", [2, 5])
def test_equal_embeddings_cost_the_log_of_the_others(pictures):
    x = torch.ones(pictures, 3)
    assert float(metric(x, [[1, 1]] * pictures)) == pytest.approx(math.log(pictures - 1), abs=1e-6)


@pytest.mark.parametrize("labels", [[[1, 0], [0, 1]], [[0, 0], [0, 0]], [[1, -1], [-1, 1]], [[-1, -1], [1, 1]]])
def test_without_a_pair_it_is_zero_with_a_gradient(labels):
    x = wave(2, 3).float().requires_grad_()
    value = metric(x, labels)
    value.backward()
    assert value.item() == 0
    assert x.grad.abs().sum() == 0


def test_pairs_are_counted_by_what_they_share_of_what_is_known():
    labels = torch.tensor([[1, 1, 0, 0], [1, 0, 1, 0], [1, -1, 0, 0], [0, 0, 0, 0], [-1, -1, -1, -1]])
    pairs = jaccard(labels)
    assert pairs[0].tolist() == pytest.approx([1, 1 / 3, 1, 0, 0])
    assert pairs[2].tolist() == pytest.approx([1, 0.5, 1, 0, 0])
    assert torch.equal(pairs, pairs.T)
    rows = F.normalize(wave(3, 2), dim=1)
    p = [(rows[0] @ rows[j] / 0.5).exp() for j in (1, 2)]
    weights = torch.tensor([[9, 0.25, 0.75], [0, 9, 0], [0, 0, 9.0]])
    expected = -sum(w * math.log(value / sum(p)) for w, value in zip((0.25, 0.75), p, strict=True))
    assert float(supervised_contrast(rows, weights, 0.5)) == pytest.approx(expected, rel=1e-6)


def test_the_second_nearest_of_three_centroids_counts_three_times():
    z = F.normalize(torch.tensor([[1.0, 0.1], [1.0, 0.3]]), dim=1)
    term = MetricLearning(1.0, 0.5, clusters=3)
    term.begin(Setting(["a"], channels=2))
    term.centroids.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]))
    value = float(term(step(z[..., None, None], torch.tensor([[1], [1]])))["metric_learning"])
    pair = (z[0] @ z[1] / 0.5).exp()
    expected = -sum((pair / (pair + 3 * (row[1] / 0.5).exp())).log() for row in z) / 2  # the second nearest: (0, 1)
    assert value == pytest.approx(float(expected), rel=1e-5)
    moved = F.normalize(0.9 * torch.tensor([1.0, 0.0]) + 0.1 * z.mean(0), dim=0)
    torch.testing.assert_close(term.centroids, torch.stack([moved, torch.tensor([0.0, 1]), torch.tensor([-1.0, 0])]))


def test_cells_have_the_number_of_the_authors_code():
    inside, beside = (F.normalize(x, dim=1) for x in (wave(3, 4), wave(5, 4, a=1, b=2)))
    assert float(contrast(inside, beside, 0.1)) == pytest.approx(11.63987056740173, rel=1e-10)


def test_cells_come_from_the_masks_of_present_classes_and_from_beside_them():
    features = wave(3, 4, 2, 2).requires_grad_()
    mask = torch.zeros(3, 2, 4, 4, dtype=torch.bool)
    mask[0, 0, :2] = True  # the two upper cells
    mask[2, :, 0, 0] = True  # of a picture whose classes are unknown
    labels = torch.tensor([[1, 0], [0, 1], [-1, -1]])
    value = CellContrast(1.0)(step(features, labels, mask))["cell_contrast"]
    cells = F.normalize(features.flatten(2).transpose(1, 2), dim=-1)
    expected = contrast(cells[0, :2], torch.cat([cells[0, 2:], cells[1]]), 0.1)
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    value.backward()
    assert features.grad[:2].abs().sum() > 0
    assert features.grad[2].abs().sum() == 0
    mask[0, 0, :, 2:] = False  # one cell is no pair
    assert float(CellContrast()(step(features, labels, mask))["cell_contrast"]) == 0


def test_cells_are_spaced_evenly():
    of = torch.tensor([[0, 1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 1, 0, 1], [0] * 7]).bool()
    assert spaced(of, 3).int().tolist() == [[0, 0, 1, 0, 1, 0, 1], [0, 0, 0, 0, 1, 0, 1], [0] * 7]
    assert torch.equal(spaced(of, 9), of)


def test_a_frozen_map_is_said_once(caplog):
    term = CellContrast()
    for _ in range(2):
        term(step(torch.ones(1, 2, 1, 1), torch.ones(1, 1), torch.ones(1, 1, 2, 2, dtype=torch.bool)))
    assert [record.message for record in caplog.records] == [
        "CellContrast changes nothing where the backbone is frozen"
    ]


@pytest.mark.parametrize(
    "wrong", [lambda: MetricLearning(temperature=0), lambda: MetricLearning(clusters=1), lambda: CellContrast(cells=0)]
)
def test_wrong_options_are_refused(wrong):
    with pytest.raises(InputError):
        wrong()
