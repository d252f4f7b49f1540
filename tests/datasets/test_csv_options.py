"""What `CSVDataModule` reads beside columns of 0 and 1: the options that `ibca init` writes."""

import os
import re
import warnings
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from ibca_lightning.data import CSVDataModule
from ibca_lightning.data.pictures.reading import read_image
from ibca_lightning.data.tables.label_list import LabelList
from ibca_lightning.data.tables.label_policy import LabelPolicy
from ibca_lightning.run.experiment_data import experiment_data
from ibca_lightning.system.errors import DataWarning, InputError
from tests.start.raw_sets import pictures


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("options")
    pictures(root, [f"{folder}/{at}.png" for folder in ("a", "b") for at in range(12)])
    (root / "a" / "3.txt").write_text("boxes of 3.png")
    return root


def load(root: Path, lines: list[str], **options: Any) -> CSVDataModule:
    (root / "train.csv").write_text("\n".join(lines))
    return CSVDataModule(str(root), num_workers=0, **({"image_dir": "a"} | options))


def labels(module: CSVDataModule) -> dict[str, list[int]]:
    """The labels of each picture, in any split."""
    tables = module.split_tables().values()
    return {table.name(row): table.labels[row].tolist() for table in tables for row in range(len(table))}


def rows(*cells: str, header: str = "image,findings") -> list[str]:
    return [header, *(f"{at}.png,{cell}" for at, cell in enumerate(cells))]


def test_words_are_labels(root: Path) -> None:
    cells = ["seen,x", "none,x", "unsure,", "SEEN,", ",x", "none,"]
    options: dict[str, Any] = {"label_values": {"seen": 1, "none": 0, "unsure": -1, "x": 1}}
    options |= {"label_columns": ["polyp", "ulcer"], "labels": LabelPolicy(blank={"ulcer": "zero"})}
    found = labels(load(root, rows(*cells, header="image,polyp,ulcer"), **options))
    assert [found[f"{at}.png"] for at in range(6)] == [[1, 1], [0, 1], [-1, 0], [1, 0], [-1, 1], [0, 0]]
    with pytest.raises(InputError, match=r"0, 1 or -1 for 'seen' in data.label_values, got 2"):
        load(root, rows(*cells), label_values={"seen": 2})


@pytest.mark.parametrize(
    ("cells", "values", "expected"),
    [
        (["1.0", "0.0", "-1.0", ""], {"-1": 1}, [1, 0, 1, -1]),
        (["1.0", "0.0", "-1.00", ""], {-1: 0}, [1, 0, 0, -1]),
        (["1.0", "0.0", "1.", "0"], {"1": 0, "0": 1}, [0, 1, 0, 1]),
        (["1", "0", "-1", ""], {"-1.0": 1}, [1, 0, 1, -1]),
        (["1.0", "2.0", "2", "01"], {"1": 1, "2": 0}, [1, 0, 0, 1]),
        (["1,0", "2,00", "9,0", "1"], {"2": 0, "9": -1}, [1, 0, -1, 1]),  # with a comma, in quotes
        (["1.0", "0.0", "-1.0", "-1"], {"-1": 0, "-1.0": 0}, [1, 0, 0, 0]),
    ],
    ids=["unsure is present", "unsure is absent", "turned round", "a key with a point", "two", "commas", "twice"],
)
def test_a_number_of_label_values_is_one_however_cells_write_it(
    root: Path, cells: list[str], values: dict[Any, int], expected: list[int]
) -> None:
    lines = rows(*(f'"{cell}"' for cell in cells), header="image,polyp")
    found = labels(load(root, lines, label_columns=["polyp"], label_values=values))
    assert [found[f"{at}.png"] for at in range(4)] == [[label] for label in expected]


