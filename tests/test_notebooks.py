"""The notebooks of experiments: stripped, and each runs as it stands."""

import json
import os
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "experiments/notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def test_they_are_there() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["ibca_maps", "own_table"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_they_hold_no_output_and_no_path_of_a_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    book = json.loads(text)
    code = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    assert code
    assert [(cell["outputs"], cell["execution_count"]) for cell in code] == [([], None)] * len(code)
    assert all(cell["metadata"] == {} for cell in book["cells"])
    assert set(book["metadata"]) == {"kernelspec", "language_info"}, "nothing of a machine"
    assert book["metadata"]["kernelspec"]["name"] == "python3"
    assert not re.findall(r"(?<![\w.~])/(?:home|work|tmp|root|Users|mnt|data|srv|opt|usr)/|[A-Z]:\\\\", text)
    assert json.loads(path.with_name("own_table.ipynb").read_text())["nbformat"] == 4


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_their_sentences_are_short(path: Path) -> None:
    prose = "\n".join(
        re.sub(r"```.*?```", "", "".join(cell["source"]), flags=re.S)
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
        if cell["cell_type"] == "markdown"
    )
    sentences = re.split(r"(?<=[.:?])\s|\n", prose)
    assert [own for own in sentences if len(own.split()) > 30] == []


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_they_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")  # `!ibca`
    monkeypatch.setenv("PYTHONPATH", str(FOLDER.parents[1]))
    book = nbformat.read(path, as_version=4)
    NotebookClient(book, timeout=1200, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in book.cells for output in cell.get("outputs", ())]
    said = "".join(output.get("text", "") for output in shown)
    assert not re.findall(r"^error: .*|Traceback", said, re.M), said[-3000:]
    kinds = [kind for output in shown for kind in output.get("data", ())]
    if path.stem == "own_table":
        for file in ("ward7.yaml", "run/checkpoints/best.ckpt", "run/test_metrics.json", "run/report.html"):
            assert (tmp_path / file).is_file(), said[-3000:]
        assert kinds.count("image/png") == 2, "a batch, and a plot"
        assert kinds.count("text/html") == 3, "a training, the report, a prediction"
    else:
        assert (tmp_path / "IBCA.ckpt").is_file()
        assert kinds.count("image/png") == 2, "a batch, and the maps"
        assert kinds.count("text/html") == 2, "figures, and a prediction"
