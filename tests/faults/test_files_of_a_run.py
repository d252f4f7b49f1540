"""What a run reads and writes besides its data: YAML, checkpoints, figures, and places that cannot be written."""

import copy
import errno
import json
import math
import os
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch

from ibca_lightning.compare import head_cost
from ibca_lightning.compare.run_rows import method_and_repetition, read_run
from ibca_lightning.data.pictures import reading
from ibca_lightning.model.checkpoint import ModelSpec, read_checkpoint
from ibca_lightning.run.callbacks import attention_pictures, metrics_csv
from ibca_lightning.run.checkpoint_files import WholeCheckpointIO
from ibca_lightning.run.command_line.resumed_settings import changed_settings
from ibca_lightning.run.run_folder import remove_unstarted
from ibca_lightning.run.run_settings import picture_folders, read_settings
from ibca_lightning.run.tested_samples import read_tested
from ibca_lightning.run.training_figures import read_training
from ibca_lightning.search import folds
from ibca_lightning.search.job import read_record
from ibca_lightning.search.recipe import best_validation
from ibca_lightning.system import whole_files as whole_file
from ibca_lightning.system.errors import InputError, PictureError
from ibca_lightning.system.failures import exit_code
from ibca_lightning.system.strangers import csv_rows
from ibca_lightning.use.predictions.files import RowFiles
from tests import made_run
from tests.command_line import contents, done, experiment, ibca, near, refused, rows, written

# --- YAML ------------------------------------------------------------------------------------------------------------

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{to}: &{to} [{','.join([f'*{of}'] * 9)}]\n" for of, to in zip("abcdefgh", "bcdefghi", strict=True)
)
YAMLS = {
    "anchors that repeat each other": (BOMB, "more than 100000 values"),
    "a long text that is repeated": (f"a: &a {'x' * 64_000}\nb: [{'*a, ' * 200}]\n", "more than 100000 values"),
    "lists in lists": ("a: " + "[" * 3000 + "]" * 3000, "nesting beyond 100 levels"),
    "an anchor that holds itself": ("model: &m {a: *m}\n", "an anchor that holds itself"),
    "an anchor of nothing": ("a: *b\n", "undefined alias 'b'"),
    "a tag that runs code": ("model: !!python/object/apply:os.system [echo hi]\n", "os.system'"),
    "a number of 6,000 digits": ("seed_everything: " + "9" * 6000, "an integer of more than 1000 digits"),
    "a number in base 60": ("seed_everything: 1" + ":59" * 200_000, "an integer of more than 1000 digits"),
    "bytes": ("model: !!binary aGk=\n", "tag:yaml.org,2002:binary"),
    "a set": ("model: !!set {a, b}\n", "tag:yaml.org,2002:set"),
    "a key that is a list": ("? [a]\n: 3\n", "unhashable key"),
    "a key that is a number": ("1: 2\n", "known keys only in w.yaml, got 1;"),
    "two documents": ("a: 1\n---\nb: 2\n", "another document"),
}


@pytest.mark.parametrize("case", YAMLS)
def test_yaml(case: str, here: Path) -> None:
    text, said = YAMLS[case]
    Path("w.yaml").write_text(text)
    refused("fit", "--config", "w.yaml", "--run_dir", "new", names=(said,))


def test_a_bomb_is_refused_by_every_reader_of_yaml(tree: Path, here: Path) -> None:
    Path("bomb.yaml").write_text(BOMB)
    written(here / "e.yaml", experiment(tree))
    options = ("--config", "e.yaml", "--output", "new")
    assert "more than 100000 values" in ibca("tune", *options, "--space", "bomb.yaml", "--trials", 1).errors[0]
    assert "more than 100000 values" in ibca("sweep", *options, "--variants", "bomb.yaml", "--seeds", 0).errors[0]


@pytest.mark.parametrize("text", [BOMB, "a: ["])
def test_a_run_is_not_resumed_beside_a_configuration_that_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(InputError, match=r"the configuration of a run in .*config\.yaml, got .*; restore it"):
        changed_settings(str(tmp_path), "a: 1\n")


# --- checkpoints -----------------------------------------------------------------------------------------------------

