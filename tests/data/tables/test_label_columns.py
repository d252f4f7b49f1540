"""Which columns of a table are labels, on tables of a few rows."""

import re
from collections.abc import Sequence

import pytest

from ibca_lightning.data.tables.labels import (
    check_no_other_labels,
    find_label_columns,
    is_blank,
    no_labels,
    parse_label,
    require_columns,
)
from ibca_lightning.data.tables.sheet import Sheet
from ibca_lightning.system.errors import InputError


def sheet(**columns: Sequence[str]) -> Sheet:
    rows = list(zip(*columns.values(), strict=True))
    return Sheet("t.csv", list(columns), rows, [row + 2 for row in range(len(rows))])


def test_what_a_label_may_be() -> None:
    texts = {"1": 1, " 1.0 ": 1, "0": 0, "-0.0": 0, "-1": -1, "-1.0": -1, "": -1, " ": -1, "NA": -1, "nan": -1}
    texts |= {"yes": 1, "Absent": 0, "1,0": 1, "+1,00": 1, "-1,0": -1} | dict.fromkeys(
        ("2", "0.5", "-2", "maybe", "1_0", "0_1", "١", "inf")
    )
    assert {text: parse_label(text) for text in texts} == texts
    assert [text for text in texts if is_blank(text)] == ["", " ", "NA", "nan"]


def test_labels_are_the_columns_with_0_and_1_and_one_of_them_alone_may_have_been_meant() -> None:
    table = sheet(
        image=["a", "b", "c"], x=["0", "1", ""], zeros=["0", "0", "-1"], ones=["1", "1", "1"], age=["39", "0", "1"],
        blank=["", "", ""], other=["0", "1", "1"], y=["1", "0", "1"], text=["u", "v", "0"],
    )  # fmt: skip
    excluded = ["image", "other", "age"]
    assert find_label_columns(table, excluded) == (
        ["x", "y"], ["'zeros' (only one of 0 and 1)", "'ones' (only one of 0 and 1)", "'blank' (blank)"]
    )  # fmt: skip
    unnamed = Sheet("t.csv", ["", "x"], [["0", "1"], ["1", "0"]], [2, 3])
    assert find_label_columns(unnamed, []) == (["x"], [])


def test_a_column_that_is_no_label_or_hardly_is_refused() -> None:
    with pytest.raises(InputError, match=r"in column 'x' of t.csv, line 4, got 'u'; .*or name 'x' in exclude_columns"):
        find_label_columns(sheet(y=["0", "1", "1"], x=["0", "1", "u"]), [])
    assert find_label_columns(sheet(y=["0", "1"], x=["1", "u"]), []) == (["y"], ["'x' (it holds 'u', as on line 3)"])
    message = "0 and 1 among its values) in t.csv, got the columns image, x; not 'x' (only one of 0 and 1); add"
    with pytest.raises(InputError, match=re.escape(message)):
        find_label_columns(sheet(image=["a"], x=["1"]), ["image"])


def test_a_mark_of_three_letters_may_stand_for_1_and_a_word_of_four_is_a_remark() -> None:
    table = sheet(y=["0", "1", "1"], x=["ano", "", ""], remark=["torn", "", ""])
    assert find_label_columns(table, []) == (["y"], ["'x' (it holds 'ano', as on line 2)"])


def test_labels_that_are_words_are_meant_too() -> None:
    with pytest.raises(InputError, match=r"in column 'x' of t\.csv, line 5, got 'perhaps'"):
        find_label_columns(sheet(y=["0", "1", "1", "0"], x=["true", "false", "true", "perhaps"]), [])


def test_what_makes_a_column_doubtful_or_wrong() -> None:
    y = ["0", "1"] * 4

    def doubts(*cells: str, **options: bool) -> list[str]:
        labels, doubtful = find_label_columns(sheet(y=y, x=cells + ("",) * (8 - len(cells))), [], **options)
        assert labels == ["y"]
        return doubtful

    # Blanks are no values: of five cells three that are none are a doubt, and two an error.
    assert doubts("0", "1", "u", "v", "w") == ["'x' (it holds 'u', as on line 4)"]
    with pytest.raises(InputError, match=r"line 5, got 'u'"):
        doubts("0", "1", "1", "u", "v")
    # N may be a point of the compass: S2 beside it is a doubt, and no slip in a column of labels.
    assert doubts("N", "n", "N", "S2") == ["'x' (it holds 'S2', as on line 5)"]
    with pytest.raises(InputError, match=r"line 5, got 'u'"):
        doubts("0", "0", "0", "u")
    assert doubts("Ja", "ja", "JA") == ["'x' (it holds 'Ja', as on line 2)"], "a mark in three cases is one"
    assert doubts(*["yes", "so", "and", "so", "on", "as", "it", "is"]) == []
    assert doubts(*["ab", "ab", "ab", "ab", "ab", "ab", "ab", "ab"]) == [], "without a blank it marks nothing"
    assert doubts("-1", "-1") == [], "blank but for what is unknown is not blank"
    assert doubts("0", "1") == ["'x' (75% blank, else 0 and 1)"]
    assert find_label_columns(sheet(y=y, x=["0", "1"] + [""] * 6), [], blank_is_meant=True) == (["y", "x"], [])
    assert doubts("0", "1", *["a" * 99] * 6) == [f"'x' (it holds '{'a' * 40}', as on line 4)"]


def test_a_missing_column_is_near_none_that_is_there_already() -> None:
    with pytest.raises(InputError, match=r"no column oedema; every split needs"):
        require_columns(sheet(edema=["0"], sex=["f"]), ["edema", "oedema"])
    with pytest.raises(InputError, match=r"no column oedema; did you mean 'Oedema'\?"):
        require_columns(sheet(edema=["0"], Oedema=["0"]), ["edema", "oedema"])


def test_every_split_has_the_labels_of_training_and_no_further_one() -> None:
    table = sheet(x=["0", "1"], y=["0", "1"], zeros=["0", "0"], mixed=["0", "1 or 2"], ages=["0", "39"])
    require_columns(table, ["y", "x"])
    with pytest.raises(InputError, match=r"the label columns x, a, b in t.csv, got no column a, b; every split"):
        require_columns(table, ["x", "a", "b"])
    check_no_other_labels(table, ["x", "y"], ["x", "y"])
    with pytest.raises(InputError, match=r"training table \(x, z\) in t.csv, got a further label 'y'"):
        check_no_other_labels(table, ["x", "z"], ["x"])
    check_no_other_labels(sheet(x=["0", "1"], z=["0", "1"], u=["0", "a"]), ["x"], ["x", "z"])
    check_no_other_labels(sheet(x=["0", "1", "1"], ward=["0", "1", "a"]), ["x"], ["x"])
    check_no_other_labels(Sheet("t.csv", ["", "x"], [["0", "1"], ["1", "0"]], [2, 3]), ["x"], ["x"])


def test_the_error_of_the_first_cell_carries_the_others() -> None:
    error = no_labels(sheet(x=["0", "u", "1", "v"]), [1, 3], "x", " or so")
    assert str(error) == "0, 1, -1 or blank in column 'x' of t.csv, line 3, got 'u'; correct the value or so"
    assert [str(each).split("; ")[0].split(", got ")[1] for each in error.further] == ["'v'"]