def test_a_word_of_label_values_that_no_cell_holds_is_told_of(root: Path) -> None:
    lines, said = rows("1.0", "0.0", "seen", "1.0", header="image,polyp"), "what data.label_values names: absent, -1;"
    module = load(root, lines, label_columns=["polyp"], label_values={"absent": 0, "-1": 1, "seen": 1, "1": 1, "": 0})
    with pytest.warns(DataWarning, match=said):
        module.setup("fit")
    (root / "test.csv").write_text("\n".join(rows("1", "-1.0", "Absent", header="image,polyp")))
    options: dict[str, Any] = {"label_columns": ["polyp"], "test_csv": "test.csv", "group_overlap": "warn"}
    for values, idle in (
        ({"absent": 0, "-1": 1, "seen": 1, "unsure": -1}, False),  # no doubt is needed
        ({"absent": 0, "seen": 1, "2": 1}, True),
    ):
        module = load(root, lines, label_values=values, **options)
        assert [doubt.kind for doubt in module.doubts()].count("label values") == idle


def test_a_word_of_label_values_with_two_values_is_refused(root: Path) -> None:
    for values in ({"0": 1, "0.0": 0}, {"Seen": 1, "seen ": 0}):
        with pytest.raises(InputError, match=r"one value a word in data.label_values, got another for '"):
            load(root, ["image,polyp"], label_values=values)


def test_words_that_a_configuration_of_before_holds_as_true_and_false_are_what_they_were(root: Path) -> None:
    lines = rows(*["on,yes", "off,no", "on,true"], header="image,polyp,ulcer")
    for values in ({"true": 1, "false": 0}, {True: 1, False: 0}, {"on": 1, "off": 0}):
        found = labels(load(root, lines, label_columns=["polyp", "ulcer"], label_values=values))
        assert [found[f"{at}.png"] for at in range(3)] == [[1, 1], [0, 0], [1, 1]]
    found = labels(load(root, lines, label_columns=["polyp"], label_values={"on": -1, "true": 1, "off": 0}))
    assert [found[f"{at}.png"] for at in range(3)] == [[-1], [0], [-1]], "a word that is named means what is said"


def test_numbers_of_findings_are_labels(root: Path) -> None:
    lines = ["image;polyps", *(f"{at}.png;{cell}" for at, cell in enumerate(["0", "3", "1,0", "", "12", "0.0"]))]
    module = load(root, lines, label_counts=["polyps"])
    assert labels(module) == {f"{at}.png": [value] for at, value in enumerate([0, 1, 1, -1, 1, 0])}


def test_a_list_of_findings(root: Path) -> None:
    cells = ["polyp; Ulcer", "ulcer ;polyp;", "normal", "", "unsure", "POLYP"]
    listed = LabelList("findings", ";", absent=["Normal"], unknown=["unsure"])
    module = load(root, rows(*cells), label_list=listed)
    assert module.class_names == ["polyp", "Ulcer"]
    found = [labels(module)[f"{at}.png"] for at in range(6)]
    assert found == [[1, 1], [1, 1], [0, 0], [0, 0], [-1, -1], [1, 0]]


def test_a_list_in_brackets_and_a_rare_name(root: Path) -> None:
    cells = ['"[""polyp"", ""ulcer""]"', "\"['polyp']\"", "[]", '"[""ulcer"", ""rare""]"']
    module = load(root, rows(*cells), label_list=LabelList("findings", least=2), val_fraction=0.3)
    assert module.class_names == ["polyp", "ulcer"]
    assert module.exclusive_classes == []
    assert [labels(module)[f"{at}.png"] for at in range(4)] == [[1, 1], [1, 0], [0, 0], [0, 1]]


