"""The scripts that make the tables of experiments/README.md again: what they ask of `ibca`, and a small table."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ibca_lightning.search.recipe import Recipe
from tests.command_line import rows

FOLDER = Path(__file__).parent.parent / "experiments"
_RECORDER = '#!/bin/sh\necho "$@" >> "$CALLS"\n'


def _plain() -> dict[str, str]:
    # A caller's own must not reach the scripts.
    given = ("HEADS", "SEEDS", "TRIALS", "ABLATION", "OUT", "DATA", "SET", "W", "BACKBONE", "TABLE", "MARKS",
             "SIZE", "PRECISION", "PROCESSES")  # fmt: skip
    return {name: value for name, value in os.environ.items() if name not in given}


def made(script: str, folder: Path, **given: str) -> list[str]:
    """Run a script with an `ibca` that only notes its arguments: the lines."""
    stub = folder / "bin/ibca"
    stub.parent.mkdir()
    stub.write_text(_RECORDER)
    stub.chmod(0o755)
    environment = {
        **_plain(), "PATH": f"{stub.parent}:{os.environ['PATH']}", "CALLS": str(folder / "calls"),
        "OUT": str(folder / "out"), "DATA": "pictures", "W": "weights.safetensors", **given,
    }  # fmt: skip
    subprocess.run(["bash", FOLDER / "results" / script], check=True, env=environment, capture_output=True)
    return (folder / "calls").read_text().splitlines()


@pytest.mark.parametrize("name", ["edd2020", "chula_rbc12", "idrid_tiles"])
def test_tables_of_marks_ask_the_same_of_heads_with_and_without_the_term(tmp_path: Path, name: str) -> None:
    lines = made("marks.sh", tmp_path, SET=name, HEADS="gap csra ibca", SEEDS="0 1")
    recipe = (FOLDER / f"{name}_marks.yaml").read_text()
    kinds = lines[0].split("--data.marks.kinds ")[1].split(" --output")[0]
    assert kinds in recipe, "the kinds that the recipe's head names"
    views = lines[0].split("--data.num_workers 0 ")[1].split(" --data.marks")[0]
    assert f"/{name}_marks {views} \\\n" in recipe, "the maps of which the recipe's head says what to expect"
    term = " --model.terms [noise_intervention] --data.drawn_noise 0.5"
    fits = [line for line in lines if line.startswith(("tune", "sweep"))]
    plain, with_term = ([line for line in fits if (term in line) == has] for has in (False, True))
    assert len(plain) == len(with_term) == 3 + 2
    assert [line.replace(term, "").replace("_noise", "") for line in with_term] == plain
    tuned = {line.split("--head ")[1].split()[0].rpartition("/")[2] for line in plain if line.startswith("tune")}
    assert tuned == {"gap", "csra.yaml", "ibca"}
    assert all("--trials 3" in line for line in plain if line.startswith("tune")), "equal budgets"
    assert (
        Recipe([str(FOLDER / f"{name}_marks.yaml")], []).with_head(str(tmp_path / "out/heads/csra.yaml")).head()
        == "CSRAHead"
    )


def test_tables_of_marks_are_compared_as_the_page_and_its_forest_plot_are(tmp_path: Path) -> None:
    def compared(folder: Path, heads: str) -> dict[str, str]:
        folder.mkdir()
        lines = made("marks.sh", folder, SET="edd2020", HEADS=heads, SEEDS="0", OUT=str(tmp_path / "out"))
        asked = [line.removeprefix("compare ").split(" --output ") for line in lines if line.startswith("compare")]
        return {Path(output).name: runs.replace(f"{tmp_path}/out/", "") for runs, output in asked}

    alone = compared(tmp_path / "alone", "csra")
    assert alone["marked"] == "runs_maps runs_maps_noise probe_maps --reference best"
    assert "to_gap" not in alone
    for head in ("gap", "ibca"):
        (tmp_path / "out/tune_noise" / head).mkdir(parents=True)
    names = compared(tmp_path / "all", "gap ibca")
    assert names == {
        "plain": "runs_maps --reference best",
        "noise": "runs_maps_noise --reference best",
        "marked": "runs_maps runs_maps_noise probe_maps --reference runs_maps_noise/ibca",
        "clean": "runs_unmarked runs_unmarked_noise probe_unmarked --reference runs_unmarked/ibca",
        "to_gap": "runs_maps runs_maps_noise --reference runs_maps/gap",
    }
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    drawn = re.findall(r"'[^']+=runs/results/\w+/compared/(\w+):reversed:([\w/]+)'", page)
    assert drawn == [("plain", "ibca"), ("to_gap", "runs_maps_noise/ibca"), ("noise", "ibca")]
    assert all(name in names for name, _ in drawn)


@pytest.mark.parametrize("script", sorted(path.name for path in (FOLDER / "results").glob("*.sh")))
def test_a_list_that_may_be_empty_is_no_error_in_an_old_bash(script: str) -> None:
    # Before 4.4, as on macOS, an empty list is an unset variable, which `set -u` refuses.
    text = (FOLDER / "results" / script).read_text()
    empty = set(re.findall(r"(\w+)=\(\)", text))
    filled = set(re.findall(r"^ *(\w+)\+=\(", text, re.M))  # in a loop over what is never empty
    for name in empty - filled:
        bare = text.replace(f'${{{name}[@]+"${{{name}[@]}}"}}', "")
        assert f"{name}[@]" not in bare, name


@pytest.mark.parametrize("name", ["edd2020", "chula_rbc12", "idrid_tiles"])
def test_fine_tuned_tables_ask_the_same_of_every_head_and_under_marks_with_the_term_too(
    tmp_path: Path, name: str
) -> None:
    lines = made("fine_tuned.sh", tmp_path, SET=name, HEADS="csra ibca", SEEDS="0")
    assert [line.split()[0] for line in lines] == ["tune", "tune", "sweep", "compare"]
    assert not any("marks." in line or "terms" in line for line in lines)
    assert all("--model.freeze_backbone false" in line and "--trials 3" in line for line in lines[:2])
    assert (
        Recipe([str(FOLDER / f"{name}.yaml")], []).with_head(str(tmp_path / "out/heads/csra.yaml")).head() == "CSRAHead"
    )
    (tmp_path / "marked").mkdir()
    lines = made("fine_tuned.sh", tmp_path / "marked", SET=name, HEADS="csra ibca", SEEDS="0", MARKS="yes")
    fits = [line for line in lines if line.startswith(("tune", "sweep"))]
    recipe = (FOLDER / f"{name}_marks.yaml").read_text()
    assert all(line.split("--data.marks.kinds ")[1].split("]")[0] + "]" in recipe for line in fits)
    term = " --model.terms [noise_intervention] --data.drawn_noise 0.5"
    assert [line.replace(term, "").replace("_noise", "") for line in fits[3:]] == fits[:3]


def test_tables_of_heads_ask_for_every_head_and_then_the_ablation(tmp_path: Path) -> None:
    lines = made("heads.sh", tmp_path, SET="scm", HEADS="gap ibca", SEEDS="0 1")
    assert [line.split()[0] for line in lines] == ["maps", "tune", "tune", "sweep", "probe", "compare"]
    (tmp_path / "out/tune/ibca").mkdir(parents=True)
    (tmp_path / "again").mkdir()
    lines = made("heads.sh", tmp_path / "again", SET="scm", OUT=str(tmp_path / "out"))
    assert len([line for line in lines if line.startswith("tune")]) == 19
    assert [line.split()[0] for line in lines[-2:]] == ["sweep", "compare"]
    variants = Path(lines[-2].split("--variants ")[1].split()[0])
    assert variants.is_file()


@pytest.mark.parametrize("name", ["edd2020", "chula_rbc12", "idrid"])
def test_a_table_of_heads_on_another_backbone_stores_and_reads_maps_of_it(tmp_path: Path, name: str) -> None:
    lines = made("heads.sh", tmp_path, SET=name, HEADS="gap ibca", BACKBONE="tf_efficientnet_lite0", ABLATION="no")
    assert [line.split()[0] for line in lines] == ["maps", "tune", "tune", "sweep", "probe", "compare"]
    assert all("--model.backbone tf_efficientnet_lite0 " in line for line in lines[:4])
    recipes = {line.split("--config ")[1].split()[0] for line in lines[:5]}
    assert all((FOLDER / f"{recipe}.yaml").is_file() for recipe in recipes)
    assert not any("marks." in line for line in lines), "no marks are drawn"


# mAP of same, independent, reversed: "A small table that the tests make again" of experiments/README.md.
SMALL = {"ibca": (0.425, 0.381, 0.346), "gap": (0.358, 0.338, 0.324)}
_SPREAD = 0.06


@pytest.mark.slow
def test_a_small_table_is_made_again(tmp_path: Path) -> None:
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    save_file(timm.create_model("mobilenetv2_100").state_dict(), tmp_path / "weights.safetensors")
    environment = {
        **_plain(), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "OUT": str(tmp_path / "out"), "SET": "scm", "W": str(tmp_path / "weights.safetensors"),
        "HEADS": "gap ibca", "SEEDS": "0 1", "TRIALS": "1", "ABLATION": "no", "WANDB_MODE": "disabled",
    }  # fmt: skip
    done = subprocess.run(
        ["bash", FOLDER / "results/heads.sh"],
        check=False,
        env=environment,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    table = {(row["method"], row["set"]): float(row["mAP"]) for row in rows(tmp_path / "out/compared/methods.csv")}
    made = {head: [table[head, name] for name in ("same", "independent", "reversed")] for head in SMALL}
    for head, figures in SMALL.items():
        assert made[head] == pytest.approx(figures, abs=_SPREAD), (head, made)
