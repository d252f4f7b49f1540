"""`ibca check` on a fake tree in which each fault is planted."""

import csv
import errno
import json
import os
import re
import shutil
import warnings
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ibca_lightning.check import command as check_module
from ibca_lightning.check.content import content_hash, read_contents
from ibca_lightning.check.findings import copies
from ibca_lightning.data.pictures.reading import read_image
from ibca_lightning.datasets.chest_mnist import ChestMNIST
from ibca_lightning.datasets.idrid import IDRiD
from ibca_lightning.system.hashed_names import HashedNames
from tests.command_line import Result, contents, experiment, ibca, rows, written
from tests.datasets import fake_chest_mnist, fake_idrid

Tree = Path


@pytest.fixture
def planted(tree: Path, here: Path) -> Tree:
    """A copy of the data set to damage, at `data`, its experiment in `e.yaml`."""
    shutil.copytree(tree, here / "data")
    written(here / "e.yaml", experiment(Path("data")))
    return here / "data"


def checked(*options: object) -> tuple[Result, dict[str, Any]]:
    result = ibca("check", "--config", "e.yaml", "--output", "out", "--num_workers", 0, *options)
    return result, json.loads(Path("out/check.json").read_text()) if Path("out/check.json").exists() else {}


def found(report: dict[str, Any], level: str = "error") -> dict[str, list[str]]:
    kinds: dict[str, list[str]] = {}
    for finding in report["findings"]:
        if finding["level"] == level:
            kinds.setdefault(finding["kind"], []).append(finding["what"])
    return kinds


def table(root: Tree, split: str, change: Callable[[list[dict[str, str]]], object]) -> None:
    path = root / f"{split}.csv"
    data = rows(path)
    change(data)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(data[0]))
        writer.writeheader()
        writer.writerows(data)


def picture(root: Tree, split: str, row: int) -> Path:
    return root / "images" / rows(root / f"{split}.csv")[row]["image"]


def test_sound_data_have_a_card_of_the_figures_counted_by_hand(planted: Tree) -> None:
    result, report = checked()
    assert result.code == 0, result.err
    assert report["errors"] == 0
    for split, figures in report["splits"].items():
        data = rows(planted / f"{split}.csv")
        ones = {name: [float(row[name] or "nan") == 1 for row in data] for name in "ABC"}
        assert figures["rows"] == len(data)
        assert figures["groups"] == len({row["patient"] for row in data})
        assert figures["positives"] == {name: sum(ones[name]) for name in "ABC"}
        unknown = [row[name] in ("", "-1", "NaN") for row in data for name in "ABC"]
        assert figures["unknown"] == pytest.approx(np.mean(unknown))
        assert figures["cardinality"] == pytest.approx(sum(map(sum, ones.values())) / len(data))
        assert figures["pictures"]["readable"] == len(data)
        sizes = [cv2.imread(str(planted / "images" / row["image"])).shape for row in data]
        assert figures["pictures"]["short_side"][::2] == [min(map(min, (s[:2] for s in sizes))),
                                                          max(map(min, (s[:2] for s in sizes)))]  # fmt: skip
        assert sum(figures["pictures"]["modes"].values()) == len(data)
        if split == "train":
            both = [[sum(a and b for a, b in zip(ones[x], ones[y], strict=True)) for y in "ABC"] for x in "ABC"]
            assert report["cooccurrence"] == both
    assert "train" in result.out
    assert re.search(r"\nA +\d+ \(\d+\.\d%\)", result.out)


def same_picture(a: tuple[str, int], b: tuple[str, int], kind: str = "") -> Callable[[Tree], None]:
    """Make picture b show what picture a shows, in another lossless file where `kind` says so."""

    def change(root: Tree) -> None:
        source, target = picture(root, *a), picture(root, *b)
        if not kind:
            shutil.copy(source, target)
            return
        new = target.with_name(f"other{kind}")
        cv2.imwrite(str(new), cv2.cvtColor(read_image(str(source)), cv2.COLOR_RGB2BGR))
        table(root, b[0], lambda data: data[b[1]].update(image=str(new.relative_to(root / "images"))))

    return change


