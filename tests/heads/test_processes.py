"""Two processes with half the pictures each take the step of one with all, under every head."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ibca_lightning.losses import masked_bce
from tests.heads.contract import CHANNELS, HEADS, LABELS, features

BATCH = 16
NAMES = [head.__name__ for head in HEADS]


def labels() -> Tensor:
    """Unknown ones too, and the two halves as unlike as can be: with few positives, and with few that are known."""
    generator = torch.Generator().manual_seed(1)
    drawn = torch.rand(BATCH, LABELS, generator=generator)
    given = (drawn < torch.linspace(0.1, 0.6, BATCH)[:, None]).to(torch.int8)
    given[1::2][torch.rand(BATCH // 2, LABELS, generator=generator) < 0.4] = -1
    given[:2] = 1  # the contrast needs every class in both halves
    return given


class Step(nn.Module):
    """A loss as the module adds it up; DDP wants it in `forward`."""

    def __init__(self, name: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = next(head for head in HEADS if head.__name__ == name)(CHANNELS, LABELS)
        self.head.set_progress(0.7)
        self.train()
        for module in self.modules():  # a BatchNorm sees its own process's pictures; SyncBatchNorm needs a GPU
            if isinstance(module, nn.BatchNorm2d):
                module.eval()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        output = self.head(x, y)
        return masked_bce(output.logits, y) + sum(output.losses.values())


def evenly(*size: Any, **_: Any) -> Tensor:
    size = size[0] if isinstance(size[0], tuple) else size
    return torch.linspace(0, 1, size[-1]).expand(size)


def without_chance() -> None:
    """What heads draw at random, the same for every picture."""
    F.dropout = lambda x, *_, **__: x
    torch.randn_like = lambda x, **_: torch.full_like(x, 0.3)
    torch.rand_like = lambda x, **_: torch.full_like(x, 0.6)
    torch.randint = lambda low, high, size, **_: torch.full(size, low)
    torch.rand = evenly


def gradients(model: nn.Module, own: slice) -> list[dict[str, Tensor]]:
    """Of two steps: a head may have a memory, and DDP says at the second one what it missed at the first."""
    found = []
    for _ in range(2):
        model.zero_grad(set_to_none=True)
        model(features(BATCH)[own], labels()[own]).backward()
        names = [name.removeprefix("module.") for name, _ in model.named_parameters()]
        parameters = zip(names, model.parameters(), strict=True)
        found.append({name: p.grad for name, p in parameters if p.requires_grad})
        assert all(grad is not None for grad in found[-1].values())
    return found


def process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    without_chance()
    result: dict[str, Any] = {}
    for name in NAMES:
        model = Step(name)
        model = DistributedDataParallel(model) if any(p.requires_grad for p in model.parameters()) else model
        try:
            result[name] = gradients(model, slice(rank, None, 2))
        except Exception as error:
            result[name] = repr(error)
            break  # the other process may be waiting for something else now
    torch.save(result, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder: Path = tmp_path_factory.mktemp("processes")
    torch.multiprocessing.spawn(process, (str(folder),), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_two_processes_of_8_have_the_gradients_of_one_of_16(
    name: str, found: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for owner, function in ((F, "dropout"), *((torch, f) for f in ("randn_like", "rand_like", "randint", "rand"))):
        monkeypatch.setattr(owner, function, getattr(owner, function))  # to be put back
    without_chance()
    alone = gradients(Step(name), slice(None))
    for rank in range(2):
        assert not isinstance(found[rank][name], str), found[rank][name]
        for one, two in zip(alone, found[rank][name], strict=True):
            assert list(one) == list(two)
            for key in one:
                scale = float(one[key].abs().max())
                torch.testing.assert_close(two[key], one[key], rtol=0, atol=1e-5 * scale + 1e-7, msg=key)
    assert all(torch.equal(a[key], b[key]) for a, b in zip(found[0][name], found[1][name], strict=True) for key in a)


def test_the_halves_differ_enough_to_see_a_mean_of_means() -> None:
    known = [(labels()[rank::2] >= 0).sum().item() for rank in range(2)]
    assert known[0] > 1.2 * known[1]
    both = [(labels()[rank::2] == 1).sum(0) for rank in range(2)]
    assert all(int(count) > 0 for half in both for count in half)
