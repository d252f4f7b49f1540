"""fit, validate, test and predict on a data module: LightningCLI with the run folder and the errors of the contract."""

import logging
import os
import sys
import warnings
from argparse import ArgumentError
from typing import Any, Literal

import lightning.pytorch as pl
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from ibca_lightning.callbacks.attention_pictures import AttentionPictures
from ibca_lightning.callbacks.metrics_csv import RunCSVLogger
from ibca_lightning.callbacks.progress import EpochLines, ProgressBar
from ibca_lightning.callbacks.results import WriteResults
from ibca_lightning.callbacks.run_config import SaveRunConfig
from ibca_lightning.checkpoint import ModelSpec, read_checkpoint
from ibca_lightning.commands.parsing import one_line
from ibca_lightning.commands.run_folder import choose_run_dir, create_run_dir, refuse_taken
from ibca_lightning.commands.tables import evaluation_table, fit_table
from ibca_lightning.commands.wandb_logging import wandb_logger
from ibca_lightning.errors import InputError
from ibca_lightning.module import MONITOR, MultiLabelModule

_NOISE = (
    ".*does not have many workers.*",
    ".*Checkpoint directory .* exists and is not empty.*",
    ".*The number of training batches.*",
    ".*lr_scheduler.step.*before.*optimizer.step.*",  # the first step of a resumed or fp16 run
    ".*instantiate_classes.*",  # Lightning calls a name that jsonargparse 4.49 deprecates
    ".*callbacks used to create the checkpoint need.*",
    ".*LeafSpec.*",
)
_LINKS = ("num_labels", "class_names", "image_size", "preprocessing")


