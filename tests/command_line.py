"""`ibca` in this process, and a small experiment for it to run."""

import contextlib
import csv
import io
import os
import socket
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from ibca_lightning.cli import main

REPOSITORY = Path(__file__).parents[1]


class Result(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("error: ")]


def ibca(*arguments: object) -> Result:
    """Run `ibca` with these arguments."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return Result(code, out.getvalue(), err.getvalue())


def done(*arguments: object) -> Result:
    """Run `ibca`, which must succeed."""
    result = ibca(*arguments)
    assert result.code == 0, result.err
    return result


def experiment(root: Path, **data: Any) -> dict[str, Any]:
    """The configuration of a small experiment on `tests/datasets/fake_csv.py`, as one would write it into a YAML."""
    return {
        "model": {
            "class_path": "MultiLabelModule",
            "init_args": {"backbone": "test_resnet", "pretrained": False, "head": {"class_path": "GAPHead"}},
        },
        "data": {
            "class_path": "CSVDataModule",
            "init_args": {
                "root": str(root), "val_csv": "val.csv", "test_csv": "test.csv", "group_column": "patient",
                "image_dir": "images", "exclude_columns": ["sex", "age"], "image_size": 32, "batch_size": 4,
                "num_workers": 0, **data,
            },
        },
        "trainer": {"max_epochs": 1, "accelerator": "cpu"},
        "wandb": "disabled",
    }  # fmt: skip


def written(path: Path, config: dict[str, Any]) -> Path:
    """Write a configuration as YAML."""
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return path


def of_two_processes() -> dict[str, str]:
    """The environment in which two processes find each other, at a port that is free now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    more = {"OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return os.environ | {"PYTHONPATH": str(REPOSITORY)} | more


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes, to see whether anything changed; of a checkout the names at its top."""
    if (folder / "pyproject.toml").is_file():
        return {path.name: b"" for path in folder.iterdir()}
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def near(one: Any, two: Any, tolerance: float = 1e-6, where: str = "") -> None:
    """Figures of the same pictures, computed twice: as JSON, or as rows of a CSV file; equal but for the last digits.

    In another batch, or with another number of threads, sums run in another order and a sigmoid takes another path: the
    vector units' and the one for the rest of a row differ by 6e-8 near 0.5. Steps of training add such up.
    """
    if isinstance(one, dict):
        assert list(one) == list(two), where
        for key in one:
            near(one[key], two[key], tolerance, f"{where}.{key}")
    elif isinstance(one, list):
        assert len(one) == len(two), where
        for at, (first, second) in enumerate(zip(one, two, strict=True)):
            near(first, second, tolerance, f"{where}.{at}")
    elif one != two:
        assert float(one) == pytest.approx(float(two), rel=tolerance, abs=tolerance), where


def refused(*arguments: object, names: tuple[str, ...] = ()) -> Result:
    """Run `ibca`, which must answer with one line of the contract, name these things, and change nothing here."""
    before = contents(Path())
    result = ibca(*arguments)
    assert result.code == 2, result.err
    (line,) = result.errors
    assert result.err.splitlines()[-1] == line
    assert "Traceback" not in result.err
    expected, _, rest = line.removeprefix("error: ").partition(", got ")
    got, _, fix = rest.rpartition("; ")
    assert expected
    assert got
    assert fix
    for name in names:
        assert name in line, line
    assert len(line) < 400, line
    assert contents(Path()) == before
    assert not (Path("new")).exists()
    return result