RECORDS: dict[str, Any] = {
    "thresholds": ["x", 0.5, 0.5],
    "image_size": "big",
    "mean": None,
    "std": [None] * 3,
    "head": None,
    "class_names": "abc",
    "preprocessing": [1],
    "feature_stride": "x",
    "backbone": 3,
    "threshold_positives": ["x"],
}
NO_NUMBERS: list[tuple[str, Any]] = [
    ("thresholds", [0.5, math.nan, 0.5]), ("thresholds", [0.5, True, 0.5]), ("thresholds", [0.5, 2.0, 0.5]),
    ("mean", [math.inf] * 3), ("mean", [1e38] * 3), ("mean", [0.5]), ("std", []), ("std", [0.1, 0.0, 0.1]),
    ("std", [0.1, 1e-30, 0.1]), ("threshold_positives", [3, -1, 3]), ("threshold_positives", [3, True, 3]),
    ("threshold_rule", {"sensitivity": math.nan}), ("threshold_rule", {"sensitivity": True}), ("threshold_rule", 3),
]  # fmt: skip
SPOILT_CALIBRATIONS: list[dict[str, Any]] = [
    {"scale": [1e38] * 3, "offset": [0.0] * 3}, {"scale": [1.0] * 3, "offset": [0.0, 1e38, 0.0]},
    {"scale": [1.0, -1.0, 1.0], "offset": [0.0] * 3}, {"scale": [True] * 3, "offset": [0.0] * 3},
]  # fmt: skip


@pytest.fixture(scope="module")
def whole(run: Path) -> dict[str, Any]:
    return read_checkpoint(run / "checkpoints/best.ckpt")


@pytest.mark.parametrize(("name", "value"), [*RECORDS.items(), *NO_NUMBERS])
def test_a_record_that_was_changed_is_named(name: str, value: object, whole: dict[str, Any], tmp_path: Path) -> None:
    changed = copy.copy(whole) | {"ibca": whole["ibca"] | {name: value}}
    torch.save(changed, tmp_path / "x.ckpt")
    with pytest.raises(InputError, match=rf"x\.ckpt with a sound {name} in its model record, got"):
        read_checkpoint(tmp_path / "x.ckpt")


@pytest.mark.parametrize("calibration", SPOILT_CALIBRATIONS)
def test_a_calibration_that_was_changed_is_named(calibration: Any, whole: dict[str, Any]) -> None:
    changed = whole | {"ibca": whole["ibca"] | {"calibration": {"kind": "platt"} | calibration}}
    with pytest.raises(InputError, match=r"x\.ckpt with a calibration of 3 classes"):
        ModelSpec.from_checkpoint(changed, "x.ckpt")


@pytest.mark.parametrize("weights", [None, [1], {"a": 1}, {1: torch.ones(1)}])
def test_a_checkpoint_without_weights_is_named(weights: Any, whole: dict[str, Any], tmp_path: Path) -> None:
    torch.save(copy.copy(whole) | {"state_dict": weights}, tmp_path / "x.ckpt")
    with pytest.raises(InputError, match=r"x\.ckpt with the weights of a model, got none"):
        read_checkpoint(tmp_path / "x.ckpt")


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_one_flipped_bit_in_the_weights_is_found(part: float, run: Path, tmp_path: Path) -> None:
    data = bytearray((run / "checkpoints/best.ckpt").read_bytes())
    data[int(part * len(data))] ^= 1
    (tmp_path / "x.ckpt").write_bytes(data)
    with pytest.raises(InputError, match="an unreadable file"):
        read_checkpoint(tmp_path / "x.ckpt")


