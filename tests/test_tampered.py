"""A file that is given as a checkpoint or as weights runs no code, whichever command takes it."""

import pickle
import shutil
from pathlib import Path

import pytest
import torch

import ibca_lightning
from ibca_lightning.system.errors import InputError
from tests.command_line import Result, experiment, ibca, written


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
