import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from ibca_lightning.data import CSVDataModule
from ibca_lightning.data.pictures.transforms import evaluation_transform
from ibca_lightning.datasets.layouts.picture_files import pictures_below
from ibca_lightning.system.errors import InputError
from ibca_lightning.use.model_options import say_passed_over
from ibca_lightning.use.picture_batches import picture_batches
from ibca_lightning.use.picture_list import list_pictures
from tests.datasets import fake_csv


@pytest.mark.parametrize("resize", ["stretch", "pad"])
def test_it_reads_pictures_exactly_as_test_does(tmp_path: Path, resize: str) -> None:
    fake_csv.write(tmp_path)
    module = CSVDataModule(
        str(tmp_path), val_csv="val.csv", test_csv="test.csv", image_dir="images", image_size=40, resize=resize
    )
    transform = evaluation_transform(module.image_size, module.preprocessing)
    batches = picture_batches(list_pictures([str(tmp_path / "images")]).files, [transform], 7, 0)
    read = {name: image for batch in batches for name, image in zip(batch.ids, batch.images[0], strict=True)}
    assert list(read) == sorted(read)
    assert len(read) == 60
    test = module.test_sets()["test"]
    for at in range(len(test)):
        assert torch.equal(read[test[at]["id"]], test[at]["image"])


def test_a_single_file_and_what_is_passed_over(tmp_path: Path) -> None:
    picture = cv2.imencode(".png", np.zeros((9, 9, 3), np.uint8))[1].tobytes()
    (tmp_path / "sub").mkdir()
    for name in ("a.PNG", "sub/b.png", ".hidden.png", "c.csv"):
        (tmp_path / name).write_bytes(picture)
    assert pictures_below(str(tmp_path))[1] == ["a.PNG", "c.csv", "sub/b.png"]
    assert pictures_below(str(tmp_path / "c.csv")) == (str(tmp_path), ["c.csv"], [])


def test_no_picture_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one picture"):
        pictures_below(str(tmp_path))
    with pytest.raises(InputError, match="nothing there"):
        pictures_below(str(tmp_path / "none"))


def test_pictures_are_told_by_their_content_and_the_others_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    for name in ("a.png", "b.png.bak", "IM000001", "sub/1.2.840.113619"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "x.jfif").write_bytes(cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes())
    (tmp_path / "dicom").write_bytes(bytes(128) + b"DICM" + bytes(64))
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM" + bytes(20) + b"1.2.840.10008.1.3.10\0" + bytes(64))
    (tmp_path / "notes.txt").write_text("text")
    (tmp_path / ".hidden").write_bytes(data)
    (tmp_path / "empty").write_bytes(b"")
    expected = ["IM000001", "a.png", "b.png.bak", "dicom", "sub/1.2.840.113619", "x.jfif"]
    os.mkfifo(tmp_path / "pipe")  # opened by nobody
    assert pictures_below(str(tmp_path))[1:] == (expected, ["DICOMDIR", "empty", "notes.txt", "pipe"])
    found = list_pictures([str(tmp_path / "*"), str(tmp_path)])
    assert list(found.files) == [name for name in expected if "/" not in name] + ["sub/1.2.840.113619"]
    say_passed_over(found, os.path.basename)
    said = "4 files are no pictures and are passed over: 'DICOMDIR', 'empty', 'notes.txt', 'pipe'"
    assert said in capsys.readouterr().err
