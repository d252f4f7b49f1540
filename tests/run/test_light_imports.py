"""What is imported lightly is imported whole, and leaves nothing changed."""

import gc
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from ibca_lightning.run.command_line.light_imports import late_transformers, light_imports
from tests.command_line import REPOSITORY


def test_a_package_is_away_meanwhile_only_and_garbage_is_collected_again() -> None:
    absent = "this_package_is_none"
    with light_imports(absent, "sys"):
        assert not gc.isenabled()
        assert sys.modules[absent] is None
        assert sys.modules["sys"] is sys  # what is there already stays
        with light_imports(absent):
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
    assert absent not in sys.modules
    assert find_spec(absent) is None


def test_transformers_is_imported_when_something_of_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "transformers.py").write_text("class AutoModel:\n    fetched = 3\nclass AutoTokenizer: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "transformers", raising=False)
    with late_transformers():
        from transformers import AutoModel

        assert find_spec("transformers") is not None
    assert "transformers" not in sys.modules
    assert AutoModel.fetched == 3
    assert type(AutoModel()) is sys.modules["transformers"].AutoModel
    monkeypatch.delitem(sys.modules, "transformers")


def test_no_help_of_a_command_loads_torch() -> None:
    code = (
        "import sys, contextlib, io\nfrom ibca_lightning.cli import COMMANDS, main\n"
        "for command in COMMANDS:\n"
        "    with contextlib.redirect_stdout(io.StringIO()):\n"
        "        main([command, '--help'])\n"
        "    assert not {'torch', 'lightning'} & set(sys.modules), command\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


@pytest.mark.parametrize(("loaded", "left"), [("sys", "True"), ("triton", "False")])
def test_garbage_is_left_at_the_end_unless_triton_would_complain(loaded: str, left: str) -> None:
    code = (
        "import gc, sys\nfrom ibca_lightning.run.command_line.light_imports import leave_garbage\n"
        f"sys.modules[{loaded!r}] = sys\nleave_garbage()\nprint(gc.get_freeze_count() > 0)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert result.stdout.split() == [left], result.stderr


def test_a_picture_is_predicted_without_training_and_compiler(run: Path, tree: Path, tmp_path: Path) -> None:
    picture = next((tree / "images").rglob("*.png"))
    code = (
        "import sys\nfrom ibca_lightning.cli import main\n"
        f"main(['predict', '--ckpt_path', {str(run / 'checkpoints/best.ckpt')!r}, '--images', {str(picture)!r},"
        f" '--output', {str(tmp_path / 'out')!r}])\n"
        "training = {'lightning', 'torchmetrics', 'wandb', 'albumentations', 'sympy', 'scipy'}\n"
        "unused = {'torch._dynamo', 'torch.export', 'torch.distributions', 'torch.onnx',"
        " 'torchvision.models', 'huggingface_hub.hf_api', 'huggingface_hub.file_download', 'jinja2'}\n"
        "print((training | unused) & set(sys.modules))\n"
        "import torch\nprint(torch.func.vmap(torch.sin)(torch.zeros(2)).tolist())  # what a head of one's own may use\n"
        "print(torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2))(torch.ones(1, 2)).shape)\n"
        "from ibca_lightning.model.checkpoint import ModelSpec, read_checkpoint\n"
        "from ibca_lightning.model.network import require_fitting_backbone\n"
        f"stored = read_checkpoint({str(run / 'checkpoints/best.ckpt')!r})\n"
        "require_fitting_backbone(ModelSpec.from_checkpoint(stored, ''), stored, '')  # runs it without memory\n"
        "print(torch.distributions.Normal(0.0, 1.0).mean.item())\n"
        "program = torch.export.export(torch.nn.Linear(2, 2), (torch.ones(1, 2),))\n"
        "print(program.module()(torch.ones(1, 2)).shape)\n"
        "print(torch.compile(torch.nn.Linear(2, 2), backend='eager')(torch.ones(1, 2)).shape)\n"
        "from torch._dynamo.utils import is_compile_supported\nown = sys.modules['torchvision.ops.roi_align']\n"
        "print(own.is_compile_supported('cpu') == is_compile_supported('cpu'))\n"
        "import timm, torchvision\nfrom torchvision.models.resnet import ResNet\n"
        "features = timm.layers.create_feature_extractor(timm.create_model('test_resnet'), ['conv1'])\n"
        "print(torchvision.models.ResNet is ResNet, *features(torch.ones(1, 3, 32, 32)))\n"
        "print(timm.models._hub.HfApi(token='x').token, timm.models._hub.has_hf_hub())\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert result.stdout.splitlines() == [
        "set()", "[0.0, 0.0]", "torch.Size([1, 2])", "0.0", "torch.Size([1, 2])", "torch.Size([1, 2])",
        "True", "True conv1", "x True",
    ], result.stderr  # fmt: skip


def test_wrong_pictures_and_checkpoints_are_refused_before_torch_is_imported(tmp_path: Path) -> None:
    (tmp_path / "junk.ckpt").write_bytes(b"junk")
    (tmp_path / "a.png").write_bytes(b"x")
    code = (
        "import sys\nfrom ibca_lightning.cli import main\n"
        "for command in 'predict', 'explain':\n"
        "    for given in (['none.ckpt', '--images', 'a.png'], ['junk.ckpt', '--images', 'a.png']):\n"
        "        assert main([command, '--ckpt_path', *given, '--output', 'out']) == 2\n"
        "assert 'torch' not in sys.modules\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("a checkpoint file at none.ckpt") == 2
    assert result.stderr.count("junk.ckpt to be a checkpoint of tensors and plain data") == 2