def test_a_checkpoint_cut_in_the_middle_or_a_folder(run: Path, here: Path, tree: Path) -> None:
    data = (run / "checkpoints/best.ckpt").read_bytes()
    Path("cut.ckpt").write_bytes(data[: len(data) // 2])
    Path("folder.ckpt").mkdir()
    for name in ("cut.ckpt", "folder.ckpt"):
        refused("predict", "--ckpt_path", name, "--images", tree / "images", "--output", "new", names=(name,))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_numbers_are_refused_by_every_reader(
    value: float, whole: dict[str, Any], run: Path, tree: Path, here: Path
) -> None:
    weights = {name: weight.clone() for name, weight in whole["state_dict"].items()}
    name = next(name for name in weights if name.startswith("head.") and name.endswith("weight"))
    weights[name].view(-1)[-1] = value
    torch.save(whole | {"state_dict": weights}, "spoilt.ckpt")
    said = ("spoilt.ckpt with finite weights", f"NaN or infinity in {name}")
    images = ("--images", tree / "images")
    for command in ("predict", "explain"):
        refused(command, "--ckpt_path", "spoilt.ckpt", *images, "--output", "new", names=said)
    refused("export", "--ckpt_path", "spoilt.ckpt", "--output", "new.pt2", names=said)
    refused("test", "--config", run / "config.yaml", "--ckpt_path", "spoilt.ckpt", "--run_dir", "new", names=said)


def test_a_mask_of_infinities_is_no_spoilt_weight(whole: dict[str, Any], tmp_path: Path) -> None:
    mask = torch.tensor([0.0, -math.inf])
    torch.save(whole | {"state_dict": whole["state_dict"] | {"head.mask": mask}}, tmp_path / "x.ckpt")
    assert read_checkpoint(tmp_path / "x.ckpt")


# --- a run folder of somebody else -----------------------------------------------------------------------------------

JSONS: dict[str, bytes] = {
    "cut": b'{"metrics":', "a list": b"[]", "words": b'{"metrics": {"mAP": "x"}}', "binary": b"\xff\xfe",
    "an interval that is none": b'{"metrics": {"mAP": 1}, "intervals": {"mAP": 3}}', "nested": b"[" * 100_000,
    "a huge number": b'{"metrics": {"attention_gain": 1' + b"0" * 5000 + b"}}",
    "huge, and read": b'{"metrics": {"mAP": 1' + b"0" * 4000 + b"}}", "nothing": b"", "no figures": b"{}",
    "lists in a list": b'{"metrics": {}, "calibration": {"x": ' + b"[" * 300 + b"]" * 300 + b"}}",
}  # fmt: skip
PYTHON = (
    "Error",
    "object has no",
    "not subscriptable",
    "expected str",
    "could not convert",
    "codec",
    "Expecting",
)


CHANGED: dict[str, tuple[tuple[str, ...], object]] = {
    "intervals.mAP [0.9, 0.1]": (("intervals", "mAP"), [0.9, 0.1]), "metrics.ECE 7": (("metrics", "ECE"), 7),
    "metrics.MCC 3": (("metrics", "MCC"), 3), "samples -4": (("samples",), -4), "samples True": (("samples",), True),
    "thresholds.A.threshold True": (("thresholds", "A", "threshold"), True),
    "thresholds.A.threshold 2.0": (("thresholds", "A", "threshold"), 2.0),
    "thresholds.A.positives -1": (("thresholds", "A", "positives"), -1),
    "per_class.A.positives 1.5": (("per_class", "A", "positives"), 1.5),
    "intervals.AUROC [0.5, 1.2]": (("intervals", "AUROC"), [0.5, 1.2]), "intervals.mAP 3": (("intervals", "mAP"), 3),
    "per_class.A.AP [1]": (("per_class", "A", "AP"), [1]), "metrics.CF1 1000": (("metrics", "CF1"), 1000),
    "tuned_per_class.A.F1 -0.5": (("tuned_per_class", "A", "F1"), -0.5),
    "calibration.curve.count [-1]": (("calibration", "curve", "count"), [-1]),
    "intervals.mAP [0.1, 0.5, 0.9]": (("intervals", "mAP"), [0.1, 0.5, 0.9]),
    "metrics.mAP nan": (("metrics", "mAP"), math.nan), "metrics.AUROC 7": (("metrics", "AUROC"), 7),
    "tuned.CF1 inf": (("tuned", "CF1"), math.inf), "per_class.A.AP -1": (("per_class", "A", "AP"), -1),
    "per_class.A.AP 'x'": (("per_class", "A", "AP"), "x"),
    "intervals.mAP [nan, 1]": (("intervals", "mAP"), [math.nan, 1]),
    "thresholds.A.threshold nan": (("thresholds", "A", "threshold"), math.nan), "metrics.CF1 True": (
        ("metrics", "CF1"), True
    ),
    "metrics.mAP {'a': 1}": (("metrics", "mAP"), {"a": 1}), "per_class.A 0.5": (("per_class", "A"), 0.5),
    "thresholds.A.threshold [0.5]": (("thresholds", "A", "threshold"), [0.5]), "samples [1]": (("samples",), [1]),
    "metrics [1]": (("metrics",), [1]), "intervals 7": (("intervals",), 7),
    "thresholds.A 0.5": (("thresholds", "A"), 0.5), "calibration 3": (("calibration",), 3),
    "intervals.mAP {}": (("intervals", "mAP"), {}),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGED)
def test_a_figure_that_was_changed_is_named(name: str, run: Path, here: Path) -> None:
    shutil.copytree(run, "run")
    content = json.loads(Path("run/test_metrics.json").read_text())
    keys, value = CHANGED[name]
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    assert keys[-1] in (*inner, "MCC")
    inner[keys[-1]] = value
    Path("run/test_metrics.json").write_text(json.dumps(content))
    refused("compare", "run", names=("run/test_metrics.json", name))
    refused("report", "run", names=("run/test_metrics.json", name))


@pytest.mark.parametrize("cell", ["nan", "1.5", "-0.1", "inf"])
def test_a_probability_that_is_none_is_named(cell: str, run: Path, here: Path) -> None:
    shutil.copytree(run, "run")
    header, first, *others = (run / "test_predictions.csv").read_text().splitlines()
    cells = first.split(",")
    for at, value, what in ((2, cell, f"probability {float(cell):.1f}".rstrip("0")), (4, "2", "label 2")):
        changed = ",".join([*cells[:at], value, *cells[at + 1 :]])
        Path("run/test_predictions.csv").write_text("\n".join([header, changed, *others]) + "\n")
        refused("report", "run", names=("run/test_predictions.csv", what, cells[0]))


@pytest.mark.parametrize("cell", ["nan", "inf", "-0.1", "7"])
def test_a_localisation_figure_that_is_none_is_named(cell: str, tmp_path: Path) -> None:
    (tmp_path / "test_metrics.json").touch()
    (tmp_path / "test_predictions.csv").write_text("id,A,label:A\nx.png,0.5,1\n")
    (tmp_path / "test_localisation.csv").write_text(f"id,class,energy\nx.png,A,{cell}\n")
    with pytest.raises(InputError, match=rf"test_localisation\.csv, got energy {cell} of A for x\.png"):
        read_tested(tmp_path, "test")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("groups", "id\nx.png\n"), ("groups", "id,sex,group\nx.png,f,g\n"), ("groups", "group,id\ng,x.png\n"),
        ("localisation", "id,energy\nx.png,1\n"), ("localisation", "id\nx.png\n"),
        ("localisation", "id,class,energy,energy\nx.png,A,1,0\n"),
    ],
)  # fmt: skip
def test_groups_and_localisation_of_other_columns_are_refused(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "test_metrics.json").touch()
    (tmp_path / "test_predictions.csv").write_text("id,A,label:A\nx.png,0.5,1\n")
    (tmp_path / f"test_{name}.csv").write_text(text)
    with pytest.raises(InputError, match=rf"test_{name}\.csv, got other columns;"):
        read_tested(tmp_path, "test")


