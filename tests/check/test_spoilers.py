"""What may silently spoil a result is said by `ibca check`, and by `ibca fit` where a table tells it; and only then."""

import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ibca_lightning.check import near_copies
from ibca_lightning.check.content import Contents, read_contents
from ibca_lightning.check.origin import NAME, SIZE, form_of_name, origin_associations
from ibca_lightning.data.tables.doubts import table_doubts
from ibca_lightning.data.tables.label_policy import LabelPolicy
from ibca_lightning.data.tables.table import encode
from ibca_lightning.datasets.csv_table import CSVDataModule
from ibca_lightning.datasets.joined import JoinedDataModule
from ibca_lightning.system.errors import DataWarning
from tests.check.test_check import Tree, checked, every, found, parsed, picture, planted, table  # noqa: F401
from tests.command_line import done, rows

SOUND = {"val_csv": "val.csv", "test_csv": "test.csv", "image_dir": "images", "group_column": "patient",
         "label_columns": ["A", "B", "C"]}  # fmt: skip

LABELS = ("--data.label_columns", "[A,B,C]")
ALONE = ("--data.group_column", "null")  # each picture counts: there are few patients


def module(root: Path, **changes: Any) -> CSVDataModule:
    return CSVDataModule(str(root), image_size=32, num_workers=0, **(SOUND | changes))


