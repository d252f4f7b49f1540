"""`ibca report`: figures of the files, pictures of the data, nothing of the data as markup, no names where asked."""

import base64
import json
import re
import shutil
from html import escape, unescape
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import cv2
import numpy as np
import pytest
import torch
import yaml

import ibca_lightning
from ibca_lightning.data.pictures.drawing import Panel, heat_maps
from ibca_lightning.data.storage import remote
from ibca_lightning.report import run as run_folder
from ibca_lightning.report.charts import ranking_charts
from ibca_lightning.report.page import Finding, _widest, by_chance
from ibca_lightning.report.pictures import View, choose, draw
from ibca_lightning.report.run import read_run
from ibca_lightning.report.svg_chart import Line, chart, ticks
from ibca_lightning.run import tested_samples
from ibca_lightning.system.errors import InputError
from ibca_lightning.use.predictor import load
from tests import made_run
from tests.command_line import contents, done, ibca, refused
from tests.made_run import EVIL, NAMES, picture_id


class Page(HTMLParser):
    """Tags, text, and the tables by the heading in front of them."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.html = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.text, self._heading, self._in, self._rows = "", "", "", [[""]]
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("h2", "h3", "h4"):
            self._in, self._heading = tag, ""
        elif tag == "table":
            self.tables[self._heading] = self._rows = []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")
            self._in = tag

    def handle_endtag(self, tag: str) -> None:
        if tag == self._in:
            self._in = ""

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._in in ("td", "th"):
            self._rows[-1][-1] += data
        elif self._in:
            self._heading += data

    def row(self, heading: str, first: str) -> dict[str, str]:
        header, *rows = self.tables[heading]
        (found,) = (row for row in rows if row[0] == first)
        return dict(zip(header, found, strict=True))

    @property
    def pictures(self) -> list[bytes]:
        sources = [str(attributes["src"]) for tag, attributes in self.tags if tag == "img"]
        assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
        return [base64.b64decode(source.partition(",")[2]) for source in sources]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("report")
    made_run.write(root)
    return root


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    """The report with the pictures of a folder."""
    output = folder / "a" / "r.html"
    given = ("--images", folder / "images", "--mask_dir", folder / "masks", "--pictures", 3, "--device", "cpu")
    done("report", folder / "run", "--output", output, *given)
    return Page(output)


def test_the_figures_and_intervals_are_those_of_the_files(folder: Path, page: Page) -> None:
    figures = json.loads((folder / "run/test_metrics.json").read_text())
    for name, value in figures["metrics"].items():
        row = page.row("Figures", name.replace("_", " "))
        half, own = ("at 0.5", "value") if name in figures["tuned"] else ("value", "")
        low, high = figures["intervals"][name]
        assert row[half] == f"{value:.3f} {low:.3f}–{high:.3f}"
        if own:
            low, high = figures["tuned_intervals"][name]
            assert row[own] == f"{figures['tuned'][name]:.3f} {low:.3f}–{high:.3f}"
    for name, own in figures["per_class"].items():
        row = page.row("Classes: ranking and calibration", name)
        assert row["positives"] == str(own["positives"])
        assert row["unknown"] == str(own["unknown"])
        assert row["AP"].startswith("–" if own["AP"] is None else f"{own['AP']:.3f} ")
        row = page.row("Classes: decisions", name)
        assert float(row["threshold"].split()[0]) == made_run.THRESHOLDS[NAMES.index(name)]
        decided = made_run.probabilities()[:, NAMES.index(name)] > made_run.THRESHOLDS[NAMES.index(name)]
        truth = made_run.labels()[:, NAMES.index(name)]
        for column, expected in (
            ("found (TP)", decided & (truth == 1)), ("false alarm (FP)", decided & (truth == 0)),
            ("missed (FN)", ~decided & (truth == 1)), ("rest (TN)", ~decided & (truth == 0)),
        ):  # fmt: skip
            assert row[column] == str(expected.sum())
    assert "fewer than 10 positives of it: EX." in page.text
    women, men = (figures["subgroups"]["sex"][sex] for sex in "FM")
    row = page.row("Subgroups", "sex: F")
    assert row["pictures"] == "20"
    assert row["CF1"].startswith(f"{women['tuned']['CF1']:.3f} "), "at the model's own thresholds"
    row = page.row("Differences between subgroups", "sex: M")
    assert row["less"] == "F"
    less = men["tuned"]["sensitivity"] - women["tuned"]["sensitivity"]
    low, high = men["tuned_difference_intervals"]["sensitivity"]
    assert row["sensitivity"] == f"{less:+.3f} {low:+.3f} to {high:+.3f}".replace("-", "−")
    assert "PATH" in page.text
    assert "/home" not in page.html


def test_the_head_of_the_page_leads_with_map_and_with_the_models_own_thresholds(folder: Path, page: Page) -> None:
    figures = json.loads((folder / "run/test_metrics.json").read_text())
    tiles = re.findall(r"<div><span>(.*?)</span><b>(.*?)</b><span>(.*?)</span>(?:<span>(.*?)</span>)?", page.html)
    low, high = figures["intervals"]["mAP"]
    shares = [own["positives"] / (own["positives"] + own["negatives"]) for own in figures["per_class"].values()]
    chance = np.mean(shares[:3])  # of the last class there is none
    assert tiles[0] == (
        "mAP", f"{figures['metrics']['mAP']:.3f}", f"{low:.3f}–{high:.3f}", f"by chance {chance:.3f}"
    )  # fmt: skip
    (own,) = (tile for tile in tiles if tile[0] == "CF1")
    assert (own[1], own[3]) == (f"{figures['tuned']['CF1']:.3f}", f"at 0.5 it is {figures['metrics']['CF1']:.3f}")


def test_the_page_begins_with_what_was_missed_and_explains_wide_intervals(folder: Path, page: Page) -> None:
    decided, labels = made_run.probabilities() > made_run.THRESHOLDS, made_run.labels()
    lines = re.findall(r"<li>(.*?)</li>", page.html[: page.html.index('<div class="tiles">')])
    said = {re.sub("<.*?>", "", line).partition(": ")[0]: re.sub("<.*?>", "", line) for line in lines}
    assert len(said) == 3, "of a class that no picture has nothing can be said"
    for name in ("EX", "HE"):
        at = NAMES.index(name)
        has, not_, seen = labels[:, at] == 1, labels[:, at] == 0, decided[:, at]
        wanted = f"missed in {(has & ~seen).sum()} of {has.sum()} pictures that have it; "
        assert said[name] == f"{name}: {wanted}false alarm in {(not_ & seen).sum()} of {not_.sum()} without it"
    shares = [int(a) / int(b) for a, b in re.findall(r"<b>(\d+) of (\d+)</b>", " ".join(lines))]
    assert shares == sorted(shares, reverse=True)
    figures = json.loads((folder / "run/test_metrics.json").read_text())
    known = {name: own["AUROC"] for name, own in figures["per_class_intervals"].items() if own.get("AUROC")}
    chance = [name for name, (low, high) in known.items() if low <= 0.5 <= high]
    told = f"No better than chance for {len(chance)} of {len(known)} classes"
    assert (told in page.text) == bool(chance)
    widest = max(known, key=lambda name: known[name][1] - known[name][0])
    groups = len({row // 2 for row in np.flatnonzero(labels[:, NAMES.index(widest)] == 1)})
    assert page.row("Classes: ranking and calibration", widest)["groups"] == str(groups)
    positives = (labels[:, NAMES.index(widest)] == 1).sum()
    assert f"{widest} has {positives} positives of {groups} groups" in page.text
    assert f"{len(labels)} test pictures, at the model's own thresholds" in page.text


def test_a_class_is_no_better_than_chance_where_its_interval_holds_one_half() -> None:
    ends = {"a": [0.3, 0.6], "b": [0.51, 0.9], "c": [0.1, 0.4], "d": None}
    figures = {"per_class_intervals": {name: {"AUROC": own} for name, own in ends.items()}}
    assert by_chance(figures) == (["a"], 3)
    assert by_chance({}) == ([], 0)


def test_an_interval_is_wide_by_few_negatives_too_and_nothing_is_said_where_that_of_the_mean_is_no_narrower() -> None:
    counts = [Finding("EX", 0, 30, 0, 10), Finding("HE", 0, 10, 0, 30)]
    figures = {"per_class_intervals": {"EX": {"AUROC": [0.2, 0.9]}, "HE": {"AUROC": [0.4, 0.8]}}}
    figures |= {"intervals": {"AUROC": [0.5, 0.6]}}
    none: dict[str, dict[str, int]] = {"positives": {}, "negatives": {}}
    said = _widest(figures, counts, none)
    assert said is not None
    assert (said["name"], said["count"], said["kind"], said["groups"]) == ("EX", 10, "negatives", None)
    for have, lack, few in ((15, 5, (10, "negatives", 5)), (4, 9, (30, "positives", 4))):
        said = _widest(figures, counts, {"positives": {"EX": have}, "negatives": {"EX": lack}})
        assert said is not None
        assert (said["count"], said["kind"], said["groups"]) == few, "what few patients have is uncertain"
    assert _widest(figures | {"intervals": {"AUROC": [0.1, 0.9]}}, counts, none) is None


def test_bands_of_a_subgroup_stand_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    run = made_run.write(tmp_path)
    path = run / "test_metrics.json"
    figures = json.loads(path.read_text())
    women, men = figures["subgroups"]["sex"].values()  # in former runs the bands are in the order of letters
    path.write_text(json.dumps(figures | {"subgroups": {"age": {"40 to <60": women, "60+": men, "<40": women}}}))
    done("report", run, "--no_images", "--output", tmp_path / "r.html")
    rows = Page(tmp_path / "r.html").tables["Subgroups"][1:]
    assert [row[0] for row in rows] == ["age: <40", "age: 40 to <60", "age: 60+"]


def test_a_class_has_one_colour_on_the_whole_page(page: Page) -> None:
    found: dict[str, set[str]] = {}
    for paint, text in re.findall(r'<\w+ class="(?:text )?class (s\d[^"]*)">(.*?)</', page.html):
        found.setdefault(text.replace("<wbr>", ""), set()).add(paint)
    for paint, text in re.findall(r'<path class="line (s\d[^"]*)" d="M0 5H24"/></svg>(.*?)</li>', page.html):
        found.setdefault(re.sub(r" [\d.]+$", "", text), set()).add(paint)
    names = [escape(name).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") for name in NAMES]  # as jinja does
    assert {name: found[name] for name in names} == {name: {f"s{at}"} for at, name in enumerate(names)}
    assert found.keys() == set(names)


def test_best_pictures_are_right_and_both_ends_show_many_classes(folder: Path) -> None:
    test_set = read_run(folder / "run").sets[0]
    present, decided, known = test_set.labels == 1, test_set.decided, test_set.labels >= 0
    right = (~known | (present == decided)).all(1)
    for count in (1, 2, 3, 6):
        best, worst = choose(test_set, count, str)
        rows = [own.row for own in best]
        assert all(right[rows])
        assert present[rows].any(1).all()
        others = [own.row for own in worst]
        margins = test_set.margins[[*others, *rows[::-1]]]
        assert list(margins) == sorted(margins), "the worst first, and no best picture is worse than any of them"
        assert all(test_set.margins[rows] > 0)
        assert all(test_set.margins[others] < 0)
        candidates = [row for row in np.flatnonzero(right) if row not in {own.row for own in worst}]
        if count >= 3:
            assert (present[rows].any(0) == present[candidates].any(0)).all(), "each class that can be shown"
        missed = (present & ~decided)[others]
        assert missed.any(0).sum() >= min(count, 3), "of each class that is missed one"


def test_what_is_found_at_a_low_threshold_is_better_than_what_is_missed_below_a_high_one() -> None:
    # By the loss, which counts from 0.5, the first picture is the worst of the three.
    scores, labels = torch.tensor([[0.3, 0.7], [0.3, 0.4], [0.1, 0.1]]), torch.tensor([[1, 0], [0, 1], [0, -1]])
    tested = tested_samples.Tested(["a", "b", "c"], ["low", "high"], scores, labels, ["a", "b", "c"], {})
    thresholds = {"low": {"threshold": 0.2}, "high": {"threshold": 0.8}}
    test_set = run_folder.TestSet("test", {"thresholds": thresholds}, tested)
    low, high = (np.log(1 / t - 1) for t in (0.2, 0.8))
    by_hand = [-np.log(7 / 3) - high, -(low + np.log(3 / 7)) - (np.log(3 / 2) - high), np.log(9) - low]
    assert test_set.margins == pytest.approx(by_hand, abs=1e-6)
    best, worst = choose(test_set, 2, str)
    assert [own.name for own in worst] == ["b", "a"]
    best, worst = choose(test_set, 1, str)
    assert [own.name for own in [*best, *worst]] == ["a", "b"]


def test_what_was_missed_is_always_drawn() -> None:
    names = [f"class {at}" for at in range(9)]
    labels, scores = np.ones((1, 9)), np.full((1, 9), 0.9)
    scores[0, 1:8] = 0.1  # seven of nine are missed, and there is room for five
    tested = tested_samples.Tested(["a"], names, torch.tensor(scores), torch.tensor(labels).long(), ["a"], {})
    test_set = run_folder.TestSet("test", {}, tested)
    exhibit = choose(test_set, 1, str)[1][0]
    predictor = SimpleNamespace(forward=lambda image: (torch.tensor(scores), torch.full((1, 9, 2, 2), 0.25)))
    view = View(torch.zeros(3, 8, 8, dtype=torch.uint8), np.zeros((8, 8, 3), np.uint8), (0, 0, 1, 1))
    draw(predictor, lambda name: view, test_set, exhibit)  # type: ignore[arg-type]
    assert [panel.title for panel in exhibit.panels] == ["picture", *names[1:8]]


def test_the_worst_pictures_are_those_furthest_on_the_wrong_side_and_show_the_attention_of_the_model(
    folder: Path, page: Page
) -> None:
    scores, labels = made_run.probabilities().astype(float), made_run.labels()
    beyond = np.log(scores / (1 - scores)) - np.log(made_run.THRESHOLDS) + np.log1p(-np.array(made_run.THRESHOLDS))
    wrong = (labels >= 0) & ((labels == 1) != (beyond > 0))
    order = np.argsort((np.abs(beyond) * wrong).sum(1), kind="stable")
    shown = [unescape(name.replace("<wbr>", "")) for name in re.findall(r"<h4>(.*?)</h4>", page.html)]
    missed = (labels == 1) & (scores <= made_run.THRESHOLDS)
    ends = [next(row for row in order[::-1] if missed[row, label]) for label in range(3)]
    assert set(shown[:3]) <= {picture_id(row) for row in ends} | {picture_id(row) for row in order[::-1][:3]}
    worst = next(row for row in order[::-1] if picture_id(row) == shown[0])
    predictor = load(folder / "run/checkpoints/best.ckpt", "cpu")
    picture = cv2.cvtColor(cv2.imread(str(folder / "images" / picture_id(worst))), cv2.COLOR_BGR2RGB)
    large = cv2.resize(picture, (320, 213), interpolation=cv2.INTER_CUBIC)
    attention = predictor.predict(picture).attention
    decided = scores[worst] > made_run.THRESHOLDS
    wanted = [label for label in range(4) if labels[worst, label] == 1 or decided[label]]
    wanted.sort(key=lambda label: (not missed[worst, label], labels[worst, label] != 1, -scores[worst, label]))
    lesion = np.zeros((30, 45), bool)
    lesion[5:20, 10:30] = True
    panels = [Panel(attention[label], (), lesion if labels[worst, label] == 1 else None) for label in wanted]
    drawn = [large, *heat_maps(large, panels)]
    assert len(drawn) > 1
    for found, expected_pixels in zip(page.pictures, drawn, strict=False):
        pixels = cv2.cvtColor(cv2.imdecode(np.frombuffer(found, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        assert np.abs(pixels.astype(int) - expected_pixels.astype(int)).mean() < 8, "but for what JPEG loses"


def test_nothing_of_the_data_becomes_markup_and_nothing_is_loaded(page: Page) -> None:
    assert EVIL in page.text
    assert len([tag for tag, _ in page.tags if tag == "script"]) == 1
    assert "<i>&" in page.text
    assert not [tag for tag, _ in page.tags if tag in ("i", "link", "iframe", "object", "base")]
    assert not re.findall(r"(?:src|href|action|srcset)\s*=\s*[\"']?(?!data:|#)[^\"'\s>]+|url\(|@import", page.html)
    (policy,) = (a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert str(policy).startswith("default-src 'none'; img-src data:;")


def test_a_class_that_is_markup_is_text_in_a_chart_and_no_template_trusts_a_value() -> None:
    x = np.linspace(0, 1, 3)
    drawn = chart([Line(EVIL, x, x)], EVIL, EVIL, EVIL, caption=EVIL)
    assert "<script" not in drawn
    assert drawn.count("&lt;script&gt;") == 6
    templates = list(Path(ibca_lightning.__file__).parent.rglob("*.html.j2"))
    assert len(templates) >= 5
    for file in templates:
        trusted = re.findall(r"(\S+)\s*\|\s*safe\b|autoescape", file.read_text(encoding="utf-8"))
        assert all(constant.endswith('"') for constant in trusted), file.name


def test_no_images_and_hashed_names(folder: Path) -> None:
    key, output = folder / "key", folder / "hidden.html"
    key.write_bytes(b"0123456789abcdef")
    before = contents(folder / "run")
    given = ("report", folder / "run", "--output", output, "--hash_names", "--hash_key", key, "--device", "cpu")
    done(*given, "--no_images")
    assert "data:image" not in output.read_text().replace("img-src data:", "")
    done(*given, "--images", folder / "images")
    hidden = output.read_text()
    assert len(Page(output).pictures) > 10
    result = done(*given)  # the data of config.yaml are not there, and names may stand in attention/*.png
    assert not Page(output).pictures
    assert "because their names may stand in them" in result.out
    for text in (hidden, output.read_text()):
        assert "jane" not in text
        assert len(re.findall(r"<h4>[0-9a-f]{16}</h4>", text)) == text.count("<h4>") > 4
    assert contents(folder / "run") == before


def test_without_the_data_the_pictures_of_the_run_are_shown_and_what_is_missing_is_said(folder: Path) -> None:
    result = done("report", folder / "run", "--output", folder / "poor.html")
    assert "note: not shown: heat maps of the best and worst pictures: expected" in result.out
    page = Page(folder / "poor.html")
    assert len(page.pictures) == 1
    assert "test_jane" in page.text
    assert "--images DIR" in page.text


def test_a_head_that_is_not_trusted_is_said_once_with_its_own_cure(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fix = "if you know that file, give --trust my_head"
    error = InputError("a head of ibca_lightning, for my_head.Mine of the checkpoint", "none", fix)
    monkeypatch.setattr("ibca_lightning.report.command.opened", Mock(side_effect=error))
    result = done("report", folder / "run", "--output", folder / "untrusted.html")
    assert (result.out + result.err).count("--trust my_head") == 1
    assert "--images" not in result.out + result.err
    assert "--trust my_head" in Page(folder / "untrusted.html").text


def test_each_of_several_test_sets_has_its_part(tmp_path: Path) -> None:
    run = made_run.write(tmp_path, ("same", "reversed"))
    (run / "metrics.csv").unlink()
    (run / "config.yaml").unlink()
    done("report", run, "--no_images")
    page = Page(run / "report.html")
    assert [row[0] for row in page.tables["All test sets"][1:]] == ["same", "reversed"]
    assert [re.sub("<.*?>", "", h) for h in re.findall(r"<h2.*?</h2>", page.html)] == [
        "Test set: same", "Test set: reversed", "Notes",
    ]  # fmt: skip
    assert "40 test pictures of same, at the model's own thresholds" in page.text
    one, other = (re.findall(r"<h4>.*?</p>", part) for part in page.html.split("Worst pictures")[1:])
    assert 4 < len(one) <= 8, "four at each end, as far as so many are right"
    assert one != other


def test_classes_that_exclude_each_other_are_named_and_figures_that_cannot_be_are_refused(
    tmp_path: Path, here: Path
) -> None:
    run = made_run.write(tmp_path)
    file = run / "test_metrics.json"
    figures = json.loads(file.read_text())
    found = {"classes": ["EX", "HE"], "pictures": 2, "expected": 6.4, "certain": True}
    figures["exclusive"] = {"pictures": 3, "certain": 2, "found": [found]}
    file.write_text(json.dumps(figures))
    done("report", run, "--no_images")
    page = Page(run / "report.html")
    assert "In 3 of 40 pictures" in page.text
    row = page.row("Predicted together, though they exclude each other", "EX")
    assert list(row.values()) == ["EX", "HE", "2*", "6.4"]
    assert "In 2 they are of one column" in page.text
    assert "Pairs without a star" not in page.text
    for wrong in (
        {"exclusive": {"pictures": 3, "found": [{"classes": ["EX", "HE"], "pictures": -1, "expected": 6.4}]}},
        {"exclusive": {"pictures": 3, "certain": -1, "found": [found]}},
        {"exclusive": {"pictures": 3, "certain": 2, "found": [found | {"certain": 2}]}},
        {"subgroups": {"sex": {"M": {"metrics": {}, "differences": {"mAP": 7}}}}},
        {"subgroups": {"sex": {"M": {"metrics": {}, "difference_intervals": {"mAP": [-1.5, 0]}}}}},
    ):
        file.write_text(json.dumps(figures | wrong))
        assert "the figures of ibca test" in refused("report", run, "--no_images", names=()).errors[0]


def test_a_trained_run_shows_its_own_data(run: Path, tmp_path: Path) -> None:
    result = done("report", run, "--output", tmp_path / "r.html", "--pictures", 2)
    assert "note" not in result.out
    page = Page(tmp_path / "r.html")
    exhibits = len(re.findall(r"<h4>", page.html))
    assert 2 <= exhibits <= 4, "two at each end, as far as so many are right"
    assert len(page.pictures) > exhibits
    assert {"Classification loss", "Validation"} <= set(re.findall(r"<figcaption><b>(.*?)</b>", page.html))


def test_wrong_input_is_one_line_and_writes_nothing(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "run", tmp_path / "run")
    (tmp_path / "untested").mkdir()
    (tmp_path / "mine.html").write_text("mine")
    before = contents(tmp_path)
    for arguments, words in (
        ((), "RUN"),
        ((tmp_path / "none",), "a run folder"),
        ((tmp_path / "untested",), "run ibca test"),
        ((tmp_path / "run", "--output", tmp_path / "mine.html"), "a file of ibca report"),
        ((tmp_path / "run", "--output", tmp_path), "a file of ibca report"),
        ((tmp_path / "run", "--images", tmp_path / "none"), "a folder of pictures (--images)"),
        ((tmp_path / "run", "--ckpt_path", tmp_path / "none"), "a checkpoint file"),
        ((tmp_path / "run", "--mask_dir", tmp_path), "--images beside --mask_dir"),
        ((tmp_path / "run", "--no_images", "--images", tmp_path), "--no_images or --images"),
        ((tmp_path / "run", "--pictures", -1), "--pictures"),
    ):
        result = ibca("report", *arguments)
        assert (result.code, len(result.errors)) == (2, 1), result.err
        assert words in result.errors[0]
    assert contents(tmp_path) == before


def area(path: str) -> float:
    """Below a line of an SVG path, in its units."""
    points = np.array([[float(v) for v in pair] for pair in re.findall(r"[ML]([-\d.]+) ([-\d.]+)", path)])
    return float(np.trapezoid(points[:, 1], points[:, 0]))


def test_the_area_below_a_drawn_curve_is_the_figure(folder: Path) -> None:
    test_set = read_run(folder / "run").sets[0]
    charts = ranking_charts(test_set)
    for html, figure in zip(charts, ("AP", "AUROC"), strict=True):
        paths = re.findall(r'<path class="line s\d" d="(M[^H]*?)"', html)  # those of the legend are horizontal
        assert len(paths) == 3, "the class that never is there has no curve"
        frame = re.search(r'class="frame" x=".*?" y="(.*?)" width="(.*?)" height="(.*?)"', html)
        assert frame
        y, width, height = map(float, frame.groups())
        for name, path in zip(NAMES, paths, strict=False):
            drawn = ((y + height) * width - area(path)) / (width * height)
            assert drawn == pytest.approx(test_set.figures["per_class"][name][figure], abs=0.004)


def test_a_line_of_many_points_stays_small_and_keeps_its_peaks_and_gaps() -> None:
    x = np.linspace(0, 1, 100_000)
    y = np.full_like(x, 0.5)
    y[50_003], y[70_000] = 1.0, 0.0
    y[20_000:30_000] = np.nan
    html = chart([Line("a", x, y)], "x", "y", "t")
    path = re.search(r'<path class="line n0" d="(.*?)"', html)[1]  # type: ignore[index]
    assert len(path) < 40_000
    assert path.count("M") == 2
    heights = {float(value) for value in re.findall(r" ([\d.]+)", path)}
    assert heights == {10, 145, 280}


def test_ticks_are_round_and_inside() -> None:
    assert ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert ticks(0, 0.7) == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    assert ticks(0, 39) == [0, 5, 10, 15, 20, 25, 30, 35]
    assert ticks(3, 3) == [3]


OWN_DATA = """
from pathlib import Path
Path("ran").write_text("")
class Data: pass
"""
STRANGERS = {
    "a class of the current folder": {"class_path": "stranger.Data", "init_args": {}},
    "a cache elsewhere": {"class_path": "SCM", "init_args": {"cache": "disk", "cache_dir": "elsewhere"}},
    "an id out of the folder": {"class_path": "CSVDataModule", "init_args": {"root": "empty"}},
    "a URL": {"class_path": "CSVDataModule", "init_args": {"root": "https://attacker.invalid/x"}},
    "no settings": [["root"]],
    "no folder": {"class_path": "CSVDataModule", "init_args": {"root": 3, "mask_dir": {"a": "b"}}},
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_nothing_that_a_run_describes_is_built(
    kind: str, folder: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(here)
    monkeypatch.setattr(remote, "_system", Mock(side_effect=AssertionError("asked")))
    Path("stranger.py").write_text(OWN_DATA)
    Path("empty").mkdir()
    shutil.copytree(folder / "run", "run")
    Path("run/config.yaml").write_text(yaml.safe_dump({"data": STRANGERS[kind]}))
    if kind == "an id out of the folder":
        cv2.imwrite("outside.png", np.full((40, 40, 3), 99, np.uint8))
        for name in ("test_predictions.csv", "test_groups.csv", "test_localisation.csv"):
            if (file := Path("run", name)).exists():
                text = file.read_text(encoding="utf-8")
                for row in range(made_run.PICTURES):  # each names that picture in another way
                    text = text.replace(picture_id(row), f"{here if row % 2 else '..'}{'/' * (1 + row)}outside.png")
                file.write_text(text, encoding="utf-8")
    before = sorted(contents(here))
    result = done("report", "run")
    assert "not shown: " in result.out
    assert sorted(contents(here)) == sorted([*before, "run/report.html"])
    assert not Path("ran").exists()
    assert len(Page(Path("run/report.html")).pictures) == 1, "that of run/attention alone"
