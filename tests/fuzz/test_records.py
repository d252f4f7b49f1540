"""Plain data, array headers and names of strangers, well formed and hostile; as `test_readers`, for a bounded time."""

import codecs
import csv
import io
import json
import os
import random
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ibca_lightning.data.pictures.reading import PictureFile
from ibca_lightning.datasets.layouts import npz_pictures
from ibca_lightning.report.page import Gallery, page
from ibca_lightning.report.run import read_run
from ibca_lightning.system.errors import InputError, NonFiniteError, PictureError
from ibca_lightning.system.hashed_names import HashedNames, is_hash
from ibca_lightning.system.model_files.model_record import CHECKPOINT_KEY
from ibca_lightning.system.output import plain
from ibca_lightning.system.whole_files import write_csv
from ibca_lightning.use.picture_list import inside, require_writable
from ibca_lightning.use.predictor import load
from tests import made_run
from tests.command_line import ibca
from tests.fuzz.mutation import fuzz, seconds, spoilt
from tests.training import checkpoint

PYTHON = ("Error", "object has no attribute", "not subscriptable", "expected str", "unexpected keyword", "positional")


class Call:
    """What a pickle that holds it calls."""

    def __init__(self, function: Any, *arguments: object) -> None:
        self.called = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[object, ...]]:
        return self.called


PLANTED: tuple[object, ...] = (
    Call(bytearray, 2**34), Call(torch.FloatTensor, 2**33), Call(torch.UntypedStorage, 2**34), Call(set, [1, 2]),
    Call(torch._tensor._rebuild_from_type_v2, bytearray, bytearray, (2**34,), {}), Call(codecs.encode, "a", "idna"),
    Call(Counter, "ab"), {(2**61 - 1) * at: 0 for at in range(1, 1100)}, torch.zeros(1).expand(2**40),
)  # fmt: skip
KINDS_OF_WEIGHTS: tuple[Callable[[torch.Tensor], torch.Tensor], ...] = (
    torch.Tensor.to_sparse, torch.Tensor.bool, torch.Tensor.half, torch.Tensor.bfloat16, torch.Tensor.double,
    lambda weight: weight.to(torch.complex64), lambda weight: weight.to(torch.float8_e5m2),
    lambda weight: torch.empty_like(weight, device="meta"), lambda weight: -weight,
    lambda weight: torch.full_like(weight, 1e300, dtype=torch.float64), lambda weight: weight.flatten()[:1].expand(9),
)  # fmt: skip


def test_checkpoint_records(tmp_path: Path) -> None:
    """A model is loaded and answers, or its file and what is wrong are named."""
    checkpoint(tmp_path / "s.ckpt", 0, ["A", "B"])
    whole: dict[str, Any] = torch.load(tmp_path / "s.ckpt", weights_only=True)
    path = tmp_path / "x.ckpt"

    def read(_: bytes, rng: random.Random) -> None:
        changed = whole | {CHECKPOINT_KEY: spoilt(whole[CHECKPOINT_KEY], rng)}
        if rng.random() < 0.3:
            changed = whole | {rng.choice(("planted", CHECKPOINT_KEY, "state_dict")): rng.choice(PLANTED)}
        elif rng.random() < 0.3:
            name, kind = rng.choice([*whole["state_dict"]]), rng.choice(KINDS_OF_WEIGHTS)
            changed = whole | {"state_dict": whole["state_dict"] | {name: kind(whole["state_dict"][name])}}
        torch.save(changed, path)
        try:
            predictor = load(path, "cpu")
        except InputError as error:
            if found := [word for word in PYTHON if word in str(error)]:
                pytest.fail(f"{found}: {error}")
            raise
        side = predictor.spec.image_size
        if side <= 256:
            try:
                predictor.forward(torch.zeros(1, predictor.spec.in_channels, side, side, dtype=torch.uint8))
            except NonFiniteError as error:
                raise InputError(str(error)) from None

    good, refused = fuzz([bytes(1)], read, InputError, seconds(1 / 2))
    assert good > 0
    assert refused > 20


def test_figures_of_a_run(tmp_path: Path) -> None:
    """A report is written and a comparison printed, or the file and the value are named."""
    run = made_run.write(tmp_path)
    figures = json.loads((run / "test_metrics.json").read_text())

    def read(_: bytes, rng: random.Random) -> None:
        text = json.dumps(spoilt(figures, rng), default=str)
        (run / "test_metrics.json").write_text(text, errors="surrogatepass")
        compared = ibca("compare", run, *(["--per_class"] if rng.random() < 0.5 else []))
        assert compared.code in (0, 2), compared.err
        assert not [word for word in PYTHON for line in compared.errors if word in line], compared.err
        tested = read_run(run)
        page(tested, Gallery({own.name: ([], []) for own in tested.sets}))

    good, refused = fuzz([bytes(1)], read, InputError, seconds(1 / 4))
    assert good > 0
    assert refused > 10


