"""Values that YAML, or the parser, reads otherwise than they are meant: refused in one line that says what to write."""

from pathlib import Path

import pytest
import yaml

from ibca_lightning.system import yaml_text
from tests.command_line import done, refused

SET = "data:\n  class_path: CSVDataModule\n  init_args:\n    root: x\n    "


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1:30", 90), ("-1:30", -90), ("1:30.5", 90.5), ("1:30:00", 5400), ("1_0:30", 630), ("010", 8), ("0_17", 15),
        ("-0777", -511), ("00", 0),
    ],
)  # fmt: skip
def test_a_number_that_is_another_one_in_yaml(text: str, number: float) -> None:
    assert yaml.safe_load(text) == number
    for within in (text, f"[a, {text}]", f"a: {{b: {text}}}", f"{text}: a", f"- x\n- {text}\n", f"!!str {text}"):
        if within.startswith("!!"):
            assert yaml_text.load(within) == text
            continue
        with pytest.raises(yaml.MarkedYAMLError, match="which YAML reads as"):
            yaml_text.load(within)


@pytest.mark.parametrize(
    "text",
    [
        "90", "0", "-1", "0.5", "0.010", "1e-3", "0x10", "1_000", "08", "09.5", "'1:30'", '"010"', "a1:30", "1:75",
        "00:12:00:00", "10:00 o'clock", "s3://host:8080/x", "v010", "1:30:", "2024-01-02", "2024-01-02 10:30:00",
    ],
)  # fmt: skip
def test_what_is_read_as_it_is_written_passes(text: str) -> None:
    assert yaml_text.load(f"a: {text}" if text != "1:30:" else "a: x") is not None


@pytest.mark.parametrize("option", ["label_columns: no", "label_list: {column: x, absent: off}"])
def test_a_word_for_a_list_that_is_false_in_yaml(option: str, here: Path) -> None:
    Path("e.yaml").write_text(f"{SET}{option}\n")
    said = "got False; YAML takes yes, no, on and off for true and false: write text in quotes"
    refused("fit", "--config", "e.yaml", "--print_config", names=(said,))


@pytest.mark.parametrize("option", ["batch_size: 1:30", "image_size: 0512", "label_columns: [A, 010]"])
def test_such_a_number_in_a_file_is_named_with_its_line(option: str, here: Path) -> None:
    Path("e.yaml").write_text(f"{SET}{option}\n")
    refused("fit", "--config", "e.yaml", "--print_config", names=("e.yaml, line 5, column", "which YAML reads as"))


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("data.batch_size", "1:30", ("for data.batch_size, got 1:30, which YAML reads as 90;",)),
        ("model.learning_rate", "1:30.5", ("for model.learning_rate, got 1:30.5, which YAML reads as 90.5;",)),
        ("model.feature_stride", "[010, 16]", ("for model.feature_stride, got 010, which YAML reads as 8;",)),
        ("data.label_columns", "[DR, NO]", ("for data.label_columns", "in quotes")),
        ("data.label_columns", "[DR, 1]", ("; YAML takes 1 for a number: write text in quotes",)),
        ("data.label_space", "[DR, ~]", ("; YAML takes null and ~ for nothing: write text in quotes",)),
        ("data.exclude_columns", "on", ("""; write --data.exclude_columns '["on"]' for a list""",)),
        ("data.labels", "uncertain=zero", ("options of data.labels (unc", "; write --data.labels.uncertain zero")),
        ("data.labels", "uncertain: zero, blank=one", ("data.labels as one of 'ignore'",)),
        ("data.labels", "zero", ("options of data.labels (uncertain, ", "; write --data.labels.uncertain VALUE")),
        ("data.label_noise", "flip=0.2", ("; write --data.label_noise.flip 0.2",)),
        ("data.marks", "rho=0.95", ("; write --data.marks.rho 0.95",)),
        ("data.label_values", "present=1,absent=0", ("; write --data.label_values '{present: 1, absent: 0}'",)),
    ],
)  # fmt: skip
def test_such_a_value_behind_an_option(option: str, value: str, words: tuple[str, ...], here: Path) -> None:
    Path("e.yaml").write_text(f"{SET}num_workers: 0\n")
    refused("fit", "--config", "e.yaml", f"--{option}", value, "--print_config", names=words)


def test_text_stays_what_it_is(here: Path) -> None:
    Path("e.yaml").write_text(f"{SET}num_workers: 0\n")
    given = ("--data.image_dir", "1:30", "--data.group_column", "010", "--data.batch_size", "010")
    shown = yaml.safe_load(done("fit", "--config", "e.yaml", *given, "--print_config").out)["data"]["init_args"]
    assert (shown["image_dir"], shown["group_column"], shown["batch_size"]) == ("1:30", "010", 10)


KEYS = {"no": "A", "Yes": "B", "OFF": "C", "1": "D", "1.50": "E", "2024-01-02": "F", "1e3": "G", "on ice": "H"}
FLOW = "{" + ", ".join(f"{key}: {name}" for key, name in KEYS.items()) + "}"


@pytest.mark.parametrize("given", ["in a file", "behind an option"])
def test_a_key_is_what_is_written(given: str, here: Path) -> None:
    """Names of classes and words in tables are keys: YAML 1.1 has true and false for some, and 1.5 for 1.50."""
    in_file = given == "in a file"
    Path("e.yaml").write_text(f"{SET}{f'label_aliases: {FLOW}' if in_file else 'num_workers: 0'}\n")
    option = () if in_file else ("--data.label_aliases", FLOW)
    shown = done("fit", "--config", "e.yaml", *option, "--print_config").out
    assert yaml.safe_load(shown)["data"]["init_args"]["label_aliases"] == KEYS
    assert yaml_text.load(FLOW) == KEYS
    assert yaml_text.load("{a: no, ~: 1, &x off: 1, b: *x}") == {"a": False, None: 1, "off": 1, "b": False}
