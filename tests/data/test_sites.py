"""Learning at some sites and testing at each: which rows are seen where, with which labels."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ibca_lightning.data import CSVDataModule, FrozenMaps, JoinedDataModule
from ibca_lightning.data.tables.sites import Sites
from ibca_lightning.data.tables.table import Table, decode, encode
from ibca_lightning.system.errors import InputError
from tests.command_line import done, experiment, written


def table(*sites: str) -> Table:
    names, lines = encode([f"{row}.png" for row in range(len(sites))]), np.arange(len(sites), dtype=np.int32)
    return Table("t.csv", "", lines, names, np.ones((len(sites), 2), np.int8), names, {"ward": encode(sites)})


@pytest.mark.parametrize(
    ("sites", "train", "val", "unknown"),
    [
        (Sites("ward", test=["B"]), [0, 2, 3], [0, 2, 3], []),
        (Sites("ward", test=["B", "C"]), [0, 2], [0, 2], []),
        (Sites("ward", train=["A"]), [0, 2], [0, 2], []),
        (Sites("ward", test=["B"], unlabelled=True), [0, 1, 2, 3], [0, 2, 3], [1]),
        (Sites("ward", train=["A"], unlabelled=True), [0, 1, 2, 3], [0, 2], [1, 3]),
    ],
)
def test_sites_left_out_are_gone_or_lose_their_labels(
    sites: Sites, train: list[int], val: list[int], unknown: list[int]
) -> None:
    given = table("A", "B", "A", "C")
    assert sites.rows(given, "train").tolist() == train
    assert sites.rows(given, "val").tolist() == val
    labels = sites.labelled(given.take(sites.rows(given, "train"))).labels
    assert [train[row] for row in np.flatnonzero((labels == -1).all(1))] == unknown
    assert (labels[[row not in unknown for row in train]] == 1).all()


def test_each_site_is_a_test_set_those_left_out_first() -> None:
    rows = Sites("ward", train=["A"]).tests(table("A", "B/2", "A", "C"))
    assert {name: of.tolist() for name, of in rows.items()} == {"B_2": [1], "C": [3], "A": [0, 2]}
    assert list(rows) == ["B_2", "C", "A"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"test": ["D"]}, "the sites of data.sites in column ward, got D; there are A, B"),
        ({"test": ["A", "B"]}, "a train row of the sites to learn from, got none"),
        ({"column": "age", "test": ["A"]}, "among data.subgroup_columns, got ward there; add age"),
        ({"test": ["A"], "train": ["B"]}, "train or test in data.sites, got both"),
        ({}, "train or test in data.sites, got none"),
    ],
)
def test_wrong_sites_are_one_line(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Sites(**({"column": "ward"} | options)).rows(table("A", "B"), "train")


SITES = Sites("sex", test=["F"], unlabelled=True)


def module(tree: Path) -> CSVDataModule:
    options = experiment(tree, exclude_columns=["age"], subgroup_columns=["sex"])["data"]["init_args"]
    return CSVDataModule(**options, sites=SITES)


def test_a_table_is_learnt_from_at_one_site_and_tested_at_each(tree: Path) -> None:
    data = module(tree)
    train = data.split_tables()["train"]
    there = np.array([decode(value) == "F" for value in train.subgroups["sex"]])
    assert there.any()
    assert ((train.labels == -1).all(1) == there).all()
    assert {decode(value) for value in data.split_tables()["val"].subgroups["sex"]} == {"M"}
    assert data.test_names == list(data.test_sets()) == ["F", "M"]
    with pytest.raises(InputError, match="joined sets, each a site"):
        JoinedDataModule([data, data])


@pytest.mark.slow
def test_a_run_and_stored_maps_have_sites(tree: Path, here: Path) -> None:
    written(here / "e.yaml", experiment(tree, exclude_columns=["age"], subgroup_columns=["sex"]))
    sites = ("--data.sites", "{column: sex, test: [F], unlabelled: true}")
    term = "[{class_path: domain_alignment, init_args: {site_column: sex}}]"
    done("fit", "--config", "e.yaml", *sites, "--model.terms", term, "--run_dir", "run")
    done("test", "--config", "run/config.yaml", "--ckpt_path", "run/checkpoints/best.ckpt")
    assert all((here / f"run/test_metrics.{name}.json").is_file() for name in "FM")

    done("maps", "--config", "e.yaml", "--model.freeze_backbone", "true", "--output", "maps")
    data, maps = module(tree), FrozenMaps("maps", sites=SITES)
    assert (maps.training_labels() == data.training_labels()).all()
    assert [item["label"].tolist() for item in items(maps._set("train"))] == data.training_labels().tolist()
    assert {item["subgroup"]["sex"] for item in items(maps._set("val"))} == {"M"}
    for name, pictures in data.test_sets().items():
        assert [item["id"] for item in items(maps.test_sets()[name])] == [item["id"] for item in items(pictures)]


def items(dataset: Any) -> list[dict[str, Any]]:
    return [dataset[row] for row in range(len(dataset))]
