"""Cells of a group column that name nobody are refused, and names of patients are not."""

import pytest

from ibca_lightning.data.tables.groups.group_cells import wrong_group
from ibca_lightning.data.tables.sheet import Sheet
from ibca_lightning.data.tables.table import build_table
from ibca_lightning.system.errors import InputError

NOBODY = [
    "undefined", "anonymised", "anonymized", "unbekannt", "Unknown patient", "not known", "N/K", "no id", "NO_ID",
    "TBD", "xxx", "(null)", "{}", "[unknown]", "'unknown'", "patient_unknown", "patient ID missing", "no patient",
    "***",
    "\u2026",
    "de-identified", "?", "-", "--", ".", "n.a.", "NaT", "", "  ", "NA", "#N/A", "NaN.0", "-nan", "nan(ind)", "1.#QNAN",
    "#", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "Err:502",
]  # fmt: skip
CUT = ["1.23457E+12", "1,23457E+12", "1e+20", "1.234567890123e+18"]
SOMEBODY = [
    "0", "00000", "-1", "9999", "P-3", "#3", "unknown 7", "unknown7", "anon-3", "TBD1", "DOE^JANE", "John Doe", "NN",
    "NK", "x", "A", "patient", "case", "id", "Nobody", "Missing, John", "no 5", "1e5", "3E12", "12E5", "5/3",
    "Jos\u00e9", "\u60a3\u80051", "1.2.840.113619.2", "2024-01-02 00:00:00",
]  # fmt: skip


@pytest.mark.parametrize("text", NOBODY + CUT)
def test_what_names_nobody_or_has_been_cut_is_refused_with_its_column(text: str) -> None:
    sheet = Sheet("t.csv", ["image", "patient"], [["1.png", "7"], ["2.png", text]], [2, 3])
    with pytest.raises(InputError, match=r"a group in column 'patient' of t\.csv, line 3, got ") as raised:
        build_table(sheet, [], ["1.png", "2.png"], ".", ".", groups=sheet.column("patient"))
    assert ("a number as a spreadsheet shortens it" in raised.value.got) == (text in CUT)


@pytest.fixture(autouse=True)
def pictures(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.mktemp("pictures")
    for name in ("1.png", "2.png"):
        (folder / name).touch()
    monkeypatch.chdir(folder)


@pytest.mark.parametrize("text", SOMEBODY)
def test_the_name_of_a_patient_is_not(text: str) -> None:
    assert wrong_group(text) is None
