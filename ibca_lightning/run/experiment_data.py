"""The data module that a command line of `ibca test` describes, without a model or a trainer."""

from typing import Any

import lightning.pytorch as pl
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser

from ibca_lightning.run.lightning_cli import IBCACLI, build
from ibca_lightning.run.run_folder import experiment_name
from ibca_lightning.system.errors import InputError


class _DataCLI(IBCACLI):
    """Parses what `ibca test` parses, and builds the data module alone."""

    def before_instantiate_classes(self) -> None:
        """Ask for data; nothing is written, so there is no run folder to choose."""
        if self.config[self.subcommand].data is None:
            raise InputError("--data or a --config with a `data:` section", "none", "see ibca list recipes")

    def instantiate_classes(self) -> None:
        """Build the data module; the model would be built for nothing."""
        parser = LightningArgumentParser()
        parser.add_lightning_class_args(pl.LightningDataModule, "data", subclass_mode=True)
        data = Namespace(data=self.config[self.subcommand].data)  # type: ignore[no-untyped-call]
        self.datamodule = parser.instantiate_classes(data).data

    def _run_subcommand(self, subcommand: str) -> None:
        """Run nothing."""


def experiment_data(arguments: list[str]) -> Any:
    """Build the data module of an experiment.

    Args:
        arguments: Options of `ibca test`, such as `--config FILE --data.root DIR`.

    Returns:
        The data module, not set up.

    Raises:
        InputError: As for `ibca test`.
    """
    return named_experiment_data(arguments)[0]


def named_experiment_data(arguments: list[str]) -> tuple[Any, str]:
    """Build the data module of an experiment, as `experiment_data` does; return it with the experiment's name."""
    built = build(["test", *arguments], _DataCLI)
    return built.datamodule, experiment_name(built.config["test"])
