"""The page of `ibca report`: HTML of what was read and drawn; whatever came from files is escaped."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any

import numpy as np

from ibca_lightning.metrics.confusions import Company, error_company
from ibca_lightning.metrics.decision import FEW
from ibca_lightning.metrics.operating_point import count
from ibca_lightning.report import svg_chart
from ibca_lightning.report.charts import ranking_charts, reliability_charts, training_charts
from ibca_lightning.report.pictures import Exhibit
from ibca_lightning.report.run import Run, TestSet
from ibca_lightning.system import html_page
from ibca_lightning.system.html_page import DASH, Cell, document, table

GENERATOR = "ibca report"
_TILES = ("mAP", "AUROC", "CF1", "OF1", "ECE", "attention_gain")
_MEANING = {
    "mAP": "average precision, mean over classes",
    "AUROC": "area under the ROC curve, mean over classes",
    "CP": "precision, mean over classes",
    "CR": "recall, mean over classes",
    "CF1": "harmonic mean of CP and CR",
    "OP": "precision over all labels together",
    "OR": "recall over all labels together",
    "OF1": "harmonic mean of OP and OR",
    "sensitivity": "mean over classes",
    "specificity": "mean over classes",
    "sensitivity_at_95_specificity": "highest sensitivity at a specificity of 0.95 or more, mean over classes",
    "ECE": "expected calibration error over all labels together",
    "class_ECE": "expected calibration error, mean over classes",
    "attention_energy": "share of a present class's attention on its lesion",
    "attention_gain": "attention_energy in multiples of that of uniform attention",
    "other_energy": "share of it on lesions of other classes alone, 0 where there are none",
    "spurious_energy": "share of it on marks that only accompany the lesion",
    "noise_energy": "share of it on distractors",
    "pointing_game": "share of (picture, class) pairs whose highest attention is on the lesion",
    "pixel_AP": "average precision of the attention against the lesion's pixels",
}
_OTHERS = 6  # classes named as company of an error
_STYLE = (
    svg_chart.STYLE
    + """
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .7rem; margin: 1.2rem 0; }
.tiles div { background: var(--wash); border: 1px solid var(--line); border-radius: 6px; padding: .6rem .8rem; }
.tiles b { display: block; font-size: 1.5rem; font-weight: 600; font-variant-numeric: tabular-nums; line-height: 1.3; }
.tiles span { font-size: .82rem; color: var(--soft); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; margin: .8rem 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
nav { margin: .8rem 0 0; display: flex; flex-wrap: wrap; gap: .1rem 1.1rem; font-size: .93rem; }
pre { background: var(--wash); border: 1px solid var(--line); border-radius: 6px; padding: .8rem; overflow: auto;
  max-height: 30rem; font-size: .82rem; line-height: 1.45; }
.exhibit { border-top: 1px solid var(--line); padding: .7rem 0 .3rem; }
.exhibit h4 { margin: 0; font-size: .95rem; overflow-wrap: anywhere; }
.exhibit p { margin: .1rem 0 .4rem; font-size: .88rem; }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 10.5rem), 1fr)); gap: .7rem; }
.panels figure { margin: 0; min-width: 0; overflow-wrap: anywhere; }
.panels img { width: 100%; border-radius: 4px; display: block; }
.panels figcaption b { color: var(--ink); } .panels span { display: block; }
.found { color: var(--good); } .missed { color: var(--error); } .wide img { border-radius: 4px; }
footer { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: .6rem; font-size: .85rem;
  color: var(--soft); }
