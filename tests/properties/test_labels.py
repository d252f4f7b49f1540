import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ibca_lightning.data.tables.label_policy import LabelPolicy, settled
from ibca_lightning.data.tables.labels import parse_label
from ibca_lightning.data.tables.sheet import Sheet
from ibca_lightning.system.errors import InputError

TEXTS = {
    1: ("1", "1.0", " 1", "1.", "+1", "1e0", "01", "1.000"),
    0: ("0", "0.0", "-0", "0 ", ".0", "0e7", "00"),
    -1: ("-1", "-1.0", "-1e0"),
    None: ("", "NaN", "nan", "NA", "na", " "),
}
NAMES = ("a", "B b", "ç")
CHOICES = ("ignore", "zero", "one")
cells = st.sampled_from([(value, text) for value, texts in TEXTS.items() for text in texts])


@given(st.text() | st.from_regex(r"[-+]?[01١]?_?[01١](\.0)?", fullmatch=True) | st.from_regex(r"[-+]?[\d_.eE]*"))
def test_any_text_is_a_label_or_none_and_a_label_is_its_number(text: str) -> None:
    value = parse_label(text)
    assert value in (0, 1, -1, None)
    plain = text.strip().lower()
    if value is not None and plain not in ("", "nan", "na"):
        assert float(plain) == value
        assert set(plain) <= set("0123456789.+-e")
    elif value is None:
        try:
            number = float(plain)
        except ValueError:
            return
        assert number not in (0, 1, -1) or "_" in plain or not plain.isascii()
        assert not math.isnan(number) or plain not in ("nan", "na")


@given(
    st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=12),
    st.tuples(*[st.sampled_from(CHOICES)] * 3),
    st.tuples(*[st.sampled_from(CHOICES)] * 3),
    st.booleans(),
    st.booleans(),
)
def test_a_table_becomes_what_the_policy_says_cell_by_cell(rows, uncertain, blank, evaluation, training) -> None:
    sheet = Sheet("x.csv", list(NAMES), [[text for _, text in row] for row in rows], list(range(2, 2 + len(rows))))
    policy = LabelPolicy(
        dict(zip(NAMES, uncertain, strict=True)), dict(zip(NAMES, blank, strict=True)), None, evaluation
    )
    becomes = {"ignore": -1, "zero": 0, "one": 1}
    got = settled(policy.cells(sheet, NAMES), training)
    for row, values in enumerate(rows):
        for at, (value, _) in enumerate(values):
            if value is None:
                expected = becomes[blank[at]]
            elif value == -1:
                expected = becomes[uncertain[at]] if training or evaluation else -1
            else:
                expected = value
            assert got[row, at] == expected


@given(st.lists(st.sets(st.sampled_from(NAMES)), min_size=1), st.sampled_from("|;,"), st.randoms(use_true_random=False))
def test_lists_of_names_come_back(present, separator, random) -> None:
    def written(names):
        words = [random.choice((name, name.upper(), f" {name} ")) for name in random.sample(sorted(names), len(names))]
        return separator.join(words) or "No Finding"

    labels = LabelPolicy().lists(
        [written(names) for names in present], NAMES, where=str, separator=separator, none=["No Finding"]
    )
    assert [{name for name, one in zip(NAMES, row, strict=True) if one} for row in labels] == present


@given(st.lists(st.sets(st.sampled_from(NAMES)), min_size=1))
def test_python_lists_of_names_come_back(present) -> None:
    labels = LabelPolicy().lists([repr(sorted(names)) for names in present], NAMES, where=str, separator=None)
    assert [{name for name, one in zip(NAMES, row, strict=True) if one} for row in labels] == present


@given(st.text())
def test_any_text_is_a_list_of_names_or_one_line(text: str) -> None:
    for separator in ("|", None):
        try:
            labels = LabelPolicy().lists([text], NAMES, where=lambda _: "x.csv, line 2", separator=separator)
        except InputError as error:
            labels, line = np.zeros(0), str(error)
        else:
            line = "x.csv, line 2"
        assert "x.csv, line 2" in line
        assert np.isin(labels, (-1, 0, 1)).all()


@given(
    st.lists(st.tuples(st.sampled_from("pqr"), st.tuples(*[st.sampled_from((0, 1, -1))] * 2)), min_size=1),
    st.sampled_from(("majority", "any", "all")),
)
def test_readers_are_joined_by_their_known_labels(rows, readers) -> None:
    labels_of_rows = np.array([row for _, row in rows], np.int8)
    ids, labels = LabelPolicy(readers=readers).vote(labels_of_rows, [at for at, _ in rows], ["A", "B"])
    assert ids == list(dict.fromkeys(at for at, _ in rows))
    for at, joined in zip(ids, labels, strict=True):
        for column in range(2):
            known = [row[column] for name, row in rows if name == at and row[column] >= 0]
            yes, no = known.count(1), known.count(0)
            expected = {"majority": -1 if yes == no else int(yes > no), "any": int(yes > 0), "all": int(no == 0)}
            assert joined[column] == (expected[readers] if known else -1)
