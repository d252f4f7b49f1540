"""Private names of other packages that our code uses, where there is no public way: an upgrade says which one broke."""

import inspect
from collections.abc import Callable
from pathlib import Path

import lightning.pytorch as pl
import pytest
from jsonargparse import _actions, _loaders_dumpers, _typehints, _util
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

OBJECTS: dict[str, Callable[[str], object]] = {
    "fit loop": lambda _: pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False).fit_loop,
    "checkpoint": ModelCheckpoint,
    "CSV logger": CSVLogger,
    "wandb logger": lambda folder: WandbLogger(save_dir=folder, offline=True),
}
# Attributes that we read or set: of what, which, where.
ATTRIBUTES = [
    ("fit loop", "_restarting", "module"),
    ("fit loop", "_load_combined_loader_states", "module"),
    ("checkpoint", "_last_global_step_saved", "last_checkpoint"),
    ("CSV logger", "_experiment", "metrics_csv"),
    ("wandb logger", "_experiment", "lightning"),
    ("wandb logger", "_offline", "lightning"),
    ("wandb logger", "_wandb_init", "wandb_logging"),
]
# Methods and functions that we override, replace or call, with the parameters that we count on.
FUNCTIONS = [
    (LightningCLI, "_parser", ["self", "subcommand"]),
    (LightningCLI, "_parse_ckpt_path", ["self"]),
    (LightningCLI, "_prepare_subcommand_kwargs", ["self", "subcommand"]),
    (LightningCLI, "_run_subcommand", ["self", "subcommand"]),
    (ModelCheckpoint, "_save_topk_checkpoint", ["self", "trainer", "monitor_candidates"]),
    (ModelCheckpoint, "_monitor_candidates", ["self", "trainer"]),
    (ModelCheckpoint, "_should_skip_saving_checkpoint", ["self", "trainer"]),
    (ExperimentWriter, "_check_log_dir_exists", ["self"]),
    (ExperimentWriter, "_record_new_keys", ["self"]),
    (_typehints, "discard_init_args_on_class_path_change", ["parser_or_action", "prev_val", "value"]),
    (_typehints, "resolve_class_path_by_name", ["cls", "name"]),
    (_typehints, "import_object", ["name", "check_path"]),
    (_actions, "import_object", ["name", "check_path"]),
    (_loaders_dumpers, "yaml_load", ["stream"]),
]


@pytest.mark.parametrize(("owner", "name", "used_in"), ATTRIBUTES, ids=[f"{o}.{n}" for o, n, _ in ATTRIBUTES])
def test_attribute_is_there(owner: str, name: str, used_in: str, tmp_path: Path) -> None:
    assert hasattr(OBJECTS[owner](str(tmp_path)), name), f"see {used_in}.py"


@pytest.mark.parametrize(("owner", "name", "parameters"), FUNCTIONS, ids=[n for _, n, _ in FUNCTIONS])
def test_function_has_its_parameters(owner: object, name: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(owner, name)).parameters) == parameters


def test_jsonargparse_still_looks_its_functions_up_in_the_module() -> None:
    """`class_options` replaces them there, which a local import would pass by."""
    for name in ("discard_init_args_on_class_path_change", "resolve_class_path_by_name", "import_object", "Path"):
        assert f"{name}(" in inspect.getsource(_typehints).replace(f"def {name}(", "")
    assert " Path(value" in inspect.getsource(_util)
    assert " import_object(" in inspect.getsource(_actions)
    assert "loaders[mode]" in inspect.getsource(_loaders_dumpers)