@pytest.mark.parametrize("row", ["0,1,nan,0.5", "0,1,0.4,inf", "nan,1,0.4,0.5", "0,1,x,0.5", "0,1,0.4,0.5,6"])
def test_a_training_figure_that_is_none_is_named(row: str, run: Path, here: Path) -> None:
    shutil.copytree(run, "run")
    Path("run/metrics.csv").write_text(f"epoch,step,train/loss,val/mAP\n{row}\n")
    wrong = next(cell for cell in row.split(",") if cell not in ("0", "1", "0.4", "0.5"))
    refused("report", "run", names=("run/metrics.csv", wrong))
    with pytest.raises(InputError, match=rf"metrics\.csv, got .*{wrong}.*; restore"):
        best_validation(Path("run"))


def test_a_row_that_is_being_written_and_a_loss_that_overflows_are_no_fault(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("epoch,step,train/loss,val/mAP\n0,1,inf,\n0,1,,0.25\n1,3,,0.")
    assert best_validation(tmp_path)["mAP"] == 0.25
    assert read_training(tmp_path)[0]["train/loss"] == math.inf


@pytest.mark.parametrize("case", JSONS)
def test_figures_that_are_none_are_refused(case: str, here: Path) -> None:
    Path("run").mkdir()
    Path("run/test_metrics.json").write_bytes(JSONS[case])
    (line,) = refused("compare", "run", names=("run/test_metrics.json", "run ibca test again")).errors
    assert not [word for word in PYTHON if word in line]


@pytest.mark.parametrize(("name", "lines", "said"), [
    ("test_predictions.csv", ["id,A,label:A", "x.png,0.5,1", "y.png,zero,1"], "probability zero of A for y.png"),
    ("test_predictions.csv", ["id,A,label:A", "x.png,0.5,1", "y.png,0.5," + "9" * 400], "label 9"),
    ("test_predictions.csv", ["id,A,label:A", "x.png,0.5"], "2 cells for x.png"),
    ("test_predictions.csv", ["id,A,label:A", "x" * 200_000 + ",0.5,1"], "a cell beyond measure"),
    ("test_predictions.csv", [], "no rows"),
    ("test_predictions.csv", ["id,A,label:A", "\udcff"], "no UTF-8, at byte 14"),
    ("test_groups.csv", ["id,group", "x.png,1", "y.png,1"], "y.png not as often as in test_predictions.csv"),
    ("test_groups.csv", ["id,group", "x.png,1", "x.png,1"], "x.png not as often as in test_predictions.csv"),
    ("test_groups.csv", ["id,group", "x.png"], "1 cells for x.png"),
    ("test_localisation.csv", ["id,class,energy", "x.png,B,0.5"], "B for x.png, which was not tested"),
    ("test_localisation.csv", ["id,class,energy", "x.png,A,0.5", "x.png,A,0.25"], "A for x.png more often than it was"),
])  # fmt: skip
def test_what_somebody_changed_of_a_test_is_named(name: str, lines: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "test_metrics.json").touch()
    sound = {"test_predictions.csv": ["id,A,label:A", "x.png,0.5,1"]}
    for file, content in (sound | {name: lines}).items():
        (tmp_path / file).write_text("\n".join(content), errors="surrogateescape")
    with pytest.raises(InputError, match=f"{name}, got .*{said}.*; run ibca test again") as caught:
        read_tested(tmp_path, "test")
    assert not [word for word in PYTHON if word in str(caught.value)]


SEARCHES = {
    "tune.json": [b"[]", b"{", b"\xff"], "trials.journal": [b"{\n", b'{"op_code": "x"}\n', b'{"op_code": 99}\n'],
}  # fmt: skip


@pytest.mark.parametrize("name", SEARCHES)
def test_files_of_a_search_that_are_none_are_named(name: str, tree: Path, here: Path) -> None:
    written(here / "e.yaml", experiment(tree))
    for text in SEARCHES[name]:
        shutil.rmtree("s", ignore_errors=True)
        Path("s").mkdir()
        Path("s", name).write_bytes(text)
        result = ibca("tune", "--config", "e.yaml", "--output", "s", "--trials", 1)
        (line,) = result.errors
        assert result.code == 2
        assert f"s/{name}" in line or "with its tune.json" in line
        assert not [word for word in PYTHON if word in line]
    for record in ({"settings": 1, "seconds": 3}, {"settings": 1, "seconds": {"fit": "x"}}, [1]):
        Path("s/job.json").write_text(json.dumps(record))
        assert read_record(Path("s")) == {}
    assert read_record(here) == {}


@pytest.mark.parametrize("text", [None, b"\xff\xff", b"a: [", b"- a", BOMB.encode()])
def test_a_run_without_its_configuration_is_compared_by_its_figures(text: bytes | None, run: Path, here: Path) -> None:
    Path("run").mkdir()
    shutil.copy(run / "test_metrics.json", "run")
    if text is not None:
        Path("run/config.yaml").write_bytes(text)
    said = done("compare", "run", "--output", "table").err
    notes = [line for line in said.splitlines() if line.startswith("note: run/config.yaml says nothing of the run")]
    assert len(notes) == (text is not None)
    assert "| run | test | " in Path("table/compare.md").read_text(encoding="utf-8")
    if text is None:
        assert read_settings(Path("run")) == {}
    else:  # as compare understands it, so do report and the app
        with pytest.raises(InputError, match=r"the configuration of a run in run/config\.yaml, got .*; restore it"):
            read_settings(Path("run"))


def test_a_run_folder_without_its_configuration_is_not_tested(run: Path, here: Path) -> None:
    shutil.copytree(run, "run")
    Path("run/config.yaml").unlink()
    arguments = ("--config", "run/config.yaml", "--ckpt_path", "run/checkpoints/best.ckpt")
    refused("test", *arguments, names=("run/config.yaml", "nothing there"))


def saved_again(file: Path) -> None:
    """As a spreadsheet does: a byte-order mark, and the line ends of Windows."""
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))


