"""Tables and paths that nobody would write on purpose: read as they are meant, or one line and exit 2."""

import os
import shutil
from pathlib import Path

import pytest

from ibca_lightning.data import CSVDataModule
from ibca_lightning.data.tables.sheet import read_sheet
from ibca_lightning.system.errors import InputError
from tests.command_line import contents, done, experiment, ibca, rows, written

NAMES = ("a,b", "line\nbreak", "d/e", "f=g", "7", "..", '"quoted"', "=cmd()", "%s{x}$HOME", "🩺 ‮x")


def load(root: Path, **options: object) -> CSVDataModule:
    given = {"val_csv": "val.csv", "test_csv": "test.csv", "image_dir": "images", "exclude_columns": ["sex", "age"]}
    module = CSVDataModule(str(root), image_size=8, num_workers=0, group_column="patient", **(given | options))
    module.setup("fit")
    return module


@pytest.fixture
def broken(tree: Path, tmp_path: Path) -> Path:
    shutil.copytree(tree, tmp_path / "data")
    return tmp_path / "data"


def table(broken: Path, change: object, name: str = "train.csv") -> None:
    file = broken / name
    file.write_bytes(change(file.read_bytes()))  # type: ignore[operator]


SAME = {
    "line ends of an old Macintosh": lambda text: text.replace(b"\r\n", b"\r"),
    "commas at the end of every line": lambda text: text.replace(b"\r\n", b",,\r\n"),
    "quotes round everything": lambda text: b"\r\n".join(
        b",".join(b'"' + cell + b'"' for cell in line.split(b",")) for line in text.split(b"\r\n") if line
    ),
    "Excel's line sep=": lambda text: b"sep=;\r\n" + text.replace(b",", b";"),
    "Excel's line sep= with commas": lambda text: b"sep=,\n" + text,
    "labels TRUE and no": lambda text: text.replace(b",1,", b",TRUE,").replace(b",0,", b",no,"),
    "labels with a decimal comma": lambda text: text.replace(b",", b";").replace(b";1;", b";1,0;"),
    "a byte-order mark and semicolons": lambda text: b"\xef\xbb\xbf" + text.replace(b",", b";"),
}


@pytest.mark.parametrize("case", SAME)
def test_the_same_table_written_otherwise(case: str, tree: Path, broken: Path) -> None:
    table(broken, SAME[case])
    ours, theirs = load(broken).table("train"), load(tree).table("train")
    assert ours.names.tolist() == theirs.names.tolist()
    assert ours.labels.tolist() == theirs.labels.tolist()


HEADERS = {
    "a comma in a name": ("image;patient;finding, any;B", ";", "finding, any"),
    "a comma in a name and in cells": ("image;patient;finding, any;B;size, mm", ";", "finding, any"),
    "semicolons in a quoted name": ('image,patient,"a;b;c;d",B', ",", "a;b;c;d"),
    "a semicolon and a comma between tabs": ("image\tpatient\ta;b,c\tB", "\t", "a;b,c"),
    "commas in a quoted name": ('image;patient;"a, b, c, d, e";B', ";", "a, b, c, d, e"),
}


@pytest.mark.parametrize("text", [";", ",,\n,,\n", "\t\n", ";\n;"])
def test_a_table_of_separators_alone_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=r"a table in .*t\.csv, got (separators only|an empty file)"):
        read_sheet(str(tmp_path / "t.csv"))


@pytest.mark.parametrize("case", HEADERS)
def test_names_that_hold_another_separator(case: str, tmp_path: Path) -> None:
    header, mark, name = HEADERS[case]
    more = f"{mark}3,5" if "size" in header else ""
    lines = [mark.join((f"{row}.png", "p", "1", "0")) + more for row in range(3)]
    (tmp_path / "t.csv").write_text("\n".join([header, *lines]))
    sheet = read_sheet(str(tmp_path / "t.csv"))
    assert sheet.header[:4] == ["image", "patient", name, "B"]
    assert sheet.column(name) == ["1", "1", "1"]