def test_lists_parted_in_a_second_way_are_doubted(root: Path) -> None:
    cells = ("polyp;ulcer", '"polyp, ulcer"', "polyp", "ulcer", "polyp", "ulcer")
    said = load(root, rows(*cells), label_list=LabelList("findings", ";")).doubts()
    (joined,) = [str(doubt) for doubt in said if doubt.kind == "joined names"]
    assert re.search(
        r"'findings' are several others in one, in 1 rows, such as 'polyp, ulcer', .*train.csv, line 3", joined
    )
    cells = ("polyp;ulcer", "polyp", "ulcer", "polyp")
    said = load(root, rows(*cells), label_list=LabelList("findings", ";")).doubts()
    assert "joined names" not in [doubt.kind for doubt in said]


def test_words_of_two_columns_keep_apart(root: Path) -> None:
    lines = [
        "image,net,dots",
        *(f"{at}.png,{'typical' if at % 2 else 'no'},{'typical' * (at % 3 > 0)}" for at in range(9)),
    ]
    lists = [LabelList("net", absent=["no"], prefix=True), LabelList("dots", unknown=[""], prefix=True)]
    module = load(root, lines, label_list=lists)
    assert module.class_names == ["net typical", "dots typical"]
    assert module.exclusive_classes == [["net typical"], ["dots typical"]]
    assert labels(module)["0.png"] == [0, -1]
    with pytest.raises(InputError, match=r"every class once .* got typical; set label_list: \{prefix: true\}"):
        _ = load(root, lines, label_list=[LabelList("net", absent=["no"]), LabelList("dots")]).class_names


