"""`ibca sweep --folds`: what the folds give together, against the single predictions; then with the real fit."""

import json
import os
import re
import shutil
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ibca_lightning.metrics import bootstrap_intervals, figures
from ibca_lightning.metrics.evaluation import Evaluation
from ibca_lightning.metrics.localisation import summarise
from ibca_lightning.run.lightning_cli import run_lightning
from ibca_lightning.run.result_files import write_evaluation
from ibca_lightning.run.tested_samples import read_tested
from ibca_lightning.search import jobs
from ibca_lightning.search.folds import write_pooled
from ibca_lightning.search.job import held
from ibca_lightning.system.errors import InputError
from tests.command_line import done, experiment, near, rows, written
from tests.datasets import fake_csv

NAMES, FOLDS, ROWS, TESTS = ["a", "fold"], 3, 24, 10


def values(path: Path, kind: str = "") -> np.ndarray:
    """The probabilities of a predictions file, or with `label:` its labels, by plain CSV."""
    return np.array([[float(row[kind + name]) for name in NAMES] for row in rows(path)])


def left(run: Path, stage: str, ids: list[str], thresholds: list[float], pairs: bool = False) -> None:
    """What `ibca validate` and `ibca test` leave of some pictures, two of them a patient."""
    own = np.random.default_rng(len(run.name) + 10 * int(run.name[-1]) + len(stage))
    labels = torch.tensor([[int(at) % 2, int(at) % 3 == 0] for at in (name[1:3] for name in ids)]).to(torch.int8)
    found = torch.from_numpy((0.3 * labels.numpy() + 0.7 * own.random(labels.shape)).astype(np.float32))
    energy = torch.where(labels == 1, torch.from_numpy(own.random(labels.shape)), torch.nan)
    content: dict[str, Any] = figures(found, labels, NAMES, thresholds)
    content["thresholds"] = {name: {"threshold": at} for name, at in zip(NAMES, thresholds, strict=True)}
    groups = [f"p{int(name[1:3]) // 2}" for name in ids]
    maps = {"energy": energy, "uniform": energy / 2} if pairs else {}
    if pairs:
        content["metrics"] |= summarise(maps, NAMES)["metrics"]
    write_evaluation(run, Evaluation(stage, content, ids, found, labels, NAMES, groups, maps), stage=stage)


