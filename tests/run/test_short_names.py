"""Short names of classes, recipes by name, and `ibca list`."""

import shutil
import subprocess
import sys
from pathlib import Path
from pkgutil import resolve_name

import pytest
import yaml

import ibca_lightning.data
import ibca_lightning.heads
import ibca_lightning.terms
from ibca_lightning import losses
from ibca_lightning.data import MultiLabelDataModule
from ibca_lightning.heads import Head
from ibca_lightning.run.command_line import shipped
from ibca_lightning.run.command_line.shipped import recipe_file, recipes, with_recipe_files
from ibca_lightning.run.command_line.short_names import NAMES, near_class, short_name
from ibca_lightning.system.errors import InputError
from tests.command_line import done, experiment, ibca, refused, written

PUBLIC = {
    "model.head": ("ibca_lightning.heads", ibca_lightning.heads.__all__, Head),
    "model.loss": ("ibca_lightning.losses", list(vars(losses)), losses.Loss),
    "model.terms": ("ibca_lightning.terms", ibca_lightning.terms.__all__, ibca_lightning.terms.Term),
    "data": ("ibca_lightning.data", ibca_lightning.data.__all__, MultiLabelDataModule),
}


@pytest.mark.parametrize("kind", PUBLIC)
def test_every_public_class_has_a_short_name(kind: str) -> None:
    module, names, base = PUBLIC[kind]
    classes = {name: resolve_name(f"{module}.{name}") for name in names}
    public = {
        f"{module}.{name}"
        for name, cls in classes.items()
        if isinstance(cls, type) and issubclass(cls, base) and cls is not base
    }
    assert set(NAMES[kind].values()) == public
    for short, path in NAMES[kind].items():
        assert [short_name(kind, name) for name in (short, path, path.rpartition(".")[2])] == [short] * 3
    assert short_name(kind, "my_file.Own") is None


def test_what_is_near() -> None:
    near = [near_class("model.head", name) for name in ("csr", "ibac", "GAPHed", "gap_head", "ml-decoder")]
    assert near == ["csra", "ibca", "GAPHead", "GAPHead", "ml_decoder"]
    assert [near_class("model.head", name) for name in ("NoHead", "Head", "nope")] == [None] * 3
    assert [near_class("data", name) for name in ("MuRed", "murd")] == ["MuReD", "mured"]


def test_short_names_in_a_file_and_on_the_command_line(tree: Path, here: Path) -> None:
    config = experiment(tree)
    config["data"]["class_path"] = "csv"
    config["model"]["init_args"] |= {
        "head": {"class_path": "csra", "init_args": {"temperature": 3.0}}, "loss": {"class_path": "asl"},
    }  # fmt: skip
    written(here / "e.yaml", config)

    def resolved(*more: str) -> dict:
        return yaml.safe_load(done("fit", "--config", "e.yaml", *more, "--print_config").out)

    model = resolved()["model"]["init_args"]
    assert model["head"]["class_path"] == "ibca_lightning.heads.CSRAHead"
    assert model["head"]["init_args"]["temperature"] == 3
    assert model["loss"]["class_path"] == "ibca_lightning.losses.AsymmetricLoss"
    given = resolved("--model.head", "csra", "--model.head.temperature", "2", "--model.loss", "focal",
                     "--trainer.logger", "tensorboard", "--model.loss.gamma", "1")  # fmt: skip
    assert given["data"]["class_path"] == "ibca_lightning.data.CSVDataModule"
    assert given["model"]["init_args"]["head"]["init_args"]["temperature"] == 2
    loss = {
        "class_path": "ibca_lightning.losses.FocalLoss",
        "init_args": {"gamma": 1.0, "alpha": None, "smoothing": 0.0, "balance": None},
    }
    assert given["model"]["init_args"]["loss"] == loss
    assert given["trainer"]["logger"]["class_path"].endswith(".RunTensorBoardLogger")
    config["model"] = {"init_args": {"head": "lff"}}
    written(here / "e.yaml", config)
    assert resolved()["model"]["init_args"]["head"]["class_path"] == "ibca_lightning.heads.LfFHead"


