"""Tables of every command at 80 columns, with names of 40 characters."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ibca_lightning.check.card import print_card
from ibca_lightning.metrics.decision import OperatingPoints
from ibca_lightning.metrics.evaluation import evaluate
from ibca_lightning.metrics.store import SampleFacts, Stored
from ibca_lightning.run.closing_table import evaluation_table, fit_table
from ibca_lightning.system.terminal.table import terminal_table

NAMES = [f"{word * 10:_<39.39}{at}" for at, word in enumerate(("atelectasis ", "[bold]_", "oedema"))]


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def words_are_whole(text, words):
    assert all(len(line) <= 80 for line in text.splitlines() if not line.startswith(("not shown: ", "thresholds that")))
    return [word for word in words if word not in text] == []


def test_columns_without_room_are_named_the_unwanted_first():
    rows = [
        ["class", *(f"figure_number_{at}" for at in range(9))],
        *([name, *["0.1234 [0.1, 0.2]"] * 9] for name in NAMES),
    ]
    text = terminal_table(rows, "all.csv", wanted=["figure_number_7"])
    assert words_are_whole(text, [*NAMES, "figure_number_7", "0.1234", "[0.1, 0.2]"])
    table, _, left = text.partition("not shown: ")
    assert left == ", ".join(f"figure_number_{at}" for at in (1, 2, 3, 4, 5, 6, 8)) + "; see all.csv\n"
    assert "figure_number_0" in table
    few = terminal_table([row[:4] for row in rows], "all.csv", most=2)
    assert "not shown: figure_number_1, figure_number_2; see" in few
    long = terminal_table([["class", "AP"], ["x" * 100, "0.5"]], "all.csv")
    assert any(line.startswith("x" * 100) and line.endswith("0.5") for line in long.splitlines())


@pytest.mark.parametrize("letters", range(30, 60))
def test_nothing_is_cut_at_the_edge_whatever_the_width_of_the_names(letters):
    cells = ["2", "0.9001 ± 0.0002", "0.9003 ± 0.0004", "+0.1234 [+0.0005, +0.1006] to x"]
    text = terminal_table(
        [["set", "seeds", "mAP", "AUROC", "mAP: difference [95 %]"], ["n" * letters, *cells]], "y.csv"
    )
    table, _, left = text.partition("not shown: ")
    assert words_are_whole(table, ["n" * letters, "seeds"])
    for column, cell in zip(("seeds", "mAP", "AUROC", "difference"), cells, strict=True):
        if column not in left:
            assert all(word in table for word in cell.replace("± ", "±").split()), column


def test_closing_tables_and_the_card(capsys):
    generator = np.random.default_rng(0)
    labels = torch.from_numpy((generator.random((30, 3)) < 0.5).astype(np.int8))
    stored = Stored(torch.arange(30), torch.from_numpy(generator.normal(size=(30, 3)).astype(np.float32)), labels, {})
    facts = SampleFacts()
    facts.update({"index": torch.arange(30), "id": [f"{row}.png" for row in range(30)]})
    result = evaluate("test", stored, facts, NAMES, OperatingPoints([0.5] * 3, None, [9] * 3), intervals=True)
    evaluation_table({"test": result}, "run")
    words = ["figure", "thresholds", "mAP", "class_ECE", "class", "positives", "precision", "AUROC"]
    out = capsys.readouterr().out
    assert words_are_whole(out, [*NAMES, *words])
    assert all(out.count(name) == 2 for name in NAMES), "in the table, and where a threshold rests on few"
    assert "Figures at the model's own thresholds (fixed), and at 0.5" in out
    fit_table(result, OperatingPoints([0.5] * 3), [], "run")
    out = capsys.readouterr().out
    assert words_are_whole(out, NAMES)
    assert "At the fixed thresholds: F1" in out
    counts = dict.fromkeys(NAMES, 1234567)
    pictures = {"readable": 0, "unreadable": 3, "copies": 0}
    split = {"rows": 9, "groups": 9, "cardinality": 1.0, "without_positive": 2, "unknown": 0.1, "pictures": pictures,
             "positives": counts, "negatives": counts}  # fmt: skip
    print_card({"data": "Table", "experiment": "x", "classes": NAMES, "cooccurrence": np.eye(3, dtype=int).tolist(),
                "folder": None, "findings": [], "splits": dict.fromkeys(("train", "val", "test"), split)})  # fmt: skip
    assert words_are_whole(capsys.readouterr().out, [*NAMES, "unreadable", "1234567", "(50.0%)", "train"])


def test_the_end_of_fit_and_test_lead_with_map_and_say_what_excludes_each_other(capsys):
    truth = np.tile(np.eye(3, dtype=np.int8), (20, 1))
    scores = np.full((60, 3), 0.1, np.float32)
    scores[truth == 1] = 0.3  # perfect, and nothing above 0.5
    scores[[0, 3, 6], 1] = 0.25
    scores[6, 2] = 0.25
    stored = Stored(torch.arange(60), torch.from_numpy(scores).logit(), torch.from_numpy(truth), {})
    facts, names = SampleFacts(), ["a", "b", "c"]
    facts.update({"index": torch.arange(60), "id": [f"{row}.png" for row in range(60)]})
    points = OperatingPoints([0.2] * 3, None, [20] * 3)
    result = evaluate("test", stored, facts, names, points, intervals=True)
    evaluation_table({"test": result}, None)
    lines = capsys.readouterr().out.splitlines()
    low, high = result.figures["intervals"]["mAP"]
    assert lines[0] == f"test: mAP 1.0000 [{low:.3f}, {high:.3f}], 0.3333 by chance, over 3 classes; 60 pictures"
    assert "Figures at the model's own thresholds (chosen on the validation set), and at 0.5" in lines
    (line,) = (line.split() for line in lines if line.startswith("CF1"))
    assert [line[1], line[-1]] == [f"{result.figures['tuned']['CF1']:.4f}", "0.0000"]
    pairs = "a and b in 3, a and c in 1, b and c in 1"
    seemed = "test: predicted together, though no picture of training and test set is labelled so: "
    assert lines[-1] == f"{seemed}{pairs} of 60 pictures"
    assert any(line.startswith("CP, CR: precision and recall, means over classes, and CF1") for line in lines)
    columns = [["a", "b"], ["other"]]
    evaluation_table({"test": evaluate("test", stored, facts, names, points, exclusive=columns)}, None)
    *_, sure, left = capsys.readouterr().out.splitlines()
    told = "test: predicted together in 3 of 60 pictures, where at least one is wrong, as a picture has one at most: "
    assert sure == f"{told}a and b in 3"
    assert left == f"{seemed}a and c in 1, b and c in 1 of 60 pictures"
    fitted = evaluate("val", stored, facts, names)  # as it is while fitting: nothing was chosen yet
    fit_table(fitted, points, [], "run")
    first, second, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith("Last validation: mAP 1.0000 [0.")
    assert second.startswith("At thresholds chosen on it: F1")
    assert second.endswith(f" (CF1) {result.figures['tuned']['CF1']:.4f}, 0.0000 at 0.5")
    (line,) = (line.split() for line in rest if line.startswith("c "))
    assert (line[4], line[-1]) == ("0.2000", "0.0000")
    best = SimpleNamespace(monitor="val/monitor", best_model_score=torch.tensor(0.5), best_model_path="best.ckpt")
    fit_table(fitted, points, [best], "run", True, (1, 6))
    out = capsys.readouterr().out
    assert out.startswith("Best validation, epoch 1 of 6: mAP 1.0000 [0.")
    assert "\nvalidated on 60 pictures\n" in out
    assert "best validation score 0.5000, epoch 1 of 6: best.ckpt\nnote: the first epoch was the best" in out
    fit_table(fitted, points, [best], "run", True, (2, 6))
    assert "note: the first" not in capsys.readouterr().out
    calibration = {"kind": "temperature", "scale": [2.0] * 3, "offset": [0.0] * 3}
    at = (torch.tensor(0.2).logit() * 2).sigmoid().item()  # the same decisions, of calibrated probabilities
    fit_table(fitted, OperatingPoints([at] * 3, calibration), [], "run")
    assert second in capsys.readouterr().out
