"""fit, validate, test and predict on a data module: LightningCLI with the run folder and the errors of the contract."""

import os
import shlex
import sys
import time
from argparse import SUPPRESS, ArgumentError
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Literal, TypeVar

import lightning.pytorch as pl
from jsonargparse import ActionYesNo
from jsonargparse.typing import PositiveInt
from lightning.fabric.plugins import CheckpointIO
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import BatchSizeFinder, Callback, LearningRateFinder
from lightning.pytorch.callbacks import ProgressBar as LightningBar
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import Logger, WandbLogger
from lightning.pytorch.plugins import LayerSync

from ibca_lightning.data.base import MultiLabelDataModule
from ibca_lightning.data.run_split import RunSplit
from ibca_lightning.data.storage import exists, here, is_folder, is_remote
from ibca_lightning.metrics.columns import excel_safe
from ibca_lightning.metrics.decision import few_positives
from ibca_lightning.model.checkpoint import ModelSpec, read_checkpoint
from ibca_lightning.model.module import MONITOR, MultiLabelModule
from ibca_lightning.model.public_names import with_public_names
from ibca_lightning.model.sync_batchnorm import TimmSyncBatchNorm
from ibca_lightning.run import run_folder
from ibca_lightning.run.callbacks.attention_pictures import AttentionPictures
from ibca_lightning.run.callbacks.last_checkpoint import LastCheckpoint
from ibca_lightning.run.callbacks.metrics_csv import MetricsRows, RunCSVLogger
from ibca_lightning.run.callbacks.model_card import ModelCard
from ibca_lightning.run.callbacks.progress import EpochLines, ProgressBar, say
from ibca_lightning.run.callbacks.results import WriteResults
from ibca_lightning.run.callbacks.run_checkpoint import RunCheckpoint
from ibca_lightning.run.callbacks.run_config import SaveRunConfig, resolved_yaml
from ibca_lightning.run.callbacks.splits import WriteSplits
from ibca_lightning.run.callbacks.stop_signals import StopSignals
from ibca_lightning.run.callbacks.term_tables import WriteTermTables
from ibca_lightning.run.checkpoint_files import WholeCheckpointIO
from ibca_lightning.run.closing_table import evaluation_table, fit_table
from ibca_lightning.run.command_line.class_options import class_rules, refuse_bases
from ibca_lightning.run.command_line.config_files import check_config_files
from ibca_lightning.run.command_line.home import at_home
from ibca_lightning.run.command_line.parser_messages import one_line
from ibca_lightning.run.command_line.resumed_settings import changed_settings
from ibca_lightning.run.command_line.shipped import with_recipe_files
from ibca_lightning.run.command_line.trainer_messages import of_lightning
from ibca_lightning.run.loggers import named
from ibca_lightning.run.loggers.wandb_logging import remove_logs, wandb_logger, wandb_mode
from ibca_lightning.run.peers import code_of_peer, said_by_parent, silence_peers
from ibca_lightning.run.quiet import quieten
from ibca_lightning.run.run_settings import picture_folders, read_settings
from ibca_lightning.system.allocator import keep_freed_memory
from ibca_lightning.system.errors import InputError, refusal
from ibca_lightning.system.hashed_names import hashed_names
from ibca_lightning.system.options import require_folder
from ibca_lightning.system.yaml_text import load

_CLI = TypeVar("_CLI", bound="IBCACLI")


