"""Rows of one patient are found where no group column names them, and what is no patient is left alone."""

from collections.abc import Callable, Sequence
from random import Random

import numpy as np
import pytest

from ibca_lightning.data.tables.doubts import Doubt
from ibca_lightning.data.tables.groups.grouping import grouping_doubts, like_patients
from ibca_lightning.data.tables.sheet import Sheet
from ibca_lightning.data.tables.table import Table, encode

ROWS = 120


def shuffled(values: Sequence[str]) -> list[str]:
    values = list(values)
    Random(0).shuffle(values)
    return values


def each(make: Callable[[int], str]) -> list[str]:
    return [make(at) for at in range(ROWS)]


PATIENTS: dict[str, tuple[str, list[str]]] = {
    "numbers with the name, shuffled": ("Patient ID", shuffled(each(lambda at: str(at // 3)))),
    "three videos": ("video", shuffled(each(lambda at: "abc"[at % 3]))),
    "a short word": ("case_num", each(lambda at: str(at // 2))),
    "some blanks": ("lesion_id", each(lambda at: "" if at % 5 == 0 else f"HAM_{at // 3:04d}")),
    "no name, rows together": ("key", each(lambda at: str(at // 4))),
    "no name, codes in any order": ("source", shuffled(each(lambda at: f"ACB_g{at // 3:03d}"))),
    "as pandas writes numbers with gaps": ("key", each(lambda at: f"{at // 4}.0")),
    "leading zeros": ("Kennung", shuffled(each(lambda at: f"{at // 2:05d}"))),
}
OTHERS: dict[str, tuple[str, list[str]]] = {
    "unique": ("patient", each(str)),
    "one repeated by chance": ("key", [*each(str)[:-1], "0"]),
    "sex": ("sex", each(lambda at: "MF"[at % 2])),
    "age": ("age", shuffled(each(lambda at: str(20 + at % 60)))),
    "age, sorted": ("patient_age", each(lambda at: str(20 + at // 2))),
    "age without a name": ("v3", shuffled(each(lambda at: str(20 + at % 60)))),
    "patient's sex": ("Patient Gender", each(lambda at: ("M", "F", "other")[at % 3])),
    "site": ("hospital", each(lambda at: f"H{at // 6}")),
    "device": ("camera_model", each(lambda at: f"TRC-{at // 6}")),
    "device without a name": ("src", shuffled(each(lambda at: f"TRC-{at % 4}"))),
    "date": ("examined", each(lambda at: f"2021-03-{1 + at // 5:02d}")),
    "date with the time": ("examined", each(lambda at: f"20210{1 + at // 60}{10 + at // 10 % 6} 10:00")),
    "measurement": ("v4", shuffled(each(lambda at: f"{0.1 * (at // 3):.1f}"))),
    "grade": ("retinopathy grade", each(lambda at: str(at % 5))),
    "count": ("lesions", each(lambda at: str(at % 7))),
    "follow-up": ("Follow-up #", shuffled(each(lambda at: str(at % 12)))),
    "remarks": ("v5", each(lambda at: f"seen on {at // 4} pictures")),
    "words": ("v6", each(lambda at: ("red", "green", "blue")[at % 3])),
    "mostly one value": ("v7", each(lambda at: f"E{at // 2}.9" if at < 40 else "Z00")),
    "diagnosis code": ("icd10", each(lambda at: f"E{at // 5}.9")),
    "mostly blank": ("key", each(lambda at: str(at // 2) if at < 30 else "")),
}


@pytest.mark.parametrize("case", PATIENTS)
def test_a_column_of_patients_is_taken_for_one(case: str) -> None:
    assert like_patients(*PATIENTS[case])


@pytest.mark.parametrize("case", OTHERS)
def test_a_column_of_something_else_is_not(case: str) -> None:
    assert not like_patients(*OTHERS[case])


def doubts(
    names: Sequence[str], columns: dict[str, list[str]] | None = None, *, groups: Sequence[str] | None = None,
    splits: Sequence[str] = ("train", "val", "test"), used: Sequence[str] = ("image",), column: str | None = None,
) -> list[Doubt]:  # fmt: skip
    """What is said of rows that are dealt out to the splits in turn."""
    columns = {"image": list(names)} | (columns or {})
    sheet = Sheet("t.csv", list(columns), list(zip(*columns.values(), strict=True)), [*range(2, len(names) + 2)])
    whole = Table(
        "t.csv", "images", np.array(sheet.lines, np.int32), encode(names), np.zeros((len(names), 1), np.int8),
        encode(groups or names),
    )  # fmt: skip
    at = np.arange(len(names))
    dealt = at if groups is None else np.unique(encode(groups), return_inverse=True)[1]  # no group in two splits
    tables = {split: whole.take(at[dealt % len(splits) == place]) for place, split in enumerate(splits)}
    return grouping_doubts(tables, [sheet], used, column, sheet.header)


PICTURES = [f"{at:04d}.png" for at in range(ROWS)]
IDS = [f"p{at // 3}" for at in range(ROWS)]


def test_a_column_of_patients_is_named_with_an_example_and_the_number_of_pictures() -> None:
    (doubt,) = doubts(PICTURES, {"patient": [*IDS[:-3], "x", "y", "z"]})
    assert doubt.what == (
        "every picture is a group of its own, but values of 'patient' come again: 39 of 40 pictures of val and "
        "39 of 40 pictures of test have a partner in train"
    )
    assert doubt.example == "'p0' (0000.png in train and 0001.png in val)"
    assert doubt.fix.startswith("set data.group_column to patient, or to none if")


def test_the_patient_is_told_of_before_the_eye_and_before_what_has_no_name() -> None:
    eyes, codes = ([f"{name}{at // n}" for at in range(ROWS)] for name, n in (("e", 2), ("c", 10)))
    (doubt,) = doubts(PICTURES, {"code_": codes, "lesion": eyes, "Patient": IDS})
    assert "'Patient'" in doubt.what


SILENT: dict[str, list[Doubt]] = {
    "the group column": doubts(PICTURES, {"patient": IDS}, groups=IDS, column="patient", used=("image", "patient")),
    "split by patient": doubts(PICTURES, {"patient": [f"p{at % 3}-{at // 6}" for at in range(ROWS)]}),
    "of another use": doubts(PICTURES, {"patient": IDS}, used=("image", "patient")),
    "one split": doubts(PICTURES, {"patient": IDS}, splits=("test",)),
    "no partner in train": doubts(PICTURES[:4], {"patient": ["a", "b", "b", "c"]}),
    "age and site": doubts(PICTURES, {name: column for name, column in OTHERS.values() if name in ("age", "hospital")}),
}


@pytest.mark.parametrize("case", SILENT)
def test_nothing_is_said_where_it_need_not_be(case: str) -> None:
    assert SILENT[case] == []


NAMES: dict[str, tuple[Callable[[int], str], str]] = {
    "eyes": (lambda at: f"{at // 2}_{('left', 'right')[at % 2]}.jpg", "pairs of sides"),
    "eyes in folders of the splits": (
        lambda at: f"{('tr', 'va', 'te')[at % 3]}/{at // 2}_{('OD', 'OS')[at % 2]}.jpg", "pairs of sides",
    ),
    "letters": (lambda at: f"p{at // 3:03d}_{'abc'[at % 3]}.png", "last letter"),
    "letters without a sign": (lambda at: f"{at // 2}{'ab'[at % 2]}.png", "last letter"),
    "numbers": (lambda at: f"IM{at // 4:03d}-{at % 4}.dcm", "last number"),
    "numbers that run through, of patients": (lambda at: f"patient{at // 4}_{at:04d}.png", "last number"),
    "tiles": (lambda at: f"IDRiD_{at // 4:02d}_r0c{at % 4}.jpg", "last number"),
    "folders": (lambda at: f"train/patient{at // 3:05d}/study1/view{at % 3}.jpg", "together in folders"),
    "folders by number": (lambda at: f"A{at // 3:03d}/{at}.jpg", "together in folders"),
}  # fmt: skip


@pytest.mark.parametrize("case", NAMES)
def test_names_of_files_that_belong_together_are_found(case: str) -> None:
    name, what = NAMES[case]
    (doubt,) = doubts([name(at) for at in range(ROWS)])
    assert what in doubt.what
    assert " pictures of val" in doubt.what


ORDINARY: dict[str, Callable[[int], str]] = {
    "numbered": lambda at: f"{at}.png",
    "numbered behind a name": lambda at: f"IMG_{at:04d}.JPG",
    "numbered behind a year": lambda at: f"EDD2020_ACB{at:04d}.jpg",
    "by day": lambda at: f"2021-03-{1 + at // 5:02d}_{at % 5}.png",
    "by class": lambda at: f"class{at % 12}_{at // 12}.png",
    "folders of classes": lambda at: f"class_{at % 12}/{at}.png",
    "folders of splits": lambda at: f"{('train', 'test')[at % 2]}/{at}.png",
    "folders by hash": lambda at: f"{at // 4:02x}/{at:06x}.png",
    "numbers that run through": lambda at: f"b{at // 4}_{at:04d}.png",
    "numbers behind a few words": lambda at: f"set7-{at // 40}_{at % 40}.png",
    "one picture a case": lambda at: f"{at}_training.tif",
    "words": lambda at: f"scan {at} final.png",
}


@pytest.mark.parametrize("case", ORDINARY)
def test_ordinary_names_of_files_say_nothing(case: str) -> None:
    assert doubts([ORDINARY[case](at) for at in range(ROWS)]) == []


STUDIES = [f"s{at // 2:03d}" for at in range(ROWS)]  # sixty, of two pictures each
ABOVE: dict[str, tuple[str, list[str]]] = {
    "subject": ("subject_id", each(lambda at: f"p{at // 2 % 8}")),
    "a number": ("Patient", each(lambda at: str(at // 2 % 8))),
    "as pandas writes numbers": ("PatientID", each(lambda at: f"{at // 2 % 8}.0")),
    "one study of two": ("mrn", each(lambda at: "m0" if at == 3 else f"m{at // 2 % 9}")),
    "some blanks": ("pid", each(lambda at: "" if at % 7 == 0 else f"p{at // 2 % 8}")),
    "names": ("patient name", each(lambda at: f"{'ABCDEFGHIJK'[at // 2 % 11]}.M.")),
    "eyes": ("lesion", each(lambda at: f"e{at // 2 % 20}")),
}


@pytest.mark.parametrize("case", ABOVE)
def test_a_column_of_patients_above_the_groups_is_found(case: str) -> None:
    name, values = ABOVE[case]
    (doubt,) = doubts(
        PICTURES, {"study": STUDIES, name: values}, groups=STUDIES, column="study", used=("image", "study")
    )
    assert doubt.kind == "finer groups"
    assert doubt.what.startswith(f"every value of 'study' is a group of its own, but values of '{name}' hold several: ")
    assert "of 40 pictures of val" in doubt.what
    assert doubt.fix.startswith(f"set data.group_column to {name}, if")


NOT_ABOVE: dict[str, tuple[str, list[str]]] = {
    "site": ("site_id", each(lambda at: f"h{at // 2 % 11}")),
    "a site of patients": ("patient_hospital", each(lambda at: f"h{at // 2 % 11}")),
    "sex": ("patient_sex", each(lambda at: "MF"[at // 2 % 2])),
    "split": ("patient_split", each(lambda at: ("train", "val")[at // 2 % 2])),
    "cohort": ("patient_cohort", each(lambda at: f"c{at // 2 % 4}")),
    "words": ("participant", each(lambda at: ("yes", "no", "later")[at // 4 % 3])),
    "a case of two kinds": ("case", each(lambda at: ("case", "control")[at // 2 % 2])),
    "mostly one": ("patient", each(lambda at: "p0" if at < 80 else f"p{at // 2}")),
    "lesions numbered in each": ("lesion_no", each(lambda at: str(at % 2))),
    "patients numbered in each site": ("patient_no", each(lambda at: str(at % 12))),
    "finer": ("patient_picture", each(str)),
    "identifiers without a name": ("key", each(lambda at: f"k{at // 2 % 11}")),
}


@pytest.mark.parametrize("case", NOT_ABOVE)
def test_a_column_above_the_groups_that_is_none_of_patients_says_nothing(case: str) -> None:
    name, values = NOT_ABOVE[case]
    columns, used = {"study": STUDIES, name: values}, ("image", "study")
    assert doubts(PICTURES, columns, groups=STUDIES, column="study", used=used) == []


def test_a_case_or_a_lesion_above_patients_says_nothing() -> None:
    columns = {"patient": STUDIES, "case": each(lambda at: f"c{at // 2 % 20}")}
    assert doubts(PICTURES, columns, groups=STUDIES, column="patient", used=("image", "patient")) == []


GROUPS: dict[str, tuple[Callable[[int], str], str]] = {
    "eyes": (lambda at: f"{100 + at // 4}-{('OD', 'OS')[at // 2 % 2]}", "sides"),
    "sides without a sign": (lambda at: f"P{at // 4}{'LR'[at // 2 % 2]}", "sides"),
    "eyes of one picture each": (lambda at: f"{at // 2}_{('left', 'right')[at % 2]}", "sides"),
    "visits": (lambda at: f"p{at // 6}_v{at // 2 % 3}", "visits"),
    "sessions": (lambda at: f"sub-{at // 6:02d}_ses-{at // 2 % 3:02d}", "visits"),
    "visits in words": (lambda at: f"P{at // 4:03d} visit {1 + at // 2 % 2}", "visits"),
    "visits, and words that are longer": (lambda at: f"P{at // 4} Time-Point-{100 + at // 2 % 2}", "visits"),
    "eyes behind long numbers": (lambda at: f"{10**40 + at // 4}.{('OD', 'OS')[at // 2 % 2]}", "sides"),
    "days": (lambda at: f"P{at // 6:03d}_202{at // 2 % 3}0{1 + at % 7 // 7}{10 + at // 6}", "days"),
}


@pytest.mark.parametrize("case", GROUPS)
def test_sides_and_visits_in_the_names_of_groups_are_found(case: str) -> None:
    name, what = GROUPS[case]
    groups = [name(at) for at in range(ROWS)]
    (doubt,) = doubts(PICTURES, {"exam": groups}, groups=groups, column="exam", used=("image", "exam"))
    assert f"is a group of its own, but its values end in {what} of one: " in doubt.what


PLAIN: dict[str, Callable[[int], str]] = {
    "numbers": lambda at: f"{at // 2}",
    "site and number": lambda at: f"{at // 12:02d}-{at // 2 % 6:03d}",
    "letters of one side": lambda at: f"P{at // 2}R",
    "hospital and day": lambda at: f"site{at // 6}_2020010{1 + at // 2 % 3}",
    "numbered through": lambda at: f"set{at // 40}_v{at // 2}",
    "many videos of a centre": lambda at: f"H{at % 10}_v{at // 10:03d}",
    "hexadecimal": lambda at: f"{at // 2 * 7919:06x}",
    "numbers of 100,000 digits": lambda at: f"{10**9 + at}" * 10_000,
    "names": lambda at: f"Doe{'ABCDEFGHIJKLMNOPQRSTUVWXYZ'[at // 5]}",
}


@pytest.mark.parametrize("case", PLAIN)
def test_other_names_of_groups_say_nothing(case: str) -> None:
    groups = [PLAIN[case](at) for at in range(ROWS)]
    assert doubts(PICTURES, {"exam": groups}, groups=groups, column="exam", used=("image", "exam")) == []
