"""Saves the resolved configuration into the run folder and gives it to the loggers."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import yaml
from lightning.pytorch.cli import LightningArgumentParser, SaveConfigCallback
from lightning.pytorch.loggers import WandbLogger

from ibca_lightning.run.model_card import hidden_paths
from ibca_lightning.run.relative_paths import relative_paths
from ibca_lightning.system.whole_files import write_text
from ibca_lightning.system.yaml_text import load

_NO_TEXT = "Unable to serialize instance "  # in jsonargparse's place of a value


class SaveRunConfig(SaveConfigCallback):
    """Writes `config.yaml` at the start of `fit`; a test or a resumed run never touches it.

    With `hide_paths` the loggers get `PATH` for paths that lead out of the current folder.
    `run_dir` and `ckpt_path` are left out, so that `ibca fit --config RUN/config.yaml` starts a new run.
    """

    def __init__(
        self, parser: LightningArgumentParser, config: Any, run_dir: str, hide_paths: bool = False
    ) -> None:  # fmt: skip
        super().__init__(parser, config, save_to_log_dir=False)
        self.hide_paths = hide_paths
        self.path = Path(run_dir) / "config.yaml"

    def save_config(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Write the file, on rank 0, and log it."""
        text = resolved_yaml(self.parser, self.config)
        goes_on = stage == "fit" and self.path.exists()
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger) or not goes_on:  # others may not take a second configuration
                logger.log_hyperparams(hidden_paths(load(text)) if self.hide_paths else load(text))
        if stage == "fit" and not goes_on:
            write_text(self.path, text)


def resolved_yaml(parser: LightningArgumentParser, config: Any) -> str:
    """The resolved configuration of a run, without what belongs to one start of it; relative paths."""
    config = config.clone()
    for key in ("run_dir", "ckpt_path", "config"):
        config.pop(key, None)
    text = str(parser.dump(config, skip_none=False))
    given = load(text)
    written = relative_paths(_written(given, repr(config)) if _NO_TEXT in text else given)
    return text if written == given else yaml.safe_dump(written, sort_keys=False)


def _written(value: Any, given: str) -> Any:
    """The same without objects that have no text, such as a torch.device; left out, each is the default that it was."""
    if isinstance(value, dict):
        kept = {key: _written(inner, given) for key, inner in value.items()}
        return {key: inner for key, inner in kept.items() if not str(inner).startswith(_NO_TEXT)}
    if isinstance(value, list):
        return [_written(inner, given) for inner in value]
    if isinstance(value, str) and repr(text := value.removeprefix(_NO_TEXT)) in given:
        return text  # a text where a function may stand
    return value
