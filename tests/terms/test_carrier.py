"""What the carrier does with terms: their order, their names, what they lack."""

import pytest
import torch
from torch import Tensor

from ibca_lightning.heads import IBCAHead
from ibca_lightning.system.errors import InputError
from ibca_lightning.terms import EarlyLearning, MaskGuidance, Setting, Step, Term, Terms
from ibca_lightning.terms.memory import remember
from tests.terms.contract import Student, Trained, given, setting, step
from tests.training import Pictures, loader, module, trainer


class Turned(Term):
    """Turns every known label over, and says so."""

    def labels(self, batch, labels: Tensor) -> Tensor:
        return torch.where(labels >= 0, 1 - labels, labels)

    def forward(self, step: Step) -> dict[str, Tensor]:
        return {"turned": self.weight * step.labels.float().mean()}


class Learnt(Term):
    """Has a parameter of its own."""

    def begin(self, setting: Setting) -> None:
        self.scale = torch.nn.Parameter(torch.randn(1))

    def forward(self, step: Step) -> dict[str, Tensor]:
        return {"learnt": self.weight * (self.scale - 3).square().sum()}


def test_labels_pass_through_the_terms_one_behind_the_other_and_losses_are_named():
    table, index = given(3), torch.arange(4)
    terms = Terms([Turned(), Turned(0.0), Turned(2.0), Turned(3.0)])
    terms.begin(setting(table))
    seen = step(Student(3), table, index)
    labels = terms.labels(seen.batch, 0.5)
    assert torch.equal(labels, torch.where(table[:4] >= 0, 1 - table[:4], table[:4])), "turned three times"
    losses = terms.losses(seen._replace(labels=labels))
    assert list(losses) == ["terms/turned", "terms/turned_2", "terms/turned_3"]
    assert losses["terms/turned_3"] == 3 * losses["terms/turned"]
    assert [term.progress for term in terms] == [0.5] * 3
    assert list(terms.state()) == ["Turned", "Turned_3", "Turned_4"]


def test_head_and_loss_learn_from_the_corrected_labels_and_all_is_logged():
    pictures = Pictures(8)
    flipped = Pictures(8)
    flipped.label = 1 - flipped.label
    values = []
    for rows, terms in ((pictures, [Turned(0.0), Turned()]), (flipped, [])):
        run = trainer(limit_val_batches=0)
        run.fit(module(head=IBCAHead, terms=terms), loader(rows))
        values.append({name: float(value) for name, value in run.callback_metrics.items()})
    turned = values[0].pop("train/terms/turned")
    for name, value in values[1].items():
        added = turned if name.startswith("train/loss") else 0
        assert values[0][name] == pytest.approx(value + added, rel=1e-5), name


def test_parameters_of_a_term_are_trained_and_kept():
    term = Learnt()
    model = module(terms=[term])
    run = trainer(max_epochs=4, limit_val_batches=0)
    run.fit(model, datamodule=Trained(Pictures(8)))
    assert abs(float(term.scale.detach()) - 3) < 2.5
    assert list(model.terms.state()["Learnt"]) == ["scale"]
    assert "scale" not in " ".join(model.state_dict())


def test_no_loss_takes_the_name_of_another():
    class Named(Term):
        def __init__(self, **losses):
            super().__init__()
            self.losses = {name: torch.tensor(value) for name, value in losses.items()}

        def forward(self, step):
            return self.losses

    losses = Terms([Named(x=1.0, x_2=2.0), Named(x=3.0), Named(x_attention=4.0, x=5.0)]).losses(None)
    assert {name.removeprefix("terms/"): float(value) for name, value in losses.items()} == {
        "x": 1, "x_2": 2, "x_3": 3, "x_attention": 4, "x_4": 5,
    }  # fmt: skip


def test_what_a_term_draws_leaves_no_trace_in_the_run():
    terms = Terms([Learnt()])
    before = torch.get_rng_state()
    terms.begin(setting(given(3)))
    assert torch.equal(torch.get_rng_state(), before)


def test_what_a_term_needs_and_the_data_lack_is_one_line_before_the_first_step():
    plain = Pictures(8)
    with pytest.raises(InputError, match=r"lesion masks .* MaskGuidance needs, got none; give data.mask_dir"):
        trainer().fit(module(terms=[MaskGuidance()]), datamodule=Trained(plain))
    with pytest.raises(InputError, match="knows the labels of its training split, which the term EarlyLearning"):
        trainer().fit(module(terms=[EarlyLearning()]), loader(plain), loader(plain))
    with pytest.raises(InputError, match=r"Turned's weight >= 0, got -1"):
        Turned(-1)
    with pytest.raises(InputError, match=r"Turned's weight >= 0, got nan"):
        Turned(float("nan"))


def test_a_state_of_other_data_is_refused():
    terms, others = Terms([EarlyLearning()]), Terms([EarlyLearning()])
    terms.begin(setting(given(3)))
    others.begin(setting(given(4)))
    with pytest.raises(InputError, match=r"the state of EarlyLearning for these data, got .*size mismatch"):
        others.restore(terms.state())


def test_a_memory_takes_the_first_of_what_was_seen_twice_of_a_picture():
    memory = torch.zeros(5, 1)
    remember(memory, torch.tensor([4, 2, 4]), torch.tensor([[1.0], [2.0], [3.0]]), lambda before, now: before + now)
    remember(memory, torch.tensor([2]), torch.tensor([[5.0]]), lambda before, now: before + now)
    assert memory.flatten().tolist() == [0, 0, 7, 0, 1]
