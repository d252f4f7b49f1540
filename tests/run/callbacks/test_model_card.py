"""`model_card.md`: the facts of fit and test, and nothing that tells of a patient or of this machine."""

import json
import re
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
import torch

from ibca_lightning.metrics.decision import OperatingPoints
from ibca_lightning.model.checkpoint import read_checkpoint
from ibca_lightning.model.module import MONITOR
from ibca_lightning.report.page import _facts, _title
from ibca_lightning.report.run import Run
from ibca_lightning.run.callbacks.model_card import ModelCard
from ibca_lightning.run.model_card import NAME, read_facts, render, without_paths
from tests.command_line import done, experiment, rows, written
from tests.datasets import fake_csv
from tests.training import module


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run that was fitted and then tested, and its card before the test."""
    root = tmp_path_factory.mktemp("jane doe")
    fake_csv.write(root / "data", rows=25)
    config = written(root / "small.yaml", experiment(root / "data"))
    done("fit", "--config", config, "--run_dir", root / "run", f"--data.root={root / 'data'}")
    before = (root / "run/checkpoints" / NAME).read_text()
    done("test", "--config", root / "run/config.yaml", "--ckpt_path", root / "run/checkpoints/best.ckpt")
    return root, before


def table(card: str, heading: str) -> list[list[str]]:
    """The table below a heading, without its rule."""
    section = card.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    return [found[0], *found[2:]]


def test_the_card_counts_the_data_and_gives_the_figures(run: tuple[Path, str]) -> None:
    root, before = run
    card = (root / "run/checkpoints" / NAME).read_text()
    tables = {name: rows(root / "data" / f"{name}.csv") for name in ("train", "val", "test")}
    classes = {row[0]: dict(zip(table(card, "Classes")[0], row, strict=True)) for row in table(card, "Classes")[1:]}
    sets = {row[0]: row[1:] for row in table(card, "Data")[1:]}
    assert list(sets) == ["train", "val", "test"]
    for name, own in tables.items():
        assert sets[name][0] == str(len(own))
        assert sets[name][2] == str(sum(row[label] == "1" for row in own for label in "ABC"))
        for label in "ABC":
            assert classes[label][f"positives: {name}"] == str(sum(row[label] == "1" for row in own))
    spec = read_checkpoint(root / "run/checkpoints/best.ckpt")["ibca"]
    assert [float(classes[name]["threshold"]) for name in "ABC"] == pytest.approx(spec["thresholds"], abs=1e-3)
    figures = json.loads((root / "run/test_metrics.json").read_text())
    shown = {row[0]: dict(zip(table(card, "Figures")[0][1:], row[1:], strict=True)) for row in table(card, "Figures")}
    expected = f"{figures['metrics']['mAP']:.4f}"
    if figures["intervals"]["mAP"]:
        expected += " ({:.4f} to {:.4f})".format(*figures["intervals"]["mAP"])
    assert shown["mAP"]["test"] == expected
    low, high = figures["tuned_intervals"]["CF1"]
    assert shown["CF1, own thresholds"]["test"] == f"{figures['tuned']['CF1']:.4f} ({low:.4f} to {high:.4f})"
    assert shown["CF1 at 0.5"]["test"].startswith(f"{figures['metrics']['CF1']:.4f} (")
    assert list(shown).index("CF1, own thresholds") < list(shown).index("CF1 at 0.5")
    assert len(table(before, "Figures")[0]) == 2, "validation alone before the test"
    assert "Not tested yet" in before
    assert "Not tested yet" not in card
    for text in (before, card):
        assert "not a medical device" in text.lower()
        assert "torch 2" in text


def test_the_best_validation_is_kept_with_what_was_chosen_on_it(tmp_path: Path) -> None:
    card = ModelCard(tmp_path, [])
    model = module()
    for epoch, score in enumerate((0.4, 0.6, 0.5)):
        state = SimpleNamespace(fn="fit")
        told = SimpleNamespace(
            sanity_checking=False, state=state, current_epoch=epoch, callback_metrics={MONITOR: score}
        )
        model.evaluations["val"] = SimpleNamespace(
            name=str(epoch), figures={"per_class": {}}, labels=torch.ones(1, len(model.class_names)),
            class_names=model.class_names, ids=["x"], groups=["x"],
        )  # fmt: skip
        model.points = OperatingPoints([score] * len(model.class_names))
        card.on_validation_end(told, model)
    assert (card.epoch, card.best[0].name, card.best[1].thresholds[0]) == (2, "1", 0.6)
    resumed = ModelCard(tmp_path, [])
    resumed.load_state_dict(card.state_dict())
    assert (resumed.epoch, resumed.best) == (2, None)


def test_the_card_names_no_picture_no_group_and_no_place(run: tuple[Path, str]) -> None:
    root, _ = run
    card = (root / "run/checkpoints" / NAME).read_text()
    for own in (row for name in ("train", "val", "test") for row in rows(root / "data" / f"{name}.csv")):
        assert own["image"] not in card
        # As a number of its own: the digits of a figure may hold any of them.
        assert not re.search(rf"(?<![\d.]){re.escape(own['patient'])}(?!\d)", card)
    assert "jane" not in card
    assert str(root.parent) not in card
    assert "ibca fit --config PATH.yaml --run_dir PATH --data.root=PATH" in card
    assert "ibca test --config PATH.yaml --ckpt_path PATH.ckpt" in card


def test_a_test_into_another_folder_leaves_the_card_of_the_run(run: tuple[Path, str]) -> None:
    root, before = run
    there = root / "run/checkpoints" / NAME
    kept = there.read_bytes()
    done(
        "test", "--config", root / "run/config.yaml", "--ckpt_path", root / "run/checkpoints/last.ckpt",
        "--run_dir", root / "other",
    )  # fmt: skip
    assert there.read_bytes() == kept
    other = (root / "other" / NAME).read_text()
    assert "Tested: last.ckpt" in other
    assert table(other, "Data")[1] == table(before, "Data")[1], "what fit said is taken over"


def facts(**model: Any) -> dict[str, Any]:
    given = {
        "backbone": "b", "image_size": 8, "class_names": ["a"], "thresholds": [0.5], "threshold_rule": "f1",
        "calibration": None, "preprocessing": {}, "head": "H",
    }  # fmt: skip
    return {"model": given | model}


def test_any_class_name_comes_back_and_breaks_no_table(tmp_path: Path) -> None:
    name = "-->|<b>*_\n``"
    card = render(facts(class_names=[name]))
    assert card.count("-->") == 1
    assert "<b>" not in card
    assert len(table(card.replace(r"\|", ""), "Classes")[1]) == 2
    (tmp_path / NAME).write_text(card)
    assert read_facts(tmp_path / NAME) == facts(class_names=[name])
    (tmp_path / NAME).write_text(card.replace("ibca-facts {", "ibca-facts {,"))
    assert read_facts(tmp_path / NAME) == {} == read_facts(tmp_path / "none")


def test_paths_of_the_command_are_hidden_and_the_rest_is_not() -> None:
    for typed, shown in (
        ("experiments/mured.yaml", "experiments/mured.yaml"),
        ("/home/jane/my runs/x.yaml", "PATH.yaml"),
        ("--data.root=~/data", "--data.root=PATH"),
        ("--data.root=../jane/data", "--data.root=PATH"),
        ('--data={"root": "/home/jane/d", "size": 3}', '--data={"root": "PATH", "size": 3}'),
        (r"C:\Users\jane\x.ckpt", "PATH.ckpt"),
        ("--model.optimizer.lr=1e-3", "--model.optimizer.lr=1e-3"),
        ("--trainer.limit_val_batches=1/2", "--trainer.limit_val_batches=1/2"),
    ):
        assert without_paths([typed]) == shown


def test_a_resumed_run_keeps_its_tested_figures_unless_its_weights_are_others(
    run: tuple[Path, str], tmp_path: Path
) -> None:
    own = tmp_path / "run"
    shutil.copytree(run[0] / "run", own)
    card = own / "checkpoints" / NAME
    resume = ("fit", "--config", own / "config.yaml", "--ckpt_path", own / "checkpoints/last.ckpt", "--run_dir", own)
    done(*resume)
    assert "Not tested yet" not in card.read_text()
    facts = read_facts(card)
    facts["fit"]["sets"]["val"]["rows"] = 0  # as if another validation had chosen the weights
    card.write_text(render(facts))
    done(*resume)
    assert "Not tested yet" in card.read_text()


def test_marks_without_end_in_a_card_cost_no_time(tmp_path: Path) -> None:
    for said in ("<!-- ibca-facts ", " -->", " --> \n"):
        (tmp_path / NAME).write_text(said * 30_000 + "x")
        before = time.process_time()
        assert read_facts(tmp_path / NAME) == {}
        assert time.process_time() - before < 5  # of minutes
    good = f"# Card\n<!-- ibca-facts -->\n<!-- ibca-facts {json.dumps(facts())} -->\n\n"
    (tmp_path / NAME).write_text(good)
    assert read_facts(tmp_path / NAME) == facts()


def test_a_card_of_a_stranger_ends_nothing(tmp_path: Path) -> None:
    whole = facts()
    part = {"sets": {}, "versions": {}, "command": "", "data": 3, "date": 5, "device": [], "checkpoint": "/else/x.ckpt"}
    for said in (
        "[" * 200_000, "3", "[]", '{"model": 5}', json.dumps(whole | {"fit": 3}), json.dumps(whole | {"test": [1]}),
        json.dumps(whole | {"fit": part | {"sets": {"val": 3}}}), json.dumps(facts(thresholds=[[]])),
    ):  # fmt: skip
        (tmp_path / NAME).write_text(f"<!-- ibca-facts {said} -->")
        assert read_facts(tmp_path / NAME) == {}
    for test in (part, [], 0):
        given = json.dumps(whole | {"test": test, "model": whole["model"] | {"threshold_rule": 3, "head": 4}})
        (tmp_path / NAME).write_text(f"<!-- ibca-facts {given} -->")
        run = Run(tmp_path, "", {}, (None, None), read_facts(tmp_path / NAME), [], {})
        assert run.facts
        assert run.checkpoint == tmp_path / "checkpoints/best.ckpt"
        shown = SimpleNamespace(
            facts=run.facts, settings={}, sets=[SimpleNamespace(name="t", figures={}, tested=Mock(ids=[]))]
        )
        assert _facts(shown)["thresholds"] == ""  # type: ignore[arg-type]
        assert _title(shown).startswith("4 on")  # type: ignore[arg-type]
