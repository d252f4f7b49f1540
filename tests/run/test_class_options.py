"""A head or loss that takes another's place has its own defaults, and keeps what was asked of it alone."""

import inspect
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonargparse import _actions, _loaders_dumpers, _typehints, _util

import ibca_lightning.heads
from ibca_lightning.losses import AsymmetricLoss
from ibca_lightning.run.command_line import class_options
from ibca_lightning.run.command_line.parser_messages import no_class
from ibca_lightning.run.command_line.short_names import NAMES
from ibca_lightning.system.imports.own_modules import own_modules
from tests.command_line import done, refused
from tests.faults.test_files_of_a_run import BOMB

FOLDER = Path(__file__).parents[2] / "experiments"


def resolved(*arguments: object) -> dict[str, Any]:
    """The model's options as `ibca fit` would build them."""
    printed = done("fit", "--config", FOLDER / "idrid_maps.yaml", *arguments, "--print_config").out
    options: dict[str, Any] = yaml.safe_load(printed)["model"]["init_args"]
    return options


def defaults(head: str) -> dict[str, Any]:
    parameters = inspect.signature(getattr(ibca_lightning.heads, head)).parameters
    given = {name: p.default for name, p in parameters.items() if p.default is not inspect.Parameter.empty}
    return {
        name: {"class_path": f"ibca_lightning.heads.{value.__name__}", "init_args": defaults(value.__name__)}
        if isinstance(value, type) else value
        for name, value in given.items()
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES["model.head"])
def test_a_short_name_builds_the_head_with_its_own_defaults(name: str) -> None:
    head = resolved(f"--model.head={name}")["head"]
    assert head["class_path"] == NAMES["model.head"][name]
    assert head["init_args"] == defaults(head["class_path"].rpartition(".")[2])


def test_options_stay_with_their_class_however_it_is_named() -> None:
    for named in ("--model.head=ibca", "--model.head=ibca_lightning.heads.IBCAHead"):
        assert resolved("--model.head.latent=5", named)["head"]["init_args"]["latent"] == 5
    there_and_back = resolved("--model.head.latent=5", "--model.head=AttVIBHead", "--model.head=IBCAHead")["head"]
    assert there_and_back["init_args"] == defaults("IBCAHead")
    options = resolved("--model.head=MLDecoderHead", "--model.head.ffn=33")["head"]["init_args"]
    assert options == {**defaults("MLDecoderHead"), "ffn": 33}


class Clipped(AsymmetricLoss):
    """A loss of one's own, whose `clip` is not the one of AsymmetricLoss."""

    def __init__(self, clip: float = 0.5) -> None:
        super().__init__(clip=clip)


def test_a_loss_and_a_head_of_ones_own_have_their_own_defaults_too() -> None:
    loss = resolved("--model.loss=AsymmetricLoss", "--model.loss.clip=0.1", f"--model.loss={__name__}.Clipped")["loss"]
    assert loss == {"class_path": f"{__name__}.Clipped", "init_args": {"clip": 0.5}}
    assert resolved("--model.head=tests.own.my_head.MaxHead")["head"]["init_args"] == {"dropout": 0.0}


def test_an_optimiser_keeps_the_rate_of_the_recipe() -> None:
    optimizer = resolved("--model.optimizer=torch.optim.SGD")["optimizer"]
    assert (optimizer["class_path"], optimizer["init_args"]["lr"]) == ("torch.optim.SGD", 3e-3)


def test_the_parser_is_left_as_it_was() -> None:
    before = dict(vars(_typehints)), dict(vars(_util)), dict(vars(_actions)), dict(_loaders_dumpers.loaders)
    with pytest.raises(ValueError, match="stop"), class_options.class_rules():
        raise ValueError("stop")
    assert (vars(_typehints), vars(_util), vars(_actions), _loaders_dumpers.loaders) == before


def test_a_file_that_is_called_like_a_class_is_not_read(here: Path) -> None:
    for name in ("csra", "csv", "gap", "ibca_lightning.heads.GAPHead"):
        Path(name).write_text("class_path: evil.Own\n")
    Path("evil.py").write_text("raise SystemExit('run')\n")
    for named in ("csra", "gap", "ibca_lightning.heads.GAPHead"):
        assert resolved(f"--model.head={named}")["head"]["class_path"].startswith("ibca_lightning.heads.")
    done("fit", "--data=csv", "--data.root=x", "--print_config")


def test_a_file_of_a_class_is_read_with_measure(here: Path) -> None:
    Path("head.yaml").write_text("class_path: csra\ninit_args: {residual_weight: 0.5}\n")
    assert resolved("--model.head", "head.yaml")["head"]["init_args"]["residual_weight"] == 0.5
    Path("bomb.yaml").write_text(BOMB)
    Path("c.yaml").write_text("model: {init_args: {head: bomb.yaml}}\n")
    text = json.dumps(BOMB)  # a text within a YAML, which jsonargparse reads as YAML again
    Path("d.yaml").write_text(f"model: {{init_args: {{head: {text}}}}}\n")
    os.mkfifo("pipe.yaml")
    for arguments, said in (
        (("--model.head", "bomb.yaml"), "usual size in bomb.yaml"), (("--config", "c.yaml"), "usual size in bomb.yaml"),
        (("--data", "bomb.yaml"), "usual size in bomb.yaml"), (("--config", "d.yaml"), "model.head"),
        (("--model.head", "pipe.yaml"), "no regular file"), (("--data", "none.yaml"), "none.yaml"),
    ):  # fmt: skip
        refused("fit", *arguments, "--print_config", names=(said,))


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("nowhere_heads.Own", "No module named 'nowhere_heads'"),
        ("needs_heads.Own", "No module named 'pandaz', at {}/needs_heads.py, line 1, in <module>"),
        ("some_heads.Pwn", "some_heads has no Pwn"),
        ("some_heads.Own", "Own is no Head"),
        ("odd heads.Own", ""),
    ],
)
def test_what_is_wrong_with_a_class_of_ones_own_is_said(tmp_path: Path, given: str, why: str) -> None:
    (tmp_path / "needs_heads.py").write_text("import pandaz\n")
    (tmp_path / "some_heads.py").write_text("class Own: ...\n")
    with own_modules(str(tmp_path)):
        error = no_class("model.head", given)
    assert error.got == (f"{given} ({why.format(tmp_path)})" if why else given)
    for name in ("some_heads", "needs_heads"):
        sys.modules.pop(name, None)
