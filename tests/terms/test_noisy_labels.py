"""Terms and loss against wrong labels: numbers worked out by hand or with the authors' code."""

import math

import pytest
import torch

from ibca_lightning.heads import HeadOutput
from ibca_lightning.system.errors import InputError
from ibca_lightning.terms import NVUM, EarlyLearning, LabelCorrection, Setting, Step
from ibca_lightning.terms.mean_teacher import MeanTeacher
from ibca_lightning.terms.wrong_labels.early_learning import agreement
from ibca_lightning.terms.wrong_labels.label_correction import corrected
from tests.terms.contract import Student, given, setting, step, wave


def seen(logits: torch.Tensor, labels: torch.Tensor) -> Step:
    batch = {"index": torch.arange(len(logits)), "label": labels, "id": [""] * len(logits)}
    output = HeadOutput(logits, logits[..., None, None], {})
    return Step(batch, labels, output, logits, torch.nn.Identity(), lambda _: output)


def test_early_learning():
    assert float(torch.log(1 - agreement(torch.tensor(0.8), torch.tensor(0.6)))) == pytest.approx(-0.82098, abs=1e-5)
    labels = torch.tensor([[1, -1]], dtype=torch.int8)
    term = EarlyLearning(weight=2.0, decay=0.75)
    term.begin(setting(labels))
    logits = torch.tensor([[math.log(4), 3.0]], requires_grad=True)  # p = 0.8
    t = 0.0
    for _ in range(3):
        t = 0.75 * t + 0.25 * 0.8
        loss = term(seen(logits, labels))["early_learning"]
        assert float(loss.detach()) == pytest.approx(2 * math.log(1 - (t * 0.8 + (1 - t) * 0.2)), rel=1e-5)
    loss.backward()
    assert logits.grad[0, 1] == 0, "an unknown label is left alone"
    assert logits.grad[0, 0] > 0, "t is below a half yet: towards 0, where the belief lies"


def test_nvum_has_the_numbers_of_the_authors_code():
    term = NVUM(weight=1.0, decay=0.9)
    labels = torch.tensor([[1, 0, 0]], dtype=torch.int8)
    term.begin(Setting(["a", "b", "c"], labels))
    term.log_prior = torch.tensor([0.3, 0.1, 0.05], dtype=torch.float64).log()
    z = wave(1, 3)
    values = []
    for label in range(3):
        term.memory.zero_()
        alone = torch.full_like(labels, -1)
        alone[0, label] = 1
        values.append(float(term(seen(z, alone))["nvum"]))
    assert term.memory[0].tolist() == pytest.approx([0.20454438, 0.32118827, 0.31368524], abs=1e-6)
    assert values == pytest.approx([-0.76716389, -0.81416637, -0.78061203], abs=1e-6)


def test_what_the_teacher_contradicts_is_turned_over():
    labels = torch.tensor([[1, 1], [1, 0], [0, 0], [0, -1], [-1, 0]], dtype=torch.int8)
    p = torch.tensor([[0.9, 0.2], [0.05, 0.95], [0.6, 0.05], [0.1, 0.99], [0.99, torch.nan]])
    # Class 0: positives .9 and .05, mean .475; negatives .6 and .1, mean .35. Class 1: .2; .5.
    assert corrected(labels, p, "confident").tolist() == [[1, 0], [0, 1], [1, 0], [0, -1], [-1, 0]]
    assert corrected(labels, p, "fixed").tolist() == [[1, 1], [0, 1], [0, 0], [0, -1], [-1, 0]]
    nothing = torch.full_like(p, torch.nan)
    assert torch.equal(corrected(labels, nothing, "confident"), labels)


def test_corrections_begin_late_from_the_given_labels_and_are_listed():
    labels = torch.tensor([[1], [1], [0], [0]], dtype=torch.int8)
    term = LabelCorrection(start=0.5)
    term.begin(setting(labels))
    term.seen = torch.tensor([[0.9], [0.05], [0.6], [0.1]])
    batch = {"index": torch.tensor([1, 2])}
    for progress, expected in ((0.4, [[1], [0]]), (0.6, [[0], [1]])):
        term.progress = progress
        term.begin_epoch()
        assert term.labels(batch, labels[[1, 2]]).tolist() == expected
    header, *rows = term.tables()["corrections"]
    assert header == ("id", "class", "given", "corrected", "probability")
    assert rows == [("p0/1.png", "class 0", 1, 0, "0.05"), ("p1/2.png", "class 0", 0, 1, "0.6")]
    assert term.labels(batch, torch.tensor([[-1], [-1]], dtype=torch.int8)).tolist() == [[0], [1]]
    term.seen = torch.tensor([[0.9], [0.8], [0.1], [0.1]])
    term.begin_epoch()
    assert term.labels(batch, labels[[1, 2]]).tolist() == [[1], [0]], "anew, not from what was corrected before"
    assert len(term.tables()["corrections"]) == 1


