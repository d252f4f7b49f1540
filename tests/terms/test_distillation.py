"""What teachers say, and of what."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ibca_lightning.heads import CSRAHead, HeadOutput
from ibca_lightning.system.errors import InputError
from ibca_lightning.terms import Distillation, Setting, Step, Teacher
from ibca_lightning.terms.distillation import resized
from tests.terms.contract import Trained
from tests.training import Pictures, module, save, trainer


class Says(Teacher):
    def __init__(self, logits: Tensor, names: tuple[str, ...] = ("a", "b"), trained_on: tuple[str, ...] | None = None):
        super().__init__()
        self.class_names, self.digest, self.trained_on, self.logits = names, "", trained_on, logits

    def forward(self, batch) -> HeadOutput:
        logits = self.logits.expand(len(batch["index"]), -1)
        attention = torch.tensor([0.75, 0.25]).expand(*logits.shape, 1, 2)
        return HeadOutput(logits, attention, {})


def begun(*teachers: Teacher, ids=("x", "y"), **options) -> Distillation:
    term = Distillation([str(number) for number in range(len(teachers))], **options)
    labels = torch.zeros(len(ids), 2, dtype=torch.int8)
    term.begin(Setting(["a", "b"], labels, ids, load=lambda path: teachers[int(path)]))
    return term


def step(logits: Tensor, labels: Tensor | None = None) -> Step:
    labels = torch.ones(logits.shape, dtype=torch.int8) if labels is None else labels
    batch = {"index": torch.arange(len(logits))}
    output = HeadOutput(logits, torch.full((*logits.shape, 1, 2), 0.5), {})
    return Step(batch, labels, output, logits, torch.nn.Identity(), lambda _: output)


def value(term: Distillation, logits: Tensor, labels: Tensor | None = None, name: str = "distillation") -> float:
    return float(term(step(logits, labels))[name])


def test_by_hand():
    half = Says(torch.zeros(1, 2))
    assert value(begun(half, temperature=1), torch.zeros(1, 2)) == pytest.approx(math.log(2))
    assert value(begun(half, weight=3, temperature=2), torch.zeros(2, 2)) == pytest.approx(3 * 4 * math.log(2))
    z = torch.tensor([[0.3, -2.0]], requires_grad=True)
    begun(Says(z.detach()))(step(z))["distillation"].backward()
    assert z.grad.abs().max() < 1e-6, "a teacher that is the student teaches nothing"
    z = torch.zeros(1, 2, requires_grad=True)
    unknown = torch.full((1, 2), -1, dtype=torch.int8)
    begun(Says(torch.tensor([[3.0, -3.0]])))(step(z, unknown))["distillation"].backward()
    assert (z.grad[0, 0] < 0, z.grad[0, 1] > 0) == (True, True), "also where no label is known"


def test_classes_are_matched_by_name_and_each_speaks_of_its_own():
    turned = Says(torch.tensor([[2.0, -1.0]]), ("b", "a"))
    z = torch.zeros(1, 2)
    p = torch.tensor([-1.0, 2.0]).sigmoid()
    expected = torch.nn.functional.binary_cross_entropy_with_logits(z[0], p)
    assert value(begun(turned, temperature=1), z) == pytest.approx(float(expected))
    alone = Says(torch.tensor([[5.0, 1.0]]), ("other", "b"))
    said = torch.nn.functional.binary_cross_entropy_with_logits(torch.zeros(()), torch.tensor(1.0).sigmoid())
    assert value(begun(alone, temperature=1), z) == pytest.approx(float(said))
    with pytest.raises(InputError, match="a model with one of the classes a, b for Distillation, got c, d of 0"):
        begun(Says(torch.zeros(1, 2), ("c", "d")))


def test_which_teachers_are_asked():
    one, two = (Says(torch.full((1, 2), at), trained_on=(own,)) for at, own in ((3.0, "x"), (-1.0, "y")))
    z = torch.full((2, 2), 0.5)

    def alone(logit: float) -> float:
        target = torch.tensor(logit).sigmoid()
        return float(torch.nn.functional.binary_cross_entropy_with_logits(torch.tensor(0.5), target))

    mean = (torch.tensor(3.0).sigmoid() + torch.tensor(-1.0).sigmoid()) / 2
    expected = float(torch.nn.functional.binary_cross_entropy_with_logits(torch.tensor(0.5), mean))
    assert value(begun(one, two, temperature=1), z) == pytest.approx(expected)
    unseen = begun(one, two, temperature=1, choose="unseen")  # x has been learnt by one, y by two
    assert value(unseen, z[:1]) == pytest.approx(alone(-1.0))
    assert value(unseen, z) == pytest.approx((alone(-1.0) + alone(3.0)) / 2)
    drawn = {round(value(begun(one, two, temperature=1, choose="random"), z[:1]), 5) for _ in range(20)}
    assert drawn == {round(alone(3.0), 5), round(alone(-1.0), 5)}
    both = Says(torch.zeros(1, 2), trained_on=("x", "y"))
    with pytest.raises(InputError, match="a training picture that a teacher has not learnt from"):
        begun(both, choose="unseen")
    with pytest.raises(InputError, match="beside the teachers' checkpoints"):
        begun(Says(torch.zeros(1, 2)), choose="unseen")


def test_attention_is_handed_on_for_present_classes():
    term = begun(Says(torch.zeros(1, 2)), attention=0.5, weight=2)
    kl = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    labels = torch.tensor([[1, 0]], dtype=torch.int8)
    assert value(term, torch.zeros(1, 2), labels, "distillation_attention") == pytest.approx(2 * 0.5 * kl)
    absent = torch.tensor([[0, -1]], dtype=torch.int8)
    assert value(term, torch.zeros(1, 2), absent, "distillation_attention") == 0
    fine = torch.rand(2, 3, 4, 4)
    assert torch.allclose(resized(fine, (2, 2)).sum((-2, -1)), torch.ones(2, 3))


def test_a_teacher_of_another_size_and_head_is_asked_and_left_as_it_is(tmp_path: Path):
    path = save(module(head=CSRAHead, seed=1, image_size=32, class_names=["class 2", "class 0"]), tmp_path / "t.ckpt")
    term = Distillation([str(path)])
    model = module(terms=[term])
    trainer(limit_val_batches=0).fit(model, datamodule=Trained(Pictures(8)))
    saved = torch.load(path, weights_only=True)["state_dict"]
    weights = term.teachers[0].network.state_dict()
    assert all(torch.equal(saved[name], weights[name]) for name in weights)
    trained = {id(p) for group in model.trainer.optimizers[0].param_groups for p in group["params"]}
    assert trained == {id(p) for p in model.parameters() if p.requires_grad}
    assert list(model.terms.state()["Distillation"]) == ["_extra_state"]
    term.set_extra_state(term.get_extra_state())
    with pytest.raises(InputError, match="the model that the run began with"):
        term.set_extra_state(["other"])


@pytest.mark.parametrize("wrong", [{"teachers": []}, {"choose": "best"}, {"temperature": 0}, {"attention": -1}])
def test_wrong_options_are_refused(wrong):
    with pytest.raises(InputError):
        Distillation(**({"teachers": ["a"]} | wrong))
