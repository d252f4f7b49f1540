"""The page of `ibca report` (`report/page.html.j2`): what it shows beside the files, as plain data."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jinja2 import UndefinedError

from ibca_lightning.data.pictures.drawing import IN_WORDS
from ibca_lightning.metrics.confusions import Company, error_company
from ibca_lightning.metrics.decision import FEW
from ibca_lightning.metrics.multilabel import chance_precision
from ibca_lightning.metrics.operating_point import count
from ibca_lightning.metrics.resampling.subgroups import in_order
from ibca_lightning.report.charts import ranking_charts, reliability_charts, training_charts
from ibca_lightning.report.pictures import Exhibit
from ibca_lightning.report.run import Run, TestSet
from ibca_lightning.report.svg_chart import paint
from ibca_lightning.run.run_settings import setting
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.pages.html_page import document

GENERATOR = "ibca report"
_OTHERS = 6  # classes named as company of an error
_FIRST = 8  # classes at the head of the page
_KINDS = {"false positive": "false alarm", "false negative": "missed"}
_RULES = {"f1": "chosen on the validation set for the best F1 of each class", "fixed": "0.5"}
_COUNTS = ("positives", "unknown", "pairs")
_DECIDED = ("negatives", "precision", "recall", "F1", "specificity")  # in a table of their own


class Finding(NamedTuple):
    """How often a class was missed in the pictures that have it, and seen in those that have not."""

    name: str
    missed: int
    positives: int
    alarms: int
    negatives: int


class Figure(NamedTuple):
    """A figure with its interval, and both at 0.5 where it rests on decisions; None where there is none."""

    value: float | None
    ends: Sequence[float] | None
    half: float | None
    half_ends: Sequence[float] | None


@dataclass
class Gallery:
    """The pictures of a report, and what could not be shown and why."""

    chosen: dict[str, tuple[list[Exhibit], list[Exhibit]]] = field(default_factory=dict)  # the best and worst by set
    drawn: list[tuple[str, str]] = field(default_factory=list)  # by the run itself: name, and `html_page.jpeg` of it
    notes: list[str] = field(default_factory=list)


def page(run: Run, gallery: Gallery) -> str:
    """Write the page of a tested run and its pictures as HTML.

    Raises:
        InputError: The figures lack something that `ibca test` writes.
    """
    names = run.sets[0].tested.class_names
    try:
        return document(
            "report/page.html.j2", GENERATOR, ["report/charts.css", "report/page.css"],
            run=run, gallery=gallery, title=_title(run), facts=_facts(run),
            sets=[_shown(own, gallery) for own in run.sets], training_charts=training_charts(run.history, names),
            few=FEW, others=_OTHERS, first=_FIRST, lead=lead, in_order=in_order, in_words=IN_WORDS,
            paints={name: paint(at) for at, name in enumerate(names)},
        )  # fmt: skip
    except UndefinedError as error:  # somebody took something out of the figures
        lacking = f"{str(error).rpartition(' ')[2]} of every class and subgroup in test_metrics.json of {run.folder}"
        raise InputError(lacking, "none", "run ibca test again") from error


def _title(run: Run) -> str:
    head = setting(run.facts, "model.head") or _class_name(run.settings, "model.head") or "Model"
    backbone = setting(run.facts, "model.backbone") or setting(run.settings, "model.backbone")
    return f"{head} on {backbone}" if backbone else str(head)


def _facts(run: Run) -> dict[str, Any]:
    said = partial(setting, run.facts)  # a card may be a stranger's: `read_facts` looked at no more than what it shows
    tested: dict[str, Any] = said("test.sets") or {}
    sets = (said("fit.sets") or {}) | tested
    rows = {name: own.get("rows") for name, own in sets.items()} or {own.name: len(own.tested.ids) for own in run.sets}
    groups = {name: own["groups"] for name, own in tested.items() if own.get("groups")}
    image_size, rule = said("model.image_size"), said("model.threshold_rule")
    return {
        "data": said("test.data.class") or said("fit.data.class") or _class_name(run.settings, "data"),
        "pictures": _joined(rows),
        "groups": _joined(groups),
        "input": f"{image_size} x {image_size} pixels" if image_size else "",
        "thresholds": _RULES.get(rule, rule) if isinstance(rule, str) else _joined(rule),
        "calibration": run.sets[0].figures.get("calibration", {}).get("kind"),
        "checkpoint": said("test.checkpoint"),
        "tested": ", ".join(str(part) for part in (said("test.date"), said("test.device")) if part),
        "versions": _joined(said("test.versions")),
    }


def _joined(values: Any) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items()) if isinstance(values, Mapping) else ""


def _class_name(settings: Any, key: str) -> str:
    return str(setting(settings, f"{key}.class_path") or "").rpartition(".")[2]


def _shown(own: TestSet, gallery: Gallery) -> dict[str, Any]:
    """What the page shows of a test set."""
    per_class, stored = own.figures["per_class"], own.figures.get("thresholds", {})
    hits, found, positives, negatives = (
        total.astype(int) for total in count(own.scores, own.labels, own.thresholds)
    )  # fmt: skip
    confusion = np.stack((hits, found - hits, positives - hits, negatives - (found - hits)), axis=1).tolist()
    findings = [
        Finding(name, missed, hit + missed, alarms, alarms + rest)
        for name, (hit, alarms, missed, rest) in zip(own.tested.class_names, confusion, strict=True)
    ]
    groups, without = _groups_with(own, 1), _groups_with(own, 0)
    known = dict.fromkeys(name for values in per_class.values() for name in values)
    return {
        "name": own.name,
        "figures": own.figures,
        "names": own.tested.class_names,
        "pictures": len(own.tested.ids),
        "thresholds": own.thresholds.tolist(),
        "confusion": confusion,
        "findings": sorted(
            (each for each in findings if each.positives), key=lambda each: -each.missed / each.positives
        ),
        "groups": groups,
        "widest": _widest(own.figures, findings, {"positives": groups, "negatives": without}),
        "chances": by_chance(own.figures),
        "unknown": any(values.get("unknown") for values in per_class.values()),
        "ranking": [name for name in known if name not in (*_COUNTS, *_DECIDED) and not _of_attention(name)],
        "attention": [name for name in known if _of_attention(name)],
        "chance": chance_precision(per_class),
        "lead": lead(own.figures),
        "few": [name for name in per_class if stored.get(name, {}).get("few")],
        "company": list(_company(own)),
        "ranking_charts": ranking_charts(own),
        "reliability_charts": reliability_charts(own),
        "best": gallery.chosen[own.name][0],
        "worst": gallery.chosen[own.name][1],
    }


def _groups_with(own: TestSet, label: int) -> dict[str, int]:
    """How many groups, such as patients, have a label of each class; empty where each picture is its own."""
    if own.groups.max(initial=-1) + 1 == len(own.groups):
        return {}
    counts = [np.bincount(own.groups[column == label]) for column in own.labels.T]
    return {name: int((rows > 0).sum()) for name, rows in zip(own.tested.class_names, counts, strict=True)}


def by_chance(figures: Mapping[str, Any]) -> tuple[list[str], int]:
    """The classes whose interval of AUROC holds 0.5, which is a model that knows nothing, and how many have one."""
    known = {name: ends for name, own in figures.get("per_class_intervals", {}).items() if (ends := own.get("AUROC"))}
    return [name for name, (low, high) in known.items() if low <= 0.5 <= high], len(known)


def _widest(
    figures: Mapping[str, Any], findings: Iterable[Finding], groups: Mapping[str, Mapping[str, int]]
) -> dict[str, Any] | None:
    """The class whose AUROC is known less than the mean of all, and the least; None where there is none such.

    Args:
        figures: Of the test set.
        findings: Of each class.
        groups: Of the positives and the negatives of each class, as `_groups_with` counts them.
    """
    known = {name: ends for name, own in figures.get("per_class_intervals", {}).items() if (ends := own.get("AUROC"))}
    mean = figures.get("intervals", {}).get("AUROC")
    if mean is None or len(known) < 2:
        return None
    name = max(known, key=lambda name: known[name][1] - known[name][0])
    if known[name][1] - known[name][0] <= mean[1] - mean[0]:
        return None
    own = next(each for each in findings if each.name == name)
    sides = [(own.positives, "positives"), (own.negatives, "negatives")]
    # Whole groups are drawn: two patients' many pictures leave more to chance than three pictures of three.
    counted, count, kind = min((groups[kind].get(name, count), count, kind) for count, kind in sides)
    few = counted if groups[kind] else None
    return {"name": name, "count": count, "kind": kind, "groups": few, "ends": known[name], "mean": mean}


def _of_attention(name: str) -> bool:
    return name.startswith(("attention_", "contribution_", "pointing_", "pixel_")) or name.endswith("_energy")


def lead(figures: Mapping[str, Any]) -> dict[str, Figure]:
    """Each figure as it is at the model's own thresholds, beside that at 0.5, as far as it rests on decisions.

    Args:
        figures: Of a test set or of a subgroup, as `test_metrics.json` has them.
    """
    tuned, found = figures.get("tuned", {}), {}
    for name, value in figures["metrics"].items():
        own = "tuned_" * (name in tuned)
        ends = [figures.get(f"{kind}intervals", {}).get(name) for kind in (own, "")]
        found[name] = Figure(tuned.get(name, value), ends[0], *((value, ends[1]) if own else (None, None)))
    return found


def _company(own: TestSet) -> Iterator[dict[str, Any]]:
    names = own.tested.class_names
    for kind, company in error_company(own.decided, own.labels).items():
        for at, name in enumerate(names):
            beside = {part: _beside(company, at, names, part) for part in ("present", "predicted")}
            yield {"name": name, "kind": _KINDS[kind], "errors": int(company.errors[at]), **beside}


def _beside(company: Company, at: int, names: Sequence[str], part: str) -> str:
    shares, usual = getattr(company, part)[at], getattr(company, f"{part}_usually")[at]
    others = [other for other in range(len(names)) if other != at and shares[other] > 0]
    largest = sorted(others, key=lambda other: -shares[other])[:_OTHERS]
    return ", ".join(f"{names[o]} {shares[o]:.0%} ({usual[o]:.0%})" for o in largest) or "–"