def of_fit(data: Any) -> list[str]:
    """What a fit warns of when it sets up the data."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        data.setup("fit")
    return [str(one.message) for one in said if one.category is DataWarning]


def paired(root: Tree) -> None:
    """Every patient is in training and in validation."""
    both = rows(root / "train.csv") + rows(root / "val.csv")
    for split, part in (("train", both[::2]), ("val", both[1::2])):
        table(root, split, lambda data, part=part: data.__setitem__(slice(None), part))


def test_fit_and_check_name_the_column_that_groups_and_none_is_an_answer(planted: Tree) -> None:  # noqa: F811
    paired(planted)
    (doubt,) = [text for text in of_fit(module(planted, group_column=None)) if "group of its own" in text]
    assert "values of 'patient' come again: 10 of 10 pictures of val have a partner in train, such as '0" in doubt
    assert doubt.endswith("; set data.group_column to patient, or to none if pictures of one 'patient' may stand apart")
    assert not any("group of its own" in text for text in of_fit(module(planted, group_column="none")))
    assert module(planted, group_column="none").group_column is None
    (told,) = found(checked("--data.group_column", "null", *LABELS)[1], "warning")["no groups"]
    assert told == doubt.rpartition("; ")[0]
    assert "no groups" not in found(checked("--data.group_column", "none", *LABELS)[1], "warning")


def test_a_group_column_that_is_unique_in_every_row_groups_nothing(planted: Tree) -> None:  # noqa: F811
    paired(planted)
    for split in ("train", "val", "test"):
        table(planted, split, lambda data, split=split: [row.update(key=f"{split}{at}") for at, row in enumerate(data)])
    said = of_fit(module(planted, group_column="key"))
    assert any("values of 'patient' come again" in text for text in said)


def test_a_split_by_patient_is_no_leak_without_a_group_column(planted: Tree) -> None:  # noqa: F811
    assert not any("group of its own" in text for text in of_fit(module(planted, group_column=None)))


def test_joined_sets_say_which_of_them_it_is(planted: Tree) -> None:  # noqa: F811
    paired(planted)
    joined = JoinedDataModule([module(planted, group_column=None), module(planted, group_column="none")], image_size=32)
    doubts = [doubt for doubt in joined.doubts() if doubt.kind == "no groups"]
    assert [doubt.what.split(":")[0] for doubt in doubts] == ["CSVDataModule"]


def test_examples_stay_out_of_a_check_with_hashed_names(planted: Tree, here: Path) -> None:  # noqa: F811
    paired(planted)
    (here / "key").write_bytes(b"0123456789abcdef")
    result, report = checked("--data.group_column", "null", *LABELS, "--hash_names", "--hash_key", "key")
    (told,) = found(report, "warning")["no groups"]
    assert told.endswith("have a partner in train")
    names = {row["image"] for row in rows(planted / "train.csv")}
    assert not any(name in text for name in names for text in (result.out, Path("out/check.html").read_text()))


def test_fit_and_check_name_classes_of_few_positives_and_negations(planted: Tree) -> None:  # noqa: F811
    for split in ("train", "val", "test"):
        table(
            planted, split, lambda data: [row.update(A=str(at % 2), B=str(1 - at % 2)) for at, row in enumerate(data)]
        )
    said = of_fit(module(planted))
    report = found(checked("--data.label_columns", "[A,B,C]")[1], "warning")
    for kind, what in (
        ("few positives", "fewer than 10 positives in t"),
        ("negation", "'B' is the negation of 'A'"),
    ):
        assert any(what in text for text in said), said
        assert what in report[kind][0]


def coded(root: Tree, name: str, absent: str) -> None:
    """A class is 1 where it is present, and something else but 0 where it is absent."""
    for split in ("train", "val"):
        table(root, split, lambda data: [row.update({name: "1" if at % 2 else absent}) for at, row in enumerate(data)])


@pytest.mark.parametrize(
    ("absent", "option"), [("", {"labels": LabelPolicy(blank="zero")}), ("-1", {"label_values": {"-1": 0}})]
)
def test_fit_names_a_class_without_a_negative_and_the_option_that_gives_it_some(
    planted: Tree, absent: str, option: dict[str, Any]  # noqa: F811
) -> None:  # fmt: skip
    def lacking(**options: Any) -> list[str]:
        return [text for text in of_fit(module(planted, **options)) if "nothing to be learnt" in text]

    assert lacking() == []
    coded(planted, "A", absent)
    (text,) = lacking()
    assert text.startswith("no negative in train, and so nothing to be learnt, of A; a blank and -1 are unknown: ")
    assert lacking(**option) == []


def test_check_has_a_class_without_a_negative_as_an_error_alone(planted: Tree) -> None:  # noqa: F811
    coded(planted, "A", "")
    _, report = checked(*LABELS)
    assert found(report, "error")["no negative"] == ["class 'A' has none in train"]
    assert found(report, "warning")["no negative"] == ["class 'A' has none in val"]


def test_what_one_of_joined_sets_lacks_another_may_have(planted: Tree) -> None:  # noqa: F811
    def lacking(joined: JoinedDataModule) -> list[str]:
        return [doubt.what for doubt in joined.doubts() if doubt.kind == "no negative"]

    whole = shutil.copytree(planted, planted.parent / "whole")
    coded(planted, "A", "")
    assert lacking(JoinedDataModule([module(whole), module(planted)], image_size=32)) == []
    (what,) = lacking(JoinedDataModule([module(planted), module(planted)], image_size=32))
    assert what == "no negative in train, and so nothing to be learnt, of A"


def by_site(root: Tree) -> None:
    for split in ("train", "val", "test"):
        table(root, split, lambda data: [row.update(site="ab"[row["A"] in ("1", "1.0")]) for row in data])


def test_fit_and_check_tell_of_a_site_that_predicts_a_class(planted: Tree, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr("ibca_lightning.data.tables.doubts.FEW", 2)  # of 20 rows a site has fewer than 10
    monkeypatch.setattr("ibca_lightning.data.tables.doubts._CHANCE", 0.01)
    by_site(planted)
    what = "'site' alone predicts 'A' in train (AUROC 1.00): 100% of "
    assert any(text.startswith(what) for text in of_fit(module(planted, subgroup_columns=["site"], group_column=None)))
    assert not any("'site' alone" in text for text in of_fit(module(planted, subgroup_columns=["site"]))), (
        "few patients"
    )
    _, report = checked("--data.subgroup_columns", "[site,sex]", *LABELS, *ALONE)
    assert any(text.startswith(what) for text in found(report, "warning")["shortcut"])
    assert not any("'sex' alone" in text for text in found(report, "warning")["shortcut"])
    assert {(each["column"], each["label"]) for each in report["associations"]} >= {("site", "A"), ("sex", "C")}
    page = parsed("out/check.html").text
    assert "What a subgroup or the origin of a picture alone tells of a class" in page
    assert "1.00 (b 100%, a 0%)" in page


def by_size(root: Tree) -> None:
    """Pictures of one class are of another machine."""
    for row in rows(root / "train.csv"):
        file = str(root / "images" / row["image"])
        if row["A"] in ("1", "1.0"):
            cv2.imwrite(file, cv2.resize(cv2.imread(file), (52, 52)))


def test_check_tells_of_a_size_or_a_name_that_predicts_a_class(planted: Tree, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr("ibca_lightning.data.tables.doubts.FEW", 2)
    monkeypatch.setattr("ibca_lightning.data.tables.doubts._CHANCE", 0.01)
    assert not any("picture size" in text for text in found(checked(*LABELS, *ALONE)[1], "warning").get("shortcut", []))
    by_size(planted)
    _, report = checked(*LABELS, *ALONE)
    (told,) = [text for text in found(report, "warning")["shortcut"] if "picture size" in text]
    assert told.startswith("'picture size' alone predicts 'A' in train (AUROC 1.00): 100% of ")
    assert "with '52 x 52'" in told
    assert {each["split"] for each in report["associations"] if each["column"] == "picture size"} == {"train"}


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("NAF_0040.jpg", "NAF_#"),
        ("a/b12/EDD2020_ACB0002.png", "EDD#_ACB#"),
        ("7", "#"),
        ("scan.final.tif", "scan.final"),
    ],
)
def test_the_form_of_a_name_is_its_text_without_numbers(name: str, form: str) -> None:
    assert form_of_name(name) == form


def test_names_that_are_not_to_be_seen_are_not_told(planted: Tree, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr("ibca_lightning.data.tables.doubts.FEW", 2)
    data = module(planted)
    train = read_contents(data, 0)["train"]
    names = encode([f"{'ab'[int(label == 1)]}{row}.png" for row, label in enumerate(train.labels[:, 0].tolist())])
    shown, hidden = replace(train, ids=names), replace(train, ids=names, rename=lambda name: "hash")
    (told,) = [
        each
        for each in origin_associations({"train": shown}, data.class_names)
        if (each.column, each.label) == (NAME, "A")
    ]
    assert (told.auroc, told.values) == (1, ("b#", "a#"))
    assert {each.column for each in origin_associations({"train": hidden}, data.class_names)} <= {SIZE}


def test_fit_and_check_tell_of_a_site_that_stands_in_one_split(planted: Tree, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr("ibca_lightning.data.tables.doubts.FEW", 2)
    monkeypatch.setattr("ibca_lightning.data.tables.doubts._CHANCE", 0.2)  # of six patients
    for split, site in {"train": "a", "val": "a", "test": "b"}.items():
        sited = lambda data, site=site: [row.update(site=site, eye="lr"[at % 2]) for at, row in enumerate(data)]  # noqa: E731
        table(planted, split, sited)
    said = of_fit(module(planted, subgroup_columns=["site", "eye"]))
    what = "'site' is spread unevenly over the splits: 'a' is 100% of train, 100% of val, 0% of test; know that"
    assert [text.startswith(what) for text in said if "unevenly" in text] == [True]
    told = found(checked("--data.subgroup_columns", "[site,eye]", *LABELS)[1], "warning")["uneven splits"]
    assert len(told) == 1
    # One patient with many pictures is one patient.
    tables = module(planted, subgroup_columns=["site"]).split_tables()
    alone = {split: replace(each, groups=encode([split] * len(each))) for split, each in tables.items()}
    assert not [doubt for doubt in table_doubts(alone, ["A", "B", "C"]) if doubt.kind == "uneven splits"]


def test_check_says_that_there_are_no_patients_and_no_normal_pictures(planted: Tree) -> None:  # noqa: F811
    result, report = checked(*LABELS)
    assert not {"no patients", "no normal"} & found(report, "warning").keys()
    assert "of one group" not in result.out
    assert "next: ibca fit --config e.yaml --data.label_columns '[A,B,C]'" in result.out
    for split in ("train", "val", "test"):
        table(planted, split, lambda data: [row.update(patient=row["image"], A="1") for row in data[1:]])
        table(planted, split, lambda data: data[0].update(patient=data[0]["image"]) or data[0].update(A="0", B="1"))
    for given, said in (((), True), (("--data.group_column", "null"), True), (("--data.group_column", "none"), False)):
        result, report = checked(*LABELS, *given)
        assert ("no patients" in found(report, "warning")) is said
        assert "no two pictures are of one group (patient)" in result.out
        assert found(report, "warning")["no normal"] == ["no picture of train is without a finding"]
    for split in ("train", "val", "test"):
        table(
            planted,
            split,
            lambda data, split=split: [row.update(video=f"{split}{at // 2}") for at, row in enumerate(data)],
        )
    told = "groups are values of 'video', of which one patient may have several"
    assert told in checked(*LABELS, "--data.group_column", "video")[0].out
    assert told in parsed("out/check.html").text
    table(planted, "train", lambda data: data[0].update(A="0", B="0", C="0"))
    assert "no normal" not in found(checked(*LABELS)[1], "warning")


def test_a_patient_of_two_splits_is_no_picture_without_a_patient(planted: Tree) -> None:  # noqa: F811
    for split in ("train", "val", "test"):  # each has a patient once
        table(planted, split, lambda data: [row.update(patient=f"p{at}") for at, row in enumerate(data)])
    result, report = checked(*LABELS, "--data.group_overlap", "warn")
    assert "group leak" in found(report, "warning")
    assert "no patients" not in found(report, "warning")
    assert "of one group" not in result.out


def test_the_help_of_check_ends_with_examples() -> None:
    assert "\nexamples:\n  ibca check ward7.yaml   " in done("check", "--help").out
    assert "runs/EXPERIMENT/check" in " ".join(done("check", "--help").out.split())


def test_pictures_that_no_row_names_are_counted_and_others_passed_over(planted: Tree) -> None:  # noqa: F811
    images = planted / "images"
    result, report = checked()
    assert report["folder"] == {"folder": "data/images", "named": 30, "unnamed": 0, "passed_over": 1}
    assert "data/images: 30 pictures that rows name, 0 that no row names, 1 other files passed over" in result.out
    assert "unnamed pictures" not in found(report, "warning")
    (images / "more").mkdir()
    for name in ("more/x.png", "y.png", ".z.png"):
        shutil.copy(picture(planted, "train", 0), images / name)
    (told,) = found(checked()[1], "warning")["unnamed pictures"]
    assert told == "2 pictures in data/images that no row names, such as 'more/x.png'"


def test_pictures_behind_two_links_to_one_folder_are_named_by_the_rows_of_either(planted: Tree) -> None:  # noqa: F811
    images, real = planted / "images", planted.parent / "real"
    before = checked()[1]["folder"]
    (images / "a").rename(real)
    for name in ("a", "0"):  # the listing knows its files below the first of them alone
        (images / name).symlink_to(real)
    assert checked()[1]["folder"] == before
    shutil.copy(next(real.glob("*.png")), real / "new.png")
    assert checked()[1]["folder"]["unnamed"] == 1


def test_masks_and_folders_without_a_row_are_no_unnamed_pictures_of_a_root(planted: Tree) -> None:  # noqa: F811
    for split in ("train", "val", "test"):
        table(planted, split, lambda data: [row.update(image=f"images/{row['image']}") for row in data])
    _, report = checked("--data.image_dir", "null")
    assert report["folder"]["unnamed"] == 0
    named = rows(planted / "train.csv")[0]["image"]
    shutil.copy(planted / named, planted / "images" / "a" / "new.png")
    assert checked("--data.image_dir", "null")[1]["folder"]["unnamed"] == 1


def scene(seed: int) -> np.ndarray:
    """A picture such as all of a set are: the same disc, and something of its own in it."""
    random = np.random.default_rng(seed)
    canvas = np.zeros((200, 240, 3), np.uint8)
    cv2.circle(canvas, (120, 100), 95, (40, 90, 160), -1)
    spots = np.zeros((200, 240, 3), np.float32)
    for x, y, r in zip(
        random.integers(40, 200, 25), random.integers(20, 180, 25), random.integers(3, 14, 25), strict=True
    ):
        cv2.circle(spots, (int(x), int(y)), int(r), tuple(float(v) for v in random.uniform(-60, 60, 3)), -1)
    noise = random.normal(0, 4, canvas.shape)
    return np.clip(canvas + (canvas > 0) * (spots + noise), 0, 255).astype(np.uint8)


COPIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "compressed": lambda image: cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 50])[1], 1),
    "half as large": lambda image: cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "brighter": lambda image: np.clip(image * 1.2 + 10, 0, 255).astype(np.uint8),
    "shifted": lambda image: np.roll(image, 1, axis=1),
}


@pytest.fixture
def scenes(here: Path) -> Path:
    """A set of different pictures with one outline, 20 of training, 10 of test."""
    for split, seeds in (("train", range(20)), ("val", range(20, 30)), ("test", range(30, 40))):
        (here / "data" / "images").mkdir(parents=True, exist_ok=True)
        for seed in seeds:
            cv2.imwrite(str(here / "data" / "images" / f"x{seed}.png"), scene(seed))
        text = "".join(f"x{seed}.png,{seed % 2},{seed % 3 == 0:d}\n" for seed in seeds)
        (here / "data" / f"{split}.csv").write_text(f"image,A,B\n{text}")
    return here / "data"


def near(root: Path) -> list[tuple[str, int, str, int]]:
    data = CSVDataModule(str(root), val_csv="val.csv", test_csv="test.csv", image_dir="images", image_size=32)
    copies = near_copies.near_copies(read_contents(data, 0))
    return [(each.first.name, each.row, each.second.name, each.other) for each in copies]


@pytest.mark.parametrize("case", COPIES)
def test_a_near_copy_in_another_split_is_found(case: str, scenes: Path) -> None:
    cv2.imwrite(str(scenes / "images" / "x33.png"), COPIES[case](scene(4)))
    assert near(scenes) == [("train", 4, "test", 3)]


def test_pictures_of_one_outline_or_of_one_colour_and_equal_ones_are_no_near_copies(scenes: Path) -> None:
    cv2.imwrite(str(scenes / "images" / "x33.png"), scene(4))  # a copy to the pixel, which its hash finds
    for name in ("x5", "x35"):
        cv2.imwrite(str(scenes / "images" / f"{name}.png"), np.full((90, 90, 3), 40 + len(name), np.uint8))
    (scenes / "images" / "x36.png").write_bytes(b"junk")
    assert near(scenes) == []


def test_blocks_of_pairs_find_what_one_block_finds(scenes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ibca_lightning.check.near_copies._BLOCK", 3)
    cv2.imwrite(str(scenes / "images" / "x33.png"), COPIES["brighter"](scene(4)))
    cv2.imwrite(str(scenes / "images" / "x29.png"), COPIES["half as large"](scene(38)))
    assert sorted(near(scenes)) == [("train", 4, "test", 3), ("val", 9, "test", 8)]


def looks_of(number: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth ones, as those of pictures are, with some that are made to be hard."""
    coarse = rng.normal(size=(number, 12, 12))
    looks = np.stack([cv2.resize(each, (32, 32), interpolation=cv2.INTER_CUBIC) for each in coarse])
    looks = np.clip(np.round(50 * looks.reshape(number, 1024)), -127, 127).astype(np.int8)
    looks[:3] = 0  # no picture
    looks[3:6] = rng.integers(-127, 128, (3, 1024))  # along no common direction
    return looks


