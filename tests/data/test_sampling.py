"""Class-balanced sampling: frequencies by hand, several processes, epochs, seeds."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.trainer.connectors.data_connector import _DataConnector
from torch.utils.data import DataLoader

from ibca_lightning.data import CSVDataModule
from ibca_lightning.data.sampling import BalancedSampler, EpochSampler, class_balanced_weights
from ibca_lightning.run.lightning_cli import IBCACLI, build
from tests.command_line import experiment, written

# 8 rows: 4 of A alone, 1 of A and B, 1 with B unknown and nothing else, 2 without any.
LABELS = np.array([[1, 0]] * 4 + [[1, 1]] + [[0, -1]] + [[0, 0]] * 2, dtype=np.int8)


def sampler(**options: Any) -> BalancedSampler:
    return BalancedSampler(range(len(LABELS)), LABELS, **({"seed": 0} | options))  # type: ignore[arg-type]


def test_weights_are_those_worked_by_hand() -> None:
    # Three classes, A (5 rows), B (1 row) and none (3 rows), each drawn with 1/3.
    a, b, none = 1 / 3 / 5, 1 / 3, 1 / 3 / 3
    assert class_balanced_weights(LABELS) == pytest.approx([a] * 4 + [a + b] + [none] * 3)
    # Without a row of no class there are two.
    assert class_balanced_weights(LABELS[:5]) == pytest.approx([0.1] * 4 + [0.1 + 0.5])


def test_draws_have_the_frequencies_of_the_weights() -> None:
    draws: Counter[int] = Counter()
    one = sampler()
    for epoch in range(3000):
        one.set_epoch(epoch)
        draws.update(one)
    total = sum(draws.values())
    assert total == 3000 * len(LABELS)
    for row, weight in enumerate(class_balanced_weights(LABELS)):
        deviation = (weight * (1 - weight) / total) ** 0.5
        assert abs(draws[row] / total - weight) < 5 * deviation


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_share_one_sequence_and_no_draw_goes_to_two(ranks: int) -> None:
    shares = [list(sampler(num_replicas=ranks, rank=rank)) for rank in range(ranks)]
    assert {len(share) for share in shares} == {-(-len(LABELS) // ranks)}
    woven = [row for step in zip(*shares, strict=True) for row in step]
    assert woven[: len(LABELS)] == list(sampler())


@pytest.mark.parametrize("ranks", [1, 3])
def test_a_pass_goes_on_where_it_was_left_and_the_next_is_whole(ranks: int) -> None:
    def drawn(one: EpochSampler) -> list[tuple[int, int]]:
        return [(int(draw), draw.seed) for draw in one]

    for rank in range(ranks):
        whole, other = (EpochSampler(range(20), 0, ranks, rank) for _ in range(2))  # type: ignore[arg-type]
        first, second = drawn(whole), drawn(whole)
        other.skip = 2
        assert drawn(other) == first[2:]
        assert drawn(other) == second
        assert not {seed for _, seed in first} & {seed for _, seed in second}, "augmented alike in each epoch"


def test_epochs_and_seeds_differ_and_are_repeated() -> None:
    def drawn(seed: int, epoch: int) -> list[int]:
        one = sampler(seed=seed)
        one.set_epoch(epoch)
        return list(one)

    sequences = {(seed, epoch): tuple(drawn(seed, epoch)) for seed in range(3) for epoch in range(3)}
    assert len(set(sequences.values())) == 9
    assert drawn(2, 1) == list(sequences[2, 1])


def module(tree: Path, **options: Any) -> CSVDataModule:
    given = {"image_size": 32, "batch_size": 4, "num_workers": 0, "balanced_sampling": True}
    return CSVDataModule(str(tree), image_dir="images", group_column="patient", exclude_columns=["sex", "age"],
                         **(given | options))  # fmt: skip


def test_the_data_module_draws_with_the_seed_of_the_run(tree: Path) -> None:
    def ids(seed: int) -> list[str]:
        torch.manual_seed(seed)
        return [name for batch in module(tree).train_dataloader() for name in batch["id"]]

    assert ids(1) == ids(1)
    assert ids(1) != ids(2)
    first = module(tree)
    labels = first.training_labels()
    expected = np.bincount(list(BalancedSampler(range(len(labels)), labels, seed=1)), minlength=len(labels))  # type: ignore[arg-type]
    names = [first.table("train").name(row) for row in np.repeat(np.arange(len(labels)), expected)]
    size = len(labels) - len(labels) % 4
    assert not Counter(ids(1)) - Counter(names)
    assert len(ids(1)) == size


def test_two_ranks_of_a_data_module_draw_what_one_would(tree: Path) -> None:
    def ids(rank: int, world: int) -> list[str]:
        data = module(tree, batch_size=1)
        # Rank 1 was seeded differently: what rank 0 has is what counts.
        strategy = SimpleNamespace(broadcast=lambda seed: 7)
        data.trainer = SimpleNamespace(global_rank=rank, world_size=world, strategy=strategy)  # type: ignore[assignment]
        torch.manual_seed(7 if world == 1 else 100 + rank)
        return [name for batch in data.train_dataloader() for name in batch["id"]]

    one, two = ids(0, 1), [ids(rank, 2) for rank in range(2)]
    assert [name for pair in zip(*two, strict=True) for name in pair][: len(one)] == one


def test_lightning_leaves_the_samplers_in_place_under_ddp(tree: Path) -> None:
    trainer = pl.Trainer(accelerator="cpu", devices=2, strategy=DDPStrategy(), logger=False, enable_checkpointing=False)
    connector = trainer._data_connector
    assert isinstance(connector, _DataConnector)
    for balanced, kind in ((True, BalancedSampler), (False, EpochSampler)):
        loader: DataLoader[Any] = module(tree, balanced_sampling=balanced).train_dataloader()
        assert type(loader.sampler) is kind
        assert not connector._requires_distributed_sampler(loader)


@pytest.mark.parametrize("drop_last", [True, False])
def test_an_epoch_has_every_row_once_and_processes_share_it(drop_last: bool) -> None:
    def epoch(ranks: int, rank: int) -> list[tuple[int, int]]:
        one = EpochSampler(range(13), 5, ranks, rank, drop_last)  # type: ignore[arg-type]
        one.set_epoch(3)
        return [(int(draw), draw.seed) for draw in one]

    alone = epoch(1, 0)
    assert sorted(row for row, _ in alone) == list(range(13))
    assert len({seed for _, seed in alone}) == 13
    woven = [draw for step in zip(epoch(2, 0), epoch(2, 1), strict=True) for draw in step]
    assert woven[:12] == alone[:12]
    assert len(woven) == (12 if drop_last else 14)


def test_each_epoch_of_a_run_draws_anew(tree: Path) -> None:
    seen: dict[int, list[str]] = {}

    class Watch(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(()))

        def training_step(self, batch: Any, at: int) -> Any:
            seen.setdefault(self.current_epoch, []).extend(batch["id"])
            return self.weight * 0

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    torch.manual_seed(0)
    trainer = pl.Trainer(max_epochs=3, limit_val_batches=0, accelerator="cpu", logger=False,
                         enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)  # fmt: skip
    trainer.fit(Watch(), datamodule=module(tree))
    assert len(seen) == 3
    assert len({tuple(names) for names in seen.values()}) == 3


def test_a_balanced_loss_takes_its_weights_from_the_training_split_alone(tree: Path, here: Path) -> None:
    data = module(tree, val_csv="val.csv", balanced_sampling=False)
    train, both = (data.table("train").labels, np.concatenate([data.table(s).labels for s in ("train", "val")]))
    expected, wrong = ([float((c == 0).sum() / (c == 1).sum()) for c in labels.T] for labels in (train, both))
    assert expected != wrong
    config = experiment(tree)
    config["model"]["init_args"]["loss"] = {"class_path": "MaskedBCE", "init_args": {"pos_weight": "balanced"}}
    fitted: list[Any] = []

    class Keep(IBCACLI):
        def after_fit(self) -> None:
            fitted.append(self.model.loss.pos_weight.tolist())

    build(["fit", "--config", str(written(here / "e.yaml", config)), "--run_dir", "run"], Keep)
    assert fitted[0] == pytest.approx(expected)
