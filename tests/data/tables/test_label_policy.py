"""What labels that are not known become, by hand; on the command line; and in which split."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonargparse import ArgumentParser

from ibca_lightning.data import CSVDataModule, Endo, LabelPolicy, MultiLabelDataModule, MuReD
from ibca_lightning.data.tables.label_policy import settled
from ibca_lightning.data.tables.sheet import Sheet
from ibca_lightning.system.errors import InputError
from tests.command_line import experiment, ibca, rows, written

SHEET = Sheet("t.csv", ["A", "B"], [["0", "1.0"], ["1", "-1"], ["-1.0", ""], ["", "NaN"], ["NA", "0"]], [2, 3, 4, 5, 6])


def cells(training: bool = True, **options: Any) -> list[list[int]]:
    read = LabelPolicy(**options).cells(SHEET, ["A", "B"])
    assert read.dtype == np.int8
    labels: list[list[int]] = settled(read, training).tolist()
    return labels


def test_without_a_policy_everything_that_is_not_known_stays_unknown() -> None:
    assert cells() == [[0, 1], [1, -1], [-1, -1], [-1, -1], [-1, 0]]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"uncertain": "zero"}, [[0, 1], [1, 0], [0, -1], [-1, -1], [-1, 0]]),
        ({"uncertain": "one"}, [[0, 1], [1, 1], [1, -1], [-1, -1], [-1, 0]]),
        ({"blank": "zero"}, [[0, 1], [1, -1], [-1, 0], [0, 0], [0, 0]]),
        ({"blank": {"B": "one"}}, [[0, 1], [1, -1], [-1, 1], [-1, 1], [-1, 0]]),
        ({"uncertain": {"A": "one", "*": "zero"}, "blank": "zero"}, [[0, 1], [1, 0], [1, 0], [0, 0], [0, 0]]),
        ({"uncertain": {"A": "one"}}, [[0, 1], [1, -1], [1, -1], [-1, -1], [-1, 0]]),
    ],
)
def test_cells(options: dict[str, Any], expected: list[list[int]]) -> None:
    assert cells(**options) == expected


def test_uncertain_labels_of_validation_and_test_become_nothing_unless_asked() -> None:
    assert cells(training=False, uncertain="zero", blank="zero") == [[0, 1], [1, -1], [-1, 0], [0, 0], [0, 0]]
    assert cells(training=False, uncertain="one", evaluation=True) == cells(uncertain="one")
    plain = np.array([[0, 1, -1]], dtype=np.int8)
    assert settled(plain, training=True) is plain


def test_a_cell_that_is_no_label_is_named() -> None:
    sheet = Sheet("t.csv", ["A"], [["0"], ["2"]], [2, 4])
    with pytest.raises(InputError, match=r"0, 1, -1 or blank in column 'A' of t.csv, line 4, got '2'"):
        LabelPolicy(uncertain="zero").cells(sheet, ["A"])
    with pytest.raises(InputError, match="no column B"):
        LabelPolicy().cells(sheet, ["A", "B"])


NAMES = ["Mass", "Pleural Effusion", "Nodule"]


def lists(*texts: str, separator: str | None = "|", **options: Any) -> list[list[int]]:
    policy = LabelPolicy(**{name: options.pop(name) for name in ("blank",) if name in options})
    where = "f.csv, line {}".format
    labels = policy.lists(texts, NAMES, where=lambda row: where(row + 2), separator=separator, **options)
    assert labels.dtype == np.int8
    return labels.tolist()  # type: ignore[no-any-return]


def test_lists_of_names() -> None:
    found = lists("Mass|Nodule", "mass | PLEURAL effusion", "No Finding", "|Nodule|", "", none=["No Finding"])
    assert found == [[1, 0, 1], [1, 1, 0], [0, 0, 0], [0, 0, 1], [-1, -1, -1]]
    assert lists("", "nan", blank={"Mass": "zero"}) == [[0, -1, -1]] * 2
    assert lists("Mass", "Other", none=["mass", "Other"]) == [[1, 0, 0], [0, 0, 0]], "a class is one, whatever is none"
    assert lists("Effusion|Mass", "effusion", aliases={"Effusion": "Pleural Effusion"}) == [[1, 1, 0], [0, 1, 0]]


def test_the_text_of_a_list() -> None:
    texts = ("['Mass', 'nodule ']", "[]", '["pleural effusion", "normal"]', "['']", "")
    found = lists(*texts, separator=None, none={"normal"})
    assert found == [[1, 0, 1], [0, 0, 0], [0, 1, 0], [0, 0, 0], [-1, -1, -1]]
    texts = ("['mass' 'nodule']", "['mass'\n 'pleural effusion' 'nodule']", "{'nodule', 'mass'}", "('mass',)", "set()")
    assert lists(*texts, separator=None) == [[1, 0, 1], [1, 1, 1], [1, 0, 1], [1, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    "text",
    ["mass, nodule", "['mass'", "{'mass': 1}", "['mass', 3]", "['mass''nodule']", "['mass' ... 'nodule']", "os()", "3"],
)
def test_text_that_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"a list such as \['a', 'b'\] in f.csv, line 2"):
        lists(text, separator=None)


def test_a_name_that_nobody_knows_is_refused_with_its_row() -> None:
    with pytest.raises(InputError, match=r"labels among Mass, .* in f.csv, line 3, got 'Hernia'"):
        lists("Mass", "Nodule|Hernia")
    for known, said in ((20, "18, 19 in"), (21, "18, 19, ... in")):
        with pytest.raises(InputError, match=said):
            LabelPolicy().lists(["x"], [str(name) for name in range(known)], where=str, separator="|")


VOTES = np.array(
    # three readers of x, two of y, one of z, in any order
    [[1, 0, -1], [1, 1, -1], [0, 0, -1], [1, 1, 1], [0, -1, 1], [-1, 1, 0]],
    dtype=np.int8,
)
IDS = ["x", "y", "x", "x", "y", "z"]


@pytest.mark.parametrize(
    ("readers", "x", "y"),
    [("majority", [1, 0, 1], [-1, 1, 1]), ("any", [1, 1, 1], [1, 1, 1]), ("all", [0, 0, 1], [0, 1, 1])],
)
def test_votes(readers: Any, x: list[int], y: list[int]) -> None:
    ids, labels = LabelPolicy(readers=readers).vote(VOTES, IDS, ["A", "B", "C"])
    assert ids == ["x", "y", "z"]
    assert labels.dtype == np.int8
    assert labels.tolist() == [x, y, [-1, 1, 0]]


def test_where_no_reader_knows_the_first_one_is_as_unsure_as_he_was() -> None:
    policy = LabelPolicy(uncertain="one")
    unsure = policy.cells(Sheet("t.csv", ["A"], [["-1"], [""], ["-1"]], [2, 3, 4]), ["A"])
    for ids, expected in ((["x", "x", "y"], [[1], [1]]), (["y", "x", "x"], [[1], [-1]])):
        assert settled(policy.vote(unsure, ids, ["A"])[1], training=True).tolist() == expected


def test_a_tie_is_uncertain() -> None:
    for policy, tie, in_test in (
        (LabelPolicy(uncertain="one"), 1, -1),
        (LabelPolicy(uncertain={"A": "zero"}), 0, -1),
        (LabelPolicy(uncertain="zero", evaluation=True), 0, 0),
    ):
        _, labels = policy.vote(VOTES, IDS, ["A", "B", "C"])
        assert settled(labels, training=True)[1, 0] == tie
        assert settled(labels, training=False)[1, 0] == in_test


def test_what_a_policy_leaves_open_is_as_the_data_set_has_it() -> None:
    default = LabelPolicy(uncertain="one", blank="zero", evaluation=True)
    assert LabelPolicy(uncertain="ignore").over(default) == LabelPolicy("ignore", "zero", None, True)

    class Own(CSVDataModule):
        default_labels = default

    assert Own("x").label_policy == default
    assert Own("x", labels=LabelPolicy(evaluation=False)).label_policy == LabelPolicy("one", "zero", None, False)


def test_values_that_are_none_are_refused() -> None:
    for options in ({"uncertain": "two"}, {"blank": {"A": "0"}}, {"readers": "first"}):
        with pytest.raises(InputError, match=r"data.labels.\w+ as one of"):
            LabelPolicy(**options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"data.labels.uncertain by class names \(A, B\) or \*, got 'D'"):
        LabelPolicy(uncertain={"D": "zero"}).cells(SHEET, ["A", "B"])


def parsed(*arguments: str) -> MultiLabelDataModule:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--config", action="config")
    parser.add_subclass_arguments(MultiLabelDataModule, "data")
    data: MultiLabelDataModule = parser.instantiate(parser.parse_args([*arguments])).data
    return data


@pytest.mark.parametrize("kind", [CSVDataModule, Endo, MuReD])
def test_the_policy_comes_from_yaml_and_command_line(kind: type[MultiLabelDataModule], tmp_path: Path) -> None:
    text = (
        f"data: {{class_path: {kind.__name__}, init_args: {{root: x, labels: {{uncertain: {{A: one}}, blank: zero}}}}}}"
    )
    (tmp_path / "c.yaml").write_text(text)
    config = ("--config", str(tmp_path / "c.yaml"))
    plain = ("--data", kind.__name__, "--data.root", "x")
    for arguments, expected in (
        (plain, LabelPolicy()),
        (config, LabelPolicy({"A": "one"}, "zero")),
        ((*config, "--data.labels.blank", "one"), LabelPolicy({"A": "one"}, "one")),
        ((*plain, "--data.labels.uncertain", "zero", "--data.labels.evaluation", "true"),
         LabelPolicy("zero", evaluation=True)),
        ((*plain, "--data.labels.uncertain.A", "zero"), LabelPolicy({"A": "zero"})),
    ):  # fmt: skip
        assert parsed(*arguments).label_policy == expected  # type: ignore[attr-defined]


def test_a_wrong_policy_gets_one_line(tree: Path, here: Path) -> None:
    config = written(here / "e.yaml", experiment(tree))
    for option, value, names in (
        ("uncertain", "two", ("data.labels.uncertain as one of", "got two;")),
        ("uncertan", "zero", ("data.labels.uncertan", "did you mean data.labels.uncertain?")),
        ("uncertain.D", "zero", ("data.labels.uncertain", "'D'", "A, B, C")),
    ):
        result = ibca("check", "--config", config, f"--data.labels.{option}", value)
        assert result.code == 2
        (line,) = result.errors
        assert all(name in line for name in names), line


def test_training_takes_the_policy_and_a_validation_split_off_does_not(tree: Path) -> None:
    def tables(**policy: Any) -> Any:
        return CSVDataModule(
            str(tree), train_csv="all.csv", group_column="patient", image_dir="images", exclude_columns=["sex", "age"],
            labels=LabelPolicy(**policy), val_fraction=0.4,
        ).split_tables()  # fmt: skip

    cell = {row["image"]: [row[name] for name in "ABC"] for row in rows(tree / "all.csv")}
    before, after = tables(), tables(uncertain="one", blank="zero")
    assert any("-1" in texts for texts in cell.values())
    for split in ("train", "val"):
        assert np.array_equal(before[split].names, after[split].names), "a policy leaves the split alone"
        for row in range(len(after[split])):
            for text, was, is_now in zip(
                cell[after[split].name(row)], before[split].labels[row], after[split].labels[row], strict=True
            ):
                if text == "-1":
                    assert (was, is_now) == (-1, 1 if split == "train" else -1)
                elif text in ("", "NaN"):
                    assert (was, is_now) == (-1, 0)
                else:
                    assert is_now == was == float(text)
