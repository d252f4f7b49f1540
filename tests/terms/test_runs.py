"""Runs with every term at once: switched off, taken up again, copied."""

import copy
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ibca_lightning.heads import CSRAHead
from ibca_lightning.run.callbacks.last_checkpoint import LastCheckpoint
from ibca_lightning.terms import Term
from tests.terms.contract import OPTIONS, TERMS, WEIGHTLESS, Trained, build
from tests.training import Pictures, loader, module, save, trainer


class Stopped(BaseException):
    pass


class Marked(Pictures):
    """A present class has its mark, too."""

    def __getitem__(self, at: int) -> dict[str, Any]:
        return super().__getitem__(at) | {"spurious_mask": self.mask[at]}


def fit(terms: list[Term], folder: Path | None = None, stop: int | None = None, go_on: Path | None = None) -> Any:
    """The weights of three epochs of two steps; `stop` is the step before which the run ends."""
    model = module(terms=terms, ema_decay=0.5)
    saved = [LastCheckpoint(str(folder))] if folder else []
    run, data = trainer(max_epochs=3, callbacks=saved, limit_val_batches=0), Trained(Marked(8, masks=True))
    data.train_dataloader = lambda: loader(data.train, 4)  # type: ignore[method-assign]
    step = model.training_step

    def stopping(*given: Any) -> Any:
        if run.global_step == stop:
            raise Stopped
        return step(*given)

    model.training_step = stopping  # type: ignore[method-assign]
    with suppress(Stopped):
        run.fit(model, datamodule=data, ckpt_path=go_on, weights_only=True)
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.fixture(autouse=True)
def teachers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of another head and size."""
    path = str(save(module(head=CSRAHead, seed=1, image_size=32), tmp_path / "teacher.ckpt"))
    monkeypatch.setitem(OPTIONS["Distillation"], "teachers", [path])
    monkeypatch.setitem(OPTIONS["JTT"], "first", path)


def every(**weight: float) -> list[Term]:
    off = {"start": 1.0} if weight else {}
    return [build(name, **(off if name in WEIGHTLESS else weight)) for name in TERMS]


@pytest.mark.slow
def test_weight_0_is_no_term_to_the_bit() -> None:
    none, off, on = fit([]), fit(every(weight=0.0)), fit(every())
    assert list(none) == list(off) == list(on)
    assert all(torch.equal(none[key], off[key]) for key in none)
    assert not all(torch.equal(none[key], on[key]) for key in none)


@pytest.mark.slow
def test_a_resumed_run_is_the_same_to_the_bit(tmp_path: Path) -> None:
    whole = fit(every(), tmp_path / "whole")
    fit(every(), tmp_path / "part", stop=4)
    saved = torch.load(tmp_path / "part/last.ckpt", weights_only=True)
    assert saved["global_step"] == 4
    assert list(saved["ibca_terms"]) == list(TERMS)
    assert not [key for key in saved["state_dict"] if "term" in key.lower()], "predict and export see none of it"
    assert not [
        key for key in [*saved["ibca_terms"]["Distillation"], *saved["ibca_terms"]["JTT"]] if "network" in key
    ], "a teacher is never saved"
    resumed = fit(every(), tmp_path / "part", go_on=tmp_path / "part/last.ckpt")
    same(whole, resumed)
    ends = [torch.load(tmp_path / run / "last.ckpt", weights_only=True)["ibca_terms"] for run in ("whole", "part")]
    same(*ends)
    with pytest.raises(Exception, match=r"the terms of the checkpoint, .*, got NVUM; leave model.terms"):
        fit([build("NVUM")], go_on=tmp_path / "part/last.ckpt")


def same(one: object, two: object, where: str = "") -> None:
    assert type(one) is type(two), where
    if isinstance(one, dict):
        assert list(one) == list(two), where
        for key in one:
            same(one[key], two[key], f"{where}.{key}")
    elif isinstance(one, Tensor):
        torch.testing.assert_close(one, two, rtol=0, atol=0, equal_nan=True, msg=where)
    else:
        assert one == two, where


@pytest.mark.slow
def test_a_copy_of_the_model_has_terms_of_its_own() -> None:
    model = module(terms=every())
    twin = copy.deepcopy(model)
    assert [type(term) for term in twin.terms] == [type(term) for term in model.terms]
    assert all(one is not two for one, two in zip(twin.terms, model.terms, strict=True))
