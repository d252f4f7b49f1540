"""`ibca init`: raw tables come to a YAML that `check` and `fit` take, without a guess."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from ibca_lightning.data import CSVDataModule
from ibca_lightning.run.experiment_data import experiment_data
from ibca_lightning.start import init as command
from ibca_lightning.start import recipe
from ibca_lightning.start.recipe import choose
from ibca_lightning.system.errors import DataWarning, InputError
from tests.command_line import Result, done, ibca
from tests.start import raw_sets


def started(root: Path, name: str) -> tuple[Result, dict[str, Any], CSVDataModule]:
    """What `ibca init --yes` says of a raw set, its YAML, and the data module of that YAML."""
    table, images = raw_sets.SETS[name](root)
    output = root / "exp.yaml"
    result = done("init", "--table", table, "--images", images, "--output", output, "--yes")
    return result, yaml.safe_load(output.read_text(encoding="utf-8")), experiment_data(["--config", str(output)])


def taken(result: Result) -> dict[str, str]:
    """The rows of the printed table: by column, why it is taken for what it is."""
    rows = re.findall(r"^(\S.*?) +(?:picture|group|split|label|subgroup|left out) +(.+)$", result.out, re.M)
    return dict(rows)


def sizes(data: CSVDataModule) -> dict[str, int]:
    return {split: len(table) for split, table in data.split_tables().items()}


def no_group_in_two_splits(data: CSVDataModule) -> bool:
    groups = [set(table.groups.tolist()) for table in data.split_tables().values()]
    return sum(map(len, groups)) == len(set.union(*groups))


def test_a_word_for_each_finding(tmp_path: Path) -> None:
    result, written, data = started(tmp_path, "words")
    assert data.class_names == [
        "blue_whitish_veil", "pigment_network atypical", "pigment_network typical", "streaks irregular",
        "streaks regular",
    ]  # fmt: skip
    options = written["data"]["init_args"]
    assert options["label_values"] == {"unsure": -1}
    assert re.search(r"unsure \(\d+ rows\): unknown", " ".join(result.out.split()))
    assert options["subgroup_columns"] == ["sex", "age", "location"]
    assert options["subgroup_bands"] == {"age": [40, 60]}
    assert {"case_num", "exam date", "breslow", "notes"} == set(options["exclude_columns"])
    assert set(data.table("test").subgroups["age"].tolist()) == {b"<40", b"40 to <60", b"60+"}
    assert sum(sizes(data).values()) == 150
    assert sizes(data).keys() == {"train", "val", "test"}
    veil = np.concatenate([table.labels[:, 0] for table in data.split_tables().values()])
    assert set(veil.tolist()) == {-1, 0, 1}
    assert "no column says which pictures are of one patient" in result.out


def test_lists_of_findings_in_a_workbook(tmp_path: Path) -> None:
    result, written, data = started(tmp_path, "lists")
    assert data.class_names == ["erosion", "polyp", "Ulcer"]  # one row of bleeding is no class
    listed = written["data"]["init_args"]["label_list"]
    assert listed == {"column": "Findings", "separator": ";", "absent": ["Normal"], "least": 5}
    assert written["data"]["init_args"]["group_column"] == "Patient ID"
    assert written["data"]["init_args"]["subgroup_columns"] == ["Hospital", "Sex"]
    assert sum(sizes(data).values()) == 160
    assert no_group_in_two_splits(data)
    table = data.table("train")
    assert table.name(0).startswith(("A/frame", "B/frame"))
    assert table.labels.min() == 0  # a blank names none
    assert re.findall("^unsure: .*$", result.out, re.M) == [
        "unsure: 'Findings': a blank is taken for none of them, though 'Normal' is written elsewhere (label_list: "
        "{unknown: ['']} makes it unknown)"
    ]
    assert "names none; no class, as in fewer than 5 rows: bleeding" in " ".join(result.out.split())
    assert "`least`: in so many rows" in (tmp_path / "exp.yaml").read_text()


def test_a_row_an_eye(tmp_path: Path) -> None:
    result, written, data = started(tmp_path, "eyes")
    assert data.class_names == ["n_exudates", "glaucoma", "cataract", "DR grade 1", "DR grade 2", "DR grade 3"]
    options = written["data"]["init_args"]
    assert (options["group_column"], options["subgroup_columns"]) == ("subject", ["eye", "age", "sex"])
    assert options["label_counts"] == ["n_exudates"]
    assert sum(sizes(data).values()) == 160
    assert no_group_in_two_splits(data)
    labels = np.concatenate([table.labels for table in data.split_tables().values()])
    assert set(np.unique(labels).tolist()) == {0, 1}  # a cross or a blank
    assert "unsure: 'glaucoma': a blank is taken for absent" in result.out
    assert "unsure: 'DR grade'" in result.out
    assert "unsure: 'n_exudates': a number above 0 is taken for present" in result.out
    assert "in 34 of 160 rows (x)" in taken(result)["glaucoma"]


def test_columns_renamed_and_mixed(tmp_path: Path) -> None:
    result, written, data = started(tmp_path, "shuffled")
    assert data.class_names == ["Barrett", "Krebs", "Polyp"]
    assert written["data"]["init_args"]["split_column"] == "use"
    assert sizes(data) == {"train": 48, "val": 48, "test": 24}
    assert "test_fraction" not in written["data"]["init_args"]
    assert no_group_in_two_splits(data)
    assert "numbers" in taken(result)["sharpness"]
    assert "unsure: 'cluster_no': taken as no filled column of patients was found" in result.out
    assert "about 48 pictures to train on" in (tmp_path / "exp.yaml").read_text()


def test_two_pictures_of_a_case(tmp_path: Path) -> None:
    _, written, data = started(tmp_path, "pairs")
    assert data.class_names == ["drusen", "myopia"]
    assert written["data"]["init_args"]["image_columns"] == ["Left-Fundus", "Right-Fundus"]
    assert sum(sizes(data).values()) == 120
    for table in data.split_tables().values():
        assert len(set(table.groups.tolist())) * 2 == len(table)


def test_a_split_that_cuts_patients_is_made_anew(tmp_path: Path) -> None:
    names = [f"{at}.png" for at in range(60)]
    raw_sets.pictures(tmp_path / "p", names)
    rows = [[n, f"p{at // 2}", ("train", "test")[at % 2], at // 2 % 2] for at, n in enumerate(names)]
    table = raw_sets.table(tmp_path / "t.csv", ["file", "patient", "set", "polyp"], rows)
    result = done("init", "--table", table, "--images", tmp_path / "p", "--output", tmp_path / "e.yaml", "--yes")
    assert "unsure: 'set': it puts 30 values of 'patient' into several splits" in result.out
    assert "split_column" not in (tmp_path / "e.yaml").read_text()


def test_a_class_that_negates_the_others_and_a_mostly_blank_one_are_left_out(tmp_path: Path) -> None:
    names = [f"{at}.png" for at in range(60)]
    raw_sets.pictures(tmp_path / "p", names)
    rows = [[n, at % 3 == 0, at % 4 == 0, at % 3 > 0 < at % 4, "" if at % 5 else at % 2] for at, n in enumerate(names)]
    table = raw_sets.table(tmp_path / "t.csv", ["file", "polyp", "ulcer", "normal", "biopsy"], rows)
    result = done("init", "--table", table, "--images", tmp_path / "p", "--output", tmp_path / "e.yaml", "--yes")
    said = taken(result)
    assert "unsure: 'normal'" not in result.out
    assert "it says that no other class is present" in said["normal"]
    assert "80% blank" in said["biopsy"]


def test_what_is_wrong_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    raw_sets.pictures(tmp_path / "p", [f"{at}.png" for at in range(30)])
    raw_sets.pictures(tmp_path / "twice", [f"{folder}/{at}.png" for folder in "ab" for at in range(30)])
    (tmp_path / "empty").mkdir()
    header = ["file", "polyp"]
    raw_sets.table(tmp_path / "good.csv", header, [[f"{at}.png", at % 2] for at in range(30)])
    raw_sets.table(tmp_path / "long.csv", header, [[f"{at // 2}.png", at % 2] for at in range(60)])
    raw_sets.table(tmp_path / "far.csv", header, [[f"x{at}.png", at % 2] for at in range(30)])
    raw_sets.table(tmp_path / "bare.csv", ["file", "note"], [[f"{at}.png", "a b c d"] for at in range(30)])
    Path("taken.yaml").write_text("mine")
    for table, images, output, said in (
        ("no.csv", "p", "e.yaml", "a CSV file at no.csv, got nothing there"),
        ("good.csv", "q", "e.yaml", "a folder of pictures (--images) at q"),
        ("good.csv", "empty", "e.yaml", "pictures in and below empty, got none"),
        ("good.csv", "twice", "e.yaml", "a/0.png and b/0.png; give the folder"),
        ("good.csv", "p", "taken.yaml", "no file at taken.yaml yet, got one"),
        ("long.csv", "p", "e.yaml", "one row a picture in long.csv, got '0.png' on 2 rows"),
        ("far.csv", "p", "e.yaml", "a column of far.csv that names the pictures in p, such as 0.png"),
        ("bare.csv", "p", "e.yaml", "a column with findings in bare.csv"),
    ):
        result = ibca("init", "--table", table, "--images", images, "--output", output, "--yes")
        assert (result.code, len(result.errors)) == (2, 1), result
        assert said in result.errors[0]
        assert not Path("e.yaml").exists()
    assert Path("taken.yaml").read_text() == "mine"


@pytest.mark.parametrize("column", ["video", "exam", "series", "case", "patient"])
def test_what_is_no_patient_is_said_to_be_none(tmp_path: Path, column: str) -> None:
    names = [f"{at}.png" for at in range(60)]
    raw_sets.pictures(tmp_path / "p", names)
    rows = [[n, f"V{at // 3:03d}", at % 2, "" if at < 2 else f"P{at // 6}"] for at, n in enumerate(names)]
    table = raw_sets.table(tmp_path / "t.csv", ["file", column, "polyp", "patient no"], rows)
    result = done("init", "--table", table, "--images", tmp_path / "p", "--output", tmp_path / "e.yaml", "--yes")
    written = (tmp_path / "e.yaml").read_text()
    assert f"group_column: {column} " in written
    assert (f"'{column}': taken as no filled column of patients was found" in result.out) is (column != "patient")
    assert "'patient no': it could say which pictures are of one patient, but 2 rows are blank" in result.out
    assert "about 36 pictures to train on" in written
    assert sizes(experiment_data(["--config", str(tmp_path / "e.yaml")]))["train"] == 36


def test_a_patient_in_two_spellings_is_told_of(tmp_path: Path) -> None:
    names = [f"{at}.png" for at in range(60)]
    raw_sets.pictures(tmp_path / "p", names)
    rows = [[n, "v1" if at == 4 else f"V{at // 3:03d}", at % 2] for at, n in enumerate(names)]
    table = raw_sets.table(tmp_path / "t.csv", ["file", "patient", "polyp"], rows)
    result = done("init", "--table", table, "--images", tmp_path / "p", "--output", tmp_path / "e.yaml", "--yes")
    told = "'patient': values in two spellings, and in two splits, if they are one (1): write each in one way"
    assert told in " ".join(result.out.split())
    assert "'V001' and 'v1'" in " ".join(result.out.split()), "on the screen"
    assert "V001" not in (tmp_path / "e.yaml").read_text(), "names of patients are in no file"


def test_a_picture_that_is_missing_is_not_looked_for_in_other_folders(tmp_path: Path) -> None:
    names = [f"site{site}/{at:04d}.png" for site in "AB" for at in range(20)]
    raw_sets.pictures(tmp_path / "p", [name for name in names if name != "siteA/0007.png"])
    table = raw_sets.table(tmp_path / "t.csv", ["file", "a"], [[n, at % 2] for at, n in enumerate(names[:20])])
    done("init", "--table", table, "--images", tmp_path / "p", "--output", tmp_path / "e.yaml", "--yes")
    options = yaml.safe_load((tmp_path / "e.yaml").read_text())["data"]["init_args"]
    assert "find_images" not in options
    assert options["missing_images"] == "skip"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("patient_visit", "p{}_v{}", "its values end in visits: one patient may be in training and in test"),
        ("patient_visit", "{}{}", "taken as no filled column of patients was found: rows of one 'patient_visit'"),
        ("patient", "{}-{}", ""),
        ("patient", "p{}-O{}", "its values end in sides: one patient may be in training and in test"),
    ],
    ids=["visits", "by its name", "patients", "sides"],
)
def test_groups_that_are_parts_of_patients_are_unsure(tmp_path: Path, name: str, value: str, said: str) -> None:
    names = [f"{at}.png" for at in range(60)]
    raw_sets.pictures(tmp_path / "p", names)
    part = "DS" if "O{}" in value else "01"
    rows = [[n, value.format(10 + at // 6, part[at // 3 % 2]), at % 2] for at, n in enumerate(names)]
    table = raw_sets.table(tmp_path / "t.csv", ["file", name, "polyp"], rows)
    result = done("init", "--table", table, "--images", tmp_path / "p", "--output", tmp_path / "e.yaml", "--yes")
    told = " ".join(result.out.split())
    assert bool(f"unsure: '{name}': " in told) == bool(said)
    assert said in told


@pytest.mark.parametrize(
    ("first", "said"),
    [
        ("1-Mar", "1 of 20 groups are dates, as a spreadsheet makes them of MAR-1 or 3-1: take them from where"),
        ("1.23457E+12", "1 values that name nobody, or that a spreadsheet has cut: ibca fit refuses them"),
        ("#REF!", "1 values that name nobody, or that a spreadsheet has cut: ibca fit refuses them"),
    ],
)
def test_patients_that_a_spreadsheet_has_respelt_are_told_of(tmp_path: Path, first: str, said: str) -> None:
    names = [f"{at}.png" for at in range(60)]
    raw_sets.pictures(tmp_path / "p", names)
    rows = [[n, first if at < 3 else f"BER-{at // 3}", at % 2] for at, n in enumerate(names)]
    table = raw_sets.table(tmp_path / "t.csv", ["file", "patient", "polyp"], rows)
    result = done("init", "--table", table, "--images", tmp_path / "p", "--output", tmp_path / "e.yaml", "--yes")
    told = " ".join(result.out.split())
    assert f"'patient': {said}" in told
    assert f"('{first}')" in told
    assert first not in (tmp_path / "e.yaml").read_text()
    if first == "1-Mar":
        with pytest.warns(DataWarning, match="groups are dates"):
            experiment_data(["--config", str(tmp_path / "e.yaml")]).setup("fit")
        assert "groups are dates" in ibca("check", "--config", tmp_path / "e.yaml", "--output", tmp_path / "c").out


def test_pictures_whose_names_a_spreadsheet_has_made_dates_are_told_of(tmp_path: Path) -> None:
    names = [f"MAR-{at}.png" for at in range(20, 60)]
    raw_sets.pictures(tmp_path / "p", names)
    rows = [[f"{at}-Mar" if at < 32 else f"MAR-{at}", f"P{at // 2}", at % 2] for at in range(20, 60)]
    table = raw_sets.table(tmp_path / "t.csv", ["file", "patient", "polyp"], rows)
    result = done("init", "--table", table, "--images", tmp_path / "p", "--output", tmp_path / "e.yaml", "--yes")
    said = "a spreadsheet may have made a date of the name: take the column from where it is whole"
    assert said in " ".join(result.out.split())
    with pytest.warns(DataWarning, match=said):
        experiment_data(["--config", str(tmp_path / "e.yaml")]).split_tables()
    with pytest.raises(InputError, match=said):
        CSVDataModule(str(tmp_path), "t.csv", image_column="file", image_dir="p").split_tables()


@pytest.mark.parametrize(
    ("cells", "classes"),
    [
        ({"normal": 24, "glaucoma": 8, "cataract": 7, "yes": 1}, "glaucoma 8, cataract 7"),
        ({"normal": 23, "glaucoma": 6, "cataract": 6, "x": 5}, "glaucoma 6, cataract 6"),
        ({"cataract": 14, "glaucoma": 15, "normal": 10, "yes": 1}, "glaucoma 15, cataract 14"),
    ],
)
def test_a_stray_yes_among_findings_takes_no_class_away(tmp_path: Path, cells: dict[str, int], classes: str) -> None:
    words = [word for word, count in cells.items() for _ in range(count)]
    raw_sets.pictures(tmp_path / "p", [f"{at}.png" for at in range(len(words))])
    table = [[f"{at}.png", f"V{at // 2:03d}", word] for at, word in enumerate(words)]
    raw_sets.table(tmp_path / "t.csv", ["file", "patient", "diagnosis"], table)
    result = done(
        "init", "--table", tmp_path / "t.csv", "--images", tmp_path / "p", "--output", tmp_path / "e.yaml", "--yes"
    )
    said = " ".join(result.out.split())
    assert all(part in said for part in classes.split(", ")), said


def test_a_finding_with_slips_is_no_group_for_its_name(tmp_path: Path) -> None:
    words = ["yes"] * 18 + ["no"] * 20 + ["nien"] * 2
    raw_sets.pictures(tmp_path / "p", [f"{at}.png" for at in range(40)])
    raw_sets.table(tmp_path / "t.csv", ["file", "lesion"], [[f"{at}.png", word] for at, word in enumerate(words)])
    result = done(
        "init", "--table", tmp_path / "t.csv", "--images", tmp_path / "p", "--output", tmp_path / "e.yaml", "--yes"
    )
    assert re.search(r"lesion +label", result.out), result.out


def answered(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    """Let a terminal answer; what is left of the answers."""
    left = list(answers)
    monkeypatch.setattr("builtins.input", lambda _: left.pop(0))
    monkeypatch.setattr(command, "_on_terminal", lambda: True)
    return left


def test_a_terminal_is_asked_where_it_is_unsure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{at}.png" for at in range(60)]
    raw_sets.pictures(tmp_path / "p", names)
    rows = [[n, ("head", "arm", "leg")[at % 3], at % 2] for at, n in enumerate(names)]
    table = raw_sets.table(tmp_path / "t.csv", ["file", "kind", "polyp"], rows)
    left = answered(monkeypatch, "what?", "label")
    result = done("init", "--table", table, "--images", tmp_path / "p", "--output", tmp_path / "e.yaml")
    assert "4 classes: arm, head, leg, polyp" in result.out
    assert "'what?' is none of these words" in result.out
    assert not left
    assert len(re.findall("^file ", result.out, re.M)) == 1  # the table once; behind the answers what they changed
    assert len(re.findall("^kind ", result.out, re.M)) == 2


def test_a_grade_in_order_a_number_of_findings_and_a_blank_that_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{at}.png" for at in range(60)]
    raw_sets.pictures(tmp_path / "p", names)
    found = ("normal", "polyp", "ulcer; polyp", "")
    rows = [[n, at % 4, at % 5 + 1, at % 6, found[at % 4]] for at, n in enumerate(names)]
    header = ["file", "DR grade", "birads", "spots", "findings"]
    table = raw_sets.table(tmp_path / "t.csv", header, rows)
    left = answered(monkeypatch, "ordered", "each", "count", "unknown")
    result = done("init", "--table", table, "--images", tmp_path / "p", "--output", tmp_path / "e.yaml")
    assert not left
    assert "unsure: 'findings'" not in result.out  # it was asked
    options = yaml.safe_load((tmp_path / "e.yaml").read_text())["data"]["init_args"]
    assert options["label_counts"] == options["label_columns"] == ["spots"]
    assert options["label_list"] == [
        {"column": "DR grade", "absent": ["0"], "prefix": True, "ordered": True},
        {"column": "birads", "prefix": True},
        {"column": "findings", "separator": ";", "absent": ["normal"], "unknown": [""]},
    ]
    data = experiment_data(["--config", str(tmp_path / "e.yaml")])
    assert data.class_names == [
        "spots", "DR grade 1+", "DR grade 2+", "DR grade 3+", *(f"birads {at}" for at in range(1, 6)), "polyp", "ulcer",
    ]  # fmt: skip
    read = {table.name(row): table.labels[row] for table in data.split_tables().values() for row in range(len(table))}
    assert read["3.png"].tolist() == [1, 1, 1, 1, 0, 0, 0, 1, 0, -1, -1]
    assert read["6.png"].tolist() == [0, 1, 1, 0, 0, 1, 0, 0, 0, 1, 1]


def test_grades_in_words_are_asked_for_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{at}.png" for at in range(60)]
    raw_sets.pictures(tmp_path / "p", names)
    rows = [[n, ("no DR", "severe", "mild", "moderate")[at % 4]] for at, n in enumerate(names)]
    table = raw_sets.table(tmp_path / "t.csv", ["file", "DR severity"], rows)
    left = answered(monkeypatch, "ordered", "mild, moderate, severe")
    result = done("init", "--table", table, "--images", tmp_path / "p", "--output", tmp_path / "e.yaml")
    assert not left
    assert "3 classes: DR severity mild+, DR severity moderate+, DR severity severe+" in result.out
    data = experiment_data(["--config", str(tmp_path / "e.yaml")])
    found = {table.name(row): table.labels[row] for table in data.split_tables().values() for row in range(len(table))}
    assert [found[f"{at}.png"].tolist() for at in range(4)] == [[0, 0, 0], [1, 1, 1], [1, 0, 0], [1, 1, 0]]
    left = answered(monkeypatch, "ordered", "mild, worse", "")  # no such grades: asked again; then each is a class
    result = done("init", "--table", table, "--images", tmp_path / "p", "--output", tmp_path / "f.yaml")
    assert not left
    assert "3 classes: DR severity mild, DR severity moderate, DR severity severe" in result.out


@pytest.mark.parametrize("column", ["DR grade", "kind"])
def test_grades_that_end_in_a_number_are_words_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, column: str
) -> None:
    names = [f"{at}.png" for at in range(60)]
    raw_sets.pictures(tmp_path / "p", names)
    rows = [[n, f"G{at % 3}" if at else "G7"] for at, n in enumerate(names)]  # G7 is rare
    table = raw_sets.table(tmp_path / "t.csv", ["file", column], rows)
    left = answered(monkeypatch, "ordered", "G0, G1, G2", "G0, G1, G2, G7")
    result = done("init", "--table", table, "--images", tmp_path / "p", "--output", tmp_path / "e.yaml")
    assert not left, "a grade was forgotten: asked again"
    assert f"{column} G0+, {column} G1+, {column} G2+, {column} G7+" in result.out


def test_grades_of_a_table_with_blanks_have_decimals_and_their_zero_is_absent(tmp_path: Path) -> None:
    names = [f"{at}.png" for at in range(60)]
    raw_sets.pictures(tmp_path / "p", names)
    rows = [[n, f"{at % 4}.0" if at else ""] for at, n in enumerate(names)]
    table = raw_sets.table(tmp_path / "t.csv", ["file", "DR grade"], rows)
    result = done("init", "--table", table, "--images", tmp_path / "p", "--output", tmp_path / "e.yaml", "--yes")
    assert "3 classes: DR grade 1.0, DR grade 2.0, DR grade 3.0" in result.out
    listed = yaml.safe_load((tmp_path / "e.yaml").read_text())["data"]["init_args"]["label_list"]
    assert (listed["absent"], listed["unknown"]) == (["0.0"], [""])


def test_on_a_terminal_nothing_that_was_not_asked_stays_unsaid_and_one_column_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{at}.png" for at in range(60)]
    raw_sets.pictures(tmp_path / "p", names[:-2])
    rows = [[n, "abcdef"[at % 6], "uvwxyz"[at // 10], at % 2] for at, n in enumerate(names)]
    table = raw_sets.table(tmp_path / "t.csv", ["file", "ward", "floor", "polyp"], rows)
    left = answered(monkeypatch, "split", "group", "group")  # a split is known by its values alone
    result = done("init", "--table", table, "--images", tmp_path / "p", "--output", tmp_path / "e.yaml")
    assert not left
    assert "unsure: 'file': 2 pictures are not in the folder: their rows are left out (such as '58.png', " in result.out
    assert taken(result)["floor"].startswith("one column groups, and 'ward'")
    assert yaml.safe_load((tmp_path / "e.yaml").read_text())["data"]["init_args"]["exclude_columns"] == ["floor"]


def test_tables_of_further_splits_lie_beside(tmp_path: Path) -> None:
    names = [f"{at}.png" for at in range(60)]
    raw_sets.pictures(tmp_path / "p", names)
    rows = [[n, at // 2 % 3] for at, n in enumerate(names)]
    for name, part in (("train", rows[:40]), ("valid", rows[40:50]), ("test", rows[50:])):
        raw_sets.table(tmp_path / f"labels_{name}.csv", ["file", "diagnosis"], part)
    raw_sets.table(tmp_path / "labels_holdout.csv", ["file"], [[n] for n in names[:9]])  # has no labels
    (tmp_path / "labels_val.csv").mkdir()
    table = tmp_path / "labels_train.csv"
    result = done("init", "--table", table, "--images", tmp_path / "p", "--output", tmp_path / "e.yaml", "--yes")
    assert f"test: {tmp_path / 'labels_test.csv'}, found beside {table}" in result.out
    assert "about 40 pictures to train on" in (tmp_path / "e.yaml").read_text()
    data = experiment_data(["--config", str(tmp_path / "e.yaml")])
    assert (data.class_names, sizes(data)) == (["diagnosis 1", "diagnosis 2"], {"train": 40, "val": 10, "test": 10})
    for word in ("external", "tune"):  # before `test` and `valid` in the order of letters
        raw_sets.table(tmp_path / f"labels_{word}.csv", ["file", "diagnosis"], rows[50:])
    result = done("init", "--table", table, "--images", tmp_path / "p", "--output", tmp_path / "g.yaml", "--yes")
    for split, taken_one, other in (("test", "test", "external"), ("val", "valid", "tune")):
        file, left = tmp_path / f"labels_{taken_one}.csv", tmp_path / f"labels_{other}.csv"
        assert f"{split}: {file}, found beside" in result.out
        assert f"unsure: not used: {left}, as {file} is taken for {split}" in result.out
    alone = raw_sets.table(tmp_path / "train.csv", ["file", "diagnosis"], rows)
    done("init", "--table", alone, "--images", tmp_path / "p", "--output", tmp_path / "f.yaml", "--yes")
    assert not {"val_csv", "test_csv"} & yaml.safe_load((tmp_path / "f.yaml").read_text())["data"]["init_args"].keys()


def test_weights_that_are_not_here_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw_sets.pictures(tmp_path / "p", [f"{at}.png" for at in range(30)])
    table = raw_sets.table(tmp_path / "t.csv", ["file", "polyp"], [[f"{at}.png", at % 2] for at in range(30)])
    monkeypatch.setattr(recipe, "HF_HUB_CACHE", str(tmp_path / "cache"))
    for at in range(2):
        result = done(
            "init", "--table", table, "--images", tmp_path / "p", "--output", tmp_path / f"{at}.yaml", "--yes"
        )
        assert (
            "off line, give it --model.checkpoint_path FILE, or --model.pretrained false" in result.out
        ) is not bool(at)
        for name in ("mobilenetv2_100.ra_in1k", "resnet50.a1_in1k"):
            (tmp_path / "cache" / f"models--timm--{name}").mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(recipe, "HF_HUB_CACHE", str(tmp_path / "other"))
    (tmp_path / "other" / "models--timm--resnet50d.ra2_in1k").mkdir(parents=True)
    assert not recipe.has_weights("resnet50")


@pytest.mark.parametrize("gpu", [False, True])
def test_the_rules_of_training(gpu: bool) -> None:
    small = choose(120, 200, 0.02, gpu, 2)
    assert (small.image_size, small.batch_size, small.balanced_sampling) == (224, 8, True)
    assert choose(120, 64, 0.3, gpu, 2).feature_stride == [8, 16]
    large = choose(50_000, 2000, 0.3, gpu, 64)
    assert (large.image_size, large.max_epochs, large.num_workers) == ((384, 10, 8) if gpu else (224, 5, 8))
    assert choose(5000, None, 0.3, gpu, 4).image_size == (512 if gpu else 224)
    few = choose(33, 40, 0.3, gpu, 2)
    assert few.reasons["batch_size"] == "8 steps an epoch", few.batch_size
    assert few.reasons["max_epochs"] == f"about 33 pictures to train on, {33 * few.max_epochs} seen in all"


def test_tables_of_published_sets_are_read_as_meant(tmp_path: Path) -> None:
    """Columns as HAM10000, ODIR-5K and ChestX-ray14 have them, where a name or a value once misled."""
    names = [f"{at}.png" for at in range(60)]
    raw_sets.pictures(tmp_path / "p", names)
    header = ["file", "lesion_id", "dx", "dx_type", "Patient Age", "Follow-up #", "Spacing", "N", "D", "G"]
    kinds, ways = ("nv", "mel", "bkl"), ("histo", "follow_up")
    flags = [(at % 5 > 1, at % 5 == 0, at % 5 == 1 or at == 5) for at in range(60)]
    rows = [
        [name, f"HAM_{at // 2}", kinds[at % 3], ways[at % 2], 30 + at % 7, at % 4, 0.14, *flags[at]]
        for at, name in enumerate(names)
    ]
    table = raw_sets.table(tmp_path / "t.csv", header, rows)
    result = done("init", "--table", table, "--images", tmp_path / "p", "--output", tmp_path / "e.yaml", "--yes")
    options = yaml.safe_load((tmp_path / "e.yaml").read_text())["data"]["init_args"]
    assert options["group_column"] == "lesion_id"
    assert options["label_columns"] == ["D", "G"]
    assert options["label_list"] == {"column": "dx"}
    assert options["exclude_columns"] == ["dx_type", "Patient Age", "Follow-up #", "Spacing", "N"]
    assert "it says that no other class is present" in taken(result)["N"]
    assert "unsure: 'N': it could be a finding that never comes with another" in result.out


def test_words_alone_are_findings_where_there_is_nothing_else(tmp_path: Path) -> None:
    names = [f"{at}.png" for at in range(60)]
    raw_sets.pictures(tmp_path / "p", names)
    table = raw_sets.table(
        tmp_path / "t.csv", ["file", "outcome"], [[n, ("benign", "evil")[at % 2]] for at, n in enumerate(names)]
    )
    result = done("init", "--table", table, "--images", tmp_path / "p", "--output", tmp_path / "e.yaml", "--yes")
    assert "unsure: 'outcome': taken for findings, as no other column holds any" in result.out
    assert "2 classes: benign, evil" in result.out


def test_rows_without_a_picture_are_said_and_left_out(tmp_path: Path) -> None:
    names = [f"{at}.png" for at in range(60)]
    raw_sets.pictures(tmp_path / "p", names[:-2])
    table = raw_sets.table(
        tmp_path / "t.csv", ["file", "polyp"], [["", 1], *([n, at % 2] for at, n in enumerate(names))]
    )
    result = done("init", "--table", table, "--images", tmp_path / "p", "--output", tmp_path / "e.yaml", "--yes")
    assert "unsure: 'file': 2 pictures are not in the folder: their rows are left out (such as '58.png', " in result.out
    assert "unsure: rows without a name in 'file', left out: 1" in result.out
    with pytest.warns(DataWarning, match="3 of 61 rows"):
        assert sum(sizes(experiment_data(["--config", str(tmp_path / "e.yaml")])).values()) == 58


def quickly(root: Path, header: list[str], rows: list[list[object]]) -> tuple[str, dict[str, Any]]:
    """What init says of 60 pictures, in one line, and its options of the data; the first column is theirs."""
    names = [f"{at}.png" for at in range(60)]
    raw_sets.pictures(root / "p", names)
    table = raw_sets.table(root / "t.csv", ["file", *header], [[n, *row] for n, row in zip(names, rows, strict=True)])
    result = done("init", "--table", table, "--images", root / "p", "--output", root / "e.yaml", "--yes")
    options = yaml.safe_load((root / "e.yaml").read_text(encoding="utf-8"))["data"]["init_args"]
    return " ".join(result.out.split()), options


@pytest.mark.parametrize(
    ("yes", "no", "slip"),
    [("ja", "nein", "nien"), ("yes", "no", "ye"), ("1", "0", "O"), ("x", "", "xx"), ("oui", "non", "ouii")],
)
def test_a_slip_in_a_yes_no_column_is_unknown_and_neither_a_class_nor_absent(
    tmp_path: Path, yes: str, no: str, slip: str
) -> None:
    rows: list[list[object]] = [[(yes, no)[at % 2], (at // 2) % 3 // 2] for at in range(60)]
    rows[10][0] = slip
    said, options = quickly(tmp_path, ["polyp", "ulcer"], rows)
    assert "2 classes: polyp, ulcer" in said
    assert f"unknown: line 12; correct them ('{slip}')" in said
    assert options["label_columns"] == ["polyp", "ulcer"]
    assert options["label_values"].get(slip.casefold()) == -1
    data = experiment_data(["--config", str(tmp_path / "e.yaml")])
    read = {table.name(row): table.labels[row] for table in data.split_tables().values() for row in range(len(table))}
    assert [read[f"{at}.png"][0] for at in (8, 9, 10)] == [1, 0, -1]


@pytest.mark.parametrize("text", ["polyp at the flexure", "see letter of Dr. Kaya", "*03.04.1950"])
def test_text_in_a_yes_no_column_is_written_nowhere(tmp_path: Path, text: str) -> None:
    rows: list[list[object]] = [[("yes", "no")[at % 2], (at // 2) % 3 // 2] for at in range(60)]
    rows[10][0] = text
    said, options = quickly(tmp_path, ["polyp", "ulcer"], rows)
    assert "'polyp': a label, but for text that says neither present nor absent: line 12; write yes or no" in said
    assert text in said
    assert options["label_columns"] == ["ulcer"]
    assert options["exclude_columns"] == ["polyp"]
    assert text.casefold() not in (tmp_path / "e.yaml").read_text().casefold()


@pytest.mark.parametrize(
    ("parts", "splits"),
    [
        (("development", "validation", "test"), ("train", "val", "test")),
        (("train", "validation", "external"), ("train", "val", "test")),
        (("Training set", "Test set", "Training_Set"), ("train", "test", "train")),
        (("train", "development", "test"), None),
        (("Public", "Private", "Training"), None),
        (("train1", "train2", "test1"), None),
        (("training", "eval", "eval"), None),
        (("train", "test", "external"), None),
        (("internal training", "internal test", "external_test 1"), None),
    ],
)
def test_a_split_in_other_words_is_taken_or_asked_about(
    tmp_path: Path, parts: tuple[str, ...], splits: tuple[str, ...] | None
) -> None:
    said, options = quickly(tmp_path, ["use", "polyp"], [[parts[at % 3], at // 3 % 2] for at in range(60)])
    if splits is None:
        assert re.search(
            "unsure: 'use': (it may say what is for training and what for test|a split but for line|external rows)",
            said,
        )
        assert options["exclude_columns"] == ["use"]
        return
    assert options["split_column"] == "use"
    data = experiment_data(["--config", str(tmp_path / "e.yaml")])
    assert sizes(data) == {split: 20 * splits.count(split) for split in splits} | (
        {} if "val" in splits else {"train": 32, "val": 8}
    )


def test_what_says_no_finding_or_is_coded_is_asked_about(tmp_path: Path) -> None:
    header = ["is_test", "split", "pred_polyp", "ungradable", "blurred", "spss", "minus", "nine", "polyp"]
    rows: list[list[object]] = [
        [at % 2, at % 3 // 2, at % 4 // 2, at % 5 // 4, at % 6 // 5, at % 2 + 1, (0, 1, -9)[at % 3], (0, 1, 9)[at % 3]]
        for at in range(60)
    ]
    said, options = quickly(tmp_path, header, [[*row, at // 3 % 2] for at, row in enumerate(rows)])
    assert options["label_columns"] == ["polyp"]
    assert options["exclude_columns"] == header[:-1]
    for name, doubt in zip(
        header,
        [*["it may say what is for training"] * 2, *["it could be a label"] * 3, "two numbers: yes and no"]
        + ["0 and 1 beside what may be a code"] * 2,
        strict=False,
    ):
        assert f"unsure: '{name}': {doubt}" in said


def test_what_is_called_test_or_set_is_a_finding_where_its_cells_say_so(tmp_path: Path) -> None:
    header = ["pcr_test", "covid test", "skin test", "test", "findings", "annotation_set"]
    rows: list[list[object]] = [
        [("positive", "negative")[at % 2], ("pos", "neg")[at // 2 % 2], ("+", "-", "+/-")[at % 3], "-+"[at // 3 % 2],
         ("test positive", "test negative", "internal")[at // 4 % 3], at // 5 % 3 + 1]
        for at in range(60)
    ]  # fmt: skip
    said, options = quickly(tmp_path, header, rows)
    assert options["label_columns"] == header[:4]
    assert "it may say what is for training" not in said


def test_sizes_are_not_asked_about(tmp_path: Path) -> None:
    header = ["image_width", "slices", "bits", "n_views", "dose", "code", "polyp"]
    rows: list[list[object]] = [[512 + at % 2 * 512, at % 2 + 1, 8 + at % 2, *[at % 2 + 1] * 3] for at in range(60)]
    for row in rows:
        row[4] = 20 + int(str(row[1]))
    said, _ = quickly(tmp_path, header, [[*row, at // 3 % 2] for at, row in enumerate(rows)])
    assert re.findall(r"unsure: '(\w+)': (?:two|whole) numbers", said) == ["code"]


def test_boxes_of_redcap_are_flags_and_plus_minus_is_said(tmp_path: Path) -> None:
    rows: list[list[object]] = [[("Checked", "Unchecked")[at % 2], ("+", "-", "+/-")[at % 3]] for at in range(60)]
    said, options = quickly(tmp_path, ["findings___1", "ulcer"], rows)
    assert options["label_columns"] == ["findings___1", "ulcer"]
    assert options["label_values"] == {"checked": 1, "unchecked": 0, "+": 1, "-": 0, "+/-": -1}
    assert "unsure: 'ulcer': what is between absent and present is taken for unknown (label_values) ('+/-')" in said


def test_lists_in_two_ways_are_said_and_no_row_of_them_is_a_negative(tmp_path: Path) -> None:
    cells = ["polyp; ulcer", "ulcer", "normal", "polyp", "polyp; erosion"]
    rows: list[list[object]] = [["polyp, ulcer" if at in (1, 11, 21) else cells[at % 5]] for at in range(60)]
    said, options = quickly(tmp_path, ["findings"], rows)
    assert "unsure: 'findings': names that are not sure, or several others in one, make their rows unknown" in said
    assert options["label_list"]["unknown"] == ["polyp, ulcer"]
    data = experiment_data(["--config", str(tmp_path / "e.yaml")])
    read = {table.name(row): table.labels[row] for table in data.split_tables().values() for row in range(len(table))}
    assert data.class_names == ["erosion", "polyp", "ulcer"]
    assert [read[f"{at}.png"].tolist() for at in (10, 11)] == [[0, 1, 1], [-1, -1, -1]]


def test_a_slip_in_a_split_is_said(tmp_path: Path) -> None:
    rows: list[list[object]] = [[("train", "val", "test")[at % 3], at // 3 % 2] for at in range(60)]
    rows[10][0] = "tset"
    said, options = quickly(tmp_path, ["use", "polyp"], rows)
    assert "unsure: 'use': a split but for line 12: correct them, or the table is split anew" in said
    assert options["exclude_columns"] == ["use"]


def test_a_mark_in_two_spellings_is_one_class(tmp_path: Path) -> None:
    said, options = quickly(tmp_path, ["polyp"], [[("x", "", "1", "?")[at % 4]] for at in range(60)])
    assert "1 class: polyp" in said
    assert options["labels"] == {"blank": {"polyp": "zero"}}


def test_a_name_that_says_yes_is_no_class(tmp_path: Path) -> None:
    words = ("ja", "nein", "klein", "groß", "gestielt")
    said, options = quickly(tmp_path, ["polyp", "ulcer"], [[words[at % 5], at // 5 % 2] for at in range(60)])
    assert "1 class: ulcer" in said
    assert "'polyp': 'ja' stands beside more of other words" in said
    assert options["exclude_columns"] == ["polyp"]


def test_a_rare_name_near_one_of_a_class_is_doubted(tmp_path: Path) -> None:
    rows: list[list[object]] = [[("polyp", "ulcer", "normal")[at % 3]] for at in range(60)]
    rows[0] = ["pollyp"]
    said, _ = quickly(tmp_path, ["diagnosis"], rows)
    assert "correct them ('pollyp' and 'polyp')" in said


def test_findings_in_words_beside_yes_and_no_are_said_to_be_the_same(tmp_path: Path) -> None:
    rows = [[at % 2, at // 2 % 2, at % 2] for at in range(60)]
    texts = ["; ".join(["Polyp, gestielt"] * row[0] + ["Erosion der Mukosa"] * row[1]) for row in rows]
    said, options = quickly(
        tmp_path, ["polyp", "erosion", "Befund", "stalk"],
        [[*row[:2], text, row[2]] for row, text in zip(rows, texts, strict=True)],
    )  # fmt: skip
    assert "unsure: 'Befund': 2 of its 2 findings stand in the same rows as findings of other columns" in said
    assert "unsure: 'stalk': 1 of its 1 findings" in said
    assert "unsure: 'polyp'" not in said
    assert options["label_columns"] == ["polyp", "erosion", "stalk"]
    assert options["exclude_columns"] == ["Befund"]


def test_the_file_holds_no_cell_that_may_name_a_patient(tmp_path: Path) -> None:
    """Names, dates, texts, pictures that are not there: on the screen, not in the comments."""
    names = [f"Kaya_Eva_{at}.png" for at in range(60)]
    raw_sets.pictures(tmp_path / "p", names[:-1])
    rows = [
        [n, f"Kaya, Eva {at}", f"{at % 28 + 1:02d}.03.1950", f"Kaya klagt über Husten seit Tag {at}", "Kaya", at % 2]
        for at, n in enumerate(names)
    ]
    header = ["file", "Name", "Geburtstag", "Anamnese", "Arzt", "polyp"]
    table = raw_sets.table(tmp_path / "t.csv", header, rows)
    result = done("init", "--table", table, "--images", tmp_path / "p", "--output", tmp_path / "e.yaml", "--yes")
    assert "Kaya, Eva 0" in result.out
    assert "such as 'Kaya_Eva_59.png'" in result.out
    written = (tmp_path / "e.yaml").read_text()
    assert "Kaya" not in written
    assert "1950" not in written
    assert re.search("- Geburtstag +# dates\n", written)


def test_bands_of_age_stand_in_their_order(tmp_path: Path) -> None:
    said, _ = quickly(tmp_path, ["age", "polyp"], [[90 - at, at % 2] for at in range(60)])
    assert re.search(r"<50 \d+, 50 to <70 \d+, 70\+ \d+", said)


def test_pictures_without_an_extension_are_known_by_what_they_hold(tmp_path: Path) -> None:
    names = [f"1.2.276.{at}" for at in range(60)]
    raw_sets.pictures(tmp_path / "p", [f"{name}.png" for name in names])
    for name in names:
        (tmp_path / "p" / f"{name}.png").rename(tmp_path / "p" / name)
    (tmp_path / "p" / "notes").write_text("no picture")
    shutil.copy(tmp_path / "p" / names[0], tmp_path / "p" / f"{names[0]}.png_original")  # as exiftool leaves it
    table = raw_sets.table(tmp_path / "t.csv", ["file", "polyp"], [[n, at % 2] for at, n in enumerate(names)])
    result = done("init", "--table", table, "--images", tmp_path / "p", "--output", tmp_path / "e.yaml", "--yes")
    assert taken(result)["file"].startswith("60 pictures, such as 1.2.276.0")
    assert sum(sizes(experiment_data(["--config", str(tmp_path / "e.yaml")])).values()) == 60


def test_columns_of_other_languages_and_decimal_commas(tmp_path: Path) -> None:
    rows = [
        [
            f"{61 + at % 30}",
            ("Fuji", "Olympus")[at % 2],
            f"{at % 4},{at % 3}",
            f"{at % 28 + 1}.3.2020 früh",
            at % 2,
            "wie oben",
        ]
        for at in range(60)
    ]
    header = ["âge", "Appareil", "taille (cm)", "Geburtstag", "polype", "Remarques"]
    said, options = quickly(tmp_path, header, rows)
    assert options["subgroup_columns"] == ["âge", "Appareil"]
    assert options["exclude_columns"] == ["taille (cm)", "Geburtstag", "Remarques"]
    assert "taille (cm) left out numbers" in said
    assert "1 class: polype" in said


def test_names_in_another_case_are_said_as_the_files_have_them(tmp_path: Path) -> None:
    raw_sets.pictures(tmp_path / "p", [f"img{at}.png" for at in range(30)])
    table = raw_sets.table(tmp_path / "t.csv", ["file", "polyp"], [[f"IMG{at}.PNG", at % 2] for at in range(30)])
    result = ibca("init", "--table", table, "--images", tmp_path / "p", "--output", tmp_path / "e.yaml", "--yes")
    assert "'IMG0.PNG' is called img0.png" in result.errors[0]