@media (max-width: 30rem) { dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .4rem; }
  .panels { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
@media print { nav { display: none; }
  pre { max-height: none; overflow: visible; white-space: pre-wrap; font-size: 7.5pt; }
  .panels { grid-template-columns: repeat(4, minmax(0, 1fr)); } .exhibit { break-inside: avoid; }
  h3 + p { break-after: avoid; }
  .charts { grid-template-columns: 1fr 1fr; } }
"""
)


@dataclass
class Gallery:
    """The pictures of a report.

    Attributes:
        best: Of each test set, by name.
        worst: Likewise.
        drawn: Pictures that the run itself drew: name, JPEG.
        notes: What could not be shown, and why; and other things that a reader should know.
    """

    best: dict[str, list[Exhibit]] = field(default_factory=dict)
    worst: dict[str, list[Exhibit]] = field(default_factory=dict)
    drawn: list[tuple[str, bytes]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def has_panels(self) -> bool:
        """Whether any picture was drawn."""
        shown = (own for part in (self.best, self.worst) for exhibits in part.values() for own in exhibits)
        return any(own.panels for own in shown)

    def renamed(self, rename: Callable[[str], str]) -> "Gallery":
        """The same with other names of the pictures."""
        best, worst = (
            {name: [replace(own, name=rename(own.name)) for own in exhibits] for name, exhibits in part.items()}
            for part in (self.best, self.worst)
        )
        return Gallery(best, worst, [(rename(name), data) for name, data in self.drawn], self.notes)


def page(run: Run, gallery: Gallery) -> str:
    """Write the page.

    Args:
        run: A tested run.
        gallery: Its pictures.

    Returns:
        HTML.
    """
    title = _title(run)
    sections: list[tuple[str, str, str]] = []
    for at, test_set in enumerate(run.sets):
        name = "Test set" if len(run.sets) == 1 else f"Test set: {test_set.name}"
        sections.append((f"set{at}", name, _test_set(test_set, gallery)))
    if gallery.drawn:
        sections.append(("drawn", "Pictures drawn during the run", _drawn(gallery)))
    if charts := training_charts(run):
        sections.append(("training", "Training", charts))
    if run.config:
        note = '<p class="soft">Resolved. Paths that lead outside of the working folder are PATH.</p>'
        sections.append(("settings", "Settings", f"{note}<pre>{escape(run.config)}</pre>"))
    notes = "".join(f"<li>{escape(note)}</li>" for note in gallery.notes)
    if notes:
        sections.append(("notes", "Notes", f"<ul>{notes}</ul>"))
    links = "".join(f'<a href="#{anchor}">{escape(name)}</a>' for anchor, name, _ in sections)
    body = [
        f"<header><h1>{escape(title)}</h1><p class=soft>Test report of the run {escape(run.folder.resolve().name)}. "
        "Research software; not a medical device.</p>",
        f"<nav>{links}</nav></header><main>",
        _tiles(run.sets[0]), _facts(run), _overview(run.sets),
        *(f'<section><h2 id="{anchor}">{escape(name)}</h2>{content}</section>' for anchor, name, content in sections),
        "</main><footer>Figures on known labels only. In small print the 95 % bootstrap interval over groups "
        "(patients, photographs; single pictures where no groups are known). Written by <code>ibca report</code>; this "
        "file needs no other and loads nothing.</footer>",
    ]  # fmt: skip
    return document(title, GENERATOR, "\n".join(body), _STYLE)


def _title(run: Run) -> str:
    model = run.facts.get("model") or {}
    own = _section(run.settings, "model").get("init_args") or {}
    head = model.get("head") or _class_name(own, "head") or "Model"
    backbone = model.get("backbone") or own.get("backbone")
    return f"{head} on {backbone}" if backbone else head


def _tiles(test_set: TestSet) -> str:
    tiles = []
    for name in _TILES:
        value, interval = test_set.figures["metrics"].get(name), test_set.figures.get("intervals", {}).get(name)
        if value is not None:
            meaning = escape(_MEANING[name])
            said = f"{name} at 0.5" if name in ("CF1", "OF1") else name
            tiles.append(
                f'<div title="{meaning}"><span>{said}</span><b>{value:.3f}</b><span>{_range(interval)}</span></div>'
            )
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _facts(run: Run) -> str:
    model, test, fit = (run.facts.get(key) or {} for key in ("model", "test", "fit"))
    data = (test.get("data") or fit.get("data") or {}).get("class") or _class_name(run.settings, "data")
    sets = {name: own.get("rows") for part in (fit, test) for name, own in part.get("sets", {}).items()}
    groups = {name: own["groups"] for name, own in test.get("sets", {}).items() if own.get("groups")}
    classes = run.sets[0].tested.class_names
    image_size = model.get("image_size")
    rows = {
        "data": data,
        "pictures": ", ".join(f"{name} {rows}" for name, rows in sets.items())
        or ", ".join(f"{own.name} {len(own.tested.ids)}" for own in run.sets),
        "groups": ", ".join(f"{name} {number}" for name, number in groups.items()),
        "classes": f"{len(classes)}: {', '.join(classes)}",
        "input": f"{image_size} x {image_size} pixels" if image_size else "",
        "thresholds": model.get("threshold_rule"),
        "calibration": run.sets[0].figures.get("calibration", {}).get("kind"),
        "checkpoint": test.get("checkpoint"),
        "tested": ", ".join(filter(None, (test.get("date"), test.get("device")))),
        "versions": ", ".join(f"{package} {version}" for package, version in test.get("versions", {}).items()),
    }
    items = "".join(f"<dt>{name}</dt><dd>{escape(str(value))}</dd>" for name, value in rows.items() if value)
    return f"<dl>{items}</dl>"


def _section(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = settings.get(name)
    return section if isinstance(section, dict) else {}


def _class_name(settings: Mapping[str, Any], name: str) -> str:
    return str(_section(settings, name).get("class_path", "")).rpartition(".")[2]


def _overview(sets: Sequence[TestSet]) -> str:
    """The headline of several test sets side by side."""
    if len(sets) == 1:
        return ""
    shown = [name for name in _MEANING if any(own.figures["metrics"].get(name) is not None for own in sets)]
    rows: list[list[str | Cell]] = [[Cell("test set", style="text"), "pictures", *shown]]
    for own in sets:
        cells = [
            _figure(own.figures["metrics"].get(name), own.figures.get("intervals", {}).get(name)) for name in shown
        ]
        rows.append([own.name, str(len(own.tested.ids)), *cells])
    return f"<h3>All test sets</h3>{table(rows)}"


def _test_set(test_set: TestSet, gallery: Gallery) -> str:
    best, worst = gallery.best.get(test_set.name, []), gallery.worst.get(test_set.name, [])
    parts = [
        "<h3>Figures</h3>", _figures(test_set.figures),
        "<h3>Classes: ranking and calibration</h3>", _classes(test_set),
        "<h3>Classes: decisions</h3>", _decisions(test_set),
        _subgroups(test_set.figures.get("subgroups", {})),
        "<h3>Precision-recall and ROC curves</h3>", ranking_charts(test_set) or "<p>No class has both labels.</p>",
        "<h3>Calibration</h3>", _calibration(test_set.figures), reliability_charts(test_set),
        "<h3>Errors and the other classes in the picture</h3>", _company(test_set),
        "<h3>Worst pictures</h3>",
        "<p class=soft>Largest loss: mean binary cross-entropy over the known labels of a picture. Outlined, where "
        "there are masks: the lesion.</p>", *map(_exhibit, worst),
        "<h3>Best pictures</h3>", "<p class=soft>Least loss among the pictures that show a class.</p>",
        *map(_exhibit, best),
    ]  # fmt: skip
    return "".join(parts)


def _figures(figures: Mapping[str, Any]) -> str:
    tuned, intervals = figures.get("tuned", {}), figures.get("intervals", {})
    rows: list[list[str | Cell]] = [["figure", "at 0.5", "at tuned thresholds", Cell("meaning", style="text")]]
    for name, value in figures["metrics"].items():
        own = (
            _figure(tuned[name], figures.get("tuned_intervals", {}).get(name)) if name in tuned else Cell("", math.inf)
        )
        rows.append([name, _figure(value, intervals.get(name)), own, Cell(_MEANING.get(name, ""), style="text long")])
    return (
        table(rows)
        + f"<p class=soft>{figures.get('samples')} pictures; means are over {figures.get('defined_classes')} "
        "classes with both a positive and a negative. Figures that rest on no decision have no tuned value.</p>"
    )


def _classes(test_set: TestSet) -> str:
    per_class, drawn = test_set.figures["per_class"], test_set.figures.get("per_class_intervals", {})
    counts = ["positives", *(["unknown"] if any(own.get("unknown") for own in per_class.values()) else [])]
    decided = {"positives", "negatives", "unknown", "precision", "recall", "F1", "specificity"}
    shown = [name for name in dict.fromkeys(key for own in per_class.values() for key in own) if name not in decided]
    rows: list[list[str | Cell]] = [["class", *counts, *shown]]
    for name, own in per_class.items():
        cells = [_figure(own.get(figure), drawn.get(name, {}).get(figure)) for figure in shown]
        rows.append([name, *(str(own.get(key, DASH)) for key in counts), *cells])
    return table(rows)


def _decisions(test_set: TestSet) -> str:
    figures = test_set.figures
    per_class, tuned = figures["per_class"], figures.get("tuned_per_class", {})
    drawn = [figures.get(kind, {}) for kind in ("per_class_intervals", "tuned_per_class_intervals")]
    shown = ("precision", "recall", "specificity", "F1")
    totals = count(test_set.scores, test_set.labels, test_set.thresholds)
    rows: list[list[str | Cell]] = [
        ["class", "threshold", *(f"{name}, tuned" for name in shown), "TP", "FP", "FN", "TN",
         *(f"{name} at 0.5" for name in shown)]
    ]  # fmt: skip
    few = []
    for at, (name, own) in enumerate(per_class.items()):
        stored = figures.get("thresholds", {}).get(name, {})
        few += [name] if stored.get("few") else []
        hits, found, positives, negatives = (int(total[at]) for total in totals)
        at_half = [_figure(own.get(figure), drawn[0].get(name, {}).get(figure)) for figure in shown]
        at_tuned = [_figure(tuned.get(name, {}).get(figure), drawn[1].get(name, {}).get(figure)) for figure in shown]
        confusion = (hits, found - hits, positives - hits, negatives - (found - hits))
        threshold = Cell(
            f"{test_set.thresholds[at]:.3f}", float(test_set.thresholds[at]), "few" if stored.get("few") else ""
        )
        rows.append([name, threshold, *at_tuned, *map(str, confusion), *at_half])
    note = (
        "Right and wrong decisions (TP, FP, FN, TN) are counted at the tuned threshold, chosen on the validation set."
    )
    if few:
        note += f" Thresholds that rest on fewer than {FEW} positives of it: {', '.join(few)}."
    return f"{table(rows)}<p class=soft>{escape(note)}</p>"


def _subgroups(subgroups: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    if not subgroups:
        return ""
    shown = ("mAP", "AUROC", "CF1", "sensitivity", "specificity", "ECE")
    rows: list[list[str | Cell]] = [["subgroup", "pictures", *shown]]
    for column, values in subgroups.items():
        for value, own in values.items():
            cells = [_figure(own["metrics"].get(name), own.get("intervals", {}).get(name)) for name in shown]
            rows.append([f"{column}: {value}", str(own["samples"]), *cells])
    return f"<h3>Subgroups</h3>{table(rows)}"


def _calibration(figures: Mapping[str, Any]) -> str:
    calibration, metrics = figures.get("calibration", {}), figures["metrics"]
    if metrics.get("ECE") is None:
        return ""
    said = f"Expected calibration error {metrics['ECE']:.3f} over all labels"
    if metrics.get("class_ECE") is not None:
        said += f", {metrics['class_ECE']:.3f} as a mean over classes"
    before = calibration.get("ECE_uncalibrated")
    after = f"; without the {calibration['kind']} calibration it was {before:.3f}" if before is not None else ""
    return f"<p>{escape(said + after)}.</p>"


def _company(test_set: TestSet) -> str:
    names = test_set.tested.class_names
    rows: list[list[str | Cell]] = [
        ["class", Cell("error", style="text"), "pictures", Cell("classes that are there too", style="text"),
         Cell("classes predicted too", style="text")]
    ]  # fmt: skip
    for kind, company in error_company(test_set.decided, test_set.labels).items():
        for at, name in enumerate(names):
            beside = (_beside(company, at, names, present) for present in (True, False))
            rows.append(
                [name, Cell(kind, style="text"), str(company.errors[at]), *(Cell(t, style="text long") for t in beside)]
            )
    note = (
        "At the tuned thresholds. In brackets what is usual: for a false positive among all pictures without the "
        "class, for a false negative among all with it. A share far above the usual one tells what is confused."
    )
    if len(names) > _OTHERS + 1:
        note += f" The {_OTHERS} largest are shown."
    return f"{table(rows)}<p class=soft>{note}</p>"


def _beside(company: Company, at: int, names: Sequence[str], present: bool) -> str:
    shares = (company.present if present else company.predicted)[at]
    usual = (company.present_usually if present else company.predicted_usually)[at]
    others = [other for other in range(len(names)) if other != at and not np.isnan(shares[other])]
    largest = sorted(others, key=lambda other: -shares[other])[:_OTHERS]
    return ", ".join(f"{names[o]} {shares[o]:.0%} ({usual[o]:.0%})" for o in largest) or DASH


def _exhibit(own: Exhibit) -> str:
    missed, wrong = (
        [n for n in a if n not in b] for a, b in ((own.present, own.predicted), (own.predicted, own.present))
    )
    found = [name for name in own.present if name in own.predicted]
    said = "; ".join(
        f"<span class={kind}>{text} {escape(', '.join(names))}</span>"
        for kind, text, names in (
            ("found", "found", found),
            ("missed", "missed", missed),
            ("missed", "false alarm", wrong),
            ("soft", "predicted, label unknown", own.unknown),
        )
        if names
    )
    figures = "".join(
        html_page.picture(
            panel.data, "jpeg", f"{own.name}: {panel.title}",
            f"<b>{escape(panel.title)}</b>{''.join(f'<span>{escape(line)}</span>' for line in panel.lines)}",
        )
        for panel in own.panels
    )  # fmt: skip
    panels = f'<div class="panels">{figures}</div>' if figures else ""
    return (
        f'<div class="exhibit"><h4>{escape(own.name)}</h4>'
        f"<p>loss {own.loss:.3f}; {said or 'no class present or predicted'}</p>{panels}</div>"
    )


def _drawn(gallery: Gallery) -> str:
    return "".join(
        f'<div class="wide">{html_page.picture(data, "jpeg", name, escape(name))}</div>' for name, data in gallery.drawn
    )


def _figure(value: float | None, interval: Sequence[float] | None) -> Cell:
    return Cell(DASH) if value is None else Cell(f"{value:.3f}", value, _range(interval))


def _range(interval: Sequence[float] | None) -> str:
    return f"{interval[0]:.3f}{DASH}{interval[1]:.3f}" if interval else ""
