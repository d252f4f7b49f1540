"""How a column of words is read as labels, without a table of pictures."""

import pytest

from ibca_lightning.start.label_form import form_of, says_present


def often(*words: str, times: int = 10) -> list[str]:
    return [word for _ in range(times) for word in words]


@pytest.mark.parametrize("between", ["+/-", "±", "(+)", "+/–"])
def test_plus_minus_and_what_is_between_are_no_list(between: str) -> None:
    form = form_of("ulcer", often("+", "-", between))
    assert form is not None
    assert form.kind == "flags"
    assert form.positives == {"ulcer": 10}
    assert form.values == {"+": 1, "-": 0, between: -1}


@pytest.mark.parametrize("most", ["++", "++ "])
def test_pluses_are_grades(most: str) -> None:
    form = form_of("ulcer", often("+", "-", most.strip(), "+++"))
    assert form is not None
    assert form.listed is not None
    assert form.positives == {"ulcer +": 10, "ulcer ++": 10, "ulcer +++": 10}
    assert (form.listed.separator, form.listed.absent, form.listed.prefix) == (None, ["-"], True)


@pytest.mark.parametrize(
    ("cells", "separator", "classes"),
    [
        (("polyp\nulcer", "polyp", "ulcer"), "\n", ["polyp", "ulcer"]),
        (("Polyp und Ulkus", "Polyp", "o.B.", "Ulkus"), " und ", ["Polyp", "Ulkus"]),
        (("DR and AMD", "DR", "AMD", "Normal"), " and ", ["AMD", "DR"]),
        (("DR (mild)", "AMD (wet, late)", "DR (mild), AMD (wet, late)"), ",", ["AMD (wet, late)", "DR (mild)"]),
        (("('polyp', 'ulcer')", "('polyp',)", "()"), None, ["polyp", "ulcer"]),
        (("{'polyp', 'ulcer'}", "{'polyp'}", "set()"), None, ["polyp", "ulcer"]),
        (("['polyp' 'ulcer']", "['polyp']", "[]"), None, ["polyp", "ulcer"]),
        (("array(['polyp', 'ulcer'], dtype=object)", "array(['polyp'], dtype=object)"), None, ["polyp", "ulcer"]),
        (("- polyp\n- ulcer", "- polyp", "- ulcer", "normal."), "\n", ["polyp", "ulcer"]),
        (("polyp、ulcer", "polyp", "ulcer", "normal"), "、", ["polyp", "ulcer"]),
        (("head and neck", "arm", "neck"), None, ["arm", "head and neck", "neck"]),
    ],
)
def test_ways_to_write_several_names(cells: tuple[str, ...], separator: str | None, classes: list[str]) -> None:
    form = form_of("findings", often(*cells))
    assert form is not None
    assert form.listed is not None
    assert (form.listed.separator, [*form.positives]) == (separator, classes)


@pytest.mark.parametrize(
    "joined", ["polyp, ulcer", "Polyp and ulcer", "polyp / ulcer", "ulcer + polyp", "polyp ulcer", "ulcer<br>polyp"]
)
@pytest.mark.parametrize("rows", [3, 9])
def test_names_parted_in_a_second_way_are_unknown_and_no_class(joined: str, rows: int) -> None:
    form = form_of("findings", [*often("polyp; ulcer", "ulcer", "polyp", "normal"), *[joined] * rows])
    assert form is not None
    assert form.listed is not None
    assert [*form.positives] == ["polyp", "ulcer"]
    assert form.unread == form.listed.unknown == [joined]
    assert not form.rare


@pytest.mark.parametrize(
    "doubt", ["polyp?", "possible polyp", "V.a. polyp", "? polyp", "polyp (possible)", "r/o polyp"]
)
def test_a_name_that_is_not_sure_is_unknown_and_no_class(doubt: str) -> None:
    form = form_of("findings", often("polyp", "ulcer", "no polyp", doubt))
    assert form is not None
    assert form.listed is not None
    assert [*form.positives] == ["polyp", "ulcer"]
    assert form.unread == form.listed.unknown == [doubt]


@pytest.mark.parametrize("name", ["probable UIP", "suspected glaucoma", "missing", "DD grade 1"])
def test_a_name_that_may_be_no_doubt_is_a_class_but_doubted(name: str) -> None:
    form = form_of("diagnosis", often("caries", "crown", name, "normal"))
    assert form is not None
    assert form.listed is not None
    assert {*form.positives} == {"caries", "crown", name}
    assert not form.listed.unknown
    assert form.unsure == ([] if name.startswith("DD") else [name])


def test_missing_is_unknown_beside_yes_and_no() -> None:
    form = form_of("polyp", often("yes", "no", "missing"))
    assert form is not None
    assert form.values["missing"] == -1


@pytest.mark.parametrize(("plain", "rows"), [("polyp", 10), ("ulcer", 2)])
def test_a_doubt_of_a_class_or_of_few_rows_is_unknown(plain: str, rows: int) -> None:
    form = form_of("findings", [*often("polyp", "erosion", "normal"), *[f"Suspected {plain}"] * rows])
    assert form is not None
    assert form.unread == [f"Suspected {plain}"]
    assert {*form.positives} == {"polyp", "erosion"}


def test_a_name_of_which_a_part_is_known_is_a_class_but_doubted() -> None:
    form = form_of("findings", often("polyp; ulcer", "polyp", "ulcer", "polyp, erosion"))
    assert form is not None
    assert "polyp, erosion" in form.positives
    assert form.perhaps == ["polyp, erosion"]


def test_names_that_differ_in_marks_alone_are_doubted() -> None:
    form = form_of("findings", often("polyp", "Polyp.", "1. ulcer", "2. ulcer", "erosion", "normal"))
    assert form is not None
    assert form.alike == ["1. ulcer", "2. ulcer", "polyp", "Polyp."]


@pytest.mark.parametrize("unknown", [".", "n.d.", "not done"])
def test_what_other_programs_write_for_unknown_is_no_class(unknown: str) -> None:
    form = form_of("polyp", often("0", "1", unknown))
    assert form is not None
    assert (form.kind, form.values) == ("flags", {unknown: -1})


def test_a_one_beside_words_is_no_class() -> None:
    form = form_of("polyp", often("0", "1", "flat", "raised"))
    assert form is not None
    assert says_present(form) == "1"
    form = form_of("grade", often("0", "1", "2", "worse"))
    assert form is not None
    assert not says_present(form)


def test_a_code_for_unknown_is_unknown_where_the_user_says_that_it_is_a_label() -> None:
    for code in ("9", "-9", "99", "-99"):
        assert form_of("polyp", often("0", "1", code)) is None
        form = form_of("polyp", often("0", "1", code), "label")
        assert form is not None
        assert (form.kind, form.positives, form.values) == ("flags", {"polyp": 10}, {code: -1})
    form = form_of("polyp", often("0", "1", "2"), "label")
    assert form is not None
    assert form.kind == "count"