def test_each_site_has_means_of_its_own():
    labels = torch.tensor([[1], [1], [0], [0], [1], [0]], dtype=torch.int8)
    p = torch.tensor([[0.9], [0.5], [0.3], [0.45], [0.9], [0.2]])  # south: rows 0, 2, 4; north: 1, 3, 5
    found = {}
    for column in (None, "site"):
        term = LabelCorrection(start=0.0, site_column=column)
        term.begin(setting(labels))
        term.seen = p
        term.begin_epoch()
        found[column] = term.current.flatten().tolist()
    assert found[None] == labels.flatten().tolist()
    by_hand = [int(v) for v in labels.flatten()]
    for rows in ([0, 2, 4], [1, 3, 5]):
        part = corrected(labels[rows], p[rows], "confident").flatten().tolist()
        for row, value in zip(rows, part, strict=True):
            by_hand[row] = value
    assert found["site"] == by_hand
    one = setting(labels)._replace(subgroups={"site": ["north"] * 6})
    other = one._replace(subgroups={"age": [""] * 6})
    messages = ("two sites or more in the column site, got north alone", "among data.subgroup_columns, got age there")
    for told, said in zip((one, other), messages, strict=True):
        with pytest.raises(InputError, match=said):
            LabelCorrection(site_column="site").begin(told)


def test_the_mean_teacher_is_the_average_and_leaves_no_trace_in_the_step():
    student, teacher, table = Student(3), MeanTeacher(0.5), given(3)
    first = {name: p.detach().clone() for name, p in student.named_parameters()}
    teacher.update(student)
    with torch.no_grad():
        for p in student.parameters():
            p.add_(1)
    teacher.update(student)  # 1 - 1/2 is the decay
    expected = Student(3)
    with torch.no_grad():
        for name, p in expected.named_parameters():
            p.copy_(first[name] + 0.5)
    gradients = []
    for ask in (False, True):
        student.zero_grad()
        current = step(student, table, torch.arange(4))
        x = current.features.clone().requires_grad_()
        current = current._replace(output=student(x))  # the gradient of x needs the weights
        if ask:
            said = teacher(current).output.logits
            torch.testing.assert_close(said, expected(current.features).logits)
            assert not said.requires_grad
        (current.output.logits.square().sum() + current.output.attention.square().sum()).backward()
        gradients.append([x.grad, *(p.grad.clone() for p in student.parameters())])
    assert all(torch.equal(p, first[name] + 1) for name, p in student.named_parameters())
    assert all(torch.equal(one, two) for one, two in zip(*gradients, strict=True))
    assert student.training


@pytest.mark.parametrize(
    "wrong", [lambda: EarlyLearning(decay=1), lambda: NVUM(decay=-1), lambda: LabelCorrection(rule="hlc"),
              lambda: LabelCorrection(start=2)]
)  # fmt: skip
def test_wrong_options_are_refused(wrong):
    with pytest.raises(InputError):
        wrong()


def test_the_mean_teacher_is_no_student_in_half_precision():
    student, teacher, table = Student(3), MeanTeacher(0.5), given(3)
    teacher.update(student)
    with torch.no_grad():
        for p in student.parameters():
            p.add_(1)
    with torch.autocast("cpu", torch.bfloat16):  # whose cache holds weights as they were when first read
        current = step(student, table, torch.arange(4))
        own = student(current.features).logits
        said = teacher(current).output.logits
        again = student(current.features).logits
    wanted = Student(3)(current.features).logits
    torch.testing.assert_close(said.float(), wanted, rtol=0.05, atol=0.05)
    torch.testing.assert_close(again, own)
    assert (own - said).abs().max() > 0.5
