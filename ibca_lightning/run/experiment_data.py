"""The data module that a command line of `ibca test` describes, without a model or a trainer."""

from typing import Any

import lightning.pytorch as pl
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser

from ibca_lightning.data.base import MultiLabelDataModule
from ibca_lightning.run.callbacks.run_config import resolved_yaml
from ibca_lightning.run.lightning_cli import IBCACLI, build, require_data, run_split
from ibca_lightning.run.run_folder import experiment_name
from ibca_lightning.system.yaml_text import load


class _DataCLI(IBCACLI):
    """Parses what `ibca test` parses, and builds the data module alone."""

    def before_instantiate_classes(self) -> None:
        """Ask for data; nothing is written, so there is no run folder to choose."""
        require_data(self.config[self.subcommand])

    def instantiate_classes(self) -> None:
        """Build the data module; the model would be built for nothing."""
        parser = LightningArgumentParser()
        parser.add_lightning_class_args(pl.LightningDataModule, "data", subclass_mode=True)
        data = Namespace(data=self.config[self.subcommand].data)  # type: ignore[no-untyped-call]
        self.datamodule = parser.instantiate_classes(data).data
        self._hide_names(self.datamodule)

    def _run_subcommand(self, subcommand: str) -> None:
        """Run nothing."""


def experiment_data(arguments: list[str]) -> Any:
    """Build the data module, not set up, of options of `ibca test` such as `--config FILE --data.root DIR`."""
    return experiment(arguments)[0]


def experiment(arguments: list[str], checkpoint: str | None = None) -> tuple[Any, str, dict[str, Any]]:
    """Build the data module as `experiment_data` does; return it with the experiment's name and its settings.

    Args:
        arguments: As for `experiment_data`.
        checkpoint: The model that is to be tested on the data.
    """
    built = build(["test", *arguments], _DataCLI)
    config = built.config["test"]
    given = resolved_yaml(built._parser("test"), config)
    if isinstance(built.datamodule, MultiLabelDataModule):
        built.datamodule.run_split = run_split("test", checkpoint, given)
    return built.datamodule, experiment_name(config), load(given)
