"""The page of `ibca report` (`report/page.html.j2`): what it shows beside the files, as plain data."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ibca_lightning.metrics.confusions import Company, error_company
from ibca_lightning.metrics.decision import FEW
from ibca_lightning.metrics.operating_point import count
from ibca_lightning.report.charts import ranking_charts, reliability_charts, training_charts
from ibca_lightning.report.pictures import Exhibit
from ibca_lightning.report.run import Run, TestSet
from ibca_lightning.system.html_page import document

GENERATOR = "ibca report"
_OTHERS = 6  # classes named as company of an error
_COUNTS = ("positives", "unknown")
_DECIDED = ("negatives", "precision", "recall", "F1", "specificity")  # in a table of their own


@dataclass
class Gallery:
    """The pictures of a report.

    Attributes:
        best: Of each test set, by name.
        worst: Likewise.
        drawn: Pictures that the run itself drew: name, and the picture as `html_page.jpeg` gives it.
        notes: What could not be shown, and why; and other things that a reader should know.
    """

    best: dict[str, list[Exhibit]] = field(default_factory=dict)
    worst: dict[str, list[Exhibit]] = field(default_factory=dict)
    drawn: list[tuple[str, str]] = field(default_factory=list)
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
    return document(
        "report/page.html.j2", GENERATOR, ["report/charts.css", "report/page.css"],
        run=run, gallery=gallery, title=_title(run), facts=_facts(run), sets=[_shown(own, gallery) for own in run.sets],
        training_charts=training_charts(run), few=FEW, others=_OTHERS,
    )  # fmt: skip


def _title(run: Run) -> str:
    model = run.facts.get("model") or {}
    own = _section(run.settings, "model").get("init_args") or {}
    head = model.get("head") or _class_name(own, "head") or "Model"
    backbone = model.get("backbone") or own.get("backbone")
    return f"{head} on {backbone}" if backbone else head


def _facts(run: Run) -> dict[str, Any]:
    model, test, fit = (run.facts.get(key) or {} for key in ("model", "test", "fit"))
    data = (test.get("data") or fit.get("data") or {}).get("class") or _class_name(run.settings, "data")
    sets = {name: own.get("rows") for part in (fit, test) for name, own in part.get("sets", {}).items()}
    groups = {name: own["groups"] for name, own in test.get("sets", {}).items() if own.get("groups")}
    classes = run.sets[0].tested.class_names
    image_size = model.get("image_size")
    return {
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


def _section(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = settings.get(name)
    return section if isinstance(section, dict) else {}


def _class_name(settings: Mapping[str, Any], name: str) -> str:
    return str(_section(settings, name).get("class_path", "")).rpartition(".")[2]


def _shown(own: TestSet, gallery: Gallery) -> dict[str, Any]:
    """What the page shows of a test set."""
    per_class, stored = own.figures["per_class"], own.figures.get("thresholds", {})
    hits, found, positives, negatives = (
        total.astype(int) for total in count(own.scores, own.labels, own.thresholds)
    )  # fmt: skip
    confusion = (hits, found - hits, positives - hits, negatives - (found - hits))
    known = dict.fromkeys(name for values in per_class.values() for name in values)
    return {
        "name": own.name,
        "figures": own.figures,
        "names": own.tested.class_names,
        "pictures": len(own.tested.ids),
        "thresholds": own.thresholds.tolist(),
        "confusion": np.stack(confusion, axis=1).tolist(),
        "counts": ["positives", *(["unknown"] if any(values.get("unknown") for values in per_class.values()) else [])],
        "ranking": [name for name in known if name not in (*_COUNTS, *_DECIDED)],
        "few": [name for name in per_class if stored.get(name, {}).get("few")],
        "company": list(_company(own)),
        "ranking_charts": ranking_charts(own),
        "reliability_charts": reliability_charts(own),
        "best": gallery.best.get(own.name, []),
        "worst": gallery.worst.get(own.name, []),
    }


def _company(own: TestSet) -> Iterator[dict[str, Any]]:
    names = own.tested.class_names
    for kind, company in error_company(own.decided, own.labels).items():
        for at, name in enumerate(names):
            beside = {part: _beside(company, at, names, part) for part in ("present", "predicted")}
            yield {"name": name, "kind": kind, "errors": int(company.errors[at]), **beside}


def _beside(company: Company, at: int, names: Sequence[str], part: str) -> str:
    shares, usual = getattr(company, part)[at], getattr(company, f"{part}_usually")[at]
    others = [other for other in range(len(names)) if other != at and not np.isnan(shares[other])]
    largest = sorted(others, key=lambda other: -shares[other])[:_OTHERS]
    return ", ".join(f"{names[o]} {shares[o]:.0%} ({usual[o]:.0%})" for o in largest) or "–"