def test_a_recipe_is_found_by_name_and_a_file_of_that_path_wins(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Path(recipe_file("endo")) == recipes()["endo"]
    assert with_recipe_files(["fit", "--config", "endo", "--config=scm", "--data.root", "mured"]) == [
        "fit", "--config", str(recipes()["endo"]), f"--config={recipes()['scm']}", "--data.root", "mured",
    ]  # fmt: skip
    assert [recipe_file(path) for path in ("no/endo", "endo.yaml", "")] == ["no/endo", "endo.yaml", ""]
    with pytest.raises(InputError, match=r"got endos; did you mean endo\? see ibca list recipes"):
        recipe_file("endos")
    with pytest.raises(InputError, match=r"got terms/nvums; did you mean terms/nvum\? see ibca list terms"):
        recipe_file("terms/nvums")
    with pytest.raises(InputError, match="spaces"):
        recipe_file("spaces")  # no recipe
    assert recipe_file("backbones/convnext") == str(recipes()["endo"].parent / "backbones/convnext.yaml")
    assert recipe_file("terms/nvum") == str(recipes()["endo"].parent / "terms/nvum.yaml")
    for wrong in ("backbones/convnex", "convnext"):
        with pytest.raises(InputError, match="did you mean backbones/convnext"):
            recipe_file(wrong)
    (here / "endo").write_text("data: {}\n")
    assert recipe_file("endo") == "endo"
    # As a wheel has them.
    (here / "ibca_lightning").mkdir()
    shutil.copytree(recipes()["endo"].parent, here / "ibca_lightning" / "experiments")
    monkeypatch.setattr(shipped, "_PACKAGE", here / "ibca_lightning")
    shipped.experiments.cache_clear()
    try:
        assert recipe_file("scm") == str(here / "ibca_lightning/experiments/scm.yaml")
    finally:
        monkeypatch.undo()
        shipped.experiments.cache_clear()


@pytest.mark.parametrize("command", ["fit", "check", "maps", "tune", "sweep"])
def test_every_command_knows_recipes(command: str, here: Path) -> None:
    more = {"fit": [], "check": [], "maps": ["--output", "new"], "tune": ["--output", "new", "--trials", 1],
            "sweep": ["--output", "new", "--heads", "gap"]}  # fmt: skip
    refused(command, "--config", "endos", *more[command], names=("endos", "did you mean endo?"))


def test_a_configuration_of_before_the_finders_went_still_runs(tree: Path, here: Path) -> None:
    written(here / "e.yaml", experiment(tree) | {"find_lr": False, "find_batch_size": False})
    out = done("fit", "--config", "e.yaml", "--print_config").out
    assert not any(name in out for name in ("find_lr", "find_batch_size"))
    assert refused("fit", "--config", "e.yaml", "--find_lr", "true", names=("find_lr",))


def test_the_data_are_looked_at_before_anything_dear(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("no route to the hub")

    monkeypatch.setattr(huggingface_hub, "get_session", unreachable)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    for data in ("endo", "mured", "chexpert"):
        result = refused("fit", "--config", data, "--data.root", "nowhere", "--wandb", "offline", names=("data.root",))
        assert result.err.count("\n") == 1, "neither of weights nor of wandb"
    (here / "file").touch()
    refused(
        "fit", "--config", "mured", "--data.root", "nowhere", "--run_dir", "file/run", names=("--run_dir file/run",)
    )


def test_list() -> None:
    everything = done("list").out
    kinds = {
        "recipes": recipes(),
        "heads": NAMES["model.head"],
        "losses": NAMES["model.loss"],
        "terms": NAMES["model.terms"],
        "datasets": NAMES["data"],
    }
    for kind, names in kinds.items():
        lines = done("list", kind).out.splitlines()
        assert [line.split()[0] for line in lines] == list(names)
        assert all(len(line.split()) > 2 and len(line) <= 80 for line in lines), "each says what it is"
        assert all(line in everything for line in lines)
    assert "test_resnet" in done("list", "backbones", "test_res*").out.split()
    for wrong, said in ((["haeds"], "try ibca list heads"), (["heads", "x"], "a pattern"), (["backbones", "zz"], "zz")):
        result = ibca("list", *wrong)
        assert result.code == 2
        assert said in result.errors[0]


def test_list_imports_nothing_heavy() -> None:
    code = "import sys; from ibca_lightning.cli import main; main(['list']); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
