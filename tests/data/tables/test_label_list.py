"""A column of names becomes classes, on tables of a few rows."""

import re

import pytest

from ibca_lightning.data.tables.label_list import LabelList
from ibca_lightning.data.tables.sheet import Sheet
from ibca_lightning.system.errors import InputError


def sheet(*cells: str) -> Sheet:
    return Sheet("t.csv", ["x"], [[cell] for cell in cells], range(2, 2 + len(cells)))


def read(listed: LabelList, *cells: str) -> dict[str, str]:
    """The cells of each class, a letter a row: `u` for an unknown one."""
    table = sheet(*cells)
    columns = listed.columns(table, listed.classes(table))
    return {name: "".join(column).replace("-1", "u") for name, column in columns.items()}


def test_a_name_is_a_class_in_its_commonest_spelling() -> None:
    cells = ("ulcer;Polyp", "polyp ; polyp", "ULCER  bleeding", "polyp", "", "ulcer bleeding", "ulcer bleeding")
    assert read(LabelList("x", ";"), *cells) == {"polyp": "1101000", "ulcer": "1000000", "ulcer bleeding": "0010011"}
    assert read(LabelList("x"), '["a", "b"]', "a;b") == {"a": "10", "a;b": "01", "b": "10"}


@pytest.mark.parametrize(
    ("one", "other", "shown"),
    [
        ("\u00d6dem", "O\u0308dem", "\u00d6dem"),
        ("polyp", "po\u200blyp", "polyp"),
        ("polyp", "\ufeffpolyp", "polyp"),
        ("polyp", "po\u00adlyp", "polyp"),
        ("Barrett's", "Barrett\u2019s", "Barrett's"),
        ("non-polypoid", "non\u2011polypoid", "non-polypoid"),
        ("non-polypoid", "non\u2013polypoid", "non-polypoid"),
        ("foreign body", "foreign\u00a0body", "foreign body"),
        ("polyp", "\uff50olyp", "polyp"),
        ("stra\u00dfe", "STRASSE", "stra\u00dfe"),
    ],
    ids=["composed", "zero width", "mark", "soft hyphen", "apostrophe", "hyphen", "dash", "blank", "wide", "case"],
)
def test_a_name_in_two_ways_that_nobody_tells_apart_is_one_class(one: str, other: str, shown: str) -> None:
    assert read(LabelList("x", ";"), one, f"ulcer;{other}", one, "ulcer") == {shown: "1110", "ulcer": "0101"}
    assert read(LabelList("x", absent=[other]), one, "ulcer") == {"ulcer": "01"}
    assert read(LabelList("x", names=[other, "ulcer"]), one, "ulcer") == {other: "10", "ulcer": "01"}


def test_a_name_that_always_holds_what_nobody_sees_is_shown_without() -> None:
    assert read(LabelList("x"), "O\u0308dem\u200b", "ulcer") == {"\u00d6dem": "10", "ulcer": "01"}


def test_names_that_differ_to_the_eye_are_classes_of_their_own() -> None:
    assert len(read(LabelList("x"), "grade 1", "grade-1", "grade1", "Oedem", "Odem", "\u00d6dem")) == 6


def test_a_cell_that_only_begins_like_a_list_is_named() -> None:
    with pytest.raises(InputError, match=r"a list such as \['a', 'b'\] in t\.csv, line 3, got"):
        read(LabelList("x", ";"), "a;b", "['a', 1]")


def test_curly_brackets_around_parted_names_are_none_of_them() -> None:
    cells = ("{polyp; ulcer}", "{'polyp'}", "ulcer", "{polyp}")
    assert read(LabelList("x", ";"), *cells) == {"polyp": "1101", "ulcer": "1010"}
    for listed, cell in ((LabelList("x"), "{polyp; ulcer}"), (LabelList("x", ","), '{"polyp": 1, "ulcer": 0}')):
        with pytest.raises(InputError, match="a list such as"):
            read(listed, "polyp", cell)


def test_lists_of_other_programs_brackets_and_line_breaks() -> None:
    numpy, python = ("['polyp' 'ulcer']", "['polyp'\n 'Barrett\\'s']"), ("('polyp', 'ulcer')", "{'polyp'}", "set()")
    assert read(LabelList("x"), *numpy) == {"Barrett's": "01", "polyp": "11", "ulcer": "10"}
    assert read(LabelList("x", ","), *python) == {"polyp": "110", "ulcer": "100"}
    assert not LabelList("x").exclusive(sheet(*python))
    cells = ("DR (mild), AMD (wet, late)", "AMD (wet, late)", "drusen (small", "a), (b")
    assert [*read(LabelList("x", ","), *cells)] == ["(b", "a)", "AMD (wet, late)", "DR (mild)", "drusen (small"]
    assert read(LabelList("x"), "polyp\r\nulcer", "(early) polyp") == {
        "(early) polyp": "01",
        "polyp": "10",
        "ulcer": "10",
    }
    assert read(LabelList("x", ";"), "a; b\nc", "a;b") == {"a": "11", "b": "11", "c": "10"}
    assert not LabelList("x").exclusive(sheet("polyp\nulcer", "polyp"))
    assert read(LabelList("x", " and "), "polyp AND ulcer", "band") == {"band": "01", "polyp": "10", "ulcer": "10"}


