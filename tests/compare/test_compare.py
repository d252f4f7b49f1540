import csv
import json
import re
import shutil
import statistics
import tempfile
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

from ibca_lightning.cli import main
from ibca_lightning.compare.command import _methods
from ibca_lightning.compare.run_rows import method_and_repetition, read_run
from ibca_lightning.metrics.evaluation import Evaluation
from ibca_lightning.metrics.localisation import summarise
from ibca_lightning.metrics.multilabel import figures
from ibca_lightning.metrics.resampling.paired import paired_intervals
from ibca_lightning.metrics.resampling.resamples import resampled_figures
from ibca_lightning.run.result_files import write_evaluation
from tests.command_line import done, ibca, refused
from tests.metrics.test_thirds import evaluated, seen


def full(*arguments, to=None):
    """The tables that `ibca compare` writes as Markdown."""
    with tempfile.TemporaryDirectory() as folder:
        done("compare", *arguments, "--output", to or folder)
        return (Path(to or folder) / "compare.md").read_text(encoding="utf-8")


def fake(folder, seed, head, value, low=0.1, names=("test_metrics.json",)):
    folder.mkdir()
    (folder / "config.yaml").write_text(f"seed_everything: {seed}\nmodel: {{head: {head}}}\n")
    for name in names:
        content = {"metrics": {"mAP": value, "OR": None}, "intervals": {"mAP": [low, value + 0.1], "OR": None}}
        (folder / name).write_text(json.dumps(content))
    return str(folder)


def test_seeds_of_one_method_get_their_mean_and_others_do_not(tmp_path):
    values = [0.5, 0.6, 0.65]
    runs = [fake(tmp_path / f"a{i}", i, "A", value) for i, value in enumerate(values)]
    runs.append(fake(tmp_path / "b", 0, "B", 0.4))
    text = full(*runs, to=tmp_path / "out")
    assert f"**{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}**" in text
    assert "of these 3 seeds" in text
    assert text.count("mean ± sd") == 1
    assert "0.6500 [0.100, 0.750] | - |" in text
    rows = list(csv.DictReader((tmp_path / "out" / "compare.csv").open()))
    assert [float(row["mAP"]) for row in rows] == [*values, 0.4]
    assert rows[0]["mAP_high"] == "0.6"
    assert rows[0]["OR"] == rows[0]["OR_low"] == ""


@pytest.mark.parametrize("seed", ["false", "null", "'0'"])
def test_runs_without_a_seed_are_each_another_training(tmp_path, seed):
    """`seed_everything: false` is Lightning's word for none, and Python's for 0."""
    runs = [fake(tmp_path / f"a{i}", seed, "A", value) for i, value in enumerate([0.5, 0.6, 0.65])]
    assert "of these 3 seeds" in full(*runs)
    assert {method_and_repetition(Path(run))[1] for run in runs} == {(None, "null")}


def test_every_test_set_is_a_row_of_its_own(tmp_path):
    names = ("test_metrics.json", "test_metrics.same.json", "test_metrics.reversed.json")
    folder = fake(tmp_path / "scm", 0, "A", 0.5, names=names)
    (tmp_path / "scm" / "test_metrics.reversed.json").write_text('{"metrics": {"mAP": 0.3}}')
    sets = [line.split("|")[2].strip() for line in full(folder, "--figures", "mAP").splitlines()[2:]]
    assert sets == ["same", "reversed"]  # the first of the run first, not of the alphabet


def test_a_copy_of_a_run_and_another_run_of_its_seed_are_said_to_be_no_further_seed(tmp_path):
    runs = [fake(tmp_path / f"{seed} {value}", seed, "A", value) for seed, value in ((0, 0.5), (1, 0.5))]
    assert "note:" not in done("compare", *runs).err
    result = done("compare", *runs, fake(tmp_path / "copy", 0, "A", 0.5), fake(tmp_path / "again", 0, "A", 0.6))
    assert f"note: {runs[0]} and {tmp_path / 'copy'} have one seed and the same figures, as a copy has" in result.err
    assert f"note: {runs[0]} and {tmp_path / 'again'} have one seed on test; means" in result.err
    # Two copies more would make a mean of 0.6 and the spread too small.
    text = full(*runs, *(fake(tmp_path / f"copy {at}", 1, "A", 0.7) for at in range(2)), "--figures", "mAP")
    assert "mean ± sd of these 2 seeds, the first run of each** | test | **0.5000 ± 0.0000** |" in text


