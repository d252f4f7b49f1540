"""`ibca maps`, and models that train and are tested on what it stores."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ibca_lightning.datasets.layouts.map_files import SplitWriter, read_record
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.locks import sole_user
from tests import stored_maps
from tests.command_line import contents, done, ibca, rows, written
from tests.datasets import fake_idrid_tiles
from tests.stored_maps import configuration, on_maps, store
from tests.training import module


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The experiment on pictures, and their maps."""
    return stored_maps.write(tmp_path_factory.mktemp("stored"))


@pytest.fixture(scope="module")
def run(stored: tuple[Path, Path]) -> Path:
    """A run that was trained on maps, and tested on them."""
    maps = stored[1]
    folder = maps.parent / "run"
    experiment = written(maps.parent / "maps.yaml", on_maps(configuration(maps.parent / "pictures"), maps))
    result = done("fit", "--config", experiment, "--run_dir", folder)
    assert result.err.count("no attention pictures: the data are stored maps") == 1
    assert not (folder / "attention").exists()
    done("test", "--config", folder / "config.yaml", "--ckpt_path", folder / "checkpoints/best.ckpt")
    card = (folder / "checkpoints/model_card.md").read_text()
    assert "FrozenMaps: the pictures of CSVDataModule as stored maps of the frozen backbone, in precision 32" in card
    return folder


def test_a_model_trained_on_maps_says_the_same_of_pictures(
    run: Path, stored: tuple[Path, Path], tmp_path: Path
) -> None:
    done(
        "test", "--config", stored[0], "--ckpt_path", run / "checkpoints/best.ckpt", "--run_dir", tmp_path / "pictures"
    )
    folders = (run, tmp_path / "pictures")
    ours, theirs = (rows(folder / "test_predictions.csv") for folder in folders)
    assert len(ours) == len(theirs) == 40
    for row, other in zip(ours, theirs, strict=True):
        assert row.pop("id") == other.pop("id")
        expected = {name: float(value) for name, value in other.items()}
        assert {name: float(value) for name, value in row.items()} == pytest.approx(expected, abs=5e-4), "11 bits"
    figures = [json.loads((folder / "test_metrics.json").read_text())["metrics"] for folder in folders]
    assert {"mAP", "attention_gain", "pixel_AP", "pointing_game"} <= figures[0].keys()
    for name in ("mAP", "AUROC", "attention_energy", "attention_gain", "pixel_AP"):
        assert figures[0][name] == pytest.approx(figures[1][name], abs=0.01), name