KINDS = (
    "|u1",
    "<u2",
    ">u2",
    "<f8",
    "<f2",
    "|b1",
    "<i8",
    "|V9",
    "|V1000000000",
    "<U3",
    "|O",
    "<c16",
    "<M8[s]",
    "|S0",
    "u1",
)
SIDES = (0, 1, 2, 8, 8, 8, 100, 2**16, 2**31, 2**63, -1, 10**30, True, 8.0)


@pytest.mark.filterwarnings("ignore")
def test_npz_headers(tmp_path: Path) -> None:
    """Whatever an array says of its type, shape and order."""
    path = tmp_path / "x.npz"

    def read(_: bytes, rng: random.Random) -> None:
        shape = tuple(rng.choice(SIDES) for _ in range(rng.choice((0, 1, 2, 2, 2, 3, 3, 40))))
        header: dict[str, Any] = {"descr": rng.choice(KINDS), "fortran_order": rng.random() < 0.3, "shape": shape}
        if rng.random() < 0.2:
            header[rng.choice(("descr", "fortran_order", "shape", "more"))] = rng.choice(
                (None, [], ("a", 1), [("a", "|u1")], [("", "|u1", (2**40,))], "x" * 9000)
            )
        text = repr(header) if rng.random() < 0.9 else rng.choice(("(" * 999, "{", "", "\0", "[1]", "9" * 5000))
        version = rng.choice((b"\1\0", b"\2\0", b"\2\0", b"\3\0", b"\7\0"))
        data = (text + "\n").encode()
        size = len(data) if rng.random() < 0.9 else rng.choice((0, 1, 2**16 - 1))
        content = b"\x93NUMPY" + version + size.to_bytes(2 if version == b"\1\0" else 4, "little") + data
        content += bytes(rng.choice((0, 64, 64, 64, 128, 192, 512)))
        packed = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))
        names = rng.choice((["a"], ["a"], ["a", "b"], ["../a"], ["a"] * 2))
        with zipfile.ZipFile(path, "w", packed) as archive:
            for name in names:
                archive.writestr(f"{name}.npy", content)
        if rng.random() < 0.1:
            path.write_bytes(content)
        if rng.random() < 0.5:
            try:
                npz_pictures.read_array(str(path), "a")
                os.unlink(npz_pictures.unpack(str(path), "a", str(tmp_path), 10**6))
            except InputError as error:
                raise PictureError(error.expected, error.got, error.fix) from None
            return
        pixels = PictureFile(str(path)).pixels()
        assert pixels.dtype == np.uint8
        assert pixels.shape[2] == 3

    good, refused = fuzz([bytes(1)], read, PictureError, seconds(1 / 4))
    assert good > 0
    assert refused > 20


PIECES = (
    "a", "ä", "é", "\u0065\u0301", "\udcff", "\ud800", "\r", "\n", "\r\n", "\t", "\x1b[2J", "\x07", "\x9b", "\u202e",
    "=1+1", "+", "-", "@", "'", '"', '""', ",", ";", " ", "/", "..", "\\", "C:", "~", "a" * 300, "日本", "\U0001f600",
    "{0}", "<b>", "\ufeff", "\u2028", "%s", "\0",
)  # fmt: skip


def test_names(tmp_path: Path) -> None:
    """Every name that a table can hold comes back from it; none is obeyed, none leads out of a folder."""
    path, rename = tmp_path / "x.csv", HashedNames(b"0123456789abcdef")

    def read(_: bytes, rng: random.Random) -> None:
        names = ["".join(rng.choices(PIECES, k=rng.randrange(1, 6))) for _ in range(4)]
        cells = [[*names, ""], [rng.choice(names), 0.5, None, "", names[0]]]
        write_csv(path, cells)
        found = list(csv.reader(io.StringIO(path.read_bytes().decode(), newline="")))
        shown = [name.encode("utf-8", "backslashreplace").decode() for name in names]
        assert found[0] == [*shown, ""]
        assert len(found) == 2
        for name in names:
            obeyed = [c for c in plain(name) if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t"]
            assert not obeyed, name
            assert is_hash(rename(name))
            assert ".." not in inside(name).split("/")
            assert not inside(name).startswith("/")
        for name in names:
            require_writable(name)

    good, refused = fuzz([bytes(1)], read, PictureError, seconds(1 / 8))
    assert good > 10
    assert refused > 10