def test_runs_that_share_one_test_set_alone_are_one_method_there_and_have_their_drop(tmp_path):
    names = ("test_metrics.json", "test_metrics.iid.json", "test_metrics.ext.json")
    runs = [fake(tmp_path / f"a-{seed}", seed, "A", 0.5, names=names) for seed in range(2)]
    for run, own in zip(runs, "xy", strict=True):
        (Path(run) / "test_metrics.ext.json").write_text('{"metrics": {"mAP": 0.4}}')
        for name, pictures in (("iid", own), ("ext", "z")):
            (Path(run) / f"test_predictions.{name}.csv").write_text(f"id,c,label:c\n{pictures}.png,0.5,1\n")
    asked = Namespace(reference=None, without=None, cost=False)
    by_set = _methods([row for run in runs for row in read_run(Path(run), False)], asked)
    found = [(method.name, method.test_set, method.figures.get("mAP_drop")) for own, _ in by_set for method in own]
    parent = tmp_path.name
    assert found[:2] == [(f"{parent}/a-0", "iid", None), (f"{parent}/a-1", "iid", None)]
    assert found[2] == ("a", "ext", pytest.approx([0.1, 0.1]))


def test_runs_of_other_test_pictures_have_no_mean_and_are_named(tmp_path):
    runs = [fake(tmp_path / f"a{seed}", seed, "A", 0.5 + seed / 10) for seed in range(3)]
    for run, pictures in zip(runs, (["x", "y"], ["y", "x"], ["y", "z"]), strict=True):
        text = "".join(f"{name}.png,0.5,1\n" for name in pictures)
        (Path(run) / "test_predictions.csv").write_text(f"id,c,label:c\n{text}")
    assert "note:" not in done("compare", *runs[:2]).err
    result = done("compare", *runs)
    assert f"note: not known to be tested on the same pictures (test): {runs[0]}, {runs[2]}; no mean" in result.err
    text = full(*runs, to=tmp_path / "out")
    assert "mean ± sd of these 2 seeds" in text
    assert "0.5500 ± 0.0707" in text, "of the first two"
    assert "tested on the same pictures: a higher figure says" in (tmp_path / "out/compare.html").read_text()