def test_files_of_a_run_that_a_spreadsheet_saved_again_are_the_same_files(tmp_path: Path) -> None:
    before = made_run.write(tmp_path)
    again = tmp_path / "again" / "run"
    shutil.copytree(before, again)
    files = [*again.glob("*.csv"), *again.glob("*.json"), *again.glob("*.yaml")]
    assert {"test_predictions.csv", "test_groups.csv", "metrics.csv", "test_metrics.json"} < {at.name for at in files}
    for file in files:
        saved_again(file)
    one, two = (read_tested(run, "test") for run in (before, again))
    assert (one.ids, one.class_names, one.groups) == (two.ids, two.class_names, two.groups)
    assert torch.equal(one.probabilities, two.probabilities)
    assert read_training(again) == read_training(before) != []
    assert read_settings(again) == read_settings(before)
    (row,), (own,) = read_run(again, False), read_run(before, False)
    assert (row.pictures, row.figures) == (own.pictures, own.figures), "else two runs were of other test pictures"
    logger = metrics_csv.RunCSVLogger(str(again))
    logger.log_metrics({"epoch": 2, "val/mAP": 0.75}, 9)
    logger.save()
    assert next(csv_rows(again / "metrics.csv")).count("epoch") == 1, "of the mark and the name a column was made"
    assert read_training(again)[-1] == {"epoch": 2, "step": 9, "val/mAP": 0.75}


