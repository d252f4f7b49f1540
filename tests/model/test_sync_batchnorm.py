from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ibca_lightning.model.sync_batchnorm import TimmSyncBatchNorm
from ibca_lightning.run.lightning_cli import IBCACLI, build
from tests.command_line import experiment, ibca, written
from tests.training import module


def norms(model: nn.Module) -> set[bool]:
    return {isinstance(m, nn.SyncBatchNorm) for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)}


def test_backbone_and_head_are_converted_and_predict_the_same() -> None:
    model = module(backbone="test_efficientnet", normalise_features=True).eval()  # its BatchNorm holds the activation
    images = torch.randint(0, 255, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        before, names = model(images).logits, list(model.state_dict())
        assert norms(model) == {False}
        converted = TimmSyncBatchNorm().apply(model)
        assert norms(converted) == {True}
        assert list(converted.state_dict()) == names
        torch.testing.assert_close(converted(images).logits, before)
        assert TimmSyncBatchNorm().revert(converted) is converted


def test_the_option_chooses_it_and_needs_a_gpu(tree: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = written(here / "e.yaml", experiment(tree))
    arguments = ["fit", "--config", str(config), "--run_dir", "run", "--trainer.sync_batchnorm", "true"]
    result = ibca(*arguments)
    assert (result.code, len(result.errors)) == (2, 1), result.err
    assert "GPUs for trainer.sync_batchnorm" in result.errors[0]
    assert not (here / "run").exists()
    chosen: list[Any] = []

    def fit(self: Any, *_: Any) -> None:
        chosen.append(self.trainer.strategy._layer_sync)

    monkeypatch.setattr(IBCACLI, "_run_subcommand", fit)
    monkeypatch.setattr("ibca_lightning.run.lightning_cli._has_gpu", lambda trainer: True)
    build([*arguments, "--trainer.strategy", "ddp"], IBCACLI)
    assert isinstance(chosen[0], TimmSyncBatchNorm)
