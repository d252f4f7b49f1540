"""`ibca report`: figures of the files, pictures of the data, nothing of the data as markup, no names where asked."""

import base64
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

import ibca_lightning
from ibca_lightning.data.pictures.drawing import Panel, heat_maps
from ibca_lightning.report.charts import ranking_charts
from ibca_lightning.report.run import read_run
from ibca_lightning.report.svg_chart import Line, chart, ticks
from ibca_lightning.use.predictor import load
from tests import made_run
from tests.command_line import contents, done, ibca
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
        row = page.row("Figures", name)
        low, high = figures["intervals"][name]
        assert row["at 0.5"] == f"{value:.3f} {low:.3f}–{high:.3f}"
        tuned = figures["tuned"].get(name)
        assert row["at tuned thresholds"].startswith("" if tuned is None else f"{tuned:.3f} ")
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
            ("TP", decided & (truth == 1)), ("FP", decided & (truth == 0)), ("FN", ~decided & (truth == 1)),
            ("TN", ~decided & (truth == 0)),
        ):  # fmt: skip
            assert row[column] == str(expected.sum())
    assert "fewer than 10 positives of it: EX." in page.text
    assert page.row("Subgroups", "sex: F")["pictures"] == "20"
    assert "PATH" in page.text
    assert "/home" not in page.html


def test_the_worst_pictures_are_those_with_the_largest_loss_and_show_the_attention_of_the_model(
    folder: Path, page: Page
) -> None:
    scores, labels = made_run.probabilities().astype(float), made_run.labels()
    losses = [
        -np.mean([np.log(p if y == 1 else 1 - p) for p, y in zip(*row, strict=True) if y >= 0])
        for row in zip(scores, labels, strict=True)
    ]
    order = np.argsort(losses)
    showing = [row for row in order if (labels[row] == 1).any()]
    shown = re.findall(r"<h4>(.*?)</h4>", page.html)
    expected = [picture_id(row) for row in (*order[::-1][:3], *showing[:3])]
    assert shown == [name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for name in expected]
    worst = int(order[-1])
    predictor = load(folder / "run/checkpoints/best.ckpt", "cpu")
    picture = cv2.cvtColor(cv2.imread(str(folder / "images" / picture_id(worst))), cv2.COLOR_BGR2RGB)
    large = cv2.resize(picture, (320, 213), interpolation=cv2.INTER_CUBIC)
    attention = predictor.predict(picture).attention
    decided = scores[worst] > made_run.THRESHOLDS
    wanted = [label for label in range(4) if labels[worst, label] == 1 or decided[label]]
    wanted.sort(key=lambda label: (labels[worst, label] != 1, -scores[worst, label]))
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
    html = chart([Line(EVIL, x, x)], EVIL, EVIL, EVIL, caption=EVIL)
    assert "<script" not in html
    assert html.count("&lt;script&gt;") == 6
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
        assert len(re.findall(r"<h4>[0-9a-f]{16}</h4>", text)) == 8
    assert contents(folder / "run") == before


def test_without_the_data_the_pictures_of_the_run_are_shown_and_what_is_missing_is_said(folder: Path) -> None:
    result = done("report", folder / "run", "--output", folder / "poor.html")
    assert "note: not shown: heat maps of the best and worst pictures: expected" in result.out
    page = Page(folder / "poor.html")
    assert len(page.pictures) == 1
    assert "test_jane" in page.text
    assert "--images DIR" in page.text


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
    one, other = (re.findall(r"<h4>.*?</p>", part) for part in page.html.split("Worst pictures")[1:])
    assert len(one) == len(other) == 8
    assert one != other


def test_a_trained_run_shows_its_own_data(run: Path, tmp_path: Path) -> None:
    result = done("report", run, "--output", tmp_path / "r.html", "--pictures", 2)
    assert "note" not in result.out
    page = Page(tmp_path / "r.html")
    assert len(re.findall(r"<h4>", page.html)) == 4
    assert len(page.pictures) >= 4 + 2  # at the least one class in each of the two best
    assert {"Loss", "Validation"} <= set(re.findall(r"<figcaption><b>(.*?)</b>", page.html))


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
        paths = re.findall(r'<path class="line s\d" d="(.*?)"', html)
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
    path = re.search(r'<path class="line s0" d="(.*?)"', html)[1]  # type: ignore[index]
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
    "no settings": [["root"]],
    "no folder": {"class_path": "CSVDataModule", "init_args": {"root": 3, "mask_dir": {"a": "b"}}},
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_nothing_that_a_run_describes_is_built(
    kind: str, folder: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(here)
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
