"""What holds for every term of the package."""

import pytest
import torch

from ibca_lightning.terms import Terms
from tests.terms.contract import ROWS, TERMS, Student, build, given, setting, step

pytestmark = pytest.mark.parametrize("name", TERMS)
UNLABELLED = ("Distillation", "MeanTeaching", "NoiseIntervention", "Reconstruction")  # what needs no label
KINDS = ("mixed", "no positive", "all unknown")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("labels", "rows", "masks"), [(1, 1, True), (3, ROWS, False), (1000, 3, True)])
def test_losses_are_finite_and_take_gradients(name: str, kind: str, labels: int, rows: int, masks: bool) -> None:
    term, student, table = build(name), Student(labels), given(labels, kind)
    term.begin(setting(table))
    for _ in range(2):
        term.begin_epoch()
        seen = step(student, table, torch.arange(rows), masks)
        corrected = term.labels(seen.batch, seen.labels)
        assert corrected.shape == seen.labels.shape
        assert torch.equal(corrected == -1, seen.labels == -1), "an unknown label stays unknown"
        losses = term(seen)
        assert all(loss.shape == () and loss.isfinite() for loss in losses.values())
        total = sum(losses.values()) + seen.output.logits.sum() * 0
        total.backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in student.parameters())
        if kind == "all unknown" and name not in UNLABELLED:
            assert all(loss.item() == 0 for loss in losses.values()), "an unknown label costs nothing"
        term.after_step(student)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_is_finite(name: str, dtype: torch.dtype) -> None:
    term, student, table = build(name), Student(3), given(3)
    term.begin(setting(table))
    with torch.no_grad():
        student.score.weight.mul_(1e4)
        student.look.weight.mul_(1e3)  # attention on one cell, and none at all elsewhere
    with torch.autocast("cpu", dtype=dtype):
        losses = term(step(student, table, torch.arange(ROWS)))
    (sum(losses.values()) + sum(p.sum() * 0 for p in student.parameters())).backward()
    assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())
    assert all(p.grad.isfinite().all() for p in student.parameters())


def test_building_draws_nothing_and_begin_leaves_no_trace(name: str) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    terms = Terms([build(name)])
    assert torch.equal(torch.get_rng_state(), before)
    terms.begin(setting(given(3)))
    assert torch.equal(torch.get_rng_state(), before)
