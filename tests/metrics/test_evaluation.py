import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from ibca_lightning.metrics.decision import OperatingPoints
from ibca_lightning.metrics.evaluation import evaluate
from ibca_lightning.metrics.multilabel import figures
from ibca_lightning.metrics.store import SampleFacts, Stored
from ibca_lightning.run.callbacks.results import WriteResults
from ibca_lightning.run.result_files import write_evaluation, write_predictions
from tests.command_line import near
from tests.training import Data, Pictures, module, trainer

NAMES = ["opacité", 'a "quoted", one', "C"]
IDS = ["a, b/1.png", 'say "x".png', "眼底/ü 3.png", "line\nbreak.png", "=1+1.png", " 6.png", "7.png", "8.png"]


def evaluation(thresholds=(0.2, 0.5, 0.7), samples=8, pairs=None, intervals=False, calibration=None):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(samples, 3, generator=generator)
    labels = torch.randint(-1, 2, (samples, 3), generator=generator).to(torch.int8)
    facts = SampleFacts()
    facts.update({
        "index": torch.arange(samples), "id": IDS[:samples], "group": ["p", "q"] * (samples // 2),
        "subgroup": {"sex": ["F", "F", "M", "M"] * (samples // 4)},
    })  # fmt: skip
    stored = Stored(torch.arange(samples), logits, labels, pairs or {})
    points = OperatingPoints(list(thresholds), calibration, [3, 10, 40])
    return evaluate("test", stored, facts, NAMES, points, intervals=intervals)


def read_csv(path):
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    return header, rows


def test_the_error_before_calibration_stands_beside_that_after_it():
    record = {"kind": "temperature", "scale": [3.0] * 3, "offset": [0.0] * 3}
    plain, own = evaluation(), evaluation(calibration=record, intervals=True)
    torch.testing.assert_close(own.probabilities, (3 * plain.probabilities.logit()).sigmoid())
    found = own.figures["calibration"]
    assert (found["kind"], plain.figures["calibration"]["kind"]) == ("temperature", "none")
    for name in ("ECE", "class_ECE"):
        before = plain.figures["metrics"][name]
        assert found[f"{name}_uncalibrated"] == pytest.approx(before)
        assert own.figures["metrics"][name] != pytest.approx(before)
        low, high = found["intervals"][f"{name}_uncalibrated"]
        assert low <= before <= high
        assert f"{name}_uncalibrated" not in plain.figures["calibration"]


def test_figures_from_the_csv_are_those_of_the_json_exactly(tmp_path):
    result = evaluation(intervals=True)
    write_evaluation(tmp_path, result)
    header, rows = read_csv(tmp_path / "test_predictions.csv")
    assert header == ["id", *NAMES, *(f"label:{name}" for name in NAMES)]
    assert [row[0] for row in rows] == IDS
    found = torch.tensor(np.array([row[1:4] for row in rows], dtype=np.float32))
    labels = torch.tensor([[int(value) for value in row[4:]] for row in rows])
    assert torch.equal(found, result.probabilities)
    again = figures(found, labels, NAMES, (0.2, 0.5, 0.7))
    written = json.loads((tmp_path / "test_metrics.json").read_text(encoding="utf-8"))
    for key in ("metrics", "per_class", "tuned", "tuned_per_class", "defined_classes", "samples"):
        assert written[key] == again[key], key
    bounds = {f"{kind}intervals" for kind in ("", "per_class_", "tuned_", "tuned_per_class_")}
    assert set(written) == {*again, *bounds, "subgroups", "thresholds", "calibration", "exclusive"}
    assert {"mAP", "AUROC", "CP", "CR", "CF1", "OP", "OR", "OF1"} <= set(written["metrics"]) & set(written["intervals"])
    women = [0, 1, 4, 5]
    own = written["subgroups"]["sex"]["F"]
    for name, value in figures(found[women], labels[women], NAMES, (0.2, 0.5, 0.7))["metrics"].items():
        assert own["metrics"][name] == pytest.approx(value, abs=1e-6), name


def test_with_masks_the_contracts_figures_of_attention_are_there():
    nan = torch.full((8, 3), math.nan)
    pairs = {name: nan.clone() for name in ("energy", "uniform", "pointing", "pixel_AP", "spurious_energy")}
    for name, value in (("energy", 0.5), ("uniform", 0.25), ("pointing", 1.0), ("pixel_AP", 0.75)):
        pairs[name][2, 1] = value
    result = evaluation(pairs=pairs).figures
    expected = {
        "attention_energy": 0.5, "attention_gain": 2.0, "pointing_game": 1.0, "pixel_AP": 0.75, "spurious_energy": None,
    }  # fmt: skip
    assert {name: result["metrics"][name] for name in expected} == expected
    assert result["per_class"][NAMES[1]]["attention_energy"] == 0.5
    assert result["per_class"][NAMES[0]]["attention_energy"] is None
    assert {"AP", "AUROC", "positives"} <= set(result["per_class"][NAMES[0]])
    json.dumps(result, allow_nan=False)


def test_groups_and_pairs_are_written_where_there_are_any(tmp_path):
    nan = torch.full((8, 3), math.nan)
    pairs = {"energy": nan.clone(), "pointing": nan.clone()}
    pairs["energy"][2, 1], pairs["energy"][5, 0], pairs["pointing"][2, 1] = 1 / 3, 0.25, 1.0
    write_evaluation(tmp_path, evaluation(pairs=pairs), ".same")
    assert read_csv(tmp_path / "test_groups.same.csv") == (
        ["id", "group"], [[picture, "pq"[i % 2]] for i, picture in enumerate(IDS)],
    )  # fmt: skip
    header, rows = read_csv(tmp_path / "test_localisation.same.csv")
    assert header == ["id", "class", "energy", "pointing"]
    assert rows == [[IDS[2], NAMES[1], "0.333333343", "1"], [IDS[5], NAMES[0], "0.25", ""]]
    alone = replace(evaluation(), groups=IDS)
    write_evaluation(tmp_path, alone, ".same")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"test_metrics.same.json", "test_predictions.same.csv"}, "nothing of the earlier test"


def test_probabilities_near_the_ends_survive_the_file(tmp_path):
    found = torch.tensor([[1e-38], [1 - 6e-8], [0.1], [1.0], [0.0]])
    write_predictions(tmp_path / "p.csv", list("abcde"), found, ["x"])
    _, rows = read_csv(tmp_path / "p.csv")
    assert torch.equal(torch.tensor(np.array([row[1:] for row in rows], dtype=np.float32)), found)


def test_a_failure_half_way_leaves_the_old_files_and_no_other(tmp_path):
    write_evaluation(tmp_path, evaluation())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match="zip"):  # one id too few: fails behind the rows that are there
        write_predictions(tmp_path / "test_predictions.csv", IDS[:3], torch.rand(4, 3), NAMES)
    broken = evaluation()
    broken.figures["metrics"]["mAP"] = math.nan  # never to be written
    with pytest.raises(ValueError, match="JSON"):
        write_evaluation(tmp_path, broken)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


# --- the files of a run -------------------------------------------------------------------------------------------


def test_one_test_set_writes_the_plain_names_only(tmp_path):
    model = module()
    trainer(callbacks=[WriteResults(tmp_path)]).test(model, datamodule=Data({"test": Pictures(5)}))
    plain = {"test_metrics.json", "test_predictions.csv", "test_groups.csv"}
    assert {path.name for path in tmp_path.iterdir()} == plain


def test_several_test_sets_write_a_file_each_and_the_first_under_the_plain_names_too(tmp_path):
    sets = {"same": Pictures(5), "independent": Pictures(6, seed=1), "reversed": Pictures(7, seed=2)}
    trainer(callbacks=[WriteResults(tmp_path)]).test(module(), datamodule=Data(sets))
    plain = {"test_metrics.json", "test_predictions.csv", "test_groups.csv"}
    files = {name.replace(".", f".{part}.") for name in plain for part in sets}
    assert {path.name for path in tmp_path.iterdir()} == files | plain
    for name, pictures in sets.items():
        assert json.loads((tmp_path / f"test_metrics.{name}.json").read_text())["samples"] == len(pictures)
    for kind in ("metrics.{}json", "predictions.{}csv"):
        plain, first = (tmp_path / f"test_{kind.format(part)}" for part in ("", "same."))
        assert plain.read_bytes() == first.read_bytes()


def test_predictions_of_two_sets_with_equal_ids_are_all_written_in_order(tmp_path):
    sets, model = {"one": Pictures(11), "two": Pictures(3, seed=1)}, module()
    run = trainer(callbacks=[WriteResults(tmp_path)])
    run.predict(model, datamodule=Data({"earlier": Pictures(20)}), return_predictions=False)
    run.predict(model, datamodule=Data(sets), return_predictions=False)
    header, rows = read_csv(tmp_path / "predictions.csv")
    decided = [f"{what}:{name}" for what in ("decision", "threshold") for name in model.class_names]
    assert header == ["id", *model.class_names, *decided]
    assert [row[0] for row in rows] == [pictures[at]["id"] for pictures in sets.values() for at in range(len(pictures))]
    trainer(callbacks=[WriteResults(tmp_path)]).test(model, datamodule=Data(sets))
    _, tested = read_csv(tmp_path / "test_predictions.one.csv")
    near([row[:4] for row in tested], [row[:4] for row in rows[:11]])
    assert all(row[4:] == [*(str(int(float(p) > 0.5)) for p in row[1:4]), *["0.5"] * 3] for row in rows)