class IBCACLI(LightningCLI):
    """LightningCLI for `MultiLabelModule` and any data module, with everything of a run in one folder."""

    run_dir: str
    _typed: list[str]
    _before: set[str] | None
    _goes_on: bool = False
    _rename: Callable[[str], str] = str
    _run_split: RunSplit | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Parse, build and run, as LightningCLI does; leave nothing of a run that could not start."""
        parent, began = os.getppid(), time.monotonic()
        self._claimed = ExitStack()
        try:
            super().__init__(*args, **kwargs)
        except Exception as raised:
            error = of_lightning(raised) or raised
            trainer = getattr(self, "trainer", None)
            if isinstance(error, InputError):
                silence_peers(trainer)
            code = code_of_peer(error, trainer) or said_by_parent(error, parent, time.monotonic() - began)
            self._finish(error, refused=isinstance(error, InputError) or refusal(error) is not None or code == 2)
            if code is not None:
                raise SystemExit(code) from error
            raise error from raised.__cause__ if error is raised else raised
        finally:
            self._claimed.close()
        self._finish(None)

    def _finish(self, error: Exception | None, refused: bool = False) -> None:
        trainer = getattr(self, "trainer", None)
        # A second run in this process would go on in the first one's wandb run.
        wandb_loggers = [logger for logger in (trainer.loggers if trainer else ()) if isinstance(logger, WandbLogger)]
        for logger in wandb_loggers:
            if logger._experiment is not None:
                logger.experiment.finish(exit_code=int(error is not None))
        trained = trainer is not None and trainer.global_step > 0
        # Of a run without checkpoints the figures are all there is.
        kept = trainer is not None and trained and not (refused and trainer.checkpoint_callbacks)
        if error is not None and hasattr(self, "_before") and not kept:
            removed = run_folder.remove_unstarted(self.run_dir, self._before)
            if trained and removed:
                say(f"note: it ended before its first checkpoint; removed what it left in {self.run_dir}")
        folder = os.path.join(getattr(self, "run_dir", ""), "wandb")
        if wandb_loggers and self._rename is not str:
            remove_logs(folder)
        if any(logger._offline for logger in wandb_loggers) and os.path.isdir(folder):
            pictures = sum(1 for _ in Path(folder).glob("offline-run-*/files/media/images/*/*"))
            held = "the figures" + f" and {pictures} attention pictures" * bool(pictures)
            send = f"wandb sync {shlex.quote(folder)}/offline-run-*"
            say(f"wandb was off line: nothing was sent. {folder} holds {held}; only `{send}` would send them")

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
            help="Give wandb the attention pictures, off line too. Patient pictures leave the machine only with this.",
        )  # fmt: skip
        parser.add_argument(
            "--save_every_n_steps", type=PositiveInt | None, default=None,
            help="Save last.ckpt also within an epoch, after so many steps; default at the end of each.",
        )  # fmt: skip
        parser.add_argument(
            "--deterministic", action=ActionYesNo(no_prefix="no_"), nargs="?", default=False,
            help="Two runs on one machine give equal weights to the bit (trainer.deterministic); slower on a GPU.",
        )  # fmt: skip
        parser.add_argument(
            "--hash_names", action=ActionYesNo(no_prefix="no_"), nargs="?", default=False,
            help="Keyed hashes (HMAC) instead of the names of pictures and groups in all that the run writes; paths "
            "outside of the current folder, the command and the machine are not told to wandb.",
        )  # fmt: skip
        parser.add_argument(
            "--hash_key", type=str | None, default=None,
            help="File with the key of the hashes; default names.key in the user's configuration folder.",
        )  # fmt: skip
        parser.add_argument(
            "--excel_safe", action=ActionYesNo(no_prefix="no_"), nargs="?", default=SUPPRESS,
            help="Of predict: an apostrophe before ids and columns that begin with =, +, - or @.",
        )  # fmt: skip
        for name in ("find_batch_size", "find_lr"):  # options that are gone: a config.yaml of before says false
            parser.add_argument(f"--{name}", type=Literal[False], default=SUPPRESS, help=SUPPRESS)
        parser.link_arguments("data", "model.init_args.num_labels", self._seen_labels, apply_on="instantiate")
        for name in ("class_names", "image_size", "preprocessing"):
            parser.link_arguments(f"data.{name}", f"model.init_args.{name}", apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse what `main` was given (it has taken its own options out, so `sys.argv` may differ)."""
        # What `build` put in front, the default model, was not typed.
        self._typed = ["ibca", *args[:1], *args[3:]] if isinstance(args, list) else sys.argv
        try:
            with class_rules():
                # Resolved only here, so that the model card has the names as they were typed.
                given = with_public_names(with_recipe_files(args)) if isinstance(args, list) else args
                self.config = at_home(parser.parse_args(given))  # type: ignore[arg-type]
        except ArgumentError as error:
            raise one_line(str(error), args if isinstance(args, list) else sys.argv) from error
        config = self.config[self.config["subcommand"]]
        refuse_bases(config)
        if not 0 <= config.seed_everything < 2**32:
            raise InputError("seed_everything from 0 to 4294967295", config.seed_everything, "give another seed")
        self._rename = hashed_names(config) or str

    def _parse_ckpt_path(self) -> None:
        """Leave the configuration alone: a checkpoint must not override YAML and command line behind their back."""

    def before_instantiate_classes(self) -> None:
        """Check the checkpoint and choose the run folder before anything is built."""
        config = self.config[self.subcommand]
        require_data(config)
        require_work(str(self.subcommand), config.trainer)
        if config.get("excel_safe") and self.subcommand != "predict":
            raise InputError("--excel_safe of ibca predict", f"ibca {self.subcommand}", "leave it out")
        named.check_requests(_listed(config.trainer.logger), config.wandb, bool(config.hash_names))
        # Kept, so that the run is found again without that environment.
        config.wandb_project = os.environ.get("WANDB_PROJECT") or config.wandb_project
        checkpoint, given = config.ckpt_path, resolved_yaml(self._parser(self.subcommand), config)
        if self.subcommand != "fit" and not checkpoint:
            raise InputError(f"--ckpt_path for ibca {self.subcommand}", "none", "give RUN/checkpoints/best.ckpt")
        if checkpoint:
            spec = ModelSpec.from_checkpoint(read_checkpoint(checkpoint), checkpoint)
            # The checkpoint brings the weights: fetching or reading others first would only fail where they are not.
            if config.model.class_path.rpartition(".")[2] == MultiLabelModule.__name__:
                for key, value in (("pretrained", False), ("checkpoint_path", None), ("init_from", None)):
                    config.model.init_args[key] = value
            _as_trained(config.data.init_args, spec, checkpoint, fit=self.subcommand == "fit")
            size = config.data.init_args.get("image_size") or spec.image_size  # stored maps may leave it out
            if self.subcommand != "fit" and size != spec.image_size:
                say(f"note: the model was trained at image_size {spec.image_size}, the data have {size}")
        fit = self.subcommand == "fit"
        self.run_dir = run_folder.choose_run_dir(config.run_dir, checkpoint, config, fit)
        beside = bool(checkpoint) and not is_remote(checkpoint)
        self._goes_on = beside and os.path.realpath(self.run_dir) == str(run_folder.run_of(checkpoint))
        config.ckpt_path = here(checkpoint) if checkpoint else None  # which Lightning reads by itself
        require_folder(self.run_dir, "--run_dir")  # before the data are read, and weights fetched
        if fit and not self._goes_on:
            run_folder.refuse_taken(self.run_dir)
        init_from = (config.model.get("init_args") or {}).get("init_from")
        if not self._goes_on or not fit:  # a run that goes on is held to its own split when it is written
            self._run_split = run_split(str(self.subcommand), checkpoint or init_from, given, warn=not checkpoint)
        note = None
        if fit and checkpoint and is_remote(checkpoint):
            say("note: its run lies behind a URL: whether the options are those of the run is not checked")
        elif fit and (self._goes_on or run_folder.in_run(checkpoint)):  # into whatever folder
            note = changed_settings(str(run_folder.run_of(checkpoint)), given)
        if note is not None:
            say(note)

    def _seen_labels(self, data: Any) -> int:
        """The number of labels, for the model, of data whose tables have been read.

        The model is built behind this, with weights to fetch, and the run folder and wandb behind the model: what is
        wrong with the tables is to be said before. By the first process alone: some data are unpacked when they are
        first read.
        """
        self._hide_names(data)
        if isinstance(data, MultiLabelDataModule) and run_folder.process_rank() == 0:
            data.read_tables()
        return int(data.num_labels)

    def _hide_names(self, data: Any) -> None:
        if isinstance(data, MultiLabelDataModule):
            data.rename, data.run_split = self._rename, self._run_split
        elif self._rename is not str:
            raise InputError(
                "a data module on MultiLabelDataModule for --hash_names", type(data).__name__, "leave it out"
            )

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Add the loggers, checkpoints and callbacks that every run has."""
        config = self.config_init[self.subcommand]
        trainer = config.trainer
        unasked = self.subcommand == "fit" and not self._goes_on and not config.run_dir
        self.run_dir, before = run_folder.create_run_dir(self.run_dir, own=unasked)
        if self.subcommand == "fit":
            self._claimed = run_folder.claim(self.run_dir)
            if not self._goes_on:
                run_folder.refuse_taken(self.run_dir)  # by a run that began and ended meanwhile
        self._before = before  # from here on this run may clear up
        for tuner in _listed(trainer.callbacks):
            if isinstance(tuner, BatchSizeFinder | LearningRateFinder):
                fix = "give --data.batch_size or --model.learning_rate; ibca tune searches"
                raise InputError("callbacks that leave batch and rate alone", type(tuner).__name__, fix)
        cell = excel_safe if config.get("excel_safe") else str
        callbacks: list[Callback] = [StopSignals(), WriteResults(self.run_dir, cell)]
        own = any(isinstance(given, LightningBar) for given in _listed(trainer.callbacks))  # in place of ours
        asked = trainer.enable_progress_bar
        bar = own or sys.stderr.isatty() if asked is None else asked
        if not own:
            callbacks += [ProgressBar(), EpochLines()] if bar else [EpochLines()]
        if self.subcommand in ("fit", "test"):
            callbacks.append(AttentionPictures(self.run_dir, log_images=config.log_images))
            callbacks.append(ModelCard(self.run_dir, self._typed))
        if self.subcommand == "fit":
            callbacks += [WriteSplits(self.run_dir), WriteTermTables(self.run_dir), MetricsRows()]
        kwargs["enable_progress_bar"] = bar
        if config.deterministic:
            kwargs["deterministic"] = True
        kwargs.setdefault("default_root_dir", self.run_dir)
        kwargs["plugins"] = _plugins(trainer)
        if self.subcommand != "fit":
            kwargs["enable_checkpointing"] = False
        elif trainer.enable_checkpointing is not False and not trainer.fast_dev_run:
            folder = os.path.join(self.run_dir, "checkpoints")
            callbacks += [RunCheckpoint(folder, "best", MONITOR), LastCheckpoint(folder, config.save_every_n_steps)]
        if trainer.logger is not False:
            kwargs["logger"] = self._loggers(config) or False
        self.save_config_kwargs = {"run_dir": self.run_dir, "hide_paths": bool(config.hash_names)}
        self.trainer_defaults["callbacks"] = callbacks
        try:
            built = super().instantiate_trainer(**kwargs)
        except (ValueError, TypeError, MisconfigurationException) as error:
            reason, fix = str(error).splitlines()[0].rstrip("."), "correct the --trainer options"
            other = InputError("trainer options that fit this machine", reason, fix)
            raise of_lightning(error) or other from error
        if str(trainer.strategy).startswith(("ddp_spawn", "ddp_fork", "ddp_notebook")):
            fix = "give ddp: each process is then the same command; these are copies, whose figures would be lost"
            raise InputError("--trainer.strategy for the command line", trainer.strategy, fix)
        if self.subcommand == "fit" and trainer.sync_batchnorm and not _has_gpu(built):
            raise InputError("GPUs for trainer.sync_batchnorm", "cpu", "leave it out: torch has none for processors")
        return built

    def _loggers(self, config: Any) -> list[Logger]:
        loggers: list[Logger] = [RunCSVLogger(self.run_dir)] if self.subcommand == "fit" else []
        mode, goes_on = wandb_mode(config.wandb), self._goes_on and self.subcommand == "fit"
        given = [] if config.trainer.logger is True else _listed(config.trainer.logger)
        if self.subcommand in ("fit", "test") and mode != "disabled":
            loggers.append(
                wandb_logger(
                    self.run_dir, mode, config.wandb_project, self.subcommand, goes_on, bool(config.hash_names)
                )
            )
        if self.subcommand != "predict":
            loggers += named.made(given, self.run_dir, str(self.subcommand), goes_on)
        return loggers

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        kwargs = super()._prepare_subcommand_kwargs(subcommand)
        kwargs["weights_only"] = True  # a checkpoint holds tensors and plain data, and may run no code
        if "verbose" in kwargs:
            kwargs["verbose"] = False  # our own closing table says the same for people
        if subcommand == "predict":
            kwargs["return_predictions"] = False  # they are written as they come
        return kwargs

    def after_fit(self) -> None:
        """Close with a table of the last validation, the best score, and where everything lies."""
        stopped = self.trainer.early_stopping_callback
        if stopped is not None and stopped.stopped_epoch:
            say(f"stopped early: no better validation score in {stopped.patience} validations")
        if self.trainer.is_global_zero and isinstance(self.model, MultiLabelModule):
            last = self.model.evaluations.get("val"), self.model.points
            (card,) = (each for each in self.trainer.callbacks if isinstance(each, ModelCard))  # type: ignore[attr-defined]
            epochs = None if card.epoch is None else (card.epoch, max(card.epoch, self.trainer.current_epoch))
            checkpoints = self.trainer.checkpoint_callbacks
            fit_table(*(card.best or last), checkpoints, self.run_dir, card.best is not None, epochs)
            self._say_instruments()

    def after_test(self) -> None:
        """Close with a table of the figures."""
        if self.trainer.is_global_zero and isinstance(self.model, MultiLabelModule):
            evaluation_table(self.model.evaluations, self.run_dir if self.subcommand == "test" else None)
            self._say_instruments()

    after_validate = after_test

    def _say_instruments(self) -> None:
        """Say what is in the data on purpose, below figures that somebody might take for those of the data."""
        if isinstance(self.datamodule, MultiLabelDataModule):
            for line in self.datamodule.instruments():
                say(line)

    def after_predict(self) -> None:
        """Say where the predictions lie, and which of the decisions are mostly chance."""
        if self.trainer.is_global_zero and isinstance(self.model, MultiLabelModule):
            rare = few_positives(self.model.class_names, self.model.points.positives)
            if rare:
                say(f"note: {rare}; these decisions are mostly chance")
        say(f"wrote {os.path.join(self.run_dir, 'predictions.csv')}")


def require_data(config: Any) -> None:
    """Refuse a configuration without data; data that can have them get the channels that the model asks for."""
    if config.data is None:
        raise InputError("--data or a --config with a `data:` section", "none", "see ibca list recipes")
    asked = (config.model.get("init_args") or {}).get("in_channels")
    if asked is not None and config.data.init_args.get("in_channels") == 3:
        config.data.init_args["in_channels"] = asked


def require_work(subcommand: str, trainer: Any) -> None:
    """Refuse limits of the trainer with which nothing would be done: Lightning ends as if all had been.

    Raises:
        InputError: A limit of this subcommand is 0, or a step takes no batch.
    """
    if subcommand == "fit" and (batches := trainer.accumulate_grad_batches) < 1:
        raise InputError("trainer.accumulate_grad_batches of 1 or more", batches, "correct the value")
    limits = {"fit": ("max_epochs", "max_steps", "limit_train_batches"), "validate": ("limit_val_batches",)}
    for name in limits.get(subcommand, (f"limit_{subcommand}_batches",)):
        if trainer[name] == 0 and not trainer.fast_dev_run:  # which sets them
            fix = "raise it; ibca check reads data without a model, --trainer.fast_dev_run true tries everything"
            raise InputError(f"trainer.{name} above 0 for ibca {subcommand}", trainer[name], fix)


def run_split(subcommand: str, checkpoint: str | None, given: str, warn: bool = False) -> RunSplit | None:
    """What is held out of the training of a checkpoint, by the run beside it; None where none is known.

    Args:
        subcommand: What is done with the model.
        checkpoint: Of the model.
        given: The configuration with which it is done, as YAML.
        warn: Warn of pictures that it has seen, where they would be refused.
    """
    if not checkpoint or is_remote(checkpoint):
        return None
    run = run_folder.choose_run_dir(None, checkpoint, {})
    held_out: dict[str, tuple[str, ...]] = {"fit": ("val", "test"), "validate": ("val",)}
    answer: Literal["keep", "refuse", "warn"] = "keep" if subcommand != "fit" else "warn" if warn else "refuse"
    settings: dict[str, Any] = {}
    with suppress(InputError):  # what the run was given is asked for nothing else
        settings = read_settings(Path(run))
    theirs, ours = (picture_folders(own)[0] for own in (settings, load(given)))
    elsewhere = bool(theirs and ours and is_folder(theirs) and is_folder(ours))
    elsewhere = elsewhere and not os.path.samefile(str(theirs), str(ours))
    return RunSplit(run, held_out.get(subcommand, ("test",)), answer, elsewhere=elsewhere)


def run_lightning(arguments: list[str]) -> int:
    """Run one of fit, validate, test, predict, the first argument; 0, as every failure is an exception."""
    build(arguments, IBCACLI)
    return 0


def build(arguments: list[str], cli: type[_CLI]) -> _CLI:
    """Build model, data and trainer from a subcommand and its options, run it, and return the command line."""
    quieten()
    check_config_files(with_recipe_files(arguments))
    keep_freed_memory()
    strict = {"exit_on_error": False, "allow_abbrev": False}  # a key cut short would be taken for a longer, later one
    return cli(
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
        # Everything but the data has a default, the model too; what stands behind overrides it.
        args=[arguments[0], "--model", MultiLabelModule.__name__, *arguments[1:]],
    )


def _as_trained(data: Any, spec: ModelSpec, checkpoint: str, fit: bool) -> None:
    """Take from a checkpoint what the data leave open: the bit depth, and the classes of a test table alone."""
    if "bit_depth" in data and data.bit_depth is None:
        data.bit_depth = int(spec.preprocessing.get("bit_depth", 0)) or "each"
    if not fit and "train_csv" in data and data.get("label_space") is None:
        places = (os.path.join(str(data.root), str(data.train_csv)), str(data.train_csv))
        if not any(map(exists, places)):
            data.label_space = checkpoint


def _listed(given: Any) -> list[Any]:
    """What a key of the trainer holds that takes one thing, several, or none."""
    return list(given) if isinstance(given, list) else [] if given is None else [given]


def _has_gpu(trainer: pl.Trainer) -> bool:
    return trainer.strategy.root_device.type != "cpu"


def _plugins(trainer: Any) -> list[Any]:
    """The trainer's plugins, and ours for what the user has not chosen."""
    given = _listed(trainer.plugins)
    if not any(isinstance(plugin, CheckpointIO) for plugin in given):
        given.append(WholeCheckpointIO())
    if trainer.sync_batchnorm and not any(isinstance(plugin, LayerSync) for plugin in given):
        given.append(TimmSyncBatchNorm())
    return given
