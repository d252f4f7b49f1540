"""One label and a thousand, batches of one picture, test sets of one: each trains, or says what is wrong."""

import json
import math
import shutil
from functools import partial

import pytest
import torch

from ibca_lightning.heads import Head
from ibca_lightning.losses import masked_bce
from ibca_lightning.metrics.intervals import every_interval
from ibca_lightning.system.errors import InputError
from tests.command_line import done, experiment, rows, written
from tests.heads.contract import HEADS
from tests.training import Data, Pictures, loader, module, trainer


@pytest.mark.parametrize(("labels", "batch", "cells"), [(1000, 2, 3), (1, 1, 1)], ids=["1000 labels", "all is one"])
@pytest.mark.parametrize("head_class", HEADS, ids=lambda c: c.__name__)
def test_every_head_learns_a_thousand_labels_and_one_from_one_cell(
    head_class: type[Head], labels: int, batch: int, cells: int
) -> None:
    torch.manual_seed(0)
    head = head_class(16, labels).train()
    head.set_progress(0.7)
    x = torch.rand(batch, 16, cells, cells, requires_grad=True)
    y = (torch.rand(batch, labels) < 0.02).to(torch.int8)
    y[0, 0] = 1
    y[:, 1:3] = -1
    output = head(x, y)
    assert output.logits.shape == (batch, labels)
    loss = masked_bce(output.logits, y) + sum(output.losses.values())
    loss.backward()
    assert loss.isfinite()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.slow
def test_a_thousand_labels_train_and_are_tested() -> None:
    pictures, model = Pictures(6, labels=1000), module(labels=1000)
    pictures.label[:, 500:] = 0
    trainer().fit(model, loader(pictures, 3), loader(pictures))
    trainer().test(model, datamodule=Data({"test": pictures}), verbose=False)
    figures = model.evaluations["test"].figures
    assert len(figures["per_class"]) == 1000
    assert 0 < figures["defined_classes"] <= 500
    assert 0 <= figures["metrics"]["mAP"] <= 1


@pytest.mark.slow
def test_intervals_of_a_thousand_labels_take_no_more_memory_than_the_resamples_of_one_figure(monkeypatch) -> None:
    """1,000 resamples x 200 pictures x 1,000 classes would be 800 MB at once."""
    largest = [0]

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor) and result.stride() and 0 not in result.stride():
                largest[0] = max(largest[0], result.nbytes)
            return result

    labels = (torch.rand(40, 1000, generator=torch.Generator().manual_seed(0)) < 0.1).to(torch.int8)
    with Watch():
        result = every_interval(
            torch.rand(40, 1000), labels, [f"c{i}" for i in range(1000)], [f"g{i // 2}" for i in range(40)],
            thresholds=[0.3] * 1000,
        )  # fmt: skip
    assert result["intervals"]["mAP"] is not None
    assert largest[0] < 64 * 2**20


@pytest.mark.parametrize("last", [1, 4], ids=["a last batch of one", "batches of one"])
def test_a_batch_of_one_picture_trains(last: int) -> None:
    size = 4 if last == 1 else 1
    pictures, model = Pictures(5 if last == 1 else 2), module()
    run = trainer()
    run.fit(model, loader(pictures, size), loader(pictures, size))
    assert run.global_step == 2
    assert math.isfinite(float(run.callback_metrics["train/loss_epoch"]))


def test_one_picture_of_one_cell_says_that_batch_statistics_cannot_be_had_and_what_helps() -> None:
    pictures = Pictures(2)
    pictures.image = pictures.image[..., :32, :32]
    small = partial(module, image_size=32)
    with pytest.raises(InputError, match=r"BatchNorm.* got a batch of 1 with a map of one cell; raise data.batch_size"):
        trainer().fit(small(), loader(pictures, 1), loader(pictures, 1))
    for helps in (small(freeze_backbone=True), small(backbone="test_vit")):
        trainer().fit(helps, loader(pictures, 1), loader(pictures, 1))
    trainer().fit(small(), loader(pictures, 2), loader(pictures, 1))


def test_one_test_picture_and_one_label_give_nulls_and_no_failure(tree, tmp_path) -> None:
    header, first = (tree / "test.csv").read_text().splitlines()[:2]
    shutil.copytree(tree, tmp_path / "tree")
    (tmp_path / "tree" / "test.csv").write_text(f"{header}\n{first}\n")
    config, run = experiment(tmp_path / "tree", label_columns=["A"], image_size=64), tmp_path / "run"
    done("fit", "--config", written(tmp_path / "e.yaml", config), "--run_dir", run)
    done("test", "--config", run / "config.yaml", "--ckpt_path", run / "checkpoints" / "best.ckpt")
    text = (run / "test_metrics.json").read_text()
    found = json.loads(text)
    assert "NaN" not in text
    assert found["samples"] == 1
    assert found["metrics"]["mAP"] is None
    assert found["metrics"]["AUROC"] is None
    assert found["intervals"].get("mAP") is None
    assert len(rows(run / "test_predictions.csv")) == 1
