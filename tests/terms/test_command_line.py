"""Terms from a file, by name, and what a run writes of them."""

from pathlib import Path

import pytest
import yaml

from ibca_lightning.run.command_line.short_names import NAMES
from tests.command_line import done, experiment, refused, rows, written

FRAGMENTS = Path(__file__).parents[2] / "experiments/terms"


@pytest.mark.parametrize("name", NAMES["model.terms"])
def test_every_term_has_a_fragment_that_is_merged_behind_an_experiment(name: str, tree: Path, here: Path) -> None:
    written(here / "e.yaml", experiment(tree))
    shown = done("fit", "--config", "e.yaml", "--config", FRAGMENTS / f"{name}.yaml", "--print_config").out
    *_, term = yaml.safe_load(shown)["model"]["init_args"]["terms"]
    assert term["class_path"] == NAMES["model.terms"][name]
    header = (FRAGMENTS / f"{name}.yaml").read_text().splitlines()[:3]
    assert "ibca fit --config" in "".join(header)


@pytest.mark.slow
def test_a_run_prints_logs_and_writes_what_terms_say(tree: Path, here: Path) -> None:
    written(here / "e.yaml", experiment(tree))
    terms = "[{class_path: label_correction, init_args: {start: 0}}, early_learning]"
    said = done("fit", "--config", "e.yaml", "--model.terms", terms, "--data.label_noise.flip", 0.3, "--run_dir", "run",
                "--trainer.max_epochs", 2).err  # fmt: skip
    last = rows(here / "run/metrics.csv")[-1]
    added = float(last["train/terms/early_learning"])
    assert added < 0
    lines = [line for line in said.splitlines() if line.startswith("epoch ")]
    assert f", terms {added:+.4f}, " in lines[-1]
    assert "head" not in lines[-1]
    corrected, noise = rows(here / "run/corrections.csv"), rows(here / "run/label_noise.csv")
    assert {(row["given"], row["corrected"]) for row in corrected} <= {("0", "1"), ("1", "0")}
    assert noise
    names = {row["id"] for row in rows(here / "run/splits.csv") if row["split"] == "train"}
    assert {row["id"] for row in (*corrected, *noise)} <= names
    kept = yaml.safe_load((here / "run/config.yaml").read_text())
    assert [term["class_path"] for term in kept["model"]["init_args"]["terms"]] == [
        "ibca_lightning.terms.LabelCorrection", "ibca_lightning.terms.EarlyLearning",
    ]  # fmt: skip
    done("test", "--config", "run/config.yaml", "--ckpt_path", "run/checkpoints/best.ckpt")
    done("predict", "--ckpt_path", "run/checkpoints/best.ckpt", "--images", tree / "images", "--output", "out")
    changed = ("--config", "run/config.yaml", "--ckpt_path", "run/checkpoints/last.ckpt", "--trainer.max_epochs", 3)
    refused("fit", *changed, "--model.terms", "[nvum]", names=("EarlyLearning", "NVUM", "model.terms"))


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--model.terms", "[nvumm]"], ("did you mean nvum?",)),
        (["--model.terms", "nvum"], ("write --model.terms '[nvum]'",)),
        (["--model.terms", "[Term]"], ("a class for model.terms",)),
        (["--model.terms", "[{class_path: nvum, init_args: {decai: 1}}]"], ("decay?",)),
        (["--model.terms", "[{class_path: nvum, init_args: {decay: 3}}]"], ("NVUM's decay in [0, 1)",)),
        (["--model.terms", "[mask_guidance]"], ("lesion masks", "data.mask_dir")),
        (["--model.terms", "[group_dro]"], ("masks of marks", "data.marks")),
        (["--model.terms", "[{class_path: label_correction, init_args: {site_column: ward}}]"], ("subgroup_columns",)),
        (["--model.terms", "[{class_path: domain_alignment, init_args: {site_column: ward}}]"], ("subgroup_columns",)),
        (["--data.sites", "{column: ward, test: [B]}"], ("subgroup_columns", "add ward")),
        (["--data.sites", "{column: ward}"], ("train or test in data.sites, got none",)),
        (["--data.label_noise", "{flip: 0.2, split: test}"], ("the split train alone",)),
        (["--data.label_noise.flip", "2"], ("flip and missed in [0, 1)",)),
    ],
)
def test_wrong_input_is_one_line(options: list[str], names: tuple[str, ...], tree: Path, here: Path) -> None:
    written(here / "e.yaml", experiment(tree))
    refused("fit", "--config", "e.yaml", "--run_dir", "new", *options, names=names)
