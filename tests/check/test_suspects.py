"""Labels that models which did not learn from them contradict."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from ibca_lightning.check.suspects import doubts
from ibca_lightning.run.result_files import write_predictions
from ibca_lightning.system.whole_files import write_csv, write_json
from tests.command_line import done, refused, rows

CLASSES, PICTURES = ["polyp", "ulcer"], 40


def pooled(run: Path, seed: int = 0, ids: int = PICTURES, noise: bool = True) -> torch.Tensor:
    """A run of folds as a sweep leaves it: probabilities near the true labels; every tenth label was made wrong."""
    generator = torch.Generator().manual_seed(seed)
    labels = (torch.arange(ids)[:, None] // torch.tensor([1, 2]) % 2).long()
    labels[3, 1] = -1
    wrong = (torch.arange(2 * ids).view(ids, 2) % 10 == 0) & (labels >= 0)
    probabilities = 0.2 + 0.6 * labels.clamp(min=0) + 0.2 * torch.rand(ids, 2, generator=generator)
    names = [f"{row}.png" for row in range(ids)]
    write_predictions(
        run / "test_predictions.out_of_fold.csv", names, probabilities, CLASSES, labels, folds=[0, 1] * (ids // 2)
    )
    write_json(run / "test_metrics.out_of_fold.json", {"metrics": {}})
    if noise:
        for fold in range(2):
            told = [
                (names[r], CLASSES[c], int(labels[r, c]), 1 - int(labels[r, c])) for r, c in wrong.nonzero().tolist()
            ]
            write_csv(run / f"fold-{fold}/label_noise.csv", [("id", "class", "label", "given"), *told[fold::2]])
    return wrong


def test_doubt_by_hand() -> None:
    labels = torch.tensor([[1, 1], [1, -1], [0, 1], [0, 1]])
    p = torch.tensor([[0.9, 0.1], [0.1, 0.9], [0.7, 0.9], [0.1, 0.9]])
    # Class 0: positives .5, negatives .4. Class 1 has no negative, so nothing can be said of its positives.
    expected = torch.tensor([[0.4 - 0.9, -torch.inf], [0.4 - 0.1, -torch.inf], [0.7 - 0.5, -torch.inf],
                             [0.1 - 0.5, -torch.inf]])  # fmt: skip
    torch.testing.assert_close(doubts(labels, p), expected)


def test_labels_made_wrong_are_listed_first_and_counted(here: Path) -> None:
    wrong = pooled(here / "one")
    pooled(here / "two", seed=1)
    out = done("check", "--suspects", "one", "two", "--output", "out", "--shown", 3).out
    number = int(wrong.sum())
    assert f"of {number} labels that data.label_noise made wrong: 1.00 of the first {number}" in out
    listed = rows(here / "out/suspects.csv")
    names = {(f"{r}.png", CLASSES[c]) for r, c in wrong.nonzero().tolist()}
    assert {(row["id"], row["class"]) for row in listed[:number]} == names
    assert [float(row["doubt"]) for row in listed] == sorted((float(row["doubt"]) for row in listed), reverse=True)
    assert sum(".png" in line for line in out.splitlines()) == 3
    assert "not shown: 3 suspects that are no pictures of which the config.yaml of one" in page("out/suspects.html")
    pooled(here / "clean", noise=False)
    assert "label_noise" not in done("check", "--suspects=clean").out
    assert rows(here / "clean/suspects.csv") == []


def test_excel_safe_suspects_are_not_run(here: Path) -> None:
    pooled(here / "one")
    for table in (here / "one").rglob("*.csv"):
        lines = table.read_text().splitlines(keepends=True)
        table.write_text("".join(f"={line}" if line[0].isdigit() else line for line in lines))
    done("check", "--suspects", "one")
    assert {row["id"][0] for row in rows(here / "one/suspects.csv")} == {"="}
    done("check", "--suspects", "one", "--excel_safe", "--no_images")
    assert {row["id"][:2] for row in rows(here / "one/suspects.csv")} == {"'="}


def test_runs_without_folds_or_of_other_data_are_one_line(here: Path) -> None:
    pooled(here / "one")
    pooled(here / "other", ids=30)
    (here / "run").mkdir()
    refused("check", "--suspects", "run", names=("out-of-fold predictions in run", "ibca sweep --folds 5"))
    refused("check", "--suspects", "nowhere", names=("a run folder at nowhere, got nothing there; correct the path",))
    refused("check", "--suspects", "one", "other", names=("the pictures and classes of one in other",))
    (here / "one/fold-0/label_noise.csv").write_text("a,b\n1,2\n")
    refused("check", "--suspects", "one", names=("label_noise.csv", "no columns id and class"))
    with pytest.raises(AssertionError):  # an option of the other form
        done("check", "--suspects", "one", "--hash_names")


def page(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


def test_the_pictures_of_suspects_stand_on_a_page_in_the_order_of_the_table(here: Path) -> None:
    pooled(here / "one")
    (here / "data/x").mkdir(parents=True)
    for row in range(0, PICTURES, 2):
        cv2.imwrite(str(here / f"data/x/{row}.png"), np.full((30, 40, 3), row, np.uint8))
    (here / "one/fold-0/config.yaml").write_text("data: {init_args: {root: data, image_dir: x}}\n")
    said = done("check", "--suspects", "one", "--shown", 8)
    listed = rows(here / "one/suspects.csv")[:8]
    there = [row for row in listed if int(row["id"][:-4]) % 2 == 0]
    shown = re.findall(r'<img alt="(.*?)".*?<figcaption><b>(.*?)</b><br>(.*?)</figcaption>', page("one/suspects.html"))
    words = {"0": "not labelled", "1": "labelled"}
    wanted = [
        (row["id"], row["id"], f"{words[row['label']]} {row['class']}, p = {float(row['probability']):.2f}")
        for row in there
    ]
    assert shown == wanted
    assert 0 < len(there) < 8
    assert f"not shown: {8 - len(there)} suspects that are no pictures below data/x; --images" in said.err
    done("check", "--suspects", "one", "--no_images")
    assert not (here / "one/suspects.html").exists(), "pictures of an earlier call are not left behind"
    (here / "one/suspects.html").write_text("a page of mine")
    refused("check", "--suspects", "one", names=("suspects.html", "another"))