def test_predictions_that_a_spreadsheet_saved_again_are_taken_up(tmp_path: Path) -> None:
    columns = ["id", "a, b", "c"]
    with closing(RowFiles(tmp_path, {}, columns)) as files:
        files.add([["1.png", "0.1", "0.2"], ["2.png", "0.3", "0.4"]])
    saved_again(files.path)
    with closing(RowFiles(tmp_path, {}, columns)) as files:
        assert files.done == {"1.png", "2.png"}
        files.add([["3.png", "0.5", "0.6"]])
        assert [row[0] for row in files.rows()] == ["1.png", "2.png", "3.png"]
    with pytest.raises(InputError, match="the columns of these classes in"):
        RowFiles(tmp_path, {}, ["id", "a", "c"])


# --- no room, no right -----------------------------------------------------------------------------------------------

REFUSALS = {"full disk": errno.ENOSPC, "read-only disk": errno.EROFS, "no permission": errno.EACCES}


class Refusing:
    """A file that takes some text and then nothing more."""

    def __init__(self, file: Any, error: int, room: int) -> None:
        self._file, self._error, self._room = file, error, room

    def write(self, text: str) -> int:
        self._room -= len(text)
        if self._room < 0:
            raise OSError(self._error, os.strerror(self._error))
        return int(self._file.write(text))


@pytest.fixture(params=REFUSALS)
def refusal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], str]:
    def apply(room: int) -> str:
        whole_text = whole_file.whole_text
        number = REFUSALS[request.param]

        class Opened:
            def __init__(self, path: Path) -> None:
                self.inner = whole_text(path)

            def __enter__(self) -> Refusing:
                return Refusing(self.inner.__enter__(), number, room)

            def __exit__(self, *error: Any) -> Any:
                return self.inner.__exit__(*error)

        monkeypatch.setattr(whole_file, "whole_text", Opened)
        return os.strerror(number)

    return apply


def test_results_that_cannot_be_written_leave_those_of_before(
    refusal: Callable[[int], str], run: Path, here: Path
) -> None:
    shutil.copytree(run, "run")
    before = contents(Path("run"))
    reason = refusal(200)
    result = ibca("test", "--config", "run/config.yaml", "--ckpt_path", "run/checkpoints/best.ckpt")
    assert result.code == 2
    assert reason in result.errors[0]
    after = contents(Path("run"))
    assert {name: after[name] for name in before if "attention" not in name} == {
        name: data for name, data in before.items() if "attention" not in name
    }
    assert not [name for name in after if Path(name).name.startswith(".")], "half a file was left"


