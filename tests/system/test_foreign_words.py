"""What other libraries say reaches a user in one line, whichever command it is, and nothing of ours is lost."""

import importlib
import logging
import sys
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import openpyxl
import pytest
from openpyxl.worksheet.datavalidation import DataValidation

from ibca_lightning import cli
from ibca_lightning.system.errors import DataWarning
from ibca_lightning.system.terminal.foreign_words import Stderr, warning_line

ELSEWHERE = "/opt/venv/lib/python3.11/site-packages/pydicom/valuerep.py"


@pytest.fixture(autouse=True)
def afterwards() -> Iterator[None]:
    before = logging.lastResort
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        yield
    logging.lastResort = before


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """`ibca` as a process of its own runs it."""
    monkeypatch.setattr(sys, "argv", ["ibca", *map(str, arguments)])
    return cli.main()


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_a_foreign_warning_is_one_line_in_every_command(
    command: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def warns(arguments: list[str]) -> int:
        import lightning.fabric.utilities.warnings as late

        importlib.reload(late)  # which formats warnings anew, as where a command imports it first
        warnings.warn_explicit("of two\n  lines, \x1b]0;evil\x07", UserWarning, ELSEWHERE, 7)
        warnings.warn_explicit("of lightning", UserWarning, late.__file__, 7)
        warnings.warn_explicit("a leak; mend it", DataWarning, ELSEWHERE, 7)
        warnings.warn_explicit("of ours", UserWarning, cli.__file__, 7)
        return 0

    monkeypatch.setattr(cli, "_run", warns)
    assert run(monkeypatch, command) == 0
    assert capfd.readouterr().err.splitlines() == [
        "warning of pydicom: of two lines, \\x1b]0;evil\\x07 (UserWarning)",
        "warning of lightning: of lightning (UserWarning)",
        "warning: a leak; mend it",
        "warning: of ours",
    ]


def test_a_foreign_log_record_is_one_line(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's, which an own process has not

    def logs(arguments: list[str]) -> int:
        for name in ("tifffile", "ibca_lightning.data.loader"):
            logging.getLogger(name).warning("tag\n%s", "\x1b[2J")
        logging.getLogger("tifffile").info("all is well")
        return 0

    monkeypatch.setattr(cli, "_run", logs)
    assert run(monkeypatch, "predict") == 0
    assert capfd.readouterr().err.splitlines() == ["warning of tifffile: tag \\x1b[2J", "tag", "\\x1b[2J"]


def test_what_openpyxl_leaves_out_of_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    book = openpyxl.Workbook()
    for row in (("image", "A"), ("a.png", 1), ("b.png", 0)):
        book.active.append(row)
    book.active.add_data_validation(DataValidation("list", formula1='"0,1"', sqref="B2:B9"))
    book.save("made.xlsx")
    with zipfile.ZipFile("made.xlsx") as made, zipfile.ZipFile("t.xlsx", "w") as new:
        for name in made.namelist():
            end = '<extLst><ext uri="{CCE6A557-97BC-4b89-ADB6-D9C93CAAB3DF}"/></extLst></worksheet>'
            data = made.read(name).replace(b"</worksheet>", end.encode())
            new.writestr(name, data)
    for name in ("a.png", "b.png"):
        Path(name).write_bytes(b"")
    run(monkeypatch, "init", "--table", "t.xlsx", "--images", ".", "--output", "x.yaml")
    said = [line for line in capfd.readouterr().err.splitlines() if "extension" in line]
    assert said == ["warning of openpyxl: Data Validation extension is not supported and will be removed (UserWarning)"]


def test_a_call_that_does_not_fit_its_own_text_ends_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    handler = Stderr()
    handler.emit(logging.LogRecord("other", logging.WARNING, "", 0, "x %d", ("a",), None))
    assert "Logging error" in capsys.readouterr().err


@pytest.mark.parametrize("folder", ["site-packages", "dist-packages"])
def test_the_package_of_a_warning_is_told_by_the_folder_that_it_is_installed_in(folder: str) -> None:
    for file, name in (("pydicom/a/b.py", "pydicom"), ("six.py", "six")):
        line = warning_line("w", UserWarning, f"/usr/lib/python3/{folder}/{file}", 7)
        assert line == f"warning of {name}: w (UserWarning)\n"
