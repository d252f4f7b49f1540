"""The parts of IBCAHead that say what a position shows, where a class looks, and what it makes of both."""

import math

import pytest
import torch

from ibca_lightning.heads.attended_feature import AttendedFeatureClassifier
from ibca_lightning.heads.class_evidence import ClassEvidence, ClassQueries

BATCH, CHANNELS, LABELS, HEADS, POSITIONS = 2, 6, 3, 4, 5


def seen(weights: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """What each position shows, (B, A, L, N)."""
    return torch.einsum("alc,bcn->baln", weights, features)


def x() -> torch.Tensor:
    return torch.randn(BATCH, CHANNELS, POSITIONS, generator=torch.Generator().manual_seed(0))


def test_evidence_by_hand() -> None:
    evidence = ClassEvidence(2, 1, 2)
    evidence.weight.data = torch.tensor([[[3.0, 4.0]], [[0.0, -2.0]]])
    evidence.scale.data = torch.tensor([[2.0], [0.5]])
    # directions (0.6, 0.8) and (0, -1)
    expected = [[[2 * (0.6 + 1.6), 2 * (-0.6)]], [[0.5 * -2.0, 0.0]]]
    found = seen(evidence(), torch.tensor([[[1.0, -1.0], [2.0, 0.0]]]))
    torch.testing.assert_close(found, torch.tensor([expected]))


def test_length_of_a_weight_vector_does_not_matter_and_its_scale_does() -> None:
    evidence = ClassEvidence(CHANNELS, LABELS, HEADS)
    before = seen(evidence(), x())
    evidence.weight.data[1, 2] *= 7
    torch.testing.assert_close(seen(evidence(), x()), before)
    evidence.scale.data[1, 2] = 7
    after = seen(evidence(), x())
    torch.testing.assert_close(after[:, 1, 2], 7 * before[:, 1, 2])
    changed = torch.zeros(HEADS, LABELS, dtype=torch.bool)
    changed[1, 2] = True
    assert torch.equal((after != before).any(-1).any(0), changed)


def test_evidence_starts_at_unit_scale_in_directions_that_differ() -> None:
    torch.manual_seed(0)
    evidence = ClassEvidence(64, LABELS, HEADS)
    assert (evidence.scale == 1).all()
    directions = evidence().flatten(0, 1)  # one row a kind and class
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(HEADS * LABELS))
    similarity = directions @ directions.T - torch.eye(HEADS * LABELS)
    assert similarity.abs().max() < 0.5


def test_evidence_of_no_direction_is_none() -> None:
    evidence = ClassEvidence(CHANNELS, LABELS, HEADS)
    evidence.weight.data.zero_()
    found = evidence()
    found.sum().backward()
    assert found.abs().max() == 0
    assert evidence.weight.grad is not None
    assert evidence.weight.grad.isfinite().all()


def test_queries_are_float32_whatever_they_are_stored_in() -> None:
    queries = ClassQueries(CHANNELS, LABELS, HEADS)
    assert torch.equal(queries(), queries.query)
    assert queries.half()().dtype == torch.float32


def gelu(value: float) -> float:
    return value * 0.5 * (1 + math.erf(value / math.sqrt(2)))


def test_classifier_by_a_loop() -> None:
    torch.manual_seed(0)
    classifier = AttendedFeatureClassifier(CHANNELS, LABELS, hidden=4, dropout=0.5).eval()
    for parameter in classifier.parameters():
        parameter.data.normal_()
    pooled = torch.randn(BATCH, LABELS, CHANNELS)
    found = classifier(pooled)
    norm, layer = classifier.norm, classifier.hidden
    for b in range(BATCH):
        for label in range(LABELS):
            v = pooled[b, label].tolist()
            mean = sum(v) / CHANNELS
            deviation = math.sqrt(sum((value - mean) ** 2 for value in v) / CHANNELS + norm.eps)
            unit = [(v[c] - mean) / deviation * norm.weight[c].item() + norm.bias[c].item() for c in range(CHANNELS)]
            logit = 0.0
            for h in range(4):
                inner = sum(layer.weight[h, c].item() * unit[c] for c in range(CHANNELS)) + layer.bias[h].item()
                logit += classifier.output[label, h].item() * gelu(inner)
            assert found[b, label].item() == pytest.approx(logit, abs=1e-5)


def test_classifier_starts_near_zero() -> None:
    torch.manual_seed(0)
    classifier = AttendedFeatureClassifier(256, 50, hidden=128, dropout=0.2).eval()
    assert classifier(10 * torch.randn(8, 50, 256)).abs().max() < 0.5


def test_classifier_drops_in_training_alone() -> None:
    torch.manual_seed(0)
    classifier = AttendedFeatureClassifier(CHANNELS, LABELS, hidden=8, dropout=0.5).train()
    pooled = torch.randn(BATCH, LABELS, CHANNELS)
    assert not torch.equal(classifier(pooled), classifier(pooled))
    classifier.eval()
    assert torch.equal(classifier(pooled), classifier(pooled))
