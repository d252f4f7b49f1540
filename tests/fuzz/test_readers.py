"""Damaged files, for a bounded time; ten minutes each: `IBCA_FUZZ_SECONDS=600 IBCA_FUZZ_SEED=7 pytest tests/fuzz`.

Only an InputError may come out of a reader: no other error, no hang, no allocation beyond bounds.
"""

import gzip
import io
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import openpyxl
import pyarrow.parquet
import pytest
import torch

from ibca_lightning.data.pictures.header import MAX_PIXELS
from ibca_lightning.data.pictures.masks import read_mask
from ibca_lightning.data.pictures.reading import PictureFile, read_image
from ibca_lightning.data.tables.label_policy import LabelPolicy
from ibca_lightning.data.tables.labels import find_label_columns
from ibca_lightning.data.tables.sheet import read_sheet
from ibca_lightning.datasets.layouts.tables.table_file import read_any
from ibca_lightning.model.checkpoint import read_checkpoint
from ibca_lightning.run.command_line.config_files import check_config_files
from ibca_lightning.system.errors import InputError, PictureError
from ibca_lightning.system.model_files.model_record import CHECKPOINT_KEY
from tests.data.pictures.test_formats import dicom
from tests.fuzz.mutation import fuzz, seconds
from tests.training import module

REPOSITORY = Path(__file__).parents[2]


def writer(folder: Path, name: str) -> Callable[[bytes], str]:
    def write(data: bytes) -> str:
        (folder / name).write_bytes(data)
        return str(folder / name)

    return write


def test_tables(tmp_path: Path) -> None:
    plain = b"image,patient,a,b\n" + b"".join(b"p%d/x%d.png,%04d,%d,\n" % (i, i, i, i % 2) for i in range(9))
    seeds = [
        plain,
        plain.replace(b",", b";").replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + plain.replace(b"\n", b"\r"),
        '"image","ä ""b"", c",a\n"größe 1.png","zwei\nZeilen",1.0\nx,NA,-1\n\n,,\n'.encode(),
        plain.replace(b",", b"\t"),
        plain.decode().encode("utf-16"),
    ]
    write, packed = writer(tmp_path, "x.csv"), writer(tmp_path, "x.csv.gz")

    def read(data: bytes, rng: random.Random) -> None:
        path = packed(gzip.compress(data, 1) if rng.random() < 0.5 else data) if rng.random() < 0.2 else write(data)
        sheet = read_sheet(path, header=["image", "a", "b"] if rng.random() < 0.2 else None)
        assert all(len(row) == len(sheet.header) for row in sheet.rows)
        assert len(sheet.rows) == len(sheet.lines) > 0
        names, _ = find_label_columns(sheet, sheet.header[:1])
        labels = LabelPolicy().cells(sheet, names)
        assert np.isin(labels, (-1, 0, 1)).all()

    good, refused = fuzz(seeds, read, InputError, seconds())
    assert good > 20
    assert refused > 20


@pytest.mark.filterwarnings("ignore")  # openpyxl warns of what it leaves out
def test_workbooks_and_parquet(tmp_path: Path) -> None:
    book, rows = (
        openpyxl.Workbook(),
        [["image", "patient", "a"], *([f"{at}.png", f"{at:03}", at % 2] for at in range(9))],
    )
    for row in rows:
        book.active.append(row)
    book.save(tmp_path / "s.xlsx")
    pyarrow.parquet.write_table(
        pyarrow.table(dict(zip(rows[0], zip(*rows[1:], strict=True), strict=True))), tmp_path / "s.parquet"
    )
    with zipfile.ZipFile(tmp_path / "s.xlsx") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    seeds = [(tmp_path / f"s.{end}").read_bytes() for end in ("xlsx", "parquet")] + [*members.values()]
    workbook, parquet = writer(tmp_path, "x.xlsx"), writer(tmp_path, "x.parquet")

    def read(data: bytes, rng: random.Random) -> None:
        if data[:4] == b"PAR1":
            path = parquet(data)
        elif data[:2] == b"PK":
            path = workbook(data)
        else:  # a member, mostly in its own place
            nearest = min(
                members, key=lambda name: (members[name][:60] != data[:60], abs(len(members[name]) - len(data)))
            )
            with zipfile.ZipFile(tmp_path / "x.xlsx", "w") as archive:
                for name, own in (members | {nearest: data}).items():
                    archive.writestr(name, own)
            path = str(tmp_path / "x.xlsx")
        sheet = read_any(path)
        assert all(len(row) == len(sheet.header) for row in sheet.rows)

    good, refused = fuzz(seeds, read, InputError, seconds(1 / 4))
    assert good > 5
    assert refused > 5