@pytest.fixture
def folds(tmp_path: Path) -> list[Path]:
    """Three folds that held out eight pictures each and were tested on ten others."""
    runs = [tmp_path / "ibca-0" / f"fold-{fold}" for fold in range(FOLDS)]
    for fold, run in enumerate(runs):
        run.mkdir(parents=True)
        left(run, "val", [f"v{at:02d}.png" for at in range(ROWS) if at // 2 % FOLDS == fold], [0.5, 0.5], pairs=True)
        left(run, "test", [f"t{at:02d}.png" for at in range(TESTS)], [0.2 + 0.1 * fold, 0.6])
    return runs


def test_pooled_figures_are_those_of_the_concatenation(folds: list[Path]) -> None:
    folder = folds[0].parent
    write_pooled(folder, folds, tested=True)
    table = rows(folder / "test_predictions.out_of_fold.csv")
    assert sorted(row["id"] for row in table) == [f"v{at:02d}.png" for at in range(ROWS)], "each once"
    header = (folder / "test_predictions.out_of_fold.csv").read_text().splitlines()[0]
    assert header == "id,a,fold,label:a,label:fold,fold", "a class of that name is another column"
    last = [line.rpartition(",")[2] for line in (folder / "test_predictions.out_of_fold.csv").read_text().split()[1:]]
    assert last == [str(fold) for fold in range(FOLDS) for _ in range(ROWS // FOLDS)]
    found = torch.cat([torch.tensor(values(run / "val_predictions.csv"), dtype=torch.float32) for run in folds])
    labels = torch.cat([torch.tensor(values(run / "val_predictions.csv", "label:")).long() for run in folds])
    groups = [row["group"] for run in folds for row in rows(run / "val_groups.csv")]
    content = json.loads((folder / "test_metrics.out_of_fold.json").read_text())
    whole = figures(found, labels, NAMES)
    localised = [json.loads((run / "val_metrics.json").read_text())["metrics"]["attention_energy"] for run in folds]
    assert content["metrics"].pop("attention_energy") == pytest.approx(
        np.average(localised, weights=[(values(run / "val_predictions.csv", "label:") == 1).sum() for run in folds])
    )
    assert {name: content["metrics"][name] for name in whole["metrics"]} == whole["metrics"]
    assert content["per_class"]["fold"]["AP"] == whole["per_class"]["fold"]["AP"]
    drawn = bootstrap_intervals(found, labels, groups)
    assert {name: content["intervals"][name] for name in drawn} == drawn
    assert content["tuned"] == {}, "thresholds were chosen on these very pictures"
    tested = read_tested(folder, "out_of_fold")
    assert tested.class_names == NAMES
    assert len(set(tested.groups)) == ROWS // 2


def test_the_ensemble_is_the_mean_of_the_models_on_each_test_picture(folds: list[Path]) -> None:
    folder = folds[0].parent
    write_pooled(folder, folds, tested=True)
    mean = np.mean([values(run / "test_predictions.csv") for run in folds], axis=0)
    assert values(folder / "test_predictions.test.csv") == pytest.approx(mean, abs=1e-7)
    labels = values(folds[0] / "test_predictions.csv", "label:").astype(int)
    content = json.loads((folder / "test_metrics.test.json").read_text())
    near(content["metrics"], figures(mean.astype(np.float32), labels, NAMES)["metrics"])
    near(content["tuned"], figures(mean.astype(np.float32), labels, NAMES, [0.3, 0.6])["tuned"])
    assert content["thresholds"]["a"]["threshold"] == pytest.approx(0.3), "the mean of 0.2, 0.3 and 0.4"
    low, high = content["intervals"]["mAP"]
    assert low <= content["metrics"]["mAP"] <= high


def test_mean_and_deviation_over_folds_are_those_of_the_single_figures(folds: list[Path]) -> None:
    folder = folds[0].parent
    write_pooled(folder, folds, tested=True)
    for name, stage in (("out_of_fold", "val"), ("test", "test")):
        single = [json.loads((run / f"{stage}_metrics.json").read_text()) for run in folds]
        own = json.loads((folder / f"test_metrics.{name}.json").read_text())["folds"]
        known = [content["metrics"]["mAP"] for content in single]
        assert own["mAP"] == {
            "mean": pytest.approx(sum(known) / 3), "sd": pytest.approx(statistics.stdev(known)), "values": known
        }  # fmt: skip
        assert own["AP/a"]["values"] == [content["per_class"]["a"]["AP"] for content in single]


def test_compare_reads_a_cross_validation_of_several_seeds(folds: list[Path], tmp_path: Path) -> None:
    for at, run in enumerate(folds):
        data = {"class_path": "A", "init_args": {"fold": at, "folds": FOLDS}}
        written(run / "config.yaml", {"seed_everything": 0, "data": data})
    write_pooled(folds[0].parent, folds, tested=True)
    shutil.copytree(folds[0].parent, tmp_path / "ibca-1")
    config = tmp_path / "ibca-1" / "fold-0" / "config.yaml"
    config.write_text(config.read_text().replace("seed_everything: 0", "seed_everything: 1"))
    done("compare", tmp_path, "--reference", "best", "--output", tmp_path / "out")
    markdown = (tmp_path / "out" / "compare.md").read_text()
    assert "mAP_drop" not in markdown, "the test set is no other domain than what was held out"
    assert markdown.count("| **mean ± sd of these 2 seeds** |") == 2
    single = [json.loads((run / "val_metrics.json").read_text())["metrics"]["mAP"] for run in folds]
    mean, deviation = statistics.fmean(single), statistics.stdev(single)
    assert f"| **mean ± sd of its folds** | out_of_fold | **{mean:.4f} ± {deviation:.4f}** |" in markdown
    table = {(Path(row["run"]).name, row["set"]): row for row in rows(tmp_path / "out" / "compare.csv")}
    assert list(table) == [(f"ibca-{seed}", name) for seed in (0, 1) for name in ("out_of_fold", "test")]
    assert float(table["ibca-0", "out_of_fold"]["mAP_folds_sd"]) == pytest.approx(deviation)
    html = (tmp_path / "out" / "compare.html").read_text()
    assert f"folds {mean:.3f} ± {deviation:.3f}" in html


def test_folds_that_are_not_of_one_cross_validation_are_refused(folds: list[Path]) -> None:
    left(folds[1], "val", ["v00.png", "v40.png"], [0.5, 0.5])
    with pytest.raises(InputError, match=r"held out by one fold of .*, got v00.png by fold-0 and fold-1"):
        write_pooled(folds[0].parent, folds, tested=False)
    left(folds[1], "val", ["v40.png", "v41.png"], [0.5, 0.5], pairs=True)
    left(folds[2], "test", ["t00.png"], [0.5, 0.5])
    with pytest.raises(InputError, match=r"the same test pictures in .*fold-0 and .*fold-2"):
        write_pooled(folds[0].parent, folds, tested=True)


@pytest.mark.slow
def test_a_cross_validation_with_the_real_fit(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(queue: Any, places: Any, stop: Any, begun: Any) -> Any:  # in this process, without seconds of imports
        for job, steps in queue:
            with held(job, steps) as now:
                code, error = jobs._run(job.folder, [(step, job.steps[step]) for step in now], run_lightning)
            yield jobs.Ended(job, code, error, 0.0)

    monkeypatch.setattr(jobs, "_ended", ended)
    root = here / "data"
    fake_csv.write(root)
    config = written(here / "own.yaml", experiment(root))
    result = done("sweep", "--config", config, "--folds", 2, "--output", "out")
    assert "compare the pooled figures: ibca compare out" in result.out
    assert re.search(r"validation, best epoch +seeds +folds +mAP.*\n.*\n *gap +1 +2 +0\.\d+ ±0\.", result.out)
    assert sorted(os.listdir("out")) == ["gap-0", "sweep.csv"], "the recipe's own head, one seed"
    folder = here / "out" / "gap-0"
    splits = rows(folder / "fold-0" / "splits.csv")
    known = sorted(row["id"] for row in splits if row["split"] in ("train", "val"))
    pooled = rows(folder / "test_predictions.out_of_fold.csv")
    assert sorted(row["id"] for row in pooled) == known, "each row of training and validation once"
    for row in pooled:
        own = {r["id"]: r["split"] for r in rows(folder / f"fold-{row['fold']}" / "splits.csv")}
        assert own[row["id"]] == "val", "by the model that did not learn from it"
    tested = {row["id"] for row in splits if row["split"] == "test"}
    assert {row["id"] for row in rows(folder / "test_predictions.test.csv")} == tested

    assert done("compare", "out").out.count("gap-0") == 2
    done("report", folder, "--no_images", "--output", "report.html")

    record = json.loads((folder / "fold-1" / "job.json").read_text())
    (folder / "fold-1" / "job.json").write_text(json.dumps(record | {"seconds": {"fit": 1.0}}))
    monkeypatch.setattr(jobs, "_ended", lambda *_: iter(()))
    result = done("sweep", "--config", config, "--folds", 2, "--output", "out")
    assert "note: 1 of 2 folds of out/gap-0 are done, and not pooled" in result.err
    assert not list(folder.glob("test_*")), "what was pooled before holds no longer"