COMMAS = {  # behind the header, and the rows
    "at the end of the header, many rows": (60, ["x,1,"] * 20_000),
    "fewer at the end of rows": (2, ["1,2,,,", "1,2,,", "1,2,"]),
    "blanks": (2, ["1,2, , ,", "1,2,,", "1,2,"]),
}


@pytest.mark.parametrize("case", COMMAS)
def test_every_row_is_read_where_a_spreadsheet_left_commas(case: str, tmp_path: Path) -> None:
    more, rows = COMMAS[case]
    (tmp_path / "t.csv").write_text("\n".join(["id,lab," + "," * more, *rows]))
    sheet = read_sheet(str(tmp_path / "t.csv"))
    assert sheet.header == ["id", "lab", ""]
    assert [*sheet.rows] == [(*row.split(",")[:2], "") for row in rows]
    assert [*sheet.lines] == [*range(2, len(rows) + 2)]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["1,2", "1,2,,,,"], "3 values in .*line 2, got 2"),
        (["1,2,,,", "1,2,,,,"], "3 values in .*line 3, got 6"),
        (["1,2,,", "1,2,,x", "1,2,,"], "a name for every column .*got 2 without one"),
        (["x,1,"] * 20_000 + ["x,1"], "3 values in .*line 20002, got 2"),
    ],
)
def test_a_row_of_another_length_is_refused_wherever_it_stands(rows: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("\n".join(["id,lab,,,", *rows]))
    with pytest.raises(InputError, match=said):
        read_sheet(str(tmp_path / "t.csv"))


REFUSED = {
    "a label MAYBE": (lambda t: t.replace(b",1,", b",MAYBE,", 1), r"line 2, got 'MAYBE'"),
    "an infinite label": (lambda t: t.replace(b",1,", b",1e400,", 1), r"line 2, got '1e400'"),
    "a label with an underscore": (lambda t: t.replace(b",1,", b",0_1,", 1), r"line 2, got '0_1'"),
    "a label in another script": (lambda t: t.replace(b",1,", ",١,".encode(), 1), r"line 2, got '١'"),
    "a label of 5,000 digits": (lambda t: t.replace(b",1,", b"," + b"9" * 5000 + b",", 1), r"got '9+ \.\.\. 9"),
    "a zero byte in an id": (lambda t: t.replace(b"b c/", b"b\0c/", 1), r"got a binary file"),
    "a line break in an id": (lambda t: t.replace(b"b c/", b'"b\nc/', 1), r"well-formed row in .*, line 2"),
    "half a surrogate": (lambda t: t.replace(b"b c/", b"\xed\xa0\x80/", 1), r"UTF-8 text .*line 2, got byte 0xed"),
    "a field of 140,000 characters": (lambda t: t.replace(b",F,", b"," + b"F" * 140_000 + b",", 1), r"got field"),
    "a name of 300 bytes": (lambda t: t.replace(b"b c/", b"b c/" + b"x" * 300, 1), r"line 2\), got nothing there"),
    "a path of 6,000 bytes": (lambda t: t.replace(b"b c/", b"x/" * 3000, 1), r"a picture at .* \.\.\. .*line 2\)"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_cell_that_cannot_be_meant(case: str, broken: Path) -> None:
    change, message = REFUSED[case]
    table(broken, change)
    with pytest.raises(InputError, match=message) as caught:
        load(broken)
    assert len(str(caught.value)) < 2000


def _link(path: Path, target: object) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    path.symlink_to(str(target))


def _picture(root: Path) -> Path:
    return root / "images" / rows(root / "train.csv")[0]["image"]


PLACES = {
    "a folder for a table": (lambda r: ((r / "val.csv").unlink(), (r / "val.csv").mkdir()), r"val\.csv, got Is a dir"),
    "a device for a table": (lambda r: _link(r / "val.csv", "/dev/null"), r"val\.csv, got no regular file"),
    "a table that links to itself": (lambda r: _link(r / "val.csv", "val.csv"), r"data\.val_csv at .*got nothing"),
    "a root that links to itself": (lambda r: _link(r, r.name), r"data\.root\) at .*got nothing"),
    "a picture that links to itself": (lambda r: _link(_picture(r), _picture(r).name), r"line 2\), got nothing there"),
    "a picture that links nowhere": (lambda r: _link(_picture(r), "nowhere"), r"line 2\), got nothing there"),
}


@pytest.mark.parametrize("case", PLACES)
def test_a_file_that_is_none(case: str, broken: Path) -> None:
    change, message = PLACES[case]
    change(broken)
    with pytest.raises(InputError, match=message):
        for _ in load(broken).train_dataloader():  # a link that leads nowhere is met where it is read
            pass


def test_a_picture_folder_that_holds_itself_is_walked_once(broken: Path, run: Path, tmp_path: Path) -> None:
    (broken / "images" / "again").symlink_to(".")
    images = ("--ckpt_path", run / "checkpoints/best.ckpt", "--images", broken / "images", "--output", tmp_path / "out")
    done("predict", *images)
    ids = [row["id"] for row in rows(tmp_path / "out/predictions.csv")]
    assert len(ids) == len(set(ids)) == 30


def test_class_names_of_any_text_come_back_from_every_file(tree: Path, here: Path) -> None:
    shutil.copytree(tree, here / "da ta 'ü\"\n🩺")
    root = here / "da ta 'ü\"\n🩺"
    for name in ("train", "val", "test"):
        lines = (root / f"{name}.csv").read_text(encoding="utf-8").splitlines()
        quoted = [f'"{n.replace(chr(34), 2 * chr(34))}"' for n in NAMES]
        text = [",".join([*lines[0].split(",")[:4], *quoted])]
        text += [
            ",".join([*line.split(",")[:4], *(line.split(",")[4 + at % 3] for at in range(10))]) for line in lines[1:]
        ]
        (root / f"{name}.csv").write_text("\n".join(text) + "\n", encoding="utf-8")
    written(here / "e.yaml", experiment(root))
    before = contents(root)
    folder = Path("ru n\n'\"ü🩺 $x;")
    done("fit", "--config", "e.yaml", "--run_dir", folder)
    checkpoint = folder / "checkpoints/best.ckpt"
    done("test", "--config", folder / "config.yaml", "--ckpt_path", checkpoint)
    (row, *_) = rows(folder / "test_predictions.csv")
    assert list(row) == ["id", *NAMES, *(f"label:{name}" for name in NAMES)]
    printed = done("compare", folder, "--output", "table").out
    assert len(Path("table/compare.md").read_text(encoding="utf-8").splitlines()) == 3, "one row, whatever its name"
    assert [line.split()[0] for line in printed.splitlines() if line.startswith("ru")] == ["run", "ru"]
    done("predict", "--ckpt_path", checkpoint, "--images", root / "images", "--output", "out")
    assert list(rows(Path("out/predictions.csv"))[0])[: 1 + len(NAMES)] == ["id", *NAMES]
    assert contents(root) == before, "data may lie on a disk that cannot be written"
    assert sorted(os.listdir(here)) == sorted([root.name, "e.yaml", folder.name, "out", "table"])


@pytest.mark.parametrize("header", ["id,B,C", "A,label:A,C", "A,threshold:A,C"])
def test_a_class_that_is_called_like_a_column_of_the_predictions_is_refused(
    header: str, broken: Path, here: Path
) -> None:
    for name in ("train", "val", "test"):
        table(broken, lambda text: text.replace(b"A,B,C", header.encode(), 1), f"{name}.csv")
    written(here / "e.yaml", experiment(broken))
    result = ibca("fit", "--config", "e.yaml", "--run_dir", "new")
    assert result.code == 2
    assert "rename that class" in result.errors[0]
    assert not Path("new").exists()
