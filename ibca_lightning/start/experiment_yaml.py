"""The YAML that `ibca init` writes: what it found in the table, what it chose for training, and why."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import yaml

from ibca_lightning.data.tables.label_list import LabelList
from ibca_lightning.start.columns import Column
from ibca_lightning.start.label_form import Form
from ibca_lightning.start.recipe import Recipe
from ibca_lightning.system.output import plain

TEST_FRACTION = 0.2
_WIDE = 44  # where comments begin


def data_options(
    columns: Sequence[Column],
    table: str,
    images: str,
    *,
    find_images: bool,
    missing: bool,
    splits: Sequence[str],
    beside: Mapping[str, str],
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the options of `CSVDataModule`, and why some of them are as they are.

    Args:
        columns: What `look` found.
        table: Path of the table.
        images: The folder of the pictures.
        find_images: Whether the table leaves out parts of their names.
        missing: Whether some rows name no picture.
        splits: The splits that the table names.
        beside: The tables of further splits.
    """
    by_role = {role: [c.name for c in columns if c.role == role] for role in ("picture", "group", "split", "subgroup")}
    root, options = _places(table, images)
    pictures = by_role["picture"]
    options |= {"image_columns": pictures} if len(pictures) > 1 else {"image_column": pictures[0]}
    if find_images:
        options["find_images"] = True
    if missing:
        options["missing_images"] = "skip"
    if by_role["group"]:
        options["group_column"] = by_role["group"][0]
    if by_role["split"]:
        options["split_column"] = by_role["split"][0]
    options |= _label_options(columns)
    if by_role["subgroup"]:
        options["subgroup_columns"] = by_role["subgroup"]
    if bands := {c.name: [*c.bands] for c in columns if c.role == "subgroup" and c.bands}:
        options["subgroup_bands"] = bands
    out = {c.name: c.why for c in columns if c.role == "left out"}
    if out:
        options["exclude_columns"] = [*out]
    options |= {f"{split}_csv": _inside(file, root) for split, file in beside.items()}
    if "test" not in (*splits, *beside):
        options["test_fraction"] = TEST_FRACTION
    reasons = {
        "image_columns": "each row is a case; each of its pictures gets its labels",
        "find_images": "the table leaves out the extension, or folders",
        "missing_images": "rows whose picture is not there are left out; error refuses them",
        "group_column": "never in two splits",
        "split_column": f"names {', '.join(splits)}" + ("; val is split off train" if "val" not in splits else ""),
        "val_csv": "found beside it, with the same columns",
        "test_csv": "found beside it, with the same columns",
        "test_fraction": "split off by group, as validation is",
        "label_values": "what words mean; -1 is unknown",
        "label_counts": "a number above 0 is present",
        "labels": "zero: a blank is taken for absent",
        "subgroup_columns": "figures by subgroup too",
        "subgroup_bands": "where a band ends and the next begins",
        "root": "seen from the folder in which ibca is called",
    }
    reasons |= {f"label_list {c.name}": _why_list(c.form, c.form.listed) for c in columns if c.form and c.form.listed}
    reasons["label_list"] = next((why for name, why in reasons.items() if name.startswith("label_list ")), "")
    return {"root": root, **options}, {**reasons, **{f"exclude {name}": why for name, why in out.items()}}


def _places(table: str, images: str) -> tuple[str, dict[str, Any]]:
    """The root; and where table and pictures lie, from it where they lie below it."""
    root = os.path.dirname(os.path.normpath(images)) or "."
    inside = _inside(table, root)
    if inside == table:
        return images, {"train_csv": table}
    return root, {"train_csv": inside, "image_dir": os.path.basename(os.path.normpath(images))}


def _inside(file: str, root: str) -> str:
    """The path from the root, of what lies below it."""
    inside = os.path.relpath(file, root)
    return file if inside.startswith(os.pardir) else inside


def _label_options(columns: Sequence[Column]) -> dict[str, Any]:
    labels = [(column.name, column.form) for column in columns if column.role == "label" and column.form is not None]
    flags = [name for name, form in labels if form.kind != "list"]
    values: dict[str, int] = {}
    for _, form in labels:
        values |= form.values
    lists = [_written(form.listed) for _, form in labels if form.listed is not None]
    options: dict[str, Any] = {
        "label_columns": flags,
        "label_values": values,
        "label_counts": [name for name, form in labels if form.kind == "count"],
        "label_list": lists[0] if len(lists) == 1 else lists,
    }
    if blank := [name for name, form in labels if form.blank_is_absent]:
        options["labels"] = {"blank": dict.fromkeys(blank, "zero")}
    return {name: value for name, value in options.items() if value}


def _why_list(form: Form, listed: LabelList) -> str:
    """What a list of names becomes."""
    what = "a class for each name" + ("" if form.several else "; a picture has one at most")
    what = "a class for each grade and those above it" if listed.ordered else what
    return f"{what}; `least`: in so many rows" if listed.least > 1 else what


def _written(listed: LabelList) -> dict[str, Any]:
    """A list without what is as it would be anyway."""
    default = LabelList(listed.column)
    own = {each.name: getattr(listed, each.name) for each in fields(listed)}
    return {name: value for name, value in own.items() if name == "column" or value != getattr(default, name)}


def written(
    head: Sequence[str], data: Mapping[str, Any], reasons: Mapping[str, str], recipe: Recipe, doubts: Sequence[str]
) -> str:
    """Return the text of the YAML.

    Args:
        head: Lines that say what it is.
        data: The options of the data module.
        reasons: Why, by option.
        recipe: The options of training.
        doubts: What to look at.
    """
    why = recipe.reasons
    lines = [f"# {_one_line(line)}" for line in (*head, *(f"Look at this: {doubt}." for doubt in doubts))]
    lines += ["seed_everything: 0", "model:", "  class_path: MultiLabelModule", "  init_args:"]
    lines += _option("backbone", recipe.backbone, why) + _option("feature_stride", recipe.feature_stride, why)
    lines += ["    head: {class_path: IBCAHead}", "data:", "  class_path: CSVDataModule", "  init_args:"]
    for name, value in data.items():
        if name == "exclude_columns":
            lines.append("    exclude_columns:")
            lines += [_commented(f"      - {_scalar(each)}", reasons[f"exclude {each}"]) for each in value]
        else:
            lines += _option(name, value, reasons)
    for name in ("image_size", "batch_size", "num_workers"):
        lines += _option(name, getattr(recipe, name), why)
    if recipe.balanced_sampling:
        lines += _option("balanced_sampling", True, why)
    lines += ["trainer:", _commented(f"  max_epochs: {recipe.max_epochs}", why["max_epochs"])]
    return "".join(f"{line}\n" for line in lines)


def _option(name: str, value: Any, why: Mapping[str, str]) -> list[str]:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [
            f"    {name}:",
            *(_commented(f"      - {_scalar(each)}", why[f"{name} {each['column']}"]) for each in value),
        ]
    return [_commented(f"    {name}: {_scalar(value)}", why.get(name, ""))]


def _commented(text: str, comment: str) -> str:
    return f"{text:<{_WIDE}} # {_one_line(comment)}" if comment else text


def _one_line(text: str) -> str:
    """A comment ends with its line, and holds no character that YAML refuses: cells hold anything."""
    return plain(" ".join(text.split()))


def _scalar(value: Any) -> str:
    """One line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**9, allow_unicode=True, sort_keys=False)
    return text.removesuffix("...\n").strip()
