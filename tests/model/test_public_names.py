"""What files name outlives the moves of modules."""

import json
from importlib import import_module
from pathlib import Path

import pytest

from ibca_lightning.model.public_names import public_name, with_public_names

BEFORE = Path(__file__).parents[1] / "before"
PATHS: dict[str, str] = json.loads((BEFORE / "paths.json").read_text())


@pytest.mark.parametrize(("before", "public"), PATHS.items(), ids=[path.rpartition(".")[2] for path in PATHS])
def test_a_class_is_found_by_every_path_it_ever_had(before: str, public: str) -> None:
    assert public_name(before) == public
    room, _, name = public.rpartition(".")
    cls = getattr(import_module(room), name)
    assert public_name(f"{cls.__module__}.{cls.__qualname__}") == public
    assert public_name(public) == public


def test_other_names_are_left_alone() -> None:
    for path in (
        "torch.nn.Linear",
        "my_head.GAPHead",
        "tests.own.my_head.MaxHead",
        "GAPHead",
        "ibca_lightning",
        "ibca_lightning.heads.gap.NoHead",
        "ibca_lightning.heads.gap",
        "ibca_lightning notes.",
        "",
    ):
        assert public_name(path) == path


def test_plain_data_are_searched_to_the_bottom() -> None:
    before = {"head": "ibca_lightning.heads.csra.CSRAHead", "terms": [{"class_path": "torch.nn.ReLU", "width": 1.5}]}
    assert with_public_names(before) == before | {"head": "ibca_lightning.heads.CSRAHead"}
