"""A head or loss that takes another's place has its own defaults, and keeps what was asked of it alone."""

import inspect
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonargparse import _typehints

import ibca_lightning.heads
from ibca_lightning.losses import AsymmetricLoss
from ibca_lightning.run.command_line import class_options
from ibca_lightning.run.command_line.short_names import NAMES
from tests.command_line import done

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
    before = dict(vars(_typehints))
    with pytest.raises(ValueError, match="stop"), class_options.class_rules():
        raise ValueError("stop")
    assert vars(_typehints) == before
