"""The mean teacher and CRCKD's relations: the numbers of the authors' code, and what they are of."""

import pytest
import torch
import torch.nn.functional as F

from ibca_lightning.system.errors import InputError
from ibca_lightning.terms import MeanTeaching
from ibca_lightning.terms.mean_teaching import class_centres, mirrored, relation_contrast, relation_keeping
from tests.terms.contract import ROWS, Student, given, setting, step, wave


def test_relations_have_the_numbers_of_the_authors_code():
    own, taught = (F.normalize(wave(2, 4, a=1.1, b=b) @ w.T, dim=-1)
                   for b, w in ((0, wave(3, 4, a=0.7)), (0.2, wave(3, 4, a=0.9, b=1))))  # fmt: skip
    memories = [F.normalize(wave(6, 3, a=a, b=b), dim=-1) for a, b in ((1.3, 0), (1.7, 0.5))]
    members = torch.tensor([[1, 0]] * 3 + [[0, 1]] * 3).bool()
    alike = torch.tensor([[1, 1, 0, 0, 0, 0], [0, 0, 0, 1, 1, 0]]).bool()
    unlike = torch.tensor([[0, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0]]).bool()
    contrast = 0.0
    for seen, memory in zip((own, taught), memories[::-1], strict=True):
        likeness = (seen @ memory.T / 0.07).exp()
        scale = 6 * likeness[alike | unlike].mean()
        contrast += float(relation_contrast(likeness / scale, alike, unlike, 6).mean())
    assert contrast == pytest.approx(9.83851257420815, rel=1e-9)
    for seen, memory in zip((own, taught), memories, strict=True):
        memory[[0, 3]] = F.normalize((memory[[0, 3]] + seen) / 2, dim=-1)
    centres = [class_centres(memory, members) for memory in memories]
    keeping = relation_keeping(own, taught, *centres, torch.tensor([True, True]))
    assert float(keeping.mean()) == pytest.approx(0.9806516470455346, rel=1e-9)


def begun(labels: torch.Tensor, **options: float) -> MeanTeaching:
    term = MeanTeaching(**options)
    term.begin(setting(labels))
    term.progress = 1.0
    return term


def test_by_hand_and_the_teacher_has_no_gradient():
    student, table = Student(3), given(3)
    term = begun(table, weight=2.0)
    first = step(student, table, torch.arange(4))
    assert term(first)["mean_teaching"].item() < 1e-12, "a teacher that is the student, of 1x1 layers"
    term.after_step(student)
    with torch.no_grad():
        student.score.bias.add_(1)  # the teacher is where the student was
    seen, asked = step(student, table, torch.arange(4)), []
    seen = seen._replace(again=lambda batch: asked.append(batch) or first._replace(batch=batch))
    found = term(seen)["mean_teaching"]
    difference = seen.output.logits.sigmoid() - first.output.logits.sigmoid()
    assert found.item() == pytest.approx(2 * difference.square().mean().item(), rel=1e-5)
    assert torch.equal(asked[0]["features"][0], seen.features.flip(-1)), "it sees the mirror image"
    found.backward()
    assert student.score.bias.grad.abs().sum() > 0


def test_it_rises_and_pictures_are_mirrored():
    table, student = given(3), Student(3)
    term, values = begun(table), []
    term.after_step(student)
    with torch.no_grad():
        student.score.bias.add_(1)
    for progress in (0.0, 0.2, 0.4, 1.0):
        term.progress = progress
        values.append(term(step(student, table, torch.arange(4)))["mean_teaching"].item())
    rises = [value / values[-1] for value in values]
    assert rises == pytest.approx([0.0067379, 0.2865048, 1, 1], rel=1e-4)
    x = torch.arange(6).view(1, 1, 2, 3)
    assert torch.equal(mirrored({"image": x, "id": ["a"]})["image"], x.flip(-1))


def test_memories_take_what_both_saw_and_what_is_drawn_is_of_the_step():
    table = given(3)
    term = begun(table, relations=1.0, rows=5)
    assert ROWS > 5
    before, drawn = term.memory.clone(), [set(term._draw(torch.device("cpu")).tolist()) for _ in range(2)]
    assert [len(rows) for rows in drawn] == [5, 5]
    assert drawn[0] != drawn[1]
    losses = term(step(Student(3), table, torch.tensor([1, 4])))
    assert sorted(losses) == ["mean_teaching", "relation_contrast", "relation_keeping"]
    changed = (term.memory != before).any(-1)
    assert changed.nonzero().tolist() == [[0, 1], [0, 4], [1, 1], [1, 4]]
    torch.testing.assert_close(term.memory.norm(dim=-1), torch.ones(2, ROWS))


@pytest.mark.parametrize("wrong", [{"decay": 1}, {"ramp": 0}, {"relations": -1}, {"rows": 1}])
def test_wrong_options_are_refused(wrong):
    with pytest.raises(InputError):
        MeanTeaching(**wrong)