@pytest.mark.parametrize("crowded", [False, True])
def test_short_looks_lose_no_pair(crowded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    looks = {"train": looks_of(300, rng), "val": looks_of(90, rng), "test": looks_of(130, rng)}
    for at, (name, share) in enumerate((name, share) for name in ("val", "test") for share in (0.2, 0.6, 0.75, 0.9)):
        for row in range(3, 40):  # near copies of all degrees, many of them at the edge
            noise = rng.normal(size=1024) * share * looks["train"][row].std()
            if row % 2:  # along common directions
                noise = np.roll(looks["train"][50 + at], row) * share
            place = 10 + (row * 2 + at % 4) % 80
            looks[name][place] = np.clip(looks["train"][row] + noise, -127, 127)
    if crowded:  # all pictures nearly alike, beside others
        looks["val"][20:] = looks["train"][60:130] = looks["train"][7]
    names = np.array([b""])
    splits = [
        Contents(name, names, names, np.zeros((len(own), 1), np.int8), None, rng.integers(0, 255, (len(own), 16)), own,
                 np.ones((len(own), 2), np.int32), names, names, {}, {}, names)  # type: ignore[arg-type]
        for name, own in looks.items()
    ]  # fmt: skip
    mean = np.concatenate(list(looks.values())).mean(axis=0, dtype=np.float32)

    def pairs() -> dict[tuple[str, int, str, int], float]:
        found = near_copies._candidates(splits, mean)
        return {(one.name, row, two.name, other): score for score, one, row, two, other in found}

    monkeypatch.setattr(near_copies, "_LOOKED_AT", 10**6)
    whole = pairs()
    monkeypatch.setattr(near_copies, "_FEW", 0)
    monkeypatch.setattr(near_copies, "_BLOCK", 64)
    asked, alike = list[float](), near_copies._alike
    monkeypatch.setattr(near_copies, "_alike", lambda *given: asked.append((given[3] >= 0.8).mean()) or alike(*given))
    short = pairs()
    assert len(whole) > 60
    assert min(asked) < 1 / near_copies._SPARSE, "few are gone on with"
    assert (max(asked) > 0.5) == crowded, "or the block is compared whole"
    edge = {pair for pair, score in (whole | short).items() if abs(score - 0.8) < 1e-5}
    assert whole.keys() - edge == short.keys() - edge
    for pair in whole.keys() & short.keys():
        assert whole[pair] == pytest.approx(short[pair], abs=1e-5)


def test_near_copies_are_a_warning_and_stand_side_by_side_on_the_page(scenes: Path, here: Path) -> None:
    init = "val_csv: val.csv, test_csv: test.csv, image_dir: images"
    (here / "e.yaml").write_text(f"data: {{class_path: CSVDataModule, init_args: {{root: data, {init}}}}}\n")
    assert "near copy" not in found(checked()[1], "warning")
    cv2.imwrite(str(scenes / "images" / "x33.png"), COPIES["compressed"](scene(4)))
    (told,) = found(checked()[1], "warning")["near copy"]
    assert "train 'x4.png' (data/train.csv, line 6) and test 'x33.png' (data/test.csv, line 5)" in told
    page = parsed("out/check.html")
    titles = [attributes["title"] for tag, attributes in page.tags if tag == "img"]
    assert "train 'x4.png' (data/train.csv, line 6)" in titles
    assert "<b>x4.png</b><br>train: train.csv, line 6<" in Path("out/check.html").read_text()
    checked("--no_images")
    assert not [tag for tag, _ in parsed("out/check.html").tags if tag == "img"]