def test_grades_in_order(root: Path) -> None:
    listed = LabelList("findings", absent=["0"], unknown=["?"], least=2, ordered=True)
    module = load(root, rows("0", "2", "10", "?", "1", "", "2", "10", "3"), label_list=listed)
    found = labels(module)
    assert module.exclusive_classes == []
    # 1+, 2+, 3+, 10+: every grade is reached by those above it, also one that stands once alone
    assert [found[f"{at}.png"] for at in range(9)] == [
        [0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [-1, -1, -1, -1], [1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0],
        [1, 1, 1, 1], [1, 1, 1, 0],
    ]  # fmt: skip
    named = LabelList("findings", absent=["no"], names=["mild", "severe"], ordered=True)
    module = load(root, rows("no", "severe", "mild", "mild"), label_list=named)
    assert module.class_names == ["mild+", "severe+"]
    assert labels(module)["1.png"] == [1, 1]
    with pytest.raises(
        InputError, match=r"numbers in the ordered column 'findings' .* got mild, severe; name the grades"
    ):
        _ = load(root, rows("severe", "mild"), label_list=LabelList("findings", ordered=True)).class_names


@pytest.mark.parametrize(
    ("cells", "listed", "said"),
    [
        (["polyp", "polpy"], LabelList("findings", names=["polyp"]), "column 'findings' of .*, line 3, got polpy"),
        (["no", "no"], LabelList("findings", absent=["no"]), "a finding in column 'findings'"),
        (["[polyp", "ulcer"], LabelList("findings"), r"a list such as \['a', 'b'\]"),
        (["[" * 9000, "ulcer"], LabelList("findings"), "a list such as"),
        (["a b c", ";".join(map(str, range(2000)))], LabelList("findings", ";"), "at most 1000 findings .* got 2001"),
    ],
)
def test_a_wrong_list_is_named(root: Path, cells: list[str], listed: LabelList, said: str) -> None:
    with pytest.raises(InputError, match=said):
        load(root, rows(*cells), label_list=listed).split_tables()


def test_names_of_a_further_table_are_those_of_training(root: Path) -> None:
    (root / "val.csv").write_text("image,findings\n8.png,polyp\n9.png,ulcer")
    module = load(root, rows("polyp", "none", "polyp"), val_csv="val.csv", label_list=LabelList("findings"))
    with pytest.raises(InputError, match=r"findings among polyp in column 'findings' of .*val.csv, line 3, got ulcer"):
        module.split_tables()


def test_a_column_names_the_split(root: Path) -> None:
    splits = ["Training", "train", "dev", "holdout", "TEST", "train"]
    lines = ["image,polyp,part", *(f"{at}.png,{at % 2},{split}" for at, split in enumerate(splits))]
    module = load(root, lines, split_column="part")
    assert {split: len(table) for split, table in module.split_tables().items()} == {"train": 3, "val": 1, "test": 2}
    two = [line.replace("dev", "train") for line in lines]
    assert {*load(root, two, split_column="part").split_tables()} == {"train", "test", "val"}
    with pytest.raises(InputError, match=r"train, val or test in column 'part' of .*line 4, got 'later'"):
        load(root, [line.replace("dev", "later") for line in lines], split_column="part").split_tables()
    assert len(load(root, [line.replace("TEST", "train") for line in lines], split_column="part").split_tables()) == 3
    for other in ("external", "External validation"):
        with pytest.raises(InputError, match=r"one test in column 'part' of .*, got external rows beside"):
            load(root, [line.replace("holdout", other) for line in lines], split_column="part").split_tables()
        alone = [line.replace("holdout", other).replace("TEST", "train") for line in lines]
        assert len(load(root, alone, split_column="part").split_tables()["test"]) == 1
    with pytest.raises(InputError, match="split_column or further tables"):
        load(root, lines, split_column="part", test_csv="t.csv")


def test_several_pictures_of_a_case(root: Path) -> None:
    lines = ["left,right,polyp", *(f"a/{at}.png,{f'b/{at}.png' * (at > 0)},{at % 2}" for at in range(8))]
    module = load(root, lines, image_columns=["left", "right"], image_dir=None, split_seed=1)
    found = labels(module)
    assert len(found) == 15
    assert all(label == [int(name[2]) % 2] for name, label in found.items())
    for table in module.split_tables().values():
        cases = {name.decode()[2:] for name in table.names}
        assert {group.decode()[2:] for group in table.groups} == cases
    assert load(root, lines, image_columns=["left", "right"], image_dir=None, group_column="none").group_column
    with pytest.raises(InputError, match=r"a picture in left, right of .*line 2, got blanks only"):
        load(root, ["left,right,polyp", ",,1", "a/1.png,,0"], image_columns=["left", "right"]).split_tables()


def test_two_pictures_of_a_case_become_one(root: Path, tmp_path: Path) -> None:
    lines = ["prior,current,new", *(f"a/{at}.png,{f'b/{at}.png' * (at > 0)},{at % 2}" for at in range(8))]
    options = {"image_columns": ["prior", "current"], "image_dir": None, "pairs_dir": str(tmp_path), "pair_pixels": 16}
    module = load(root, lines, join_images=True, **options)
    assert labels(module) == {f"a/{at}+{f'b+{at}' if at else 'none'}.jpg": [at % 2] for at in range(8)}
    assert all((table.groups == table.names).all() for table in module.split_tables().values())
    pair, alone = (read_image(str(tmp_path / f"16/a/{name}.jpg")) for name in ("3+b+3", "0+none"))
    assert pair.shape == alone.shape == (16, 32, 3)
    assert alone[:, 20:].max() <= 3 < alone[:, :12].max()
    # Written again where one of the two is newer, and only there.
    before = (tmp_path / "16/a/3+b+3.jpg").stat().st_mtime_ns
    load(root, lines, join_images=True, **options).split_tables()
    assert (tmp_path / "16/a/3+b+3.jpg").stat().st_mtime_ns == before
    os.utime(tmp_path / "16/a/3+b+3.jpg", (1, 1))
    load(root, lines, join_images=True, **options).split_tables()
    assert (tmp_path / "16/a/3+b+3.jpg").stat().st_mtime_ns > 2e9


def test_pairs_without_extension_and_with_a_picture_missing(root: Path, tmp_path: Path) -> None:
    lines = ["prior,current,new", *(f"a/{at},{'zz' if at == 2 else f'b/{at}'},{at % 2}" for at in range(8)), ",b/0,1"]
    options = {"image_columns": ["prior", "current"], "image_dir": None, "pairs_dir": str(tmp_path), "pair_pixels": 16,
               "find_images": True, "join_images": True}  # fmt: skip
    with pytest.raises(InputError, match=r"a picture at .*zz .*line 4"):
        load(root, lines, **options).split_tables()
    with pytest.warns(DataWarning, match=r"1 of 9 rows .* such as 'zz' on line 4"):
        found = labels(load(root, lines, missing_images="skip", **options))
    assert "none+b+0.jpg" in found
    assert len(found) == 8


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"image_columns": ["prior"]}, r"two data\.image_columns of RGB.*got 1 image_columns"),
        ({"mask_dir": "masks"}, r"without masks, got .*mask_dir masks"),
        ({"in_channels": 1}, "got .*in_channels 1"),
        ({"pair_pixels": 0}, "pair_pixels of 1 or more"),
    ],
)
def test_what_cannot_be_joined_is_refused(root: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        load(root, ["prior,current,new"], **{"image_columns": ["prior", "current"], "join_images": True, **options})


def test_a_case_without_pictures_and_two_of_one_name_are_named(root: Path, tmp_path: Path) -> None:
    options = {
        "image_columns": ["prior", "current"],
        "image_dir": None,
        "pairs_dir": str(tmp_path),
        "join_images": True,
    }
    with pytest.raises(InputError, match=r"a picture in .*line 2, got blanks only"):
        load(root, ["prior,current,new", ",,1", "a/1.png,b/1.png,0"], **options).split_tables()
    (root / "a/1.jpg").write_bytes((root / "a/1.png").read_bytes())
    try:
        with pytest.raises(InputError, match=r"names of their own, to .*line 3, got two called a/1\+b\+1\.jpg"):
            load(root, ["prior,current,new", "a/1.png,b/1.png,1", "a/1.jpg,b/1.png,0"], **options).split_tables()
    finally:
        (root / "a/1.jpg").unlink()


def test_names_without_extension_or_folder(root: Path) -> None:
    lines = ["image,polyp", "1,0", "./2.png,1", "C:\\scans\\3.png,0", "4,1", "5,0"]
    module = load(root, lines, find_images=True)
    assert sorted(labels(module)) == [f"{at}.png" for at in range(1, 6)]
    bare = load(root, ["image,polyp", *(f"a/{at},{at % 2}" for at in range(6))], find_images=True, image_dir=None)
    assert sorted(labels(bare)) == [f"a/{at}.png" for at in range(6)]
    with pytest.raises(InputError, match=r"one picture '1' .* got 2: a/1.png, b/1.png"):
        load(root, lines, find_images=True, image_dir=None).split_tables()
    with pytest.raises(InputError, match=r"a picture at .*zz"):
        load(root, [*lines, "zz,1"], find_images=True).split_tables()
    with pytest.raises(InputError, match="write the extension"):  # not asked for, it is a mistake
        load(root, lines).split_tables()


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sites with pictures of the same names, and patients with years; of the first, 7 is not there."""
    root = tmp_path_factory.mktemp("sites")
    pictures(root, [f"{site}/{at}.png" for site in ("A", "B") for at in range(10) if (site, at) != ("A", 7)])
    pictures(root, [*(f"p{at}/2020/left.png" for at in range(4)), "p9/2021/fundus.png", "p3/2021/macula.png", "1.png"])
    return root


@pytest.mark.parametrize(
    ("cells", "gone"),
    [
        ([f"A/{at}.png" for at in range(10)], "A/7.png"),
        ([f"A/{at}" for at in range(10)], "A/7"),
        (["A/1.png", "A/2.png", "C/7.png"], "C/7.png"),  # a whole site is missing
        (["D:\\scans\\A\\1.png", "D:\\scans\\A\\2.png", "D:\\scans\\A\\7.png"], "D:\\scans\\A\\7.png"),
        ([*(f"p{at}/2020/left.png" for at in range(4)), "p3/2022/fundus.png"], "p3/2022/fundus.png"),
        (["p0/2020/left.png", "p1/2020/left.png", "p9/2020/left.png"], "p9/2020/left.png"),
        (["p0/2020/left.png", "p1/left.png", "p4/fundus.png"], "p4/fundus.png"),
        (["a/1.png", "p3/2020/left.png", "p3/2020/macula.png"], "p3/2020/macula.png"),
    ],
    ids=[
        "a hole",
        "without extension",
        "a whole site",
        "another machine",
        "a visit",
        "a patient",
        "a folder left out",
        "another year",
    ],
)
def test_a_picture_that_is_missing_is_not_taken_from_another_folder(sites: Path, cells: list[str], gone: str) -> None:
    lines = ["image,polyp", *(f"{cell},{at % 2}" for at, cell in enumerate(cells))]
    options: dict[str, Any] = {"image_dir": None, "find_images": True, "label_columns": ["polyp"]}
    with pytest.raises(InputError, match=rf"a picture at .*{re.escape(gone)} \("):
        load(sites, lines, **options).split_tables()
    with pytest.warns(DataWarning, match=rf"1 of {len(cells)} rows .* such as '{re.escape(gone)}'"):
        found = labels(load(sites, lines, missing_images="skip", val_fraction=0.5, **options))
    assert len(found) == len(cells) - 1


@pytest.mark.parametrize(
    ("cells", "files"),
    [
        (["/home/me/set/A/1.png", "/home/me/set/p0/2020/left.png", "/home/me/set/1.png"],
         ["A/1.png", "p0/2020/left.png", "1.png"]),
        (["2021/fundus.png", "p0/left.png", "a/1.png"], ["p9/2021/fundus.png", "p0/2020/left.png", "A/1.png"]),
        (["D:/A/set/p0/2020/left.png", "D:/A/set/p1/2020/left.png"], ["p0/2020/left.png", "p1/2020/left.png"]),
        (["C:\\old\\fundus.png", "E:\\new\\macula.png"], ["p9/2021/fundus.png", "p3/2021/macula.png"]),
    ],
)  # fmt: skip
def test_folders_that_a_table_leaves_out_or_has_of_another_machine(
    sites: Path, cells: list[str], files: list[str]
) -> None:
    lines = ["image,polyp", *(f"{cell},{at % 2}" for at, cell in enumerate(cells))]
    assert sorted(labels(load(sites, lines, image_dir=None, find_images=True, label_columns=["polyp"]))) == sorted(
        files
    )


def test_rows_without_a_picture_are_left_out_where_that_is_asked_for(root: Path) -> None:
    lines = ["image,polyp,part", *(f"{name},{at % 2},{'train' if at < 6 else 'val'}" for at, name in enumerate(
        ["1.png", "2.png", "zz.png", "", "3.png", "4.png", "5.png", "6.png"],
    ))]  # fmt: skip
    module = load(root, lines, missing_images="skip", split_column="part")
    with pytest.warns(DataWarning, match=r"2 of 8 rows of .* such as 'zz.png' on line 4; restore"):
        assert {split: len(table) for split, table in module.split_tables().items()} == {"train": 4, "val": 2}
    with pytest.raises(InputError, match="a blank"):
        load(root, lines, split_column="part").split_tables()
    with pytest.raises(InputError, match="nothing there, as on 1 further lines"):  # all of them: a wrong folder
        load(root, ["image,polyp", "x.png,0", "y.png,1"], missing_images="skip").split_tables()


def told(module: CSVDataModule) -> list[str]:
    return [doubt.what for doubt in module.doubts() if doubt.kind in ("no groups", "finer groups")]


@pytest.mark.parametrize(
    ("header", "row", "options", "said"),
    [
        ("image,study,subject_id,polyp", "{at}.png,s{of},p{patient},{label}", {"group_column": "study"},
         "every value of 'study' is a group of its own, but values of 'subject_id' hold several"),
        ("left,right,patient_id,polyp", "a/{at}.png,b/{at}.png,p{patient},{label}",
         {"image_columns": ["left", "right"], "image_dir": None},
         "every case is a group of its own, but values of 'patient_id' come again"),
        ("image,exam,polyp", "{at}.png,{of}-O{side},{label}", {"group_column": "exam"},
         "every picture is a group of its own, but its values end in sides of one"),
        ("image,study,site,polyp", "{at}.png,s{of},h{patient},{label}", {"group_column": "study"}, None),
        ("image,study,subject_id,polyp", "{at}.png,s{of},p{patient},{label}", {"group_column": "none"}, None),
    ],
    ids=["subjects of studies", "patients of cases", "sides", "sites", "none on purpose"],
)  # fmt: skip
def test_patients_of_several_groups_are_told_of(
    root: Path, header: str, row: str, options: dict[str, Any], said: str | None
) -> None:
    cells = [
        row.format(at=at, of=at // 2, patient=at // 2 % 3, side="DS"[at % 2], label=at * 5 // 2 % 2) for at in range(12)
    ]
    for seed in range(4):  # of which one at least parts them
        module = load(root, [header, *cells], label_columns=["polyp"], val_fraction=0.4, split_seed=seed, **options)
        if found := told(module):
            break
    assert found == [] if said is None else found[0].startswith(said)


def test_no_groups_that_are_meant(root: Path) -> None:
    assert load(root, rows("0", "1", "0", "1"), group_column="none").group_column is None


def test_a_workbook(root: Path) -> None:
    book = openpyxl.Workbook()
    for row in (["image", "polyp"], *([f"{at}.png", bool(at % 2)] for at in range(8))):
        book.active.append(row)  # type: ignore[union-attr]
    book.save(root / "table.xlsx")
    module = CSVDataModule(str(root), "table.xlsx", image_dir="a")
    assert labels(module) == {f"{at}.png": [at % 2] for at in range(8)}


def test_a_mostly_blank_column_is_no_label_and_that_is_said(root: Path) -> None:
    lines = ["image,polyp,biopsy", *(f"{at}.png,{at % 2},{'' if at > 4 else at % 2}" for at in range(12))]
    module = load(root, lines)
    with pytest.warns(DataWarning, match=r"'biopsy' \(58% blank, else 0 and 1\)"):
        assert module.class_names == ["polyp"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load(root, lines, label_columns=["polyp", "biopsy"]).class_names == ["polyp", "biopsy"]


def test_the_options_come_from_a_yaml(root: Path) -> None:
    lines = [
        "image,findings,veil",
        *(f"{at}.png,{'polyp' * (at % 2)},{('seen', 'no', '2')[at % 3]}" for at in range(12)),
    ]
    load(root, lines)
    (root / "exp.yaml").write_text(
        f"data: {{class_path: CSVDataModule, init_args: {{root: '{root}', image_dir: a, label_columns: [veil], "
        "label_values: {seen: 1, no: 0, yes: 1, 2: 1}, label_list: {column: findings, absent: ['no']}}}\n"
    )
    module = experiment_data(["--config", str(root / "exp.yaml")])
    assert module.class_names == ["veil", "polyp"]
    assert labels(module)["1.png"] == [0, 1]
    two = "label_list: [{column: findings}, {column: veil, prefix: true}]"
    text = (root / "exp.yaml").read_text().replace("label_list: {column: findings, absent: ['no']}", two)
    (root / "two.yaml").write_text(text.replace("label_columns: [veil], ", ""))
    assert experiment_data(["--config", str(root / "two.yaml")]).class_names == [
        "polyp",
        "veil 2",
        "veil no",
        "veil seen",
    ]
