"""Three raw sets, from `ibca init --yes` to the report: what a newcomer does, and what must not stay unsaid."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.command_line import Result, done
from tests.start.raw_sets import SETS

_SMALL = (
    "--model.backbone", "test_resnet", "--model.pretrained", "false", "--trainer.max_epochs", 1,
    "--data.image_size", 32, "--data.num_workers", 0,
)  # fmt: skip
TAKEN = {
    "words": {
        "case_num": "left out", "derm": "picture", "pigment_network": "label", "streaks": "label",
        "blue_whitish_veil": "label", "sex": "subgroup", "age": "subgroup", "location": "subgroup",
        "exam date": "left out", "breslow": "left out", "notes": "left out",
    },
    "lists": {
        "No.": "left out", "Patient ID": "group", "Frame": "picture", "Findings": "label", "Hospital": "subgroup",
        "Sex": "subgroup", "Exam date": "left out", "Biopsy": "left out", "Comment": "left out",
    },
    "eyes": {
        "name": "picture", "subject": "group", "eye": "subgroup", "DR grade": "label", "n_exudates": "label",
        "glaucoma": "label", "cataract": "label", "age": "subgroup", "sex": "subgroup", "visit date": "left out",
        "remarks": "left out",
    },
}  # fmt: skip
CLASSES = {
    "words": [
        "blue_whitish_veil", "pigment_network atypical", "pigment_network typical", "streaks irregular",
        "streaks regular",
    ],
    "lists": ["erosion", "polyp", "Ulcer"],
    "eyes": ["n_exudates", "glaucoma", "cataract", "DR grade 1", "DR grade 2", "DR grade 3"],
}  # fmt: skip
# What `check` says of a patient's pictures in two splits, where the YAML no longer names the column.
LEAKS = {"lists": "values of 'Patient ID' come again", "eyes": "values of 'subject' come again"}


def roles(result: Result, columns: dict[str, str]) -> dict[str, str]:
    """What the printed table says that each column is."""
    found = {}
    for line in result.out.splitlines():
        for name in columns:
            rest = line.removeprefix(name)
            if rest != line and rest.startswith(" "):
                role = next((role for role in {*columns.values(), "split"} if rest.strip().startswith(role)), None)
                found |= {name: role} if role and name not in found else {}
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", TAKEN)
def test_from_a_raw_table_to_a_report(name: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    table, images = SETS[name](here)
    said = done("init", "--table", table, "--images", images, "--output", "raw.yaml", "--yes")
    assert roles(said, TAKEN[name]) == TAKEN[name]

    done("check", "raw.yaml", "--num_workers", 0)
    if name in LEAKS:
        config: dict[str, Any] = yaml.safe_load(Path("raw.yaml").read_text(encoding="utf-8"))
        del config["data"]["init_args"]["group_column"]
        Path("leaks.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        dropped = done("check", "leaks.yaml", "--num_workers", 0, "--no_images").out
        assert LEAKS[name] in dropped
        assert "have a partner in train" in dropped

    done("fit", "raw.yaml", "--run_dir", "run", *_SMALL)
    done("test", "run/config.yaml", "--ckpt_path", "run/checkpoints/best.ckpt")
    figures = json.loads(Path("run/test_metrics.json").read_text(encoding="utf-8"))
    assert list(figures["per_class"]) == CLASSES[name]
    assert {*figures["subgroups"]} == {column for column, role in TAKEN[name].items() if role == "subgroup"}
    done("report", "run")
    page = Path("run/report.html").read_text(encoding="utf-8")
    assert [each for each in CLASSES[name] if each not in page] == []
