"""Files of strangers: what is packed is bounded, what is no file is not waited for."""

import copy
import gzip
import io
import os
import shutil
import signal
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
import torch

import ibca_lightning
from ibca_lightning.data.pictures import dicom, header, reading
from ibca_lightning.data.pictures.formats import array_file
from ibca_lightning.data.tables import sheet
from ibca_lightning.data.tables.sheet import read_sheet
from ibca_lightning.datasets.layouts.tables import table_file
from ibca_lightning.model.weights.files import read
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.model_files.model_record import load_plain
from ibca_lightning.system.output import write_err
from ibca_lightning.system.strangers import inflates_beyond, require_not_packed
from ibca_lightning.system.whole_files import write_csv
from tests import made_run
from tests.command_line import done, experiment, ibca, refused, rows, written


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    """What waits for ever fails instead."""

    def late(*_: object) -> None:
        raise TimeoutError("it waits for a file")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(300)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


# --- packed ----------------------------------------------------------------------------------------------------------


def npz(
    path: str, description: str, shape: tuple[int, ...], kind: int = zipfile.ZIP_DEFLATED, data: bytes = b""
) -> None:
    content = io.BytesIO()
    np.lib.format.write_array_header_2_0(content, {"descr": description, "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path, "w", kind) as archive:
        archive.writestr("arr_0.npy", content.getvalue() + data)


def deflated_dicom(path: str, size: int) -> None:
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = meta.MediaStorageSOPInstanceUID = "1.2.3"
    start = io.BytesIO()
    pydicom.filewriter.write_file_meta_info(start, meta)
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    rest = packer.compress(bytes(size)) + packer.flush()
    Path(path).write_bytes(bytes(128) + b"DICM" + start.getvalue() + rest)


def test_packed_pictures_are_rows_of_failed_csv(run: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (array_file, dicom, reading, header):
        monkeypatch.setattr(module, "MAX_PICTURE", 2**22)
    Path("p").mkdir()
    cv2.imwrite("p/good.png", np.full((40, 40, 3), 99, np.uint8))
    deflated_dicom("p/deflated.dcm", 2**23)
    npz("p/void.npz", "|V1000000000", (40, 40))
    npz("p/wide.npz", "<f8", (1000, 1000))
    npz("p/text.npz", "<U1000", (40, 40))
    npz("p/axes.npz", "|u1", (1,) * 1000)
    npz("p/long.npz", "|u1", (40, 40), data=bytes(2**23))
    with zipfile.ZipFile("p/brackets.npz", "w") as archive:  # numpy's parser of headers ends in an error of its own
        archive.writestr("a.npy", b"\x93NUMPY\x02\x00" + (9000).to_bytes(4, "little") + b"(" * 9000)
    npz("p/lzma.npz", "|u1", (40, 40), zipfile.ZIP_LZMA, bytes(1600))
    with Path("p/sparse.png").open("wb") as file:
        file.truncate(2**23)
    os.mkfifo("p/pipe.png")
    result = ibca("predict", "--ckpt_path", run / "checkpoints/best.ckpt", "--images", "p", "--output", "out")
    assert (result.code, len(result.errors)) == (2, 1), result.err
    failed = {row["id"]: row["reason"] for row in rows(Path("out/failed.csv"))}
    assert sorted(failed) == sorted(path.name for path in Path("p").iterdir() if path.name != "good.png")
    assert [row["id"] for row in rows(Path("out/predictions.csv"))] == ["good.png"]
    for name, words in (("deflated.dcm", "packed"), ("sparse.png", "bytes"), ("pipe.png", "no regular file")):
        assert words in failed[name]
    assert max(len(reason) for reason in failed.values()) < 1000  # 1,000 axes are not written out


def test_deflated_data_are_measured_whole(tmp_path: Path) -> None:
    packed = zlib.compress(bytes(3 * 2**20 + 1), wbits=-zlib.MAX_WBITS)
    assert inflates_beyond(packed, 3 * 2**20)
    assert not inflates_beyond(packed, 3 * 2**20 + 1)
    with pytest.raises(zlib.error):
        inflates_beyond(b"\xff" * 100, 100)


@pytest.mark.parametrize("name", ["t.csv.gz", "t.xlsx"])
def test_a_packed_table_is_bounded(name: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (sheet, table_file):
        monkeypatch.setattr(module, "MAX_TABLE", 2**20)
    if name == "t.xlsx":
        with zipfile.ZipFile(name, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("xl/sharedStrings.xml", bytes(2**21))
    else:
        Path(name).write_bytes(gzip.compress(b"image,a\n" + b"x.png,1\n" * 2**18))
    with pytest.raises(InputError, match="unpacks to more than 1048576 bytes"):
        read_sheet(name) if name == "t.csv.gz" else table_file.read_workbook(name)


def packed_checkpoint(run: Path, path: str) -> None:
    with zipfile.ZipFile(run / "checkpoints/best.ckpt") as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))


def test_a_packed_checkpoint_or_one_number_shown_as_many_is_refused(run: Path, tree: Path, here: Path) -> None:
    packed_checkpoint(run, "packed.ckpt")
    with pytest.raises(InputError, match=r"packed\.ckpt to be a checkpoint"):
        ibca_lightning.load("packed.ckpt")
    written(here / "e.yaml", experiment(tree))
    shutil.copy("packed.ckpt", "packed.pth")
    weights = ibca("fit", "--config", "e.yaml", "--run_dir", "new", "--model.checkpoint_path", "packed.pth")
    assert (weights.code, len(weights.errors)) == (2, 1)
    assert "packed.pth" in weights.errors[0]
    checkpoint = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    checkpoint["state_dict"]["head.more"] = torch.zeros(1).expand(10**9)
    torch.save(checkpoint, "shown.ckpt")
    with pytest.raises(InputError, match=r"shown\.ckpt with weights of its size"):
        ibca_lightning.load("shown.ckpt")


def two_directories(path: Path, content: dict[str, bytes]) -> None:
    """A packed archive whose directory torch alone reads; before its end stands one of empty parts."""
    archives = []
    for packed, data in ((zipfile.ZIP_DEFLATED, content), (zipfile.ZIP_STORED, dict.fromkeys(content, b""))):
        text = io.BytesIO()
        with zipfile.ZipFile(text, "w", packed) as archive:
            for name, part in data.items():
                archive.writestr(name, part)
        start, end = archive.start_dir, len(text.getvalue()) - 22
        archives.append((text.getvalue(), start, end))
    (data, start, end), (other, from_, to) = archives
    path.write_bytes(data[:end] + other[from_:to] + data[end:])


def many_of_one(path: Path, content: dict[str, bytes]) -> None:
    """Names that stand for the bytes of one part."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in content.items():
            archive.writestr(name, part)
        large = max(archive.filelist, key=lambda part: part.file_size)
        for at in range(9):
            again = copy.copy(large)
            again.filename = f"archive/data/{at + 1}"
            archive.filelist.append(again)


def with_holes(path: Path, content: dict[str, bytes]) -> None:
    """Large parts of zeros that take no room on the disk."""
    many_of_one(path, content)
    data, archive = path.read_bytes(), zipfile.ZipFile(path)
    with path.open("wb") as file:
        file.write(data[:4096])
        file.truncate(2**27)  # in what is looked at first, holes alone
        file.seek(0, os.SEEK_END)
        file.write(data[archive.start_dir :])


@pytest.mark.parametrize("made", [two_directories, many_of_one, with_holes])
def test_a_checkpoint_of_parts_that_are_larger_than_they_look_is_refused(
    made: Callable[[Path, dict[str, bytes]], None], tmp_path: Path
) -> None:
    whole, path = tmp_path / "whole.pt", tmp_path / "x.pt"
    torch.save({"x": torch.zeros(2**20)}, whole)
    require_not_packed(whole)
    with zipfile.ZipFile(whole) as archive:
        made(path, {name: archive.read(name) for name in archive.namelist()})
    assert zipfile.is_zipfile(path)
    with pytest.raises(zipfile.BadZipFile, match=r"as torch never|where torch writes numbers"):
        require_not_packed(path)
    with pytest.raises(InputError, match="to be a checkpoint of tensors"):
        load_plain(path)
    with pytest.raises(InputError, match=r"plain tensors .* in .*x\.pt, got"):
        read(str(path))


# --- no files --------------------------------------------------------------------------------------------------------


def test_a_pipe_is_not_waited_for(tree: Path, run: Path, here: Path) -> None:
    shutil.copytree(tree, "tree")
    written(here / "e.yaml", experiment(Path("tree")))
    picture = Path("tree/images") / rows(Path("tree/train.csv"))[0]["image"]
    picture.unlink()
    os.mkfifo(picture)
    for command in (("fit", "--run_dir", "new"), ("check", "--output", "c.html"), ("explain",)):
        more = ("--images", "tree/images", "--output", "new", "--ckpt_path", run / "checkpoints/best.ckpt")
        result = ibca(*command, *(more if command == ("explain",) else ("--config", "e.yaml")))
        assert (result.code, len(result.errors)) == (2, 1), result.err
    assert "no regular file" in Path("new/failed.csv").read_text()
    Path("tree/train.csv").unlink()
    os.mkfifo("tree/train.csv")
    assert "no regular file" in ibca("fit", "--config", "e.yaml", "--run_dir", "new2").errors[0]
    os.mkfifo("pipe.yaml")
    search = ("--config", "e.yaml", "--output", "new3", "--trials", 1)
    assert "no regular file" in ibca("tune", *search, "--space", "pipe.yaml").errors[0]
    Path("new4").mkdir()
    os.mkfifo("new4/predictions.csv")
    result = ibca(
        "predict", "--ckpt_path", run / "checkpoints/best.ckpt", "--images", "tree/images", "--output", "new4"
    )
    assert "no regular file" in result.errors[0]


def test_an_output_that_is_a_pipe_is_neither_waited_for_nor_replaced(run: Path, tree: Path, here: Path) -> None:
    shutil.copytree(run, "run")
    for name in ("pipe.html", "pipe.png", "out/failed.csv", "table/compare.csv", "c/check.html", "m/maps.json", "log"):
        Path(name).parent.mkdir(exist_ok=True)
        os.mkfifo(name)
    written(here / "e.yaml", experiment(tree))
    picture = tree / "images" / rows(tree / "test.csv")[0]["image"]
    model = ("--ckpt_path", run / "checkpoints/best.ckpt", "--images", picture, "--output")
    for command in (
        ("report", "run", "--output", "pipe.html", "--no_images"), ("compare", "run", "--output", "table"),
        ("predict", *model, "out"), ("explain", *model, "e", "--sheet", "pipe.png", "--overwrite"),
        ("check", "--config", "e.yaml", "--output", "c"), ("maps", "--config", "e.yaml", "--output", "m"),
        ("tune", "--config", "e.yaml", "--output", "s", "--trials", 1, "--storage", "log"),
    ):  # fmt: skip
        result = ibca(*command)
        assert (result.code, len(result.errors)) == (2, 1), result.err
        assert "Error" not in result.errors[0]
    with pytest.raises(InputError, match="a pipe or a device"):
        write_csv("log", [["a"]])
    for name in ("pipe.html", "pipe.png", "out/failed.csv", "table/compare.csv", "c/check.html", "m/maps.json", "log"):
        assert Path(name).is_fifo()


@pytest.mark.parametrize(
    "name",
    ["config.yaml", "metrics.csv", "test_predictions.csv", "attention/test_jane.png", "checkpoints/model_card.md"],
)
def test_a_pipe_in_a_run_is_not_waited_for(name: str, tmp_path: Path) -> None:
    run = made_run.write(tmp_path)
    (run / name).unlink(missing_ok=True)
    os.mkfifo(run / name)
    assert ibca("report", run, "--no_images").code in (0, 2)
    assert ibca("report", run).code in (0, 2)
    done("compare", run)


# --- names -----------------------------------------------------------------------------------------------------------


def pictures(*names: str | bytes) -> None:
    Path("p").mkdir()
    for name in names:
        cv2.imwrite("made.png", np.full((40, 40, 3), 99, np.uint8))
        os.rename("made.png", os.path.join("p", os.fsdecode(name)))


@pytest.mark.parametrize("command", ["predict", "explain"])
def test_a_name_that_is_no_utf_8_is_a_row_of_failed_csv(command: str, run: Path, here: Path) -> None:
    pictures("good.png", b"bad\xff.png")
    more = ["--overwrite"] if command == "explain" else []
    for _ in range(2):
        checkpoint = run / "checkpoints/best.ckpt"
        result = ibca(command, "--ckpt_path", checkpoint, "--images", "p", "--output", "out", *more)
        assert (result.code, len(result.errors)) == (2, 1), result.err
        (failed,) = rows(Path("out/failed.csv"))
        assert failed["id"] == "bad\\udcff.png"
        assert "UTF-8" in failed["reason"]
    if command == "predict":
        assert [row["id"] for row in rows(Path("out/predictions.csv"))] == ["good.png"]
    else:
        assert Path("out/good.png").is_file()


def test_carriage_returns_come_back(run: Path, here: Path) -> None:
    pictures("a\rb.png", "\r.png", "c\r\nd.png", 'e\r"f.png')
    checkpoint = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    checkpoint["ibca"]["class_names"] = ["A\r", "\rB", "C\rC"]
    torch.save(checkpoint, "c.ckpt")
    for _ in range(3):
        done("predict", "--ckpt_path", "c.ckpt", "--images", "p", "--output", "out")
        found = rows(Path("out/predictions.csv"))
        assert sorted(row["id"] for row in found) == sorted(os.listdir("p"))
        assert list(found[0])[1:4] == ["A\r", "\rB", "C\rC"]
    write_csv("t.csv", [["a\r", 1], ["\r"], ["\udcff", ""]])
    assert Path("t.csv").read_bytes() == b'"a\r",1\n"\r"\n\\udcff,\n'


def test_excel_safe_ids_are_not_run_and_go_on(run: Path, here: Path) -> None:
    names = ["=1+1.png", "+1.png", "-1.png", "@a.png", "a=b.png"]
    pictures(*names)
    command = ("predict", "--ckpt_path", run / "checkpoints/best.ckpt", "--images", "p", "--output")
    done(*command, "plain")
    assert {row["id"] for row in rows(Path("plain/predictions.csv"))} == set(names)
    for _ in range(2):
        done(*command, "safe", "--excel_safe")
        found = [row["id"] for row in rows(Path("safe/predictions.csv"))]
        assert sorted(found) == sorted([*(f"'{name}" for name in names[:4]), "a=b.png"])
    assert "excel_safe" in ibca(*command, "plain", "--excel_safe").errors[0]


def test_excel_safe_explanations_are_not_run_and_go_on(run: Path, here: Path) -> None:
    pictures("=1+1.png", "a=b.png")
    Path("p/-broken.png").write_bytes(b"junk")
    command = ("explain", "--ckpt_path", run / "checkpoints/best.ckpt", "--images", "p", "--output")
    for option, mark in ((), ""), (("--excel_safe",), "'"):
        names = [f"{mark}=1+1.png", "a=b.png", f"{mark}-broken.png"]
        for _ in range(2):
            assert ibca(*command, f"out{len(option)}", *option).code == 2, "one cannot be read"
        table = rows(Path(f"out{len(option)}/explained.csv"))
        assert sorted((row["id"], row["figure"]) for row in table) == sorted((name, name) for name in names[:2])
        assert rows(Path(f"out{len(option)}/failed.csv"))[0]["id"].startswith(names[2])
        assert Path(f"out{len(option)}/=1+1.png").is_file()


def test_excel_safe_predictions_of_a_test_set(run: Path, tree: Path, here: Path) -> None:
    shutil.copytree(tree, "data")
    table = rows(Path("data/test.csv"))
    moved, table[0]["image"] = table[0]["image"], "=1.png"
    os.rename(Path("data/images", moved), "data/images/=1.png")
    write_csv("data/test.csv", [[*table[0]], *(row.values() for row in table)])
    checkpoint = run / "checkpoints/best.ckpt"
    more = ("--config", run / "config.yaml", "--ckpt_path", checkpoint, "--data.root", "data", "--run_dir", "out")
    for option, name in (("--no_excel_safe", "=1.png"), ("--excel_safe", "'=1.png")):
        done("predict", *more, option)
        assert rows(Path("out/predictions.csv"))[0]["id"] == name
    refused("test", *more, "--excel_safe", names=("--excel_safe of ibca predict",))


def test_no_name_is_obeyed_by_the_terminal(run: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures("\x1b]0;evil\x07.png")
    Path("p/\x1b]0;evil\x07.png").write_bytes(b"none")
    for command in ("predict", "explain"):
        result = ibca(command, "--ckpt_path", run / "checkpoints/best.ckpt", "--images", "p", "--output", command)
        assert not {"\x1b", "\x07"} & set(result.err + result.out)
        assert "\\x1b]0;evil\\x07.png" in result.errors[0]
    write_err("größe\t\u202eok\x9b\udcff\n")
    assert capsys.readouterr().err == "größe\t\\u202eok\\x9b\\udcff\n"