@pytest.mark.parametrize(
    "joined", ["polyp, Ulcer", "Polyp and ulcer", "polyp+ulcer", "polyp, ulcer und erosion", "polyp/normal"]
)
def test_a_name_that_is_several_others_is_doubted(joined: str) -> None:
    listed = LabelList("x", ";", absent=["normal"], least=2)
    table = sheet("polyp; ulcer", joined, "polyp", "ulcer", "erosion", joined, "normal")
    (doubt,) = listed.doubts(table, listed.classes(table))
    assert f"names of column 'x' are several others in one, in 2 rows, such as '{joined}', t.csv, line 3" in str(doubt)
    for meant in (LabelList("x", ";", names=[joined, "polyp", "ulcer"]), LabelList("x", ";", unknown=[joined])):
        assert not [*meant.doubts(table, {name: name for name in ("polyp", "ulcer", "erosion", joined.casefold())})]


def test_a_name_with_a_mark_that_is_no_list_of_others_is_left_alone() -> None:
    table = sheet("nodule/mass", "mass", "her2+", "DR (mild, mass)", "effusion, left", "effusion")
    assert not [*LabelList("x").doubts(table, LabelList("x").classes(table))]


def test_rare_names_are_no_class_and_one_that_stands_twice_in_a_cell_counts_once() -> None:
    listed = LabelList("x", ";", least=2)
    assert listed.classes(sheet("a;a", "b", "b;c", "c", "c")) == {"a": None, "b": "b", "c": "c"}
    assert read(listed, "a;a", "b", "b;c", "c", "c") == {"b": "01100", "c": "00111"}


def test_names_that_are_no_class_or_make_their_row_unknown() -> None:
    listed = LabelList("x", ";", absent=["Normal"], unknown=["unsure", "cut off"])
    cells = ("polyp", "normal", "Unsure", "ulcer; unsure", "")
    assert listed.classes(sheet(*cells))["normal"] is listed.classes(sheet(*cells))["unsure"] is None
    assert read(listed, *cells) == {"polyp": "10uu0", "ulcer": "00u10"}
    assert read(LabelList("x", unknown=[""]), "polyp", "NA", "ulcer") == {"polyp": "1u0", "ulcer": "0u1"}
    with pytest.raises(InputError, match=r"a finding in column 'x' of t\.csv"):
        listed.classes(sheet("normal", "normal"))


def test_given_names_are_classes_as_they_are_written() -> None:
    listed = LabelList("x", absent=["no"], names=["Ulcer", "Polyp"], prefix=True)
    assert read(listed, "polyp", "no", "polyp") == {"x Ulcer": "000", "x Polyp": "101"}
    known = [str(at) for at in range(21)]
    with pytest.raises(InputError, match=r"findings among 0, 1, .*, 19 in column 'x' of t\.csv, line 3, got 21;"):
        read(LabelList("x", names=known), "0", "21")
    read(LabelList("x", names=[str(at) for at in range(1000)]), "0")
    with pytest.raises(InputError, match="at most 1000 findings"):
        read(LabelList("x", names=[str(at) for at in range(1001)]), "0")


def test_a_grade_is_all_below_it_too() -> None:
    listed = LabelList("x", absent=["0"], unknown=["?"], ordered=True)
    assert read(listed, "0", "2", "10", "", "?", "1") == {"1+": "0110u1", "2+": "0110u0", "10+": "0010u0"}
    assert read(LabelList("x", ordered=True), "1", "", "2") == {"1+": "101", "2+": "001"}, "a blank is below all"
    assert read(LabelList("x", least=2, ordered=True), "1", "2", "3") == {"1+": "111", "2+": "011"}
    words = LabelList("x", names=["mild", "severe"], ordered=True)
    assert read(words, "severe", "mild", "") == {"mild+": "110", "severe+": "100"}
    said = "numbers in the ordered column 'x' of t.csv, got a, b, c, d, e; name the grades"
    with pytest.raises(InputError, match=re.escape(said)):
        read(LabelList("x", ordered=True), *"fedcba")


def test_classes_exclude_each_other_where_a_cell_holds_one_name() -> None:
    assert LabelList("x").exclusive(sheet("a", "b"))
    assert not LabelList("x").exclusive(sheet("a", "['b']"))
    assert not LabelList("x", ";").exclusive(sheet("a", "b"))
    assert not LabelList("x", ordered=True).exclusive(sheet("1", "2"))
    with pytest.raises(InputError, match=r"a mark in data\.label_list\.separator"):
        LabelList("x", "")