class Killed(BaseException):
    """As SIGKILL: nothing is tidied up."""


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the run die after some batches, with the next one half written."""
    write = SplitWriter.write

    def after(batches: int) -> None:
        left = [batches]

        def dying(self: SplitWriter, rows: Any, arrays: Any) -> None:
            if not left[0]:
                write(self, rows, {name: np.full_like(values, 1) for name, values in arrays.items()})
                raise Killed
            left[0] -= 1
            write(self, rows, arrays)

        monkeypatch.setattr(SplitWriter, "write", dying)

    return after


@pytest.mark.slow
@pytest.mark.parametrize("batches", [0, 3, 10])
def test_a_killed_run_goes_on_to_the_same_files(
    batches: int, stored: tuple[Path, Path], killed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, whole = stored
    killed(batches)
    with pytest.raises(Killed):
        store(config, tmp_path / "maps")
    assert contents(tmp_path / "maps") != contents(whole)
    monkeypatch.undo()
    result = store(config, tmp_path / "maps")
    assert result.code == 0, result.err
    assert f"{120 - 5 * batches} new pictures" in result.err
    assert contents(tmp_path / "maps") == contents(whole)
    assert "0 new pictures" in store(config, tmp_path / "maps").err


def test_several_processes_write_what_one_does(
    stored: tuple[Path, Path], killed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, whole = stored
    maps = tmp_path / "maps"
    told = []
    for rank, dies in ((0, True), (1, False), (0, False)):
        with monkeypatch.context() as patch:
            patch.setenv("WORLD_SIZE", "2")
            patch.setenv("RANK", str(rank))
            if dies:
                killed(2)
                with pytest.raises(Killed):
                    store(config, maps)
                monkeypatch.undo()
            else:
                told.append(store(config, maps).err)
        assert (maps / "train.rows.jsonl").exists() == (len(told) == 2)
    assert "process 2 of 2: 60 pictures\n" in told[0]
    assert "process 1 of 2: 50 pictures, 10 were there\n" in told[1]
    assert f"120 pictures; wrote {maps}\n" in told[1]
    found, expected = contents(maps), contents(whole)
    assert found.keys() == expected.keys()
    for name in found:
        if name.endswith(".npy"):  # sums of another batch may be rounded otherwise
            one, two = (np.load(folder / name) for folder in (whole, maps))
            np.testing.assert_allclose(two.astype(np.float32), one.astype(np.float32), rtol=2e-3, atol=1e-3)
        else:
            assert found[name] == expected[name], name
    before = (maps / "train.stage0.npy").stat()
    (maps / "val.stage0.npy").unlink()
    assert "\n40 new pictures" in store(config, maps).err, "the split that lost an array is made again"
    assert (maps / "train.stage0.npy").stat() == before, "and no other"


def test_two_do_not_write_one_set_of_maps_at_once(stored: tuple[Path, Path]) -> None:
    config, whole = stored
    before = contents(whole)
    with sole_user(whole):
        result = store(config, whole)
    assert (result.code, len(result.errors)) == (2, 1), result.err
    assert "that nobody writes into" in result.errors[0]
    assert contents(whole) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--views", 4], "of splits "),
        (["--precision", "bf16"], "of precision bf16, got 32"),
        (["--data.image_size", 96], "of image_size 96, got 64"),
        (["--seed_everything", 1], "of fingerprint "),
        (["--model.feature_stride", 32], "of feature_stride 32, got "),
    ],
)
def test_another_configuration_is_not_mixed_in(stored: tuple[Path, Path], options: list[object], message: str) -> None:
    before = contents(stored[1])
    result = store(*stored, *options)
    assert (result.code, len(result.errors)) == (2, 1), result.err
    assert f"to hold maps {message}" in result.errors[0]
    assert contents(stored[1]) == before


def test_batch_size_and_workers_may_change(stored: tuple[Path, Path]) -> None:
    result = store(*stored, "--data.batch_size", 3, "--data.num_workers", 1, "--data.augment", "none")
    assert (result.code, "0 new pictures" in result.err) == (0, True), result.err


def test_views_and_precision_are_as_asked_for(stored: tuple[Path, Path], tmp_path: Path) -> None:
    config, full = stored
    assert store(config, tmp_path / "maps", "--views", 4, "--precision", "bf16").code == 0
    few, every = (np.load(folder / "train.stage0.npy") for folder in (tmp_path / "maps", full))
    assert few.shape == (40, 4, *every.shape[2:])
    difference = np.abs(few.astype(np.float32) - every[:, :4].astype(np.float32)).mean()
    assert 1e-5 < difference < 0.02 * every.astype(np.float32).std(), "bfloat16 has 8 bits"
    assert np.load(tmp_path / "maps/test.test.stage0.npy").shape[1] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seed_everything", 1], "the backbone weights "),
        (["--model.feature_stride", 32], "the feature_stride [8, 32] of the maps in "),
        (["--model.backbone", "test_convnext", "--model.feature_stride", 32], "the backbone test_resnet of the maps"),
        (["--model.freeze_backbone", "false"], "model.freeze_backbone true"),
        (["--data.image_size", 96], "data.image_size 64"),
    ],
)
def test_a_model_that_the_maps_are_not_of_is_refused(run: Path, options: list[object], message: str) -> None:
    folder = run.parent / "refused"
    result = ibca("fit", "--config", run.parent / "maps.yaml", "--run_dir", folder, *options)
    assert (result.code, len(result.errors)) == (2, 1), result.err
    assert message in result.errors[0]
    assert not folder.exists(), "what could not start leaves nothing"


def test_a_checkpoint_of_another_backbone_is_refused(stored: tuple[Path, Path], run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    done("fit", "--config", stored[0], "--run_dir", other, "--seed_everything", 1, "--trainer.max_epochs", 1)
    for command in ("test", "validate", "predict"):
        checkpoint = ("--ckpt_path", other / "checkpoints/best.ckpt", "--run_dir", tmp_path / command)
        result = ibca(command, "--config", run.parent / "maps.yaml", *checkpoint)
        assert (result.code, len(result.errors)) == (2, 1), result.err
        assert "the backbone weights" in result.errors[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: --output"),
        (["--output", "maps", "--views", 3], "--views"),
        (["--output", "maps"], "a value for data, got none"),
        (["--output", "maps", "--data", "SCMDataModule", "--ckpt_path", "a.ckpt"], "no --ckpt_path for ibca maps"),
        (["--output", "maps", "--data", "SCMDataModule", "--data.sise", 3], "known options only, got --data.sise"),
    ],
)
def test_wrong_options_are_one_line(arguments: list[object], message: str, here: Path) -> None:
    result = ibca("maps", *arguments)
    assert (result.code, len(result.errors)) == (2, 1), result.err
    assert message in result.errors[0]
    assert not list(here.iterdir())


def test_maps_are_no_pictures(run: Path, tmp_path: Path) -> None:
    result = ibca("maps", "--config", run.parent / "maps.yaml", "--output", tmp_path / "again")
    assert result.code == 2
    assert "a data module of pictures for ibca maps, got FrozenMaps" in result.err


def test_a_disk_that_is_too_small_is_said_before_it_is_full(
    stored: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ibca_lightning.maps import writing as map_writing

    monkeypatch.setattr(map_writing.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    result = store(stored[0], tmp_path / "maps")
    assert (result.code, "GB free at --output" in result.err) == (2, True)


# --- the module ------------------------------------------------------------------------------------------------------


def batch(model: Any, count: int = 3) -> tuple[torch.Tensor, dict[str, Any]]:
    images = torch.randint(0, 256, (count, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return images, {"features": [x.half() for x in model.stages(images)]}


@pytest.mark.parametrize("stride", [32, [8, 32]])
def test_stored_stages_give_the_logits_of_the_picture(stride: Any) -> None:
    model = module(feature_stride=stride, freeze_backbone=True).eval()
    images, features = batch(model)
    ours, theirs = model._outputs(features), model(images)
    torch.testing.assert_close(ours.logits, theirs.logits, rtol=0, atol=1e-3)
    torch.testing.assert_close(ours.attention, theirs.attention)
    assert ours.logits.dtype == torch.float32


@pytest.mark.parametrize("autocast", [True, False])
def test_the_head_sees_the_type_that_the_backbone_would_give(autocast: bool) -> None:
    model, seen = module(feature_stride=[8, 32], freeze_backbone=True).eval(), []
    model.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].dtype))
    images, features = batch(model)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        model._outputs(features)
        model(images)
    assert seen == [torch.bfloat16 if autocast else torch.float32] * 2


def test_stored_maps_and_a_backbone_that_trains_do_not_go_together() -> None:
    model = module()
    with pytest.raises(InputError, match=r"model.freeze_backbone true, as the data are stored maps.*got false"):
        model._outputs(batch(model)[1])


def test_probes_are_runs_that_compare_reads_and_the_same_whenever_they_are_made(
    stored: tuple[Path, Path], tmp_path: Path
) -> None:
    maps, kinds = stored[1], ["knn", "logistic", "ridge"]
    experiment = written(tmp_path / "maps.yaml", on_maps(configuration(maps.parent / "pictures"), maps))
    said = done("probe", "--config", experiment, "--output", tmp_path / "one").out
    assert sorted(line.split()[0] for line in said.splitlines() if line.split()[0] in kinds) == kinds
    done("probe", experiment, "--output", tmp_path / "two", "--seed_everything", 3)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    done("compare", tmp_path / "one", "--reference", "best", "--output", tmp_path / "table")
    table = rows(tmp_path / "table/compare.csv")
    assert [Path(row["run"]).name for row in table] == kinds
    assert all(float(row["mAP_low"]) < float(row["mAP"]) < float(row["mAP_high"]) for row in table)
    labels = [f"label:{name}" for name in json.loads((maps / "maps.json").read_text())["class_names"]]
    found = rows(tmp_path / "one/ridge/test_predictions.csv")
    stored_labels = np.load(maps / "test.test.label.npy")
    assert [[int(row[label]) for label in labels] for row in found] == stored_labels.tolist()
    (tmp_path / "two/run").mkdir()
    written(tmp_path / "two/run/config.yaml", {"model": {}})
    result = ibca("probe", "--config", experiment, "--output", tmp_path / "two")
    assert (result.code, "for probes alone" in result.err) == (2, True)


def test_class_tokens_are_stored_as_a_map_of_one_cell_trained_on_and_probed(tmp_path: Path) -> None:
    fake_idrid_tiles.write(tmp_path / "pictures", sources=2)
    config = configuration(tmp_path / "pictures")
    head = {"class_path": "glori", "init_args": {"class_token": True}}
    own = {"backbone": "test_vit", "feature_stride": 16, "feature_blocks": 2, "head": head}
    config["model"]["init_args"] |= own
    config["trainer"]["max_epochs"] = 1
    assert store(written(tmp_path / "p.yaml", config), tmp_path / "maps", "--views", 1).code == 0
    record = read_record(str(tmp_path / "maps"))
    assert (record.feature_blocks, record.stages) == (2, [[128, 4, 4], [128, 1, 1]])
    experiment = written(tmp_path / "m.yaml", on_maps(config, tmp_path / "maps"))
    done("fit", "--config", experiment, "--run_dir", tmp_path / "run")
    done("probe", experiment, "--output", tmp_path / "probe")
    names = sorted(path.name for path in (tmp_path / "probe").iterdir())
    assert names == ["knn", "knn_token", "logistic", "logistic_token", "ridge", "ridge_token"]
    ours, theirs = (rows(tmp_path / f"probe/{name}/test_predictions.csv") for name in ("ridge", "ridge_token"))
    assert ours != theirs
    result = ibca("fit", "--config", experiment, "--model.feature_blocks", 1, "--run_dir", tmp_path / "other")
    assert (result.code, "feature_blocks 2 of the maps" in result.err) == (2, True), result.err