class IBCACLI(LightningCLI):
    """LightningCLI for `MultiLabelModule` and any data module, with everything of a run in one folder."""

    run_dir: str

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the run's own options and link the model to the data."""
        parser.add_argument(
            "--run_dir", type=str | None, default=None,
            help="Folder of the run; default runs/<experiment>/<time>, or the checkpoint's run.",
        )  # fmt: skip
        parser.add_argument(
            "--wandb", type=Literal["auto", "online", "offline", "disabled"], default="auto",
            help="auto: online with a key or as WANDB_MODE says, otherwise off line. disabled: none.",
        )  # fmt: skip
        parser.add_argument("--wandb_project", type=str, default="ibca_lightning", help="Project on wandb.")
        parser.add_argument(
            "--log_images", type=bool, default=False,
            help="Send attention pictures to wandb on line. Patient pictures leave the machine only with this.",
        )  # fmt: skip
        for name in _LINKS:
            parser.link_arguments(f"data.{name}", f"model.init_args.{name}", apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse what `main` was given (it has taken its own options out, so `sys.argv` may differ)."""
        try:
            self.config = parser.parse_args(args)  # type: ignore[arg-type]
        except ArgumentError as error:
            raise one_line(str(error)) from error

    def _parse_ckpt_path(self) -> None:
        """Leave the configuration alone: a checkpoint must not override YAML and command line behind their back."""

    def before_instantiate_classes(self) -> None:
        """Check the checkpoint and choose the run folder before anything is built."""
        config = self.config[self.subcommand]
        if config.data is None:
            raise InputError("--data or a --config with a `data:` section", "none", "see experiments/*.yaml")
        checkpoint = config.ckpt_path
        if self.subcommand != "fit" and not checkpoint:
            raise InputError(f"--ckpt_path for ibca {self.subcommand}", "none", "give RUN/checkpoints/best.ckpt")
        if checkpoint:
            spec = ModelSpec.from_checkpoint(read_checkpoint(checkpoint), checkpoint)
            # The checkpoint brings the weights: fetching or reading others first would only fail where they are not.
            if config.model.class_path.rpartition(".")[2] == MultiLabelModule.__name__:
                for key, value in (("pretrained", False), ("checkpoint_path", None), ("init_from", None)):
                    config.model.init_args[key] = value
            size = config.data.init_args.get("image_size", spec.image_size)
            if self.subcommand != "fit" and size != spec.image_size:
                _say(f"note: the model was trained at image_size {spec.image_size}, the data have {size}")
        self.run_dir = choose_run_dir(config.run_dir, checkpoint, config)
        if self.subcommand == "fit" and not checkpoint:
            refuse_taken(self.run_dir)

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Add the loggers, checkpoints and callbacks that every run has."""
        config = self.config_init[self.subcommand]
        trainer = config.trainer
        create_run_dir(self.run_dir)
        terminal = sys.stderr.isatty() and trainer.enable_progress_bar is not False
        callbacks: list[Callback] = [WriteResults(self.run_dir), ProgressBar() if terminal else EpochLines()]
        if self.subcommand in ("fit", "test"):
            callbacks.append(AttentionPictures(self.run_dir, log_images=config.log_images))
        kwargs["enable_progress_bar"] = terminal
        kwargs.setdefault("default_root_dir", self.run_dir)
        if self.subcommand != "fit":
            kwargs["enable_checkpointing"] = False
        elif trainer.enable_checkpointing is not False and not trainer.fast_dev_run:
            callbacks += _checkpoints(self.run_dir)
        if trainer.logger in (None, True):
            kwargs["logger"] = self._loggers(config)
        self.save_config_kwargs = {"run_dir": self.run_dir}
        self.trainer_defaults["callbacks"] = callbacks
        try:
            return super().instantiate_trainer(**kwargs)
        except (ValueError, TypeError, MisconfigurationException) as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise InputError(
                "trainer options that fit this machine", reason, "correct the --trainer options"
            ) from error

    def _loggers(self, config: Any) -> list[Logger] | bool:
        loggers: list[Logger] = [RunCSVLogger(self.run_dir)] if self.subcommand == "fit" else []
        if self.subcommand in ("fit", "test") and config.wandb != "disabled":
            loggers.append(wandb_logger(self.run_dir, config.wandb, config.wandb_project, self.subcommand))
        return loggers or False

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        kwargs = super()._prepare_subcommand_kwargs(subcommand)
        kwargs["weights_only"] = True  # a checkpoint holds tensors and plain data, and may run no code
        if "verbose" in kwargs:
            kwargs["verbose"] = False  # our own closing table says the same for people
        if subcommand == "predict":
            kwargs["return_predictions"] = False  # they are written as they come
        return kwargs

    def before_fit(self) -> None:
        """Say once how to sync what wandb writes off line."""
        if any(isinstance(logger, WandbLogger) and logger._offline for logger in self.trainer.loggers):
            _say(f"wandb runs off line; to sync: wandb sync {os.path.join(self.run_dir, 'wandb', 'offline-run-*')}")

    before_test = before_fit

    def after_fit(self) -> None:
        """Close with a table of the best validation and where everything lies."""
        if self.trainer.is_global_zero and isinstance(self.model, MultiLabelModule):
            fit_table(self.model.evaluations.get("val"), self.trainer.checkpoint_callbacks, self.run_dir)

    def after_validate(self) -> None:
        """Close with a table of the figures."""
        if self.trainer.is_global_zero and isinstance(self.model, MultiLabelModule):
            evaluation_table(self.model.evaluations, None)

    def after_test(self) -> None:
        """Close with a table of the figures."""
        if self.trainer.is_global_zero and isinstance(self.model, MultiLabelModule):
            evaluation_table(self.model.evaluations, self.run_dir)

    def after_predict(self) -> None:
        """Say where the predictions lie."""
        if self.trainer.is_global_zero:
            _say(f"wrote {os.path.join(self.run_dir, 'predictions.csv')}")


def run_lightning(arguments: list[str]) -> int:
    """Run one of fit, validate, test, predict.

    Args:
        arguments: The subcommand and its options.

    Returns:
        0; every failure is an exception.
    """
    _quieten()
    # An abbreviated key would be taken for another, longer one when options are added.
    strict = {"exit_on_error": False, "allow_abbrev": False}
    IBCACLI(
        MultiLabelModule,
        pl.LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        save_config_callback=SaveRunConfig,
        seed_everything_default=0,
        trainer_defaults={"max_epochs": 40, "enable_model_summary": False, "log_every_n_steps": 10},
        parser_kwargs={**strict, **dict.fromkeys(IBCACLI.subcommands(), strict)},
        auto_configure_optimizers=False,
        load_from_checkpoint_support=False,
        args=arguments,
    )
    return 0


def _checkpoints(run_dir: str) -> list[Callback]:
    folder = os.path.join(run_dir, "checkpoints")
    common: dict[str, Any] = {
        "dirpath": folder, "auto_insert_metric_name": False, "enable_version_counter": False,
    }  # fmt: skip
    return [
        ModelCheckpoint(filename="best", monitor=MONITOR, mode="max", save_top_k=1, **common),
        ModelCheckpoint(filename="last", monitor=None, save_top_k=1, save_on_train_epoch_end=True, **common),
    ]


@rank_zero_only
def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


def _quieten() -> None:
    """Keep what a user can act on: our own log and real warnings; not Lightning's advertisements."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    logger = logging.getLogger("ibca_lightning")
    if not logger.handlers and not getattr(rank_zero_only, "rank", 0):
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    for text in _NOISE:
        warnings.filterwarnings("ignore", text)
