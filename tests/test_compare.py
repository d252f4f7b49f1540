import csv
import json
import statistics

import pytest

from ibca_lightning.cli import main
from ibca_lightning.commands.compare import _method


def run(folder, seed, head, value, low=0.1, names=("test_metrics.json",)):
    folder.mkdir()
    (folder / "config.yaml").write_text(f"seed_everything: {seed}\nmodel: {{head: {head}}}\n")
    for name in names:
        content = {"metrics": {"mAP": value, "OR": None}, "intervals": {"mAP": [low, value + 0.1], "OR": None}}
        (folder / name).write_text(json.dumps(content))
    return str(folder)


def test_seeds_of_one_method_get_their_mean_and_others_do_not(tmp_path, capsys):
    values = [0.5, 0.6, 0.65]
    runs = [run(tmp_path / f"a{i}", i, "A", value) for i, value in enumerate(values)]
    runs.append(run(tmp_path / "b", 0, "B", 0.4))
    assert main(["compare", *runs, "--output", str(tmp_path / "out")]) == 0
    text = capsys.readouterr().out
    assert f"**{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}**" in text
    assert "of these 3 seeds" in text
    assert text.count("mean ± sd") == 1
    assert "0.6500 [0.100, 0.750] | - |" in text
    assert (tmp_path / "out" / "compare.md").read_text() == text
    rows = list(csv.DictReader((tmp_path / "out" / "compare.csv").open()))
    assert [float(row["mAP"]) for row in rows] == [*values, 0.4]
    assert rows[0]["mAP_high"] == "0.6"
    assert rows[0]["OR"] == rows[0]["OR_low"] == ""


def test_every_test_set_is_a_row_of_its_own(tmp_path, capsys):
    names = ("test_metrics.json", "test_metrics.same.json", "test_metrics.reversed.json")
    folder = run(tmp_path / "scm", 0, "A", 0.5, names=names)
    (tmp_path / "scm" / "test_metrics.reversed.json").write_text('{"metrics": {"mAP": 0.3}}')
    assert main(["compare", folder, "--figures", "mAP"]) == 0
    sets = [line.split("|")[2].strip() for line in capsys.readouterr().out.splitlines()[2:]]
    assert sets == ["same", "reversed"]  # the first of the run first, not of the alphabet


def test_the_method_is_the_configuration_without_its_seed(tmp_path):
    run(tmp_path / "a", 0, "A", 0.5)
    run(tmp_path / "b", 7, "A", 0.5)
    run(tmp_path / "c", 0, "B", 0.5)
    assert _method(tmp_path / "a") == _method(tmp_path / "b") != _method(tmp_path / "c")


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        (None, [], "test_metrics.json in"),
        ("junk", [], "the figures of ibca test in"),
        ('{"metrics": {"mAP": 1.0}}', ["--figures", "AUC"], "a figure of the runs (mAP), got AUC"),
    ],
)
def test_wrong_input_is_one_line_and_exit_2(tmp_path, capsys, content, options, said):
    if content is not None:
        (tmp_path / "test_metrics.json").write_text(content)
    assert main(["compare", str(tmp_path), *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert said in error
    assert len(error.splitlines()) == 1
