"""A file that is given as a checkpoint or as weights runs no code, whichever command takes it."""

import pickle
import shutil
import sys
from pathlib import Path

import pytest
import torch

import ibca_lightning
from ibca_lightning.system.errors import InputError
from tests.command_line import Result, done, experiment, ibca, refused, written


class Payload:
    """Unpickled, it writes a file."""

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(Path("ran").absolute()), "w")


@pytest.fixture(params=["of torch", "of pickle"])
def evil(request: pytest.FixtureRequest, run: Path, tree: Path, here: Path) -> Path:
    """A good checkpoint with something in it, and what the commands need beside it."""
    checkpoint = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    checkpoint["state_dict"]["head.bias"] = Payload()
    path = here / "evil.ckpt"
    if request.param == "of torch":
        torch.save(checkpoint, path)
    else:
        path.write_bytes(pickle.dumps(checkpoint))
    written(here / "e.yaml", experiment(tree))
    shutil.copy(run / "checkpoints/best.ckpt", "good.ckpt")
    shutil.copytree(run, "tested")
    shutil.copy(path, "tested/checkpoints/best.ckpt")
    shutil.copy(path, "evil.pth")
    return path


IMAGES, DATA = ("--images", "PICTURES", "--output", "new"), ("--config", "e.yaml")
COMMANDS: dict[str, tuple[str, ...]] = {
    "fit": ("fit", *DATA, "--run_dir", "new", "--ckpt_path", "evil.ckpt"),
    "fit, init_from": ("fit", *DATA, "--run_dir", "new", "--model.init_from", "evil.ckpt"),
    "fit, weights": ("fit", *DATA, "--run_dir", "new", "--model.checkpoint_path", "evil.pth"),
    "maps": ("maps", *DATA, "--output", "new", "--model.init_from", "evil.ckpt"),
    "validate": ("validate", *DATA, "--ckpt_path", "evil.ckpt"),
    "test": ("test", *DATA, "--ckpt_path", "evil.ckpt"),
    "test, classes": ("test", *DATA, "--ckpt_path", "good.ckpt", "--data.label_space", "evil.ckpt"),
    "predict": ("predict", *DATA, "--ckpt_path", "evil.ckpt"),
    "predict, pictures": ("predict", *IMAGES, "--ckpt_path", "evil.ckpt"),
    "predict, several": ("predict", *IMAGES, "--ckpt_path", "good.ckpt", "evil.ckpt"),
    "explain": ("explain", *IMAGES, "--ckpt_path", "evil.ckpt"),
    "explain, several": ("explain", *IMAGES, "--ckpt_path", "good.ckpt", "evil.ckpt"),
    "export": ("export", "--ckpt_path", "evil.ckpt", "--output", "new.pt2"),
    "faithfulness": ("faithfulness", *DATA, "--ckpt_path", "evil.ckpt", "--output", "new"),
    "app": ("app", "--ckpt_path", "evil.ckpt", "--port", "0"),
    "app, several": ("app", "--ckpt_path", "good.ckpt", "evil.ckpt", "--port", "0"),
    "compare": ("compare", "tested", "--cost"),
    "report": ("report", "tested", "--output", "new.html", "--ckpt_path", "evil.ckpt"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_runs_what_a_checkpoint_holds(command: str, evil: Path, tree: Path) -> None:
    result: Result = ibca(*(tree / "images" if word == "PICTURES" else word for word in COMMANDS[command]))
    assert (result.code, len(result.errors)) == (2, 1), result.err
    assert "Traceback" not in result.err
    assert any(name in result.errors[0] for name in ("evil.ckpt", "evil.pth", "best.ckpt")), result.errors
    assert not Path("ran").exists()


def test_python_neither(evil: Path) -> None:
    with pytest.raises(InputError, match=r"evil\.ckpt to be a checkpoint of tensors and plain data"):
        ibca_lightning.load(evil)
    assert not Path("ran").exists()
    pickle.loads(pickle.dumps(Payload()))
    assert Path("ran").exists(), "or the payload is none"


# --- the record ------------------------------------------------------------------------------------------------------

STRANGER = """
from pathlib import Path
from ibca_lightning.heads import GAPHead
Path("ran").write_text("")
class Own(GAPHead): pass
"""


def record(run: Path, path: str, **changes: object) -> Path:
    """A good checkpoint but for these entries of its record."""
    checkpoint = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    checkpoint["ibca"] |= changes
    torch.save(checkpoint, path)
    return Path(path)


def predict(*more: object, checkpoint: str = "c.ckpt") -> tuple[object, ...]:
    return ("predict", "--ckpt_path", checkpoint, "--output", "new", *more)


@pytest.mark.parametrize("path", ["stranger.Own", "venv.__main__.X", ".x.y", "..", "os.system", "ibca_lightning.cli.X"])
def test_a_head_is_imported_only_from_what_is_trusted(path: str, run: Path, tree: Path, here: Path) -> None:
    Path("stranger.py").write_text(STRANGER)
    record(run, "c.ckpt", head={"class_path": path, "init_args": {}})
    images = ("--images", tree / "images")
    refused(*predict(*images), names=(path, f"--trust {path.rpartition('.')[0] or path}"))
    refused("export", "--ckpt_path", "c.ckpt", "--output", "new.pt2", names=(path,))
    refused("explain", *images, "--ckpt_path", "c.ckpt", "--output", "new", names=(path,))
    with pytest.raises(InputError, match="that you trust"):
        ibca_lightning.MultiLabelModule.load_from_checkpoint("c.ckpt")
    refused(*predict(*images, "--trust", ".x.y"), names=("--trust .x.y",))
    assert not Path("ran").exists()


def test_a_trusted_head_is_used(run: Path, tree: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(here)
    Path("befriended.py").write_text(STRANGER)
    record(run, "c.ckpt", head={"class_path": "befriended.Own", "init_args": {}})
    done(*predict("--images", tree / "images", "--trust", "befriended"))
    assert Path("ran").exists()
    del sys.modules["befriended"]
    Path("befriended.py").write_text(STRANGER)
    assert ibca_lightning.load("c.ckpt", trust=["befriended"]).spec.head["class_path"] == "befriended.Own"


@pytest.mark.parametrize("name", ["hf-hub:a/b", "local-dir:.", "hf_hub:a/b", "http://x/y"])
def test_a_backbone_leads_neither_to_the_network_nor_into_a_folder(
    name: str, run: Path, tree: Path, here: Path
) -> None:
    Path("config.json").write_text('{"architecture": "test_resnet"}')
    record(run, "c.ckpt", backbone=name)
    refused(*predict("--images", tree / "images"), names=(name, "model of timm"))
    with pytest.raises(InputError, match="model of timm"):
        ibca_lightning.MultiLabelModule.load_from_checkpoint("c.ckpt")
    shutil.copytree(run, "run")
    shutil.copy("c.ckpt", "run/checkpoints/best.ckpt")
    assert "model of timm" in ibca("compare", "run", "--cost").errors[0]


DEEP: list[object] = []
for _ in range(200):
    DEEP = [DEEP]
HUGE = {
    "width": {"head": {"class_path": "ibca_lightning.heads.GAPHead", "init_args": {"width": 10**7}}},
    "width within bounds": {"head": {"class_path": "ibca_lightning.heads.GAPHead", "init_args": {"width": 2**14}}},
    "layers": {"head": {"class_path": "ibca_lightning.heads.Query2LabelHead", "init_args": {"decoder_layers": 10**9}}},
    "options in options": {"head": {"class_path": "a.B", "init_args": {"x": DEEP}}},
    "image_size": {"image_size": 20000},
    "backbone": {"backbone": "vit_gigantic_patch14_clip_224"},
}


@pytest.mark.parametrize("kind", HUGE)
def test_a_record_of_a_huge_model_is_refused_before_memory_is_taken(
    kind: str, run: Path, tree: Path, here: Path
) -> None:
    record(run, "c.ckpt", **HUGE[kind])
    result = refused(*predict("--images", tree / "images"))
    said = {"width within bounds": "weight head.", "backbone": "c.ckpt with a weight backbone."}
    assert said.get(kind, "sound") in result.err
    if kind in said:
        with pytest.raises(InputError, match="with a weight"):
            ibca_lightning.MultiLabelModule.load_from_checkpoint("c.ckpt")
