"""Rare classes, negations and shortcuts are told of, and sound tables are not."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import ArrayLike
from sklearn.metrics import roc_auc_score

from ibca_lightning.data.tables import doubts
from ibca_lightning.data.tables.doubts import Doubt, associations, shortcuts, table_doubts
from ibca_lightning.data.tables.groups.respelt import lost_name, made_dates
from ibca_lightning.data.tables.table import Table, encode

N = 400
RANDOM = np.random.default_rng(0)
COIN = [RANDOM.integers(0, 2, N) for _ in range(4)]


def table(labels: ArrayLike, site: Sequence[str] | None = None) -> Table:
    values = np.asarray(labels, dtype=np.int8)
    names = encode([f"{at}.png" for at in range(len(values))])
    subgroups = {} if site is None else {"site": encode(site)}
    return Table("t.csv", ".", np.arange(len(values), dtype=np.int32), names, values, names, subgroups)


def said(*columns: ArrayLike, split: str = "train", site: Sequence[str] | None = None) -> list[Doubt]:
    labels = np.stack([np.asarray(column) for column in columns], axis=1)
    return table_doubts({split: table(labels, site)}, [f"c{at}" for at in range(len(columns))])


def first(count: int, value: int = 1) -> np.ndarray:
    return np.where(np.arange(N) < count, value, 0)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_class_of_few_positives_is_named_with_their_number(split: str) -> None:
    (doubt,) = said(COIN[0], first(9), first(10), split=split)
    assert doubt.kind == "few positives"
    assert doubt.what == f"fewer than 10 positives in {split}: c1 9"


def test_a_class_of_few_known_negatives_is_named_too() -> None:
    (doubt,) = said(COIN[0], np.where(np.arange(N) < 9, 0, np.where(np.arange(N) < 200, 1, -1)), split="test")
    assert (doubt.kind, doubt.what) == ("few negatives", "fewer than 10 negatives in test: c1 9")


def test_ten_positives_or_those_of_validation_and_none_of_test_are_left_to_others() -> None:
    assert said(COIN[0], first(10)) == []
    assert said(COIN[0], first(9), split="val") == []
    assert said(COIN[0], first(0), split="test") == []


def test_a_class_without_a_positive_or_a_negative_in_training_is_named() -> None:
    (doubt,) = said(COIN[0], first(0), np.full(N, -1))
    assert (doubt.kind, doubt.what) == ("no positive", "no positive in train, and so nothing to be learnt, of c1, c2")
    (doubt,) = said(COIN[0], np.where(COIN[0], 1, -1), np.where(COIN[1], 1, -1))
    assert (doubt.kind, doubt.what) == ("no negative", "no negative in train, and so nothing to be learnt, of c1, c2")
    assert "data.labels.blank: zero; where -1 does, data.label_values: {'-1': 0}" in doubt.fix
    assert "data.labels" not in said(COIN[0], first(N))[0].fix, "nothing is unknown"


def test_the_negation_of_a_class_is_found() -> None:
    (doubt,) = said(COIN[0], 1 - COIN[0], COIN[1])
    assert (doubt.kind, doubt.what) == ("negation", "class 'c1' is the negation of 'c0' in train")
    wrong = 1 - COIN[0]
    wrong[:3] ^= 1
    assert "(but for 3 rows, which contradict it)" in said(COIN[0], wrong)[0].what
    unknown = np.where(np.arange(N) % 2, 1 - COIN[0], -1)
    assert "negation of 'c0'" in said(COIN[0], unknown)[0].what


def test_negations_are_counted_over_blocks_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = 1 - COIN[0]
    wrong[:3] ^= 1
    whole = said(COIN[0], wrong, COIN[1])
    monkeypatch.setattr(doubts, "_BLOCK", 150)
    assert said(COIN[0], wrong, COIN[1]) == whole != []


def test_a_normal_class_is_found() -> None:
    normal = 1 - (COIN[0] | COIN[1])
    (doubt,) = said(normal, COIN[0], COIN[1])
    assert doubt.what == "class 'c0' is the negation of all other classes in train"


def test_exclusive_classes_are_no_negations_but_for_the_normal_one() -> None:
    kind = RANDOM.integers(0, 3, N)
    labels = table([[value == at for at in range(3)] for value in kind])
    assert table_doubts({"train": labels}, ["normal findings", "polyp", "ulcer"])[0].what.startswith("class 'normal f")
    assert len(table_doubts({"train": labels}, ["normal findings", "polyp", "ulcer"])) == 1
    assert table_doubts({"train": labels}, ["abnormal", "polyp", "ulcer"]) == []


def test_a_disease_that_comes_alone_but_for_a_row_is_no_negation_and_a_normal_class_is() -> None:
    alone = 1 - (COIN[0] | COIN[1])
    alone[np.flatnonzero(COIN[0])[0]] = 1
    tables = {"train": table(np.stack([alone, COIN[0], COIN[1]], axis=1))}
    assert table_doubts(tables, ["polyp", "ulcer", "cancer"]) == []
    (doubt,) = table_doubts(tables, ["No finding", "ulcer", "cancer"])
    assert doubt.what.endswith("all other classes in train (but for 1 rows, which contradict it)")


def test_ordinary_classes_are_no_negations() -> None:
    assert said(*COIN) == []
    assert said(first(15), first(30) - first(15), COIN[0]) == []  # two rare ones that never meet
    assert said(np.where(COIN[1], -1, COIN[2]), COIN[0]) == []


SITES = [f"site {'ab'[at % 2]}" for at in range(N)]


def test_a_site_that_predicts_a_class_is_told_of_with_its_shares() -> None:
    sick = np.array([at % 2 == 0 and at % 5 < 3 for at in range(N)])
    (doubt,) = said(COIN[0], sick, site=SITES)
    assert doubt.kind == "shortcut"
    assert doubt.what == (
        "'site' alone predicts 'c1' in train (AUROC 0.86): 60% of 200 rows with 'site a', 0% of 200 with 'site b'"
    )
    (doubt,) = said(sick, sick & (COIN[0] == 1), site=SITES)
    assert doubt.what.endswith("(also c1)")


def test_chance_is_no_shortcut() -> None:
    assert said(*COIN, site=SITES) == []
    assert associations({"train": table(COIN[0][:, None], [f"{at}" for at in range(N)])}, ["c"]) == []  # all are rare
    assert said(*COIN, site=[f"{at % 30}" for at in range(N)]) == []
    rare = np.isin(np.arange(N), np.random.default_rng(1).choice(N, 12, replace=False))
    assert said(rare, COIN[0], site=[f"{at % 30}" for at in range(N)]) == []


def test_positives_of_one_patient_are_counted_once() -> None:
    own = replace(table(np.stack([COIN[0], first(40)], axis=1)), groups=encode([f"p{at // 5}" for at in range(N)]))
    (doubt,) = table_doubts({"test": own}, ["c0", "c1"])
    assert doubt.what == "fewer than 10 positives in test, a group counted once: c1 8"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["Polyp", "polyp", "POLYP"], "in case alone: 'Polyp', 'polyp', 'POLYP'"),
        (["polyp", "p\u200bolyp", "x"], r"in what is hard to see alone: 'polyp', 'p\u200bolyp'"),
        (["\u00d6dem", "x", "o\u0308dem"], r"in what is hard to see alone: '\xd6dem', 'o\u0308dem'"),
        (["Barrett's", "Barrett\u2019s", "x"], r"""in what is hard to see alone: "Barrett's", 'Barrett\u2019s'"""),
        (["a b", "ab", "a-b"], ""),
    ],
    ids=["case", "zero width", "forms of Unicode", "apostrophes", "others"],
)
def test_classes_whose_names_nearly_are_one_are_told_of(names: list[str], said: str) -> None:
    tables = {"train": table(np.stack([COIN[at] for at in range(3)], axis=1))}
    told = [doubt.what for doubt in table_doubts(tables, names) if doubt.kind == "alike names"]
    assert [what.removeprefix("classes whose names differ ") for what in told] == [said] * bool(said)


def grouped(sizes: dict[str, int], splits: int = 1) -> list[Doubt]:
    """Of groups with so many rows each, in turn in one of several splits."""
    parts: list[list[str]] = [[] for _ in range(splits)]
    for at, (name, size) in enumerate(sizes.items()):
        parts[at % splits] += [name] * size
    tables = {
        split: replace(table(np.stack([COIN[at][: len(part)] for at in range(2)], axis=1)), groups=encode(part))
        for split, part in zip(("train", "val", "test"), parts, strict=False)
    }
    return [doubt for doubt in table_doubts(tables, ["a", "b"]) if doubt.kind.endswith((" group", " groups"))]


SIX = {f"p{at}": 3 + at for at in range(6)}


@pytest.mark.parametrize("code", ["0", "00000", "-1", "-9", "9999", "0.0", "x"])
@pytest.mark.parametrize("splits", [1, 3])
def test_a_code_of_far_more_rows_than_any_patient_is_told_of(code: str, splits: int) -> None:
    (doubt,) = grouped({**SIX, code: 40}, splits)
    assert doubt.what == "a group that is called like a code for nobody has 40 rows, the next one 8"
    assert doubt.example == f"'{code}'"


@pytest.mark.parametrize(
    "sizes",
    [
        {**SIX, "0": 9},  # one of many, numbered from 0
        {str(at): 5 + at % 3 for at in range(20)},
        {**SIX, "long video": 90},  # larger for a reason of its own
        {**SIX, "7": 90},
        {"0": 90, "1": 20, "2": 20},  # three sites
        {**SIX, "0": 40, "1": 30},  # videos
    ],
)
def test_a_patient_with_the_number_0_or_with_many_rows_is_nothing_to_tell(sizes: dict[str, int]) -> None:
    assert grouped(sizes) == []


def test_long_numbers_that_end_in_zeros_are_told_of() -> None:
    cut = {f"12345678901234{at}000": 2 for at in range(6)}
    (doubt,) = grouped(cut, 2)
    assert doubt.what == "all 6 groups of more than 15 digits end in zeros, as a spreadsheet cuts numbers"
    assert grouped({**cut, "1234567890123456789": 2}) == []
    assert grouped({f"1{at}00": 2 for at in range(6)}) == []


def of_patients(labels: ArrayLike, site: ArrayLike, patients: ArrayLike) -> list[Doubt]:
    own = table(np.asarray(labels, dtype=np.int8)[:, None], [f"site {value}" for value in np.asarray(site)])
    return list(shortcuts({"train": replace(own, groups=encode([f"p{at}" for at in np.asarray(patients)]))}, ["c"]))


def test_pictures_of_one_patient_are_no_further_evidence_of_a_shortcut() -> None:
    """Of 60 patients with one to many pictures, site and disease are drawn by patient, and have nothing in common."""
    alarms, random = 0, np.random.default_rng(0)
    for _ in range(300):
        patients = np.sort(np.concatenate([np.arange(60), random.integers(0, 60, 200)]))
        sick, site = random.random(60) < 0.4, random.integers(0, 4, 60)
        alarms += bool(of_patients(sick[patients], site[patients], patients))
    assert alarms <= 1, "27 where rows are counted"  # 0.3 are promised; two in one of 30 such simulations


def test_a_shortcut_of_patients_is_found_between_them_and_within_them() -> None:
    random = np.random.default_rng(1)
    patients = np.repeat(np.arange(60), 4)
    sick = random.random(60) < 0.4
    some = sick[patients] & (random.random(240) < 0.5)  # half of a patient's pictures show it
    (doubt,) = of_patients(some, sick[patients], patients)
    assert "'site' alone predicts 'c' in train" in doubt.what
    within = np.arange(240) % 2  # each patient was seen through both devices, and one of them shows it
    assert of_patients(within, within, patients)
    assert not of_patients(sick[patients], within, patients)


def test_a_class_or_a_site_of_few_patients_is_left_to_chance() -> None:
    patients = np.repeat(np.arange(60), 4)
    assert not of_patients(patients < 9, patients < 20, patients)
    assert not of_patients(patients < 20, patients < 9, patients)
    assert of_patients(patients < 10, patients < 10, patients)


def test_the_association_is_the_auroc_of_the_shares_over_the_known_rows() -> None:
    labels = np.where(RANDOM.random(N) < 0.1, -1, COIN[2])
    site = np.array([f"{value}" for value in RANDOM.integers(0, 5, N)])
    (found,) = associations({"test": table(labels[:, None], site.tolist())}, ["c"])
    known = labels >= 0
    share = {value: labels[known & (site == value)].mean() for value in site}
    assert found.auroc == pytest.approx(roc_auc_score(labels[known], [share[value] for value in site[known]]))
    assert found.shares == pytest.approx((max(share.values()), min(share.values())))


@pytest.mark.parametrize(
    "name", ["1-Mar", "01. Mrz", "2-SEP", "31-déc.", "2026-03-01", "2026-03-01 00:00:00", "3/1/2026", "01.03.2026"]
)
def test_dates_that_a_spreadsheet_made_of_ids_are_told_of(name: str) -> None:
    sizes = {name: 3, "BER-1": 3, "BER-2": 2, "MAR-40": 2}
    (doubt,) = grouped(sizes, 2)
    assert (doubt.kind, doubt.example) == ("dates for groups", f"'{name}'")
    assert doubt.what.startswith("1 of 4 groups are dates, as a spreadsheet makes them of MAR-1")


@pytest.mark.parametrize(
    "names",
    [
        ["MAR-1", "mar 2", "SEPT2", "march", "Mar-01", "12-marx", "may"],
        ["2026-03-01", "2026-03-02", "2026-04-01", "P1"],  # of days, on purpose
        ["1-2", "12-03", "1-12-3", "3.1", "1/2", "2026-03", "20260301", "01.03", "1-3-2"],
        [f"{site}/{patient}/0{eye}" for site in (1, 2) for patient in (12, 14) for eye in (1, 2)],
        ["123-mar", "1-set", "4 mai", "1mar"],
    ],
)
def test_names_that_hold_a_month_or_numbers_are_no_dates(names: list[str]) -> None:
    assert grouped(dict.fromkeys(names, 2)) == []


def test_an_id_of_three_short_numbers_is_no_date_alone() -> None:
    assert lost_name("1/12/01") == ""
    assert "a date" in lost_name("1/12/2001")
    assert made_dates(["1/12/01", "2/12/01"], of_ids=True) == []
    assert made_dates(["1/12/01", "1/12/2001"], of_ids=True) == ["1/12/2001"]
    assert made_dates(["1/12/01", "P2"], of_ids=True) == ["1/12/01"]


def test_bands_that_a_spreadsheet_made_dates_of_are_told_of() -> None:
    site = [("20-29", "9-May", "19-Oct")[at % 3] for at in range(N)]
    (doubt,) = said(*COIN, site=site)
    assert doubt.what == "2 of 3 values of 'site' are dates, as a spreadsheet makes them of 5-9"