def test_figures_at_one_half_say_so_and_those_at_the_own_thresholds_come_first(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    runs = [fake(tmp_path / name, 0, name, 0.5) for name in "ab"]
    for run in runs:
        content = {
            "metrics": {"mAP": 0.5, "CF1": 0.3314},
            "tuned": {"CF1": 0.6007},
            "tuned_intervals": {"CF1": [0.5, 0.7]},
        }
        (Path(run) / "test_metrics.json").write_text(json.dumps(content))
    out = done("compare", *runs, "--output", tmp_path / "out").out
    assert out.split("\n")[0].split() == ["run", "set", "mAP", "CF1", "at", "0.5", "tuned_CF1"]
    assert "0.6007 [0.500, 0.700]" in out
    assert "| CF1 at 0.5 |" in (tmp_path / "out/compare.md").read_text()
    assert "CF1 at 0.5" in (tmp_path / "out/compare.html").read_text()
    (row, _) = csv.DictReader((tmp_path / "out/compare.csv").open())
    assert (row["CF1"], row["tuned_CF1"], row["tuned_CF1_high"]) == ("0.3314", "0.6007", "0.7")
    assert "CF1 at 0.5" in done("compare", *runs, "--figures", "CF1").out


def method(run):
    return method_and_repetition(run)[0]


def test_another_draw_of_the_split_is_another_repetition_and_other_data_another_method(tmp_path):
    data = "seed_everything: {seed}\ndata: {{class_path: CSV, init_args: {{split_seed: {seed}, image_size: {size}}}}}\n"
    for name, seed, size in (("a", 0, 96), ("b", 1, 96), ("c", 0, 64)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(data.format(seed=seed, size=size))
    assert method(tmp_path / "a") == method(tmp_path / "b") != method(tmp_path / "c")


def test_the_method_is_the_configuration_without_its_seed(tmp_path):
    fake(tmp_path / "a", 0, "A", 0.5)
    fake(tmp_path / "b", 7, "A", 0.5)
    fake(tmp_path / "c", 0, "B", 0.5)
    assert method(tmp_path / "a") == method(tmp_path / "b") != method(tmp_path / "c")


# --- one row a method -------------------------------------------------------------------------------------------------

NAMES, IDS = ["A", "B", "C"], [f"{i:02d}.png" for i in range(24)]
GROUPS = [f"g{i // 2}" for i in range(len(IDS))]


def left_by_test(folder, found, labels, suffix, shuffled):
    """What `ibca test` leaves of one set; `shuffled`: in another order of the same pictures."""
    energy = torch.where(labels == 1, found.double(), torch.nan)
    pairs = {"energy": energy, "uniform": energy / 2, "spurious_energy": energy / 3}
    content = figures(found, labels, NAMES)
    content["metrics"] |= summarise(pairs, NAMES)["metrics"]
    order = list(range(len(IDS)))[:: -1 if shuffled else 1]
    result = Evaluation(
        "test", content, [IDS[i] for i in order], found[order], labels[order], NAMES, [GROUPS[i] for i in order],
        {name: values[order] for name, values in pairs.items()},
    )  # fmt: skip
    write_evaluation(folder, result, suffix)


@pytest.fixture
def sweep(tmp_path):
    """Three methods of two seeds on two sets: the folder, the scores on the second set, the labels."""
    rng, folder = np.random.default_rng(0), tmp_path / "runs"
    folder.mkdir()
    labels = torch.from_numpy((rng.random((len(IDS), 3)) < 0.4).astype(np.int64))
    scores = {}
    for name, quality in (("poor", 0.0), ("fair", 0.2), ("good", 0.35)):
        for seed in (0, 1):
            own = folder / f"{name}-{seed}"
            fake(own, seed, name, 0.0)
            for suffix in (".one", ".two"):
                noise = torch.from_numpy(rng.random(labels.shape))
                scores[name, seed] = (quality * labels + (1 - quality) * noise).float()
                left_by_test(own, scores[name, seed], labels, suffix, shuffled=seed == 1)
            (own / "test_metrics.json").write_bytes((own / "test_metrics.one.json").read_bytes())
    (folder / "sweep.csv").touch()
    return folder, scores, labels


def cells(text, method, test_set):
    """The row of a method as a dictionary by column."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {test_set} |"))
    header, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines[start:])
    return next(dict(zip(header, row, strict=True)) for row in rows if row[0] == method)


def test_methods_are_rows_with_paired_intervals(sweep, tmp_path):
    folder, scores, labels = sweep
    out = full(folder, "--reference", "best", "--without", "C", to=tmp_path / "out")
    assert out.index("| one | seeds |") < out.index("| two | seeds |") < out.index("| run | set |")
    whole = {key: figures(found, labels, NAMES)["metrics"]["mAP"] for key, found in scores.items()}
    part = {key: figures(found[:, :2], labels[:, :2], NAMES[:2])["metrics"]["mAP"] for key, found in scores.items()}
    good, fair, left = ([values[name, 0], values[name, 1]] for values, name in (
        (whole, "good"), (whole, "fair"), (part, "good")))  # fmt: skip
    row = cells(out, "good", "two")
    assert row["mAP"] == f"**{statistics.mean(good):.4f} ± {statistics.stdev(good):.4f}**"
    assert row["mAP\\C"] == f"**{statistics.mean(left):.4f} ± {statistics.stdev(left):.4f}**"
    assert cells(out, "fair", "two")["mAP"] == f"{statistics.mean(fair):.4f} ± {statistics.stdev(fair):.4f}"
    assert row["seeds"] == "2"
    # The best other one: of the best the second, of all others the best.
    assert cells(out, "poor", "two")["mAP: difference [95 %]"].endswith("to good")
    difference = statistics.mean(good) - statistics.mean(fair)
    drawn = {key: resampled_figures(found, labels, GROUPS) for key, found in scores.items()}
    both = ([drawn[name, 0], drawn[name, 1]] for name in ("good", "fair"))
    low, high = paired_intervals(*both, training_seeds=([0, 1], [0, 1]))["mAP"]
    assert low < difference < high
    assert row["mAP: difference [95 %]"] == f"{difference:+.4f} [{low:+.4f}, {high:+.4f}] to fair"
    assert "over 12 groups" in out
    assert "1000 resamples, and of the training seeds." in out
    # And everything, exact, in the CSV.
    table = {(row["method"], row["set"]): row for row in csv.DictReader((tmp_path / "out/methods.csv").open())}
    exact = table["good", "two"]
    assert exact["reference"] == "fair"
    assert float(exact["mAP_sd"]) == pytest.approx(statistics.stdev(good))
    assert [float(exact["mAP_low"]), float(exact["mAP_high"])] == pytest.approx([low, high])
    ends = [float(exact[f"attention_energy_{end}"]) for end in ("low", "difference", "high")]
    assert ends == sorted(ends)
    assert float(exact["mAP\\C_low"]) < float(exact["mAP\\C_high"])
    assert float(exact["mAP_drop"]) == pytest.approx(float(table["good", "one"]["mAP"]) - float(exact["mAP"]))
    assert table["good", "one"]["mAP_drop"] == ""


@pytest.mark.parametrize("columns", [80, 120, 400])
def test_the_terminal_shows_at_most_8_columns_no_name_is_cut_and_the_rest_is_named(
    sweep, tmp_path, monkeypatch, columns
):
    monkeypatch.setenv("COLUMNS", str(columns))
    name = "a_method_of_a_name_of_forty_characters_x"
    for seed in (0, 1):
        (sweep[0] / f"good-{seed}").rename(sweep[0] / f"{name}-{seed}")
    out = done("compare", sweep[0], "--without", "C", "--output", tmp_path / "out").out
    headers = [line for line in out.splitlines() if line.startswith(("one ", "two ", "run "))]
    assert len(headers) == 3
    for line in out.splitlines():
        assert len(line) <= columns or line.startswith("not shown: ")
    assert out.count(name) >= 2 + 4
    left = [line for line in out.splitlines() if line.startswith("not shown: ")]
    said = [name for line in left for name in line.removeprefix("not shown: ").partition("; see")[0].split(", ")]
    assert len(said) == len(set(said)) > 0, "each is named once"
    assert all("other_energy" not in line and line.endswith("see " + str(tmp_path / "out/compare.md")) for line in left)
    whole = (tmp_path / "out/compare.md").read_text().splitlines()[0].split("|")
    missing = left[0].removeprefix("not shown: ").partition("; see")[0].split(", ")
    shown = [column.strip() for column in whole[1:-1] if column.strip() not in missing]
    assert len(shown) <= 8
    assert shown[1:2] == ["seeds"]
    assert "mAP" in shown
    assert set(shown) | set(missing) == {column.strip() for column in whole[1:-1]}


def test_long_names_stand_once_in_a_line_of_the_terminal(sweep, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    names = {"good": "a_good_method_of_a_name_of_40_characters", "fair": "the_fair_method_of_a_name_of_40_letters_"}
    for old, name in names.items():
        for seed in (0, 1):
            (sweep[0] / f"{old}-{seed}").rename(sweep[0] / f"{name}-{seed}")
    out = done("compare", sweep[0], "--reference", "best", "--differences", "mAP").out
    lines = [line for line in out.splitlines() if not line.startswith(("not shown: ", "Difference to"))]
    assert max(map(len, lines)) <= 80
    assert "±0." in out
    assert "± 0." not in out.partition("run ")[0]
    second = out[out.index("\ntwo ") :].partition("not shown")[0]
    assert f"#1 {names['good']}" in second
    assert "#3\n" in second, "the good one is compared with the fair one"
    assert "[95%]" in second
    assert "mAP" in second.splitlines()[1]


# --- the page ---------------------------------------------------------------------------------------------------------


def of_page(html, title):
    """The rows of a forest plot by name: difference, ends, and where they are drawn; and where 0 is drawn."""
    section = html[html.index(f"<h3>{title}</h3>") :].partition("</table>")[0]
    found = {}
    for row in re.findall(r"<tr><td>.*?</tr>", section.partition("<tfoot>")[0], flags=re.S):
        name = re.sub("<wbr>", "", re.search(r"<tr><td>(.*?) ?<small", row)[1])
        numbers = [float(text) for text in re.findall(r'<td class="wide">([^<]+)</td>', row)[-2:-1]]
        ends = [float(text) for text in re.search(r">([^<>]+) to ([^<>]+)</td></tr>", row).groups()]
        drawn = [float(x) for x in (*re.search(r'"interval" x1="([\d.]+)%" x2="([\d.]+)%"', row).groups(),
                                    re.search(r'<circle class="(?:un)?sure" cx="([\d.]+)%"', row)[1])]  # fmt: skip
        found[name] = (numbers[0], *ends, *drawn, 'class="sure"' in row)
    zero = re.search(r'class="zero" x1="([\d.]+)%"', section)
    return found, zero and float(zero[1])


def test_the_page_draws_what_the_table_says(sweep, tmp_path):
    options = ("--reference", "poor", "--per_class", "--differences", "mAP", "spurious_energy")
    done("compare", sweep[0], *options, "--output", tmp_path / "out")
    html = (tmp_path / "out/compare.html").read_text()
    part = html[html.index("Test set: two") :]
    exact = {row["method"]: row for row in csv.DictReader((tmp_path / "out/methods.csv").open()) if row["set"] == "two"}
    found, zero = of_page(part, "Differences in mAP")
    assert list(found) == ["good", "fair"], "the one that gains most first, and the reference has none"
    for name, (value, low, high, left, right, dot, sure) in found.items():
        wanted = [float(exact[name][f"mAP_{end}"]) for end in ("difference", "low", "high")]
        assert [value, low, high] == pytest.approx(wanted, abs=6e-4)
        # Places are on one scale, on which 0 is where the line is.
        scale = (right - left) / (wanted[2] - wanted[1])
        assert dot - zero == pytest.approx(scale * wanted[0], abs=0.1)
        assert right - zero == pytest.approx(scale * wanted[2], abs=0.1)
        assert 0 <= left < right <= 100
        assert sure == (wanted[1] > 0)
    assert "To the left of the line, at 0, a method is the better one; less is better" in part
    assert part.count("<h3>Average precision of each class</h3>") == 1
    assert "&#34;" not in part.partition("<h3>Methods</h3>")[2].partition("</table>")[0]
    assert "://" not in html, "it loads nothing"
    assert html.count('class="scroll"') == html.count('class="on soft" hidden>'), "what says of a box that it is cut"
    runs, zero = of_page(full_page(sweep[0], tmp_path, with_intervals=True), "mAP of each run")
    assert zero is None
    assert runs["good-0"][1:3] == (0.25, 0.75)


def full_page(folder, tmp_path, with_intervals):
    for path in folder.glob("*/test_metrics*.json") if with_intervals else ():
        content = json.loads(path.read_text())
        path.write_text(json.dumps(content | {"intervals": {"mAP": [0.25, 0.75]}}))
    done("compare", folder, "--output", tmp_path / "again")
    return (tmp_path / "again/compare.html").read_text()


def test_names_are_text_and_another_page_stays(sweep, tmp_path):
    evil = "<script>alert(1)</script>&"
    for seed in (0, 1):
        shown = sweep[0] / f"{evil.replace('/', '.')}-{seed}"
        (sweep[0] / f"good-{seed}").rename(shown)
    html = full_page(sweep[0], tmp_path, with_intervals=False)
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)" in html
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/compare.html").write_text("a page of mine")
    result = ibca("compare", sweep[0], "--output", tmp_path / "mine")
    assert result.code == 2
    assert "to be replaced, got another; give another --output" in result.errors[0]
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["compare.html"]


# --- the AP of each class ---------------------------------------------------------------------------------------------


def left_by_hand(folder, found, labels, names):
    """What `ibca test` leaves of a few pictures."""
    ids = [f"{i}.png" for i in range(len(labels))]
    content = figures(found, labels, names)
    write_evaluation(folder, Evaluation("test", content, ids, found, labels, names, ids, {}))


def test_precisions_of_classes_are_means_over_seeds(tmp_path):
    # AP by hand: the positives of SE stand at ranks 1 and 3, then 2 and 4; that of a|ECE at rank 1, then 4.
    labels, names = torch.tensor([[1, 0, 1], [0, 1, 1], [1, 0, 1], [0, 0, 1]]), ["SE", "a|ECE", "all"]
    by_seed = {0: [[0.9, 0.1, 0.5], [0.8, 0.9, 0.5], [0.7, 0.2, 0.5], [0.6, 0.3, 0.5]],
               1: [[0.8, 0.4, 0.5], [0.9, 0.1, 0.5], [0.6, 0.3, 0.5], [0.7, 0.2, 0.5]]}  # fmt: skip
    for seed, scores in by_seed.items():
        left_by_hand(tmp_path / fake(tmp_path / f"own-{seed}", seed, "A", 0.0), torch.tensor(scores), labels, names)
    left_by_hand(tmp_path / fake(tmp_path / "bad", 0, "B", 0.0), torch.tensor(by_seed[1]), labels, names)
    runs = [tmp_path / name for name in ("own-0", "own-1", "bad")]
    out = full(*runs, "--per_class", to=tmp_path / "out")
    by_hand = {"SE": ((1 + 2 / 3) / 2, (1 / 2 + 2 / 4) / 2), "a|ECE": (1, 1 / 4)}
    rows = {row["method"]: row for row in csv.DictReader((tmp_path / "out/methods.csv").open())}
    for name, (one, two) in by_hand.items():
        mean, deviation = (one + two) / 2, abs(one - two) / 2**0.5  # n - 1 = 1
        assert float(rows["own"][f"AP/{name}"]) == pytest.approx(mean, abs=1e-6)
        assert float(rows["own"][f"AP/{name}_sd"]) == pytest.approx(deviation, abs=1e-6)
        assert rows["own"][f"AP/{name}_low"] == "", "no reference, no difference"
        assert float(rows["bad"][f"AP/{name}"]) == pytest.approx(two, abs=1e-6)
        assert rows["bad"][f"AP/{name}_sd"] == ""
    assert rows["own"]["AP/all"] == "", "without a negative there is no AP"
    header, _, own, bad = out.splitlines()[:4]
    assert header.endswith(r"| AP/SE | AP/a\|ECE | AP/all |")
    assert own.endswith("| **0.6667 ± 0.2357** | **0.6250 ± 0.5303** | - |"), "the higher one is better, for a|ECE too"
    assert bad.endswith("| 0.5000 | 0.2500 | - |")
    assert r"| AP/SE | AP/a\|ECE | AP/all |" in out.split("| run | set |")[1].splitlines()[0]
    exact = list(csv.DictReader((tmp_path / "out/compare.csv").open()))
    assert [float(row["AP/a|ECE"]) for row in exact] == pytest.approx([1, 0.25, 0.25])


def test_figures_and_differences_name_classes(sweep):
    folder, scores, labels = sweep
    options = ("--reference", "fair", "--differences", "AP/B", "--figures", "mAP", "AP/B")
    out = full(folder, *options, "--per_class")
    row = cells(out, "good", "two")
    assert list(row) == ["two", "seeds", "mAP", "AP/B", "mAP_drop", "AP/B: difference [95 %]"]
    assert "| run | set | mAP | AP/B |" in out
    alone = {key: figures(found[:, 1:2], labels[:, 1:2], ["B"])["metrics"]["mAP"] for key, found in scores.items()}
    drawn = {
        key: resampled_figures(found[:, 1:2], labels[:, 1:2], GROUPS, class_figures=["AP/B"])
        for key, found in scores.items()
    }
    means = {name: (alone[name, 0] + alone[name, 1]) / 2 for name in ("good", "fair")}
    both = ([drawn[name, 0], drawn[name, 1]] for name in ("good", "fair"))
    low, high = paired_intervals(*both, training_seeds=([0, 1], [0, 1]))["AP/B"]
    assert low < high
    difference = means["good"] - means["fair"]
    assert row["AP/B: difference [95 %]"] == f"{difference:+.4f} [{low:+.4f}, {high:+.4f}] to fair"
    assert "AP/" not in full(folder, "--reference", "fair"), "only where asked for"


def test_the_terminal_has_a_row_for_each_class_and_says_which_differences_there_are_not(sweep, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    result = done("compare", sweep[0], "--per_class", "--reference", "best", "--differences", "mAP", "tuned_CF1")
    header = next(line for line in result.out.splitlines() if line.startswith("two, class"))
    assert header.split() == ["two,", "class", "fair", "good", "poor"]
    assert [line.split()[0] for line in result.out.splitlines() if line.startswith("AP/")] == [
        "AP/A",
        "AP/B",
        "AP/C",
    ] * 2
    assert not any("AP/" in line for line in result.out.splitlines() if line.startswith("not shown"))
    assert "note: no difference in tuned_CF1; --differences takes " in result.err


@pytest.mark.parametrize(
    ("options", "change", "said"),
    [
        (["--figures", "AP/B"], None, "got AP/B; add --per_class"),
        (["--per_class", "--figures", "AP/Z"], None, "AP/A, AP/B, AP/C), got AP/Z; correct --figures"),
        (["--per_class"], {"metrics": {"mAP": 0.5}}, "AP of each class under per_class in"),
        (["--per_class"], {"metrics": {"mAP": 0.5}, "per_class": {"A": {"AP": "x"}}}, "run ibca test again"),
        (["--per_class"], {"metrics": {"mAP": 0.5}, "per_class": 3}, "run ibca test again"),
    ],
)
def test_classes_that_are_not_there_are_refused(sweep, options, change, said):
    if change:
        (sweep[0] / "good-1/test_metrics.two.json").write_text(json.dumps(change))
    result = ibca("compare", sweep[0], *options)
    assert result.code == 2
    assert said in result.errors[0]


def test_intervals_of_classes_stand_with_their_runs(sweep):
    path = sweep[0] / "good-1/test_metrics.two.json"
    content = json.loads(path.read_text())
    content["per_class"]["B"]["AP"], content["per_class_intervals"] = (
        0.5,
        {"B": {"AP": [0.25, 0.75]}, "C": {"AP": None}},
    )
    path.write_text(json.dumps(content))
    assert "| 0.5000 [0.250, 0.750] |" in full(sweep[0], "--per_class", "--figures", "AP/B")


def test_the_best_other_one_is_found_figure_by_figure(sweep, tmp_path):
    options = ("--reference", "best", "--without", "C", "--differences", "mAP", "spurious_energy")
    out = full(sweep[0], *options, to=tmp_path / "out")
    rows = list(csv.DictReader((tmp_path / "out/methods.csv").open()))
    expected = {"mAP": max, "mAP\\C": max, "attention_energy": max, "ECE": min, "spurious_energy": min}
    found = {name: {} for name in expected}
    for row in (row for row in rows if row["set"] == "two"):
        for name, best in expected.items():
            others = [other for other in rows if other["set"] == "two" and other is not row]
            reference = best(others, key=lambda other: float(other[name]))
            found[name][row["method"]] = row[f"{name}_reference"]
            assert row[f"{name}_reference"] == reference["method"], name
            difference = float(row[name]) - float(reference[name])
            assert float(row[f"{name}_difference"]) == pytest.approx(difference), name
            low, high = float(row[f"{name}_low"]), float(row[f"{name}_high"])
            assert [low, difference, high] == sorted([low, difference, high]), name
        assert row["reference"] == row["mAP_reference"]
        assert row["attention_gain_reference"]
        assert row["mAP_drop_reference"] == "", "what was not resampled has no difference"
    assert found["spurious_energy"]["good"] == "poor" != found["mAP"]["good"]
    assert cells(out, "good", "two")["spurious_energy: difference [95 %]"].endswith("to poor")
    assert cells(out, "good", "two")["mAP: difference [95 %]"].endswith("to fair")


@pytest.mark.usefixtures("here")
def test_runs_with_a_term_are_paired_with_the_same_without(sweep, tmp_path):
    refused("compare", sweep[0], "--reference", "no_terms", names=("a method with training terms", "none"))
    for run in sweep[0].glob("*-?"):
        seed, same = run.name[-1], "seed_everything: {}\nmodel: {{init_args: {{head: {}, terms: {}}}}}\n{}"
        masks = "train_masks: true, mask_dir: masks, missing_masks: empty" if run.name.startswith("good") else ""
        masks = f"data: {{init_args: {{{masks}}}}}\n"
        given = {"good": ("csra", "[mask_guidance]"), "fair": ("csra", "null"), "poor": ("gap", "null")}[run.name[:-2]]
        (run / "config.yaml").write_text(same.format(seed, *given, masks))
    out = full(sweep[0], "--reference", "no_terms", to=tmp_path / "out")
    column = "mAP: difference [95 %]"
    assert cells(out, "good", "two")[column].endswith("to fair"), "not the best other one, but its own pair"
    assert [cells(out, name, "two")[column] for name in ("fair", "poor")] == ["-", "-"]


def test_one_head_of_two_sweeps_is_told_apart_by_the_folder(sweep, tmp_path):
    for seed in (0, 1):  # what `ibca sweep` calls the same head under two settings
        (tmp_path / "with_term").mkdir(exist_ok=True)
        (sweep[0] / f"poor-{seed}").rename(tmp_path / f"with_term/good-{seed}")
    out = full(sweep[0], tmp_path / "with_term", "--reference", "runs/good", to=tmp_path / "out")
    column = "mAP: difference [95 %]"
    assert [cells(out, name, "two")[column] for name in ("runs/good",)] == ["-"]
    assert {cells(out, name, "two")[column].split()[-1] for name in ("with_term/good", "fair")} == {"runs/good"}


def test_one_seed_is_said_not_to_be_in_the_interval(sweep):
    for path in sweep[0].glob("*-1/test_*"):
        path.unlink()
    out = done("compare", sweep[0], "--reference", "poor").out
    assert "with one seed, the scatter between seeds is not in it: fair, good, poor." in out


def test_figures_of_faithfulness_stand_with_those_of_their_set(sweep):
    for name, value in (("fair", 0.2), ("good", 0.4)):
        metrics = {"deletion": value, "insertion": None, "deletion_gain": value, "deletion_random": 0.5}
        content = {"test_set": "two", "metrics": metrics, "intervals": {"deletion": [0.1, 0.9]}}
        (sweep[0] / f"{name}-0/faithfulness.json").write_text(json.dumps(content))
    out = full(sweep[0], "--figures", "deletion", "deletion_gain", "--reference", "best")
    assert [cells(out, name, "two")["deletion"] for name in ("poor", "fair", "good")] == ["-", "**0.2000**", "0.4000"]
    assert [cells(out, name, "two")["deletion_gain"] for name in ("fair", "good")] == ["0.2000", "**0.4000**"]
    assert "deletion" not in cells(out, "fair", "one"), "no run has it there"
    assert "0.2000 [0.100, 0.900]" in out


def test_a_named_reference_and_chosen_figures(sweep):
    out = full(sweep[0], "--reference", "poor", "--figures", "mAP", "--differences", "attention_gain")
    row = cells(out, "good", "one")
    assert list(row) == ["one", "seeds", "mAP", "attention_gain: difference [95 %]"]
    assert re.fullmatch(r"[+-]0\.0000 \[[+-]0\.0000, [+-]0\.0000\] to poor", row["attention_gain: difference [95 %]"])
    assert cells(out, "poor", "one")["attention_gain: difference [95 %]"] == "-"


def test_less_is_better_where_it_is(sweep):
    folder = sweep[0]
    for path in folder.glob("*/test_metrics*.json"):
        value = 0.1 if "fair" in str(path) else 0.3
        path.write_text(json.dumps({"metrics": {"spurious_energy": value, "mAP": value}}))
    out = full(folder, "--without", "C")
    bold = {name: [n for n in ("poor", "fair", "good") if cells(out, n, "one")[name].startswith("**")]
            for name in ("spurious_energy", "mAP")}  # fmt: skip
    assert bold == {"spurious_energy": ["fair"], "mAP": ["poor", "good"]}


def replaced(folder, old, new):
    for path in folder.glob("test_*.two.csv"):
        path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("options", "change", "said"),
    [
        (["--reference", "goood"], None, "--reference best, no_terms or one of fair, good, poor, got goood"),
        (["--without", "D"], None, "a class of the runs (A, B, C), got D"),
        (["--without", "A", "B", "C"], None, "--without some of the classes"),
        (["--cost"], None, "a checkpoint file at"),
        (["--reference", "best"], lambda run: (run / "test_predictions.two.csv").unlink(), "test_predictions.two.csv"),
        (["--reference", "best"], lambda run: (run / "test_groups.two.csv").unlink(), "the same groups"),
        (["--reference", "best"], lambda run: replaced(run, "00.png", "99.png"), "the same ids"),
        (["--reference", "best"], lambda run: replaced(run, "label:A", "label:Z"), "what ibca test writes in"),
        (["--reference", "best"], lambda run: replaced(run, ",A,", ",Z,"), "what ibca test writes in"),
        (["--reference", "best"], lambda run: replaced(run, ",0,0,0", ",0,0,1"), "the same labels"),
    ],
)
def test_methods_that_cannot_be_compared_are_refused(sweep, options, change, said):
    if change:
        change(sweep[0] / "good-1")
    result = ibca("compare", sweep[0], *options)
    assert result.code == 2
    assert said in result.errors[0]


def test_a_run_without_test_figures_is_said_and_left_out(sweep):
    for path in (sweep[0] / "fair-1").glob("test_*"):
        path.unlink()
    result = done("compare", sweep[0], "--figures", "mAP")
    assert "left out: fair-1" in result.err
    assert result.out.count("fair-0") == 2, "one row a set"


def test_the_cost_of_a_head_is_that_of_its_run_and_a_probe_has_none(run, tmp_path):
    checkpoint = torch.load(run / "checkpoints/best.ckpt", weights_only=True)["state_dict"]
    own = sum(w.numel() for name, w in checkpoint.items() if name.startswith("head.") and name != "head.progress")
    probe = fake(tmp_path / "probe", 0, "A", 0.5)
    (tmp_path / "probe/config.yaml").write_text("probe: knn\n")
    text = full(probe, run, "--cost", "--figures", "mAP", to=tmp_path / "out")
    assert cells(text, "probe", "test")["head parameters"] == "-"
    assert "head parameters" in (tmp_path / "out/compare.html").read_text()
    row = cells(text, "run", "test")
    assert row["head parameters"] == f"{own:,}"
    assert 0 < float(row["head ms/picture"]) < 100


def test_a_head_that_is_not_trusted_is_said_before_others_are_measured(run, tmp_path, capsys):
    for name in ("one", "two"):
        shutil.copytree(run, tmp_path / name)
    path = tmp_path / "two/checkpoints/best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["ibca"]["head"]["class_path"] = "theirs.Head"
    torch.save(checkpoint, path)
    settings = tmp_path / "two/config.yaml"
    settings.write_text(settings.read_text().replace("GAPHead", "CSRAHead"))
    assert main(["compare", str(tmp_path / "one"), str(tmp_path / "two"), "--cost"]) == 2
    error = capsys.readouterr().err
    assert "give --trust theirs" in error
    assert "measuring" not in error


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


def test_differences_by_how_often_training_has_the_classes(tmp_path):
    runs = []
    for at, name in enumerate(("one", "two")):
        runs.append(fake(tmp_path / name, 0, name, 0.5))
        write_evaluation(tmp_path / name, evaluated(at, seen()))
    text = full(*runs, "--reference", "best", "--differences", "mAP", "mAP_tail", to=tmp_path / "out")
    header = text.splitlines()[0]
    assert "| mAP_tail: difference [95 %] |" in header
    assert "AUROC_medium" in header
    (first, second) = csv.DictReader((tmp_path / "out/methods.csv").open())
    expected = [evaluated(at, seen()).figures["metrics"]["mAP_tail"] for at in (0, 1)]
    assert float(first["mAP_tail_difference"]) == pytest.approx(expected[0] - expected[1])
    low, high = float(second["mAP_tail_low"]), float(second["mAP_tail_high"])
    assert low < expected[1] - expected[0] < high
