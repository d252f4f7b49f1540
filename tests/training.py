"""In-memory pictures, and short runs on them, for the tests of training and evaluation."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ibca_lightning.heads import GAPHead
from ibca_lightning.model.module import MultiLabelModule
from ibca_lightning.system.model_files.model_record import CHECKPOINT_KEY

SIZE = 64


class Pictures(Dataset[dict[str, Any]]):
    """N pictures with L labels: label l brightens a square of its own, so that it can be learnt.

    Args:
        samples: N.
        labels: L.
        seed: Of pictures and labels.
        known: Whether all labels are known; otherwise about a tenth is -1.
        masks: Whether to give masks of the squares, and of what counts as drawn.
    """

    def __init__(self, samples: int, labels: int = 3, seed: int = 0, known: bool = True, masks: bool = False) -> None:
        generator = torch.Generator().manual_seed(seed)
        present = torch.rand(samples, labels, generator=generator) < 0.4
        self.image = torch.randint(0, 120, (samples, 3, SIZE, SIZE), generator=generator, dtype=torch.uint8)
        self.mask = torch.zeros(samples, labels, SIZE, SIZE, dtype=torch.bool)
        for label in range(labels):
            self.mask[:, label, 8:24, 12 * label : 12 * label + 12] = True
        self.mask &= present[:, :, None, None]
        self.image[:, 0] += (self.mask.any(1) * 100).to(torch.uint8)
        self.label = present.to(torch.int8)
        if not known:
            self.label[torch.rand(samples, labels, generator=generator) < 0.1] = -1
        self.masks = masks

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, at: int) -> dict[str, Any]:
        item = {
            "image": self.image[at],
            "label": self.label[at],
            "index": torch.tensor(at),
            "id": f"p{at // 2}/{at}.png",
        }
        item["group"] = f"p{at // 2}"
        if not self.masks:
            return item
        return item | {"mask": self.mask[at], "drawn_mask": self.mask[at].any(0, keepdim=True)}


def loader(pictures: Dataset[Any], batch_size: int = 8) -> DataLoader[Any]:
    return DataLoader(pictures, batch_size=batch_size)


class Data(pl.LightningDataModule):
    """Given sets as a data module; several test sets by name."""

    def __init__(self, test: Mapping[str, Dataset[Any]], train: Dataset[Any] | None = None) -> None:
        super().__init__()
        self.test, self.train = test, train
        self.test_names = list(test)

    def train_dataloader(self) -> Any:
        return loader(self.train)

    def val_dataloader(self) -> Any:
        return loader(self.train)

    def test_dataloader(self) -> Any:
        loaders = [loader(pictures) for pictures in self.test.values()]
        return loaders if len(loaders) > 1 else loaders[0]

    predict_dataloader = test_dataloader


def sgd(rate: float = 0.1) -> Any:
    return lambda groups: torch.optim.SGD(groups, lr=rate)


def module(labels: int = 3, seed: int = 0, **options: Any) -> MultiLabelModule:
    torch.manual_seed(seed)
    given = {"backbone": "test_resnet", "pretrained": False, "image_size": SIZE, "head": GAPHead, "optimizer": sgd()}
    names = options.pop("class_names", [f"class {i}" for i in range(labels)])
    return MultiLabelModule(len(names), names, **(given | {"preprocessing": {"resize": "stretch"}} | options))


def save(model: MultiLabelModule, path: Path) -> Path:
    """A checkpoint of a model that was not trained."""
    torch.save({"state_dict": model.state_dict(), CHECKPOINT_KEY: model.spec.as_dict()}, path)
    return path


def trainer(**options: Any) -> pl.Trainer:
    given: dict[str, Any] = {
        "accelerator": "cpu", "max_epochs": 1, "logger": False, "enable_progress_bar": False, "devices": 1,
        "enable_model_summary": False, "enable_checkpointing": False, "num_sanity_val_steps": 0,
    }  # fmt: skip
    if any(isinstance(callback, pl.callbacks.ModelCheckpoint) for callback in options.get("callbacks", [])):
        given["enable_checkpointing"] = True
    return pl.Trainer(**(given | options))


def best(folder: Any) -> pl.callbacks.ModelCheckpoint:
    return pl.callbacks.ModelCheckpoint(
        dirpath=folder, filename="best", monitor="val/monitor", mode="max", enable_version_counter=False
    )


def last(folder: Any) -> pl.callbacks.ModelCheckpoint:
    return pl.callbacks.ModelCheckpoint(
        dirpath=folder, filename="last", monitor=None, save_on_train_epoch_end=True, enable_version_counter=False
    )


@torch.no_grad()
def probabilities(model: MultiLabelModule, pictures: Pictures) -> Tensor:
    """What the model says, by hand: no Lightning, no uint8 path, all pictures at once."""
    model.eval()
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (model.backbone.mean, model.backbone.std))
    return model.head(model.backbone((pictures.image.float() / 255 - mean) / std)).logits.sigmoid()


def checkpoint(path: Path, seed: int, names: Sequence[str] = ("MA", "EX"), **options: Any) -> Path:
    """A model whose maps are sharp: 64 px at stride 8."""
    model = module(class_names=list(names), feature_stride=8, seed=seed, **options)
    model.head.linear.weight.data.mul_(1000)
    model.head.linear.bias.data.copy_(torch.linspace(-1, 1, len(names)) * (1 + seed))
    return save(model, path)
