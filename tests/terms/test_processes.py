"""Two processes with half the pictures each remember, cost and learn what one with all does, under every term."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from torch.nn.parallel import DistributedDataParallel

from ibca_lightning.terms import Setting, Step, Term, Terms
from tests.terms.contract import OPTIONS, ROWS, TERMS, Student, build, given, setting, step

UNLIKE = [torch.tensor([0, 3, 5, 7, 6]), torch.tensor([1, 2, 4])]  # not even equally many


class Scaled(Term):
    """Has a parameter, which DDP does not see."""

    def begin(self, setting: Setting) -> None:
        self.scale = torch.nn.Parameter(torch.ones(1))

    def forward(self, step: Step) -> dict[str, torch.Tensor]:
        return {"scaled": (self.scale * step.output.logits).square().mean()}


def learnt(name: str, shares: list[torch.Tensor], rank: int) -> dict[str, Any]:
    """Gradients and memories of two steps on this process's rows."""
    student, table = Student(3), given(3)
    term = Scaled() if name == "Scaled" else build(name)
    terms = Terms([term])
    terms.begin(setting(table))
    own = shares[rank]
    wrapped = DistributedDataParallel(student) if dist.is_initialized() else student
    losses = []
    for _ in range(2):
        student.zero_grad()
        term.zero_grad()
        terms.begin_epoch(1.0)
        seen = step(student, table, own)
        output = wrapped(seen.features)
        seen = seen._replace(labels=terms.labels(seen.batch, 1.0), output=output)
        loss = sum(terms.losses(seen).values()) + 0 * output.logits.sum() + 0 * output.attention.sum()
        loss.backward()
        terms.average_gradients()
        terms.after_step(student)
        losses.append(loss.detach())
    gradients = {key: p.grad for key, p in (*student.named_parameters(), *term.named_parameters())}
    memory = {key: value for key, value in term.state_dict().items() if isinstance(value, torch.Tensor)}
    return {"losses": torch.stack(losses), "gradients": gradients, "memory": memory}


def process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    even = [torch.arange(ROWS)[0::2], torch.arange(ROWS)[1::2]]
    found = {name: learnt(name, even if name == "Scaled" else UNLIKE, rank) for name in (*TERMS, "Scaled")}
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_processes_take_the_step_of_one(tmp_path: Path) -> None:
    assert OPTIONS["LabelCorrection"] == {"start": 0.0}, "it corrects in the second epoch here"
    torch.multiprocessing.spawn(process, (str(tmp_path),), nprocs=2)
    two = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    for name in (*TERMS, "Scaled"):
        one = learnt(name, [torch.cat(UNLIKE)], 0)
        mean = (two[0][name]["losses"] + two[1][name]["losses"]) / 2
        torch.testing.assert_close(mean, one["losses"], msg=name)
        for rank in range(2):
            for kind in ("gradients", "memory"):
                torch.testing.assert_close(two[rank][name][kind], one[kind], equal_nan=True, rtol=1e-4, atol=1e-6)