@pytest.mark.filterwarnings("ignore")  # pydicom warns of what it can read nonetheless
def test_pictures(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    colour = cv2.resize(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8), (40, 30))
    seeds = [cv2.imencode(end, colour)[1].tobytes() for end in (".jpg", ".png", ".tif", ".bmp", ".webp")]
    deep = colour[..., 0].astype(np.uint16) * 200
    seeds += [cv2.imencode(end, deep)[1].tobytes() for end in (".png", ".tif")]
    seeds += [cv2.imencode(".jpg", colour, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()]
    seeds += [cv2.imencode(".png", colour[..., 0])[1].tobytes()]
    with io.BytesIO() as file:
        np.savez_compressed(file, colour)
        seeds.append(file.getvalue())
    window = {"WindowCenter": 1500, "WindowWidth": 1000}
    for at, options in enumerate(({}, window, {"RescaleSlope": 2, "PhotometricInterpretation": "MONOCHROME1"})):
        seeds.append(Path(dicom(tmp_path / f"{at}.dcm", deep, **options)).read_bytes())
    writers = [writer(tmp_path, name) for name in ("x.png", "x.jpg", "x.dcm")]

    def read(data: bytes, rng: random.Random) -> None:
        path = rng.choice(writers)(data)
        if rng.random() < 0.1:
            mask = read_mask(path)
            assert mask.ndim == 2
            assert mask.dtype == np.uint8
            return
        try:
            pixels = read_image(path, rng.choice((None, 16, 100)))
        except InputError as error:
            if "a decoder for the compression of" not in str(error):  # a mark that says so may arise by chance
                raise
            raise PictureError(error.expected, error.got, error.fix) from None
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 3
        assert pixels.shape[2] == 3
        assert 0 < pixels.shape[0] * pixels.shape[1] <= MAX_PIXELS

    good, refused = fuzz(seeds, read, PictureError, seconds())
    assert good > 20
    assert refused > 20


def element(tag: int, kind: bytes, value: bytes) -> bytes:
    """One of a DICOM file in explicit little endian."""
    size = struct.pack("<HI", 0, len(value)) if kind in (b"OW", b"SQ") else struct.pack("<H", len(value))
    return struct.pack("<HH", tag >> 16, tag & 0xFFFF) + kind + size + value


HEADER = {
    0x00080016: b"UI", 0x00280002: b"US", 0x00280004: b"CS", 0x00280006: b"US", 0x00280008: b"IS", 0x00280010: b"US",
    0x00280011: b"US", 0x00280100: b"US", 0x00280101: b"US", 0x00280102: b"US", 0x00280103: b"US", 0x00280120: b"US",
    0x00280121: b"US", 0x00281050: b"DS", 0x00281051: b"DS", 0x00281052: b"DS", 0x00281053: b"DS", 0x00281056: b"CS",
    0x00283000: b"SQ", 0x00283010: b"SQ", 0x7FE00010: b"OW",
}  # fmt: skip
SOUND = {0x00280002: 1, 0x00280010: 8, 0x00280011: 8, 0x00280100: 16, 0x00280101: 12, 0x00280102: 11, 0x00280103: 0}
HOSTILE: dict[bytes, tuple[bytes, ...]] = {
    b"US": (*(struct.pack("<H", n) for n in (0, 1, 7, 8, 12, 16, 32, 64, 65535)), b"", b"\1", bytes(8)),
    b"DS": (b"", b"0 ", b"-1", b"1e308 ", b"-1e308", b"1e-320", b"nan ", b"inf ", b"--", b"1,5 ", b"1\\2\\",
            b"9" * 20, b"\xff\xfe"),
    b"IS": (b"", b"0 ", b"-1", b"99999999999 ", b"x "),
    b"CS": (b"", b"MONOCHROME1 ", b"monochrome2 ", b"RGB ", b"PALETTE COLOR ", b"YBR_FULL_422",
            b"SIGMOID ", b"LINEAR_EXACT", b"?\\?"),
    b"SQ": (b"", b"\xfe\xff\x00\xe0\0\0\0\0", b"\xfe\xff\x00\xe0\xff\xff\xff\xff"),
    b"UI": (b"", b"1.2.840.10008.1.3.10"),
    b"OW": (b"", bytes(2), bytes(128), bytes(300), b"\xff" * 128),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
def test_dicom_headers(tmp_path: Path) -> None:
    """Elements that are well written and mean nothing: damaged bytes hardly ever come to that."""
    write = writer(tmp_path, "x.dcm")
    sound: dict[int, bytes] = {tag: struct.pack("<H", value) for tag, value in SOUND.items()}
    sound |= {0x00280004: b"MONOCHROME2 ", 0x7FE00010: np.arange(64, dtype="<u2").tobytes()}
    start = Path(dicom(tmp_path / "s.dcm", np.zeros((8, 8), np.uint16))).read_bytes()
    start = start[: start.index(struct.pack("<HH", 0x28, 2))]

    def read(_: bytes, rng: random.Random) -> None:
        changed = dict(sound)
        for tag in rng.sample(list(HEADER), rng.randrange(1, 5)):
            changed[tag] = rng.choice(HOSTILE[HEADER[tag]])
            if rng.random() < 0.1:
                del changed[tag]
        file = b"".join(element(tag, HEADER[tag], changed[tag]) for tag in sorted(changed))
        picture = PictureFile(write(start + file))
        pixels = picture.pixels(depth=rng.choice((None, 8, 12, 16)))
        assert pixels.dtype == np.uint8
        assert pixels.shape[2] == 3
        picture.depth()

    good, refused = fuzz([bytes(1)], read, PictureError, seconds(1 / 2))
    assert good > 20
    assert refused > 5


def test_configurations(tmp_path: Path) -> None:
    seeds = [file.read_bytes() for file in sorted((REPOSITORY / "experiments").glob("*.yaml"))]
    seeds.append(b"x: &a0 |\n  text\na: &a [1, {b: *a0}, !!binary aGk=, 2001-12-14]\nk:\n  <<: {c: 1}\n  d: *a\n")
    write = writer(tmp_path, "x.yaml")
    good, refused = fuzz(
        seeds, lambda data, _: check_config_files(["fit", "--config", write(data)]), InputError, seconds(1 / 4)
    )
    assert good > 5
    assert refused > 5


def test_checkpoints(tmp_path: Path) -> None:
    model = module()
    small = {name: value for name, value in model.state_dict().items() if value.numel() < 200}
    torch.save({"state_dict": small, CHECKPOINT_KEY: model.spec.as_dict()}, tmp_path / "s.ckpt")
    seed = (tmp_path / "s.ckpt").read_bytes()
    write = writer(tmp_path, "x.ckpt")

    def read(data: bytes, _: random.Random) -> None:
        checkpoint = read_checkpoint(write(data))
        # What is read is what was written: a change that goes unnoticed touched nothing but the container.
        for name, value in small.items():
            assert torch.equal(checkpoint["state_dict"][name], value), name

    _, refused = fuzz([seed], read, InputError, seconds(1 / 4))
    assert refused > 20
