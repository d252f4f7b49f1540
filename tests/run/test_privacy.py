"""What wandb is given on line: no picture and no name of a picture or patient, unless pictures are asked for."""

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.command_line import done, experiment, rows, written
from tests.run.callbacks.fake_wandb import FakeWandb


class Recorder(FakeWandb):
    """Keeps everything that any method is given."""

    def __init__(self) -> None:
        super().__init__(offline=False)
        self.given: list[Any] = []

    def log_image(self, key: str, images: list[Any], **options: Any) -> None:
        super().log_image(key, images)
        self.given.append((key, options))

    def log_table(self, key: str, columns: list[str], data: list[Any], **options: Any) -> None:
        self.given.append((key, columns, data, options))

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.given.append(dict(metrics))

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        self.given.append((args, kwargs))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *args, **kwargs: self.given.append((name, args, kwargs))


def named(root: Path) -> set[str]:
    """Give every patient a name; return what would tell of one."""
    names: set[str] = set()
    for split in ("train", "val", "test"):
        table = [row | {"patient": f"jane-{row['patient']}"} for row in rows(root / f"{split}.csv")]
        with (root / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(table[0]))
            writer.writeheader()
            writer.writerows(table)
        names |= {name for row in table for name in (row["image"], Path(row["image"]).stem, row["patient"])}
    return names


def test_no_picture_is_sent_unless_asked_and_never_a_name(
    tree: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loggers: list[Recorder] = []

    def make(*_: object) -> Recorder:
        loggers.append(Recorder())
        return loggers[-1]

    monkeypatch.setattr("ibca_lightning.run.lightning_cli.wandb_logger", make)
    shutil.copytree(tree, here / "data")
    names = named(here / "data")
    config = written(here / "e.yaml", experiment(Path("data"), subgroup_columns=["sex"]))
    done("fit", "--config", config, "--run_dir", "run", "--wandb", "online")
    test = ("test", "--config", "run/config.yaml", "--ckpt_path", "run/checkpoints/best.ckpt", "--wandb", "online")
    done(*test)
    done(*test, "--log_images", "true")
    assert [bool(logger.sent) for logger in loggers] == [False, False, True]
    for logger in loggers:
        said = repr((logger.given, logger.sent))
        assert "AUROC" in said
        assert not [name for name in names if name in said]