def test_a_disk_that_fills_up_while_figures_are_logged(tree: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines, written_before = metrics_csv.csv_lines, []

    def full(rows: Any) -> Any:
        if written_before:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written_before.append(rows)
        return lines(rows)

    monkeypatch.setattr(metrics_csv, "csv_lines", full)
    written(here / "e.yaml", experiment(tree))
    result = ibca("fit", "--config", "e.yaml", "--run_dir", "new", "--trainer.max_epochs", 3)
    assert result.code == 2
    assert result.errors == [
        "error: a file to read or write at new/metrics.csv, got No space left on device; "
        "make room, or give another path"
    ]
    assert "Traceback" not in result.err


REFUSED = {
    "ENOSPC": "make room", "EDQUOT": "make room", "EROFS": "make room", "EFBIG": "ulimit -f", "EIO": "the disk",
    "ESTALE": "the disk", "EMFILE": "ulimit -n", "ENFILE": "ulimit -n",
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_system_refuses_is_one_line_and_leaves_no_half_file(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    number = getattr(errno, name)
    place = tmp_path / "check.html"

    def half(part: Path) -> None:
        part.write_text("half")
        raise OSError(number, os.strerror(number))

    with pytest.raises(InputError, match=f"{place}, got {os.strerror(number)}; .*{REFUSED[name]}"):
        whole_file.write_whole(place, half)
    with pytest.raises(OSError, match=os.strerror(number)) as caught, whole_file.whole(place) as part:
        half(part)
    assert list(tmp_path.iterdir()) == []
    told = OSError(f"Caught OSError in DataLoader worker process 0.\nTraceback\nOSError: {caught.value}")
    for error in (caught.value, told):
        assert exit_code(error) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"a file to read or write at {place}, got {os.strerror(number)}; " in line
        assert REFUSED[name] in line


def test_no_more_files_can_be_opened_is_told_by_torch_too(capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("unable to open shared memory object: Too many open files (24)", "received 0 items of ancdata"):
        assert exit_code(RuntimeError(text)) == 2
        assert "ulimit -n" in capsys.readouterr().err


def test_a_picture_is_not_passed_over_where_no_more_files_can_be_opened(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = next((tree / "images").iterdir())
    for number, kind in ((errno.EMFILE, InputError), (errno.EIO, PictureError)):
        refuse = OSError(number, os.strerror(number), str(picture))
        monkeypatch.setattr(reading.np, "fromfile", Mock(side_effect=refuse))
        with pytest.raises(InputError, match=f"{picture}, got {os.strerror(number)}") as caught:
            reading.read_bytes(str(picture))
        assert type(caught.value) is kind


@pytest.mark.parametrize("there", [False, True])
def test_a_disk_that_fills_up_before_the_first_checkpoint_leaves_nothing_in_the_way(
    there: bool, tree: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(here / "e.yaml", experiment(tree))
    if there:
        Path("new").mkdir()
        Path("new/notes.txt").write_text("mine")
    command = ("fit", "--config", "e.yaml", "--run_dir", "new")
    with monkeypatch.context() as full:
        refuse = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        full.setattr(WholeCheckpointIO, "save_checkpoint", Mock(side_effect=refuse))
        result = ibca(*command)
    assert (result.code, len(result.errors)) == (2, 1), result.err
    assert "note: it ended before its first checkpoint; removed what it left in new" in result.err.splitlines()
    assert sorted(os.listdir()) == (["e.yaml", "new"] if there else ["e.yaml"])
    assert not there or os.listdir("new") == ["notes.txt"]
    done(*command)


def test_what_a_broken_disk_does_not_let_go_is_not_said_to_be_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.yaml").touch()
    monkeypatch.setattr(Path, "unlink", Mock(side_effect=OSError(errno.EIO, "")))
    assert remove_unstarted(str(tmp_path / "run"), None) is False


class _Full:
    """A file on a disk that has room for half."""

    def __init__(self, file: Any) -> None:
        self.name, self._file = file.name, file

    def write(self, data: bytes) -> None:
        self._file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_predictions_of_pictures_stop_at_a_full_disk_and_go_on_where_they_were(
    run: Path, tree: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("predict", "--ckpt_path", run / "checkpoints/best.ckpt", "--images", tree / "images", "--batch_size", 4)
    append, calls = RowFiles._append, []

    def full(file: Any, data: bytes) -> None:
        calls.append(data)
        append(_Full(file) if len(calls) == 4 else file, data)

    monkeypatch.setattr(RowFiles, "_append", staticmethod(full))
    result = ibca(*command, "--output", "out")
    assert (result.code, len(result.errors)) == (2, 1)
    assert "out/predictions.csv, got No space left on device" in result.errors[0]
    assert len(rows(Path("out/predictions.csv"))) >= 8
    monkeypatch.setattr(RowFiles, "_append", staticmethod(append))
    done(*command, "--output", "out")
    done(*command, "--output", "whole")
    near(*(sorted(rows(Path(name) / "predictions.csv"), key=lambda row: row["id"]) for name in ("out", "whole")))


@pytest.mark.parametrize(
    "command",
    [
        ("compare", "RUN", "--output", "file/x"),
        ("predict", "--ckpt_path", "CKPT", "--images", "IMAGES", "--output", "file/x"),
        ("explain", "--ckpt_path", "CKPT", "--images", "IMAGES", "--output", "file/x"),
        ("test", "--config", "RUN/config.yaml", "--ckpt_path", "CKPT", "--run_dir", "file/x"),
        ("test", "--config", "RUN/config.yaml", "--ckpt_path", "CKPT", "--run_dir", "x" * 300),
        ("predict", "--ckpt_path", "CKPT", "--images", "IMAGES", "--output", "x" * 300),
        ("fit", "--config", "RUN/config.yaml", "--run_dir", "x" * 300),
        ("fit", "--config", "RUN/config.yaml", "--run_dir", "zero\0byte"),
        ("fit", "--config", "x" * 300),
        ("fit", "--config", "RUN/config.yaml", "--data.root", "x" * 300),
    ],
)
def test_an_output_that_cannot_be_there(command: tuple[str, ...], run: Path, tree: Path, here: Path) -> None:
    Path("file").write_text("x")
    places = {"RUN": str(run), "CKPT": str(run / "checkpoints/best.ckpt"), "IMAGES": str(tree / "images")}
    words = [places.get(word, word.replace("RUN/", f"{run}/")) for word in command]
    result = ibca(*words)
    assert (result.code, len(result.errors)) == (2, 1), result.err
    assert os.listdir() == ["file"]


def test_an_attention_picture_that_cannot_be_written_is_one_line(
    tree: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(attention_pictures, "write_png", full)
    written(here / "e.yaml", experiment(tree))
    result = ibca("fit", "--config", "e.yaml", "--run_dir", "new")
    assert result.code == 2
    assert os.strerror(errno.EDQUOT) in result.errors[0]


def test_wandb_cannot_write_its_folder(tree: Path, here: Path) -> None:
    written(here / "e.yaml", experiment(tree))
    Path("run").mkdir()
    Path("run/wandb").write_text("a file")
    result = ibca("fit", "--config", "e.yaml", "--run_dir", "run", "--wandb", "offline")
    assert (result.code, len(result.errors)) == (2, 1), result.err
    assert "a folder to write in at run/wandb" in result.errors[0]
    assert "--wandb disabled" in result.errors[0]
    assert Path("run/wandb").read_text() == "a file"


def test_no_home_and_no_place_for_temporary_files(tree: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("file").write_text("x")
    monkeypatch.setenv("HOME", str(here / "file/home"))
    monkeypatch.setenv("TMPDIR", str(here / "nowhere"))
    written(here / "e.yaml", experiment(tree))
    done("fit", "--config", "e.yaml", "--run_dir", "new")
    assert json.loads(json.dumps(sorted(os.listdir()))) == ["e.yaml", "file", "new"]


# --- what a run says of itself ---------------------------------------------------------------------------------------


def test_a_configuration_of_dates_and_numbered_keys_is_compared(tmp_path: Path) -> None:
    for text in (
        "when: 2024-01-01",
        "1: 2\nb: 3",
        "data: {init_args: {split_seed: 2024-01-01}}",
        "2024-01-01: 1\na: 1",
    ):
        (tmp_path / "config.yaml").write_text(f"{text}\n")
        assert method_and_repetition(tmp_path)[0] != str(tmp_path)
        assert method_and_repetition(tmp_path) == method_and_repetition(tmp_path)


def test_no_url_of_a_run_is_asked() -> None:
    for root in ("https://attacker.invalid/x", "s3://bucket/x", "gs://bucket"):
        assert picture_folders({"data": {"init_args": {"root": root, "mask_dir": "m"}}}) == (None, None)


@pytest.mark.parametrize("header", ["id", "id,A,A,label:A,label:A", "id,A"])
def test_predictions_without_classes_or_with_one_twice_are_refused(header: str, tmp_path: Path) -> None:
    row = ",".join(["1.png", *["0"] * header.count(",")])
    (tmp_path / "test_predictions.csv").write_text(f"{header}\n{row}\n")
    (tmp_path / "test_metrics.json").touch()
    with pytest.raises(InputError, match=r"test_predictions\.csv, got"):
        read_tested(tmp_path, "test")


def test_folds_without_thresholds_are_named(tmp_path: Path) -> None:
    file = tmp_path / "test_metrics.json"
    for content in ({"metrics": {}}, {"metrics": {}, "thresholds": {"A": {}}}):
        file.write_text(json.dumps(content))
        with pytest.raises(InputError, match=r"a threshold of each class in .*test_metrics\.json, got none of A"):
            folds._thresholds([file], ["A"])


def test_the_maps_of_five_channels_are_measured_with_five() -> None:
    spec = Mock(in_channels=5, image_size=8)
    assert head_cost._shape(torch.nn.Conv2d(5, 7, 3, padding=1), spec) == (7, 8, 8)  # type: ignore[arg-type]


@pytest.mark.parametrize("row", ['x"y,0.5\n"z,0.5', "x,0.5,0.5", "x"])
def test_rows_that_would_take_in_what_is_added_are_named(row: str, tmp_path: Path) -> None:
    with closing(RowFiles(tmp_path, {}, ["id", "A"])) as files:
        files.add([["w", "0.25"]])
    with files.path.open("a") as file:
        file.write(f"{row}\n")
    before = files.path.read_bytes()
    said = r"predictions in .*predictions\.csv, got .*; give another --output"
    with closing(RowFiles(tmp_path, {}, ["id", "A"])) as files, pytest.raises(InputError, match=said):
        assert files.done
    assert files.path.read_bytes() == before