def labelled(split: str, row: int, **labels: str) -> Callable[[Tree], None]:
    return lambda root: table(root, split, lambda data: data[row].update(labels))


def every(split: str, name: str, value: str) -> Callable[[Tree], None]:
    return lambda root: table(root, split, lambda data: [row.update({name: value}) for row in data])


def both(*changes: Callable[[Tree], None]) -> Callable[[Tree], None]:
    return lambda root: [change(root) for change in changes] and None


ALIKE = both(labelled("train", 0, A="1", B="0", C="0"), labelled("train", 3, A="1", B="0", C="0"))
ERRORS: dict[str, tuple[Callable[[Tree], object], str, str]] = {
    "truncated": (
        lambda root: picture(root, "val", 1).write_bytes(picture(root, "val", 1).read_bytes()[:200]),
        "unreadable", r"val: expected a picture that can be decoded .* \(data/val.csv, line 3\)",
    ),
    "no picture": (
        lambda root: picture(root, "test", 0).write_text("text"), "unreadable", r"test: .*data/test.csv, line 2",
    ),
    "copied into test": (
        same_picture(("train", 0), ("test", 2)), "content leak",
        r"in train 'b c/0000_000.png' \(data/train.csv, line 2\) and in test '.*' \(data/test.csv, line 4\)",
    ),
    "copied into val as TIFF": (
        same_picture(("train", 3), ("val", 0), ".tif"), "content leak", r"in train '.*line 5\) and in val '.*other",
    ),
    "contradiction": (
        both(labelled("train", 0, A="1"), labelled("train", 3, A="0"), same_picture(("train", 0), ("train", 3))),
        "contradiction", r"different labels in train: '.*line 2\), '.*line 5\)",
    ),
    "a patient in two spellings": (
        lambda root: table(root, "val", lambda data: data[0].update(patient="0000.0")), "group leak by spelling",
        r"'0000' in train '.*line 2\) and '0000.0' in val '.*line 2\)",
    ),
    "no positive": (every("train", "B", "0"), "no positive", "class 'B' has none in train"),
    "no negative": (
        lambda root: table(root, "train", lambda d: [row.update(C="1") for row in d if row["C"] == "0"]),
        "no negative", "class 'C' has none in train",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_is_found_named_and_ends_with_2(case: str, planted: Tree) -> None:
    change, kind, what = ERRORS[case]
    change(planted)
    result, report = checked("--data.label_columns", "[A,B,C]")
    assert result.code == 2
    (line,) = result.errors
    assert line.startswith(f"error: data without errors, got 1 (1 {kind}); see out/check.html")
    errors = found(report)
    assert list(errors) == [kind]
    assert re.search(what, errors[kind][0]), errors
    (said,) = [line for line in result.out.splitlines() if line.startswith("error: ")]
    assert errors[kind][0] in said
    assert Path("out/check.html").is_file()


WARNINGS: dict[str, tuple[Callable[[Tree], object], str, str]] = {
    "duplicate": (
        both(ALIKE, same_picture(("train", 0), ("train", 3))), "duplicate", r"in train: '.*line 2\), '.*line 5\)",
    ),
    "class absent in val": (every("val", "A", "0"), "no positive", "class 'A' has none in val"),
    "row without a label": (labelled("val", 1, A="", B="-1", C=""), "no label", r"1 rows of val .* line 3\)"),
    "equal classes": (
        lambda root: [table(root, s, lambda d: [r.update(B=r["A"]) for r in d]) for s in ("train", "val", "test")],
        "equal classes", "'A' and 'B' are alike in every row of train",
    ),
    "one colour": (
        lambda root: cv2.imwrite(str(picture(root, "train", 1)), np.full((40, 40, 3), 7, np.uint8)),
        "one colour", r"1 pictures of train .*line 3\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WARNINGS)
def test_a_warning_is_found_and_ends_with_0(case: str, planted: Tree) -> None:
    change, kind, what = WARNINGS[case]
    change(planted)
    result, report = checked("--data.label_columns", "[A,B,C]")
    assert result.code == 0, result.err + result.out
    warnings = found(report, "warning")
    assert any(re.search(what, each) for each in warnings[kind]), warnings


def test_small_pictures_are_told_of(planted: Tree) -> None:
    smallest = min(min(cv2.imread(str(p)).shape[:2]) for p in (planted / "images").rglob("*.png"))
    assert "small pictures" not in found(checked("--data.image_size", 32)[1], "warning")
    _, report = checked("--data.image_size", 2 * smallest + 2)
    assert "small pictures" in found(report, "warning")


def test_every_group_that_overlaps_is_listed_as_a_warning_where_it_is_meant(planted: Tree) -> None:
    patients = list(dict.fromkeys(row["patient"] for row in rows(planted / "train.csv")))[:2]
    table(planted, "val", lambda data: [data[at].update(patient=name) for at, name in enumerate(patients)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # what the report says is not said twice
        result, report = checked()
    assert result.code == 2
    assert result.errors[0].startswith("error: data without errors, got 2 (2 group leak)")
    with pytest.warns(UserWarning, match="every group in one split only"):
        result, meant = checked("--data.group_overlap", "warn")
    assert result.code == 0
    for leaks in (found(report)["group leak"], found(meant, "warning")["group leak"]):
        assert [
            f"group '{name}' in train (data/train.csv" in what
            for name, what in zip(sorted(patients), leaks, strict=True)
        ]


def test_masks_are_read_too(planted: Tree) -> None:
    mask = next((planted / "masks").rglob("*.png"))
    shape = cv2.imread(str(mask), cv2.IMREAD_UNCHANGED).shape
    cv2.imwrite(str(mask), np.zeros((shape[0], 2 * shape[1]), np.uint8))
    result, report = checked("--data.mask_dir", "masks")
    assert result.code == 2
    assert "a mask with the proportions of its picture" in found(report)["unreadable"][0]


def test_masks_that_contradict_the_labels_are_told_of(planted: Tree) -> None:
    train = rows(planted / "train.csv")
    masks = [cv2.imread(str((planted / "masks" / row["image"]).with_suffix(".png")), -1) for row in train]
    empty = next(at for at, row in enumerate(train) if row["A"] == "1")
    cv2.imwrite(str((planted / "masks" / train[empty]["image"]).with_suffix(".png")), masks[empty] & ~np.uint8(1))
    shown = next(at for at, row in enumerate(train) if row["B"] == "1")
    labelled("train", shown, B="0")(planted)
    result, report = checked("--data.mask_dir", "masks")
    assert result.code == 0
    one, other = found(report, "warning")["mask"]
    assert one.startswith("1 rows of train where 'A' is 1, whose mask shows nothing of it, such as ")
    assert f"line {empty + 2})" in one
    assert other.startswith("1 rows of train where 'B' is 0, whose mask shows it, such as ")
    assert f"line {shown + 2})" in other


class Tags(HTMLParser):
    """Collects tags, attributes and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(path: str) -> Tags:
    tags = Tags()
    tags.feed(Path(path).read_text(encoding="utf-8"))
    return tags


def test_the_page_stands_alone_and_nothing_of_the_data_becomes_markup(planted: Tree) -> None:
    evil = '<script>alert("x")</script>&amp;'
    name = 'a/<img src=x onerror="y">.png'
    shutil.copy(picture(planted, "train", 0), planted / "images" / "a" / "new.png")
    (planted / "images" / "a" / "new.png").rename(planted / "images" / name)
    table(planted, "train", lambda data: data[0].update(image=name, A="1"))
    for split in ("train", "val", "test"):
        path = planted / f"{split}.csv"
        quoted = '"' + evil.replace('"', '""') + '"'
        path.write_text(path.read_text().replace(",A,", f",{quoted},", 1))
    _, report = checked()
    assert evil in report["classes"]
    page = parsed("out/check.html")
    assert evil in page.text
    kinds = {tag for tag, _ in page.tags}
    assert [tag for tag, _ in page.tags].count("script") == 1, "the page's own"
    assert {"table", "button"} <= kinds
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert images
    assert all(str(image["src"]).startswith("data:image/jpeg;base64,") and "onerror" not in image for image in images)
    assert any(name in str(image["title"]) for image in images)
    assert not any("href" in attributes for _, attributes in page.tags)
    checked("--no_images")
    assert not [tag for tag, _ in parsed("out/check.html").tags if tag == "img"]


def test_the_page_draws_prevalence_co_occurrence_and_sizes(planted: Tree) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 300, 3), dtype=np.uint8)
    cv2.imwrite(str(picture(planted, "train", 0)), noise)
    _, report = checked()
    sizes = report["picture_sizes"]
    assert {side: sum(map(sum, of["counts"].values())) for side, of in sizes.items()} == dict.fromkeys(sizes, sum(
        split["pictures"]["readable"] for split in report["splits"].values()
    ))  # fmt: skip
    at = np.digitize(300, sizes["long_side"]["edges"]) - 1
    assert sizes["long_side"]["counts"]["train"][at] == 1
    assert sizes["short_side"]["edges"][0] == 40
    assert sizes["long_side"]["edges"][-1] > 300
    page = parsed("out/check.html")
    bars = [float(str(attributes["width"])) for tag, attributes in page.tags if tag == "rect"]
    shares = [
        split["positives"][name] / (split["positives"][name] + split["negatives"][name])
        for name in report["classes"] for split in report["splits"].values()
    ]  # fmt: skip
    assert bars[: len(shares)] == pytest.approx([100 * share / max(shares) for share in shares], abs=0.06)
    together, fields = report["cooccurrence"], [a for tag, a in page.tags if tag == "td" and "title" in a]
    first, second = report["classes"][:2]
    share = together[0][1] / together[0][0]
    assert fields[0]["title"] == f"{100 * share:.0f} % of {first} with {second}"
    assert fields[0]["class"] == f"h{int(np.ceil(10 * share))}"


def test_the_pictures_of_findings_are_shown(planted: Tree) -> None:
    same_picture(("train", 0), ("test", 2))(planted)
    blank = picture(planted, "val", 1)
    cv2.imwrite(str(blank), np.zeros((40, 40, 3), np.uint8))
    checked()
    text = Path("out/check.html").read_text()
    shown = text[text.index("Pictures that the findings are about") : text.index("Examples from train")]
    leak, colour = shown.split("<h3 ")[1:3]
    names = [rows(planted / f"{split}.csv")[row]["image"] for split, row in (("train", 0), ("test", 2), ("val", 1))]
    assert [leak.count("<img"), colour.count("<img")] == [2, 1]
    assert names[0] in leak
    assert names[1] in leak
    assert names[2] in colour
    checked("--no_images")
    assert "Pictures that the findings are about" not in Path("out/check.html").read_text()


def test_names_are_hashed_where_asked(planted: Tree, here: Path) -> None:
    for split in ("train", "val", "test"):
        table(planted, split, lambda data: [row.update(patient=f"jane-{row['patient']}") for row in data])
    table(planted, "val", lambda data: data[0].update(patient=rows(planted / "train.csv")[0]["patient"]))
    names = {name for split in ("train", "val", "test") for row in rows(planted / f"{split}.csv")
             for name in (row["image"], row["patient"])}  # fmt: skip
    same_picture(("train", 0), ("test", 2))(planted)
    picture(planted, "val", 1).write_bytes(b"junk")
    (here / "key").write_bytes(b"0123456789abcdef")
    with pytest.warns(UserWarning, match="every group in one split only"):
        result, report = checked("--data.group_overlap", "warn", "--hash_names", "--hash_key", "key")
    hashed = HashedNames(b"0123456789abcdef")
    first, second = (hashed(rows(planted / f"{split}.csv")[row]["image"]) for split, row in (("train", 0), ("test", 2)))
    errors, warnings = found(report), found(report, "warning")
    assert f"'{first}' (data/train.csv, line 2) and in test '{second}'" in errors["content leak"][0]
    assert f"group '{hashed(rows(planted / 'val.csv')[0]['patient'])}' in train" in warnings["group leak"][0]
    assert hashed(rows(planted / "val.csv")[1]["image"]) in errors["unreadable"][0]
    for text in (Path("out/check.json").read_text(), Path("out/check.html").read_text(), result.out):
        assert not [name for name in names if name in text]


def test_an_earlier_check_is_replaced_and_nothing_else(planted: Tree, here: Path) -> None:
    checked()
    before = (here / "out/check.json").read_text()
    table(planted, "val", lambda data: data.pop())
    checked()
    assert (here / "out/check.json").read_text() != before
    for name in ("check.json", "check.html"):
        (here / "out" / name).write_text("mine")
        kept = contents(here)
        result = ibca("check", "--config", "e.yaml", "--output", "out")
        assert result.code == 2
        assert f"a file of ibca check at out/{name}" in result.errors[0]
        assert contents(here) == kept
        shutil.rmtree(here / "out")
        checked()
    assert ibca("check", "--config", "e.yaml", "--output", "e.yaml").code == 2


UNREADABLE: dict[str, tuple[Callable[[Tree], object], list[str]]] = {
    "pictures": (lambda root: [picture(root, "val", row).unlink() for row in (0, 2)], ["line 2", "line 4"]),
    "labels": (
        lambda root: table(root, "test", lambda data: [data[row].update(B="maybe") for row in (1, 3)]),
        ["column 'B' of data/test.csv, line 3, got 'maybe'", "column 'B' of data/test.csv, line 5"],
    ),
    "a table": (lambda root: (root / "val.csv").unlink(), ["data.val_csv"]),
    "rows": (lambda root: (root / "val.csv").write_text("image,patient,A,B,C\n"), ["header only"]),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_tables_that_cannot_be_read_are_reported_with_all_that_is_wrong_alike(case: str, planted: Tree) -> None:
    change, places = UNREADABLE[case]
    change(planted)
    result, report = checked()
    assert result.code == 2
    (line,) = result.errors
    assert places[0] in line
    faults = found(report)["tables"]
    assert len(faults) == len(places) == report["errors"]
    assert all(place in fault for place, fault in zip(places, faults, strict=True)), faults
    assert report["splits"] == {}
    assert report["cooccurrence"] == []
    assert places[-1] in parsed("out/check.html").text


def test_wrong_options_write_nothing(planted: Tree, here: Path) -> None:
    before = contents(here)
    for options, message in (
        (("--data.rot", "x"), "data.rot"),
        (("--num_workers", -1), "--num_workers"),
    ):
        result = ibca("check", "--config", "e.yaml", *options)
        assert result.code == 2
        assert message in result.errors[0]
    assert ibca("check").code == 2
    assert contents(here) == before


def test_worker_processes_find_what_one_process_finds(planted: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ibca_lightning.check.content._CHUNK", 4)
    same_picture(("train", 0), ("test", 2))(planted)
    _, one = checked()
    _, two = checked("--num_workers", 2)
    assert one == two
    assert one["errors"] == 1


def test_pictures_without_files_are_checked_as_they_are_made(here: Path) -> None:
    sizes = [f"--data.{name}_size={size}" for name, size in (("train", 30), ("val", 12), ("test", 12), ("image", 32))]
    result = ibca("check", "--data", "SCMDataModule", *sizes)
    assert result.code == 0, result.err + result.out
    report = json.loads((here / "runs/scm/check/check.json").read_text())
    assert list(report["splits"]) == ["train", "val", "same", "independent", "reversed"]
    assert report["splits"]["train"]["pictures"]["modes"] == {"made in memory": 30}
    assert not found(report)


def test_a_content_hash_depends_on_shape_and_pixels_alone(tmp_path: Path) -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert content_hash(pixels) == content_hash(pixels.copy()[:, ::-1][:, ::-1])
    assert content_hash(pixels) != content_hash(pixels.reshape(4, 2, 3))
    other = pixels.copy()
    other[1, 3, 2] += 1
    assert content_hash(pixels) != content_hash(other)


def test_a_content_hash_sees_one_changed_bit_of_any_pixel_of_a_large_picture() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (600, 700, 3), dtype=np.uint8)  # every 4th pixel is hashed
    hashes = {content_hash(pixels)}
    for row, column, channel in ((0, 0, 0), (1, 1, 1), (599, 699, 2), (302, 17, 0), (4, 5, 1)):
        other = pixels.copy()
        other[row, column, channel] ^= 1
        hashes.add(content_hash(other))
    assert len(hashes) == 6


def test_copies_are_runs_of_equal_hashes_and_zeros_are_none() -> None:
    digests = np.zeros((7, 16), np.uint8)
    for row, value in enumerate([1, 2, 0, 1, 0, 3, 1]):
        digests[row, 15] = value
    digests[5, 0], digests[1, 0] = 2, 9
    assert [run.tolist() for run in copies(digests)] == [[0, 3, 6]]
    halves = np.array([[1, 1], [1, 2], [2, 1], [1, 2], [0, 0], [0, 0], [2, 3], [0, 7], [0, 7]], np.uint64)
    assert [run.tolist() for run in copies(halves.view(np.uint8))] == [[1, 3], [7, 8]]


def test_only_the_first_findings_of_a_kind_are_shown(planted: Tree) -> None:
    for row in range(7):
        picture(planted, "train", row).write_bytes(b"junk")
    result, report = checked()
    lines = [line for line in result.out.splitlines() if line.startswith("error: ")]
    assert len(lines) == check_module._SHOWN + 1
    assert lines[-1] == "error: unreadable: 2 more, all of them in check.json"
    assert len(found(report)["unreadable"]) == 7


def test_pictures_in_an_array_are_read_from_it(here: Path) -> None:
    fake_chest_mnist.write(here / "data")
    splits = read_contents(ChestMNIST(root=str(here / "data"), image_size=28), 0)
    assert {name: rows.problems for name, rows in splits.items()} == {"train": {}, "val": {}, "test": {}}
    assert all(rows.has_pictures.all() for rows in splits.values())


def test_tiles_are_cut_before_they_are_read(here: Path) -> None:
    fake_idrid.write(here / "data")
    splits = read_contents(IDRiD(root=str(here / "data"), tile=60, tile_pixels=32), 0)
    assert all(len(rows) and rows.has_pictures.all() for rows in splits.values())


def test_pictures_beyond_the_bit_depth_are_told_of(planted: Tree) -> None:
    at = next(at for at, row in enumerate(rows(planted / "train.csv")) if row["image"].endswith(".png"))
    cv2.imwrite(str(picture(planted, "train", at)), np.arange(1600, dtype=np.uint16).reshape(40, 40) * 40)
    said = rf"^1 pictures of train whose largest values are beyond bit_depth 12.*line {at + 2}\)"
    (told,) = found(checked("--data.bit_depth", 12)[1], "warning")["bit depth"]
    assert re.search(said, told), told
    assert "bit depth" not in found(checked("--data.bit_depth", 16)[1], "warning")


def test_a_page_that_could_not_be_written_leaves_nothing(planted: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Path.write_text

    def full(self: Path, data: str, **options: Any) -> int:
        if self.name.endswith("check.html"):
            write(self, data[:99], **options)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(self, data, **options)

    monkeypatch.setattr(Path, "write_text", full)
    result, _ = checked("--no_images")
    assert (result.code, len(result.errors)) == (2, 1), result.err
    assert "out/check.html, got No space left on device" in result.errors[0]
    assert sorted(contents(Path("out"))) == ["check.json"]
