"""What a notebook shows: predictions, heat maps, trainings, pictures of the data, the report."""

import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ibca_lightning
from ibca_lightning.data import CSVDataModule
from ibca_lightning.system.errors import InputError
from ibca_lightning.use.predictor import Predictor
from tests import made_run
from tests.command_line import experiment, written
from tests.training import checkpoint


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def sure(path: Path) -> Predictor:
    """A model that finds its second class in everything."""
    model = ibca_lightning.load(checkpoint(path, 0), device="cpu")
    with torch.no_grad():
        model.model.head.linear.bias.copy_(torch.tensor([-50.0, 50.0]))
        model.model.head.linear.weight.mul_(1e-4)
    return model


def test_dir_lists_what_there_is_and_loads_none_of_it() -> None:
    code = "import sys, ibca_lightning; print(dir(ibca_lightning)); print({'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    names, heavy = done.stdout.splitlines()
    assert heavy == "set()"
    for name in ("MultiLabelModule", "load", "report", "explain", "history", "show_batch", "heads", "data"):
        assert f"'{name}'" in names
        found = getattr(ibca_lightning, name)
        assert found.__doc__
    assert all(hasattr(ibca_lightning, name) for name in dir(ibca_lightning))
    assert not hasattr(ibca_lightning, "nothing")


def test_a_prediction_shows_itself(picture: Path, tmp_path: Path) -> None:
    found = sure(tmp_path / "a.ckpt").predict(picture)
    assert found.decisions.tolist() == [False, True]
    one, both = found.plot(), found.plot(["MA", "EX"])
    assert one.width < both.width, "a panel more"
    shown = found._repr_html_()
    assert "<td>EX</td><td>1.000</td>" in shown
    assert shown.index("EX") < shown.index("MA"), "the surest first"
    assert "data:image/jpeg" in shown
    with pytest.raises(InputError, match="among MA, EX, got polyp"):
        found.plot("polyp")
    of_pixels = sure(tmp_path / "a.ckpt").predict(np.asarray(Image.open(picture)))
    assert np.array_equal(np.asarray(of_pixels.plot())[-120:], np.asarray(one)[-120:]), "but for the name"
    assert pickle.loads(pickle.dumps(found)).plot().size == one.size
    picture.unlink()
    assert "data:image" not in found._repr_html_(), "a picture that is gone is left out"


def test_what_a_prediction_keeps_is_small(tmp_path: Path) -> None:
    model = sure(tmp_path / "a.ckpt")
    large = np.zeros((3000, 2000, 3), np.uint8)
    assert model.predict(large).picture.given.nbytes < 1e6
    Image.fromarray(large).save(tmp_path / "large.png")
    kept = model.predict(tmp_path / "large.png")
    assert len(pickle.dumps(kept)) < 1e5
    assert kept.plot(max_side=100).height < 600


def test_names_of_classes_are_not_run(tmp_path: Path, picture: Path) -> None:
    found = ibca_lightning.load(checkpoint(tmp_path / "a.ckpt", 0, [made_run.EVIL, "b"]), "cpu").predict(picture)
    assert "<script>" not in found._repr_html_()


def test_explain_is_the_figure_of_the_command(picture: Path, tmp_path: Path) -> None:
    model, other = sure(tmp_path / "a.ckpt"), checkpoint(tmp_path / "b.ckpt", 1)
    one = ibca_lightning.explain(model, picture)
    assert one.size == model.predict(picture).plot().size
    assert ibca_lightning.explain({"A": model, "B": other}, [picture], classes="EX").width > one.width
    assert ibca_lightning.explain(model, [picture, picture]).height > 2 * one.height - 9
    mask = np.full((90, 120), 2, np.uint8)
    Image.fromarray(mask).save(tmp_path / "mask.png")
    assert ibca_lightning.explain(model, picture, masks=tmp_path / "mask.png").height >= one.height
    with pytest.raises(InputError, match="got 1, 1 and 2"):
        ibca_lightning.explain(model, picture, masks=["a.png", "b.png"])


def test_history_has_a_row_an_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = made_run.write(tmp_path)
    frame = ibca_lightning.history(run)
    assert frame.index.tolist() == [0, 1]
    assert frame["val/mAP"].tolist() == [0.25, 0.5]
    assert frame["train/loss_epoch"].tolist() == [0.7, 0.5]
    with pytest.raises(InputError, match=r"metrics.csv of a training in .*nowhere, got none"):
        ibca_lightning.history(tmp_path / "nowhere")
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match=r"the package pandas .*ibca-lightning\[notebook\]"):
        ibca_lightning.history(run)


def test_the_report_is_a_room_and_a_function(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from ibca_lightning.report import command

    assert ibca_lightning.report.command is command
    run = made_run.write(tmp_path)
    page = ibca_lightning.report(run, images=False)
    assert page.path == run / "report.html"
    frame = page._repr_html_()
    assert 'sandbox="allow-scripts"' in frame
    assert "<script" not in frame, "escaped into the frame"
    assert ibca_lightning.report(run, output=tmp_path / "other.html", images=False).path.is_file()
    with pytest.raises(InputError, match="run folder"):
        ibca_lightning.report(tmp_path / "nowhere")


def test_show_batch_is_of_the_training_set_and_draws_nothing_else(tree: Path, tmp_path: Path) -> None:
    shutil.copytree(tree, tmp_path / "data")
    data = CSVDataModule(
        str(tmp_path / "data"), val_csv="val.csv", test_csv="test.csv", image_dir="images", group_column="patient",
        exclude_columns=["sex", "age"], image_size=32, augment="default", num_workers=0,
    )  # fmt: skip
    state = torch.get_rng_state()
    one = ibca_lightning.show_batch(data, count=3)
    assert torch.equal(state, torch.get_rng_state())
    assert np.array_equal(np.asarray(one), np.asarray(ibca_lightning.show_batch(data, count=3)))
    assert not np.array_equal(np.asarray(one), np.asarray(ibca_lightning.show_batch(data, count=3, seed=1)))
    assert ibca_lightning.show_batch(data, count=5).height > one.height, "a second row"
    config = written(tmp_path / "e.yaml", experiment(tmp_path / "data", augment="none"))
    assert ibca_lightning.show_batch(config, count=3).size == one.size
