"""What terms are told of the training split, from whatever data module there is."""

from collections.abc import Sequence
from typing import Any

import torch

from ibca_lightning.data.datamodule import MultiLabelDataModule
from ibca_lightning.data.tables.table import decode
from ibca_lightning.terms import Setting


def term_setting(data: Any, class_names: Sequence[str]) -> Setting:
    """Ask a data module, or none, for labels, names, groups and subgroups of the rows that it trains on."""
    labels = getattr(data, "training_labels", None)
    setting = Setting(class_names, None if labels is None else torch.from_numpy(labels()))
    files = data.split_files() if isinstance(data, MultiLabelDataModule) else {}
    ids: list[str] = []
    groups: list[str] = []
    subgroups: dict[str, list[str]] = {}
    for suffix, tables in files.items():
        table, before = tables["train"], f"{suffix[1:]}/" if suffix else ""  # as `joined` names them
        ids += [data.rename(before + table.name(row)) for row in range(len(table))]
        groups += [before + decode(group) for group in table.groups]
        for column, values in table.subgroups.items():
            subgroups.setdefault(column, []).extend(map(decode, values))
    if setting.labels is None or len(ids) != len(setting.labels):
        return setting
    whole = {column: values for column, values in subgroups.items() if len(values) == len(ids)}
    return setting._replace(ids=ids, groups=groups, subgroups=whole)
