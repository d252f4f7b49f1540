"""The package runs nothing that a file holds, starts no shell, and writes no secret."""

import ast
import subprocess
from pathlib import Path

import pytest

import ibca_lightning
from tests.command_line import contents, done, experiment, written

SOURCES = sorted(Path(ibca_lightning.__file__).parent.rglob("*.py"))
# What unpickles, runs text, starts a shell, or unpacks an archive wherever its names lead.
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "pty", "code", "imp"}
CALLS = {
    "eval", "exec", "compile", "__import__", "os.system", "os.popen", "os.execv", "os.spawnv", "subprocess.getoutput",
    "subprocess.getstatusoutput", "yaml.load", "yaml.full_load", "yaml.unsafe_load", "yaml.load_all",
    "torch.jit.load", "torch.hub.load", "shutil.unpack_archive", "tempfile.mktemp", "asyncio.create_subprocess_shell",
    "builtins.eval", "builtins.exec", "pandas.read_pickle",
}  # fmt: skip
METHODS = {"extractall", "load_from_checkpoint"}


def name_of(node: ast.expr) -> str:
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else f"?.{'.'.join(reversed(parts))}"


def is_true(node: ast.expr | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def dangers(source: str) -> list[str]:
    """What a module does that it should not, by its syntax tree."""
    tree = ast.parse(source)
    aliases = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            aliases |= {each.asname or each.name.partition(".")[0]: each.name for each in node.names if each.asname}
        elif isinstance(node, ast.ImportFrom) and node.module:
            aliases |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}

    def resolved(node: ast.expr) -> str:
        first, dot, rest = name_of(node).partition(".")
        return f"{aliases.get(first, first)}{dot}{rest}"

    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in MODULES:
            found.append(f"from {node.module} import")
        if isinstance(node, ast.Attribute) and resolved(node).partition(".")[0] in MODULES:
            # To recognise torch's refusal, its type is needed; nothing of it can unpickle.
            found += [] if resolved(node) == "pickle.UnpicklingError" else [resolved(node)]
        if not isinstance(node, ast.Call):
            continue
        name = resolved(node.func)
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        found += [name] if name in CALLS or name.rpartition(".")[2] in METHODS else []
        if name == "torch.load" and not is_true(given.get("weights_only"), True):
            found.append("torch.load without weights_only=True")
        if name in ("numpy.load", "np.load") and "allow_pickle" in given and not is_true(given["allow_pickle"], False):
            found.append("numpy.load with pickle")
        if name in ("yaml.compose", "yaml.parse", "yaml.scan") and "SafeLoader" not in ast.dump(node):
            found.append(f"{name} without SafeLoader")
        if "shell" in given and not is_true(given["shell"], False):
            found.append("shell=")
        if name.startswith("subprocess.") and node.args and isinstance(node.args[0], (ast.Constant, ast.JoinedStr)):
            found.append(f"{name} of a text")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_nothing_is_unpickled_evaluated_or_given_to_a_shell(path: Path) -> None:
    assert dangers(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle\npickle.load(f)", "from pickle import loads", "import pickle as p\np.loads(b)", "eval(x)",
        "exec(x)", "import os\nos.system('ls')", "from os import system\nsystem(x)", "import yaml\nyaml.load(x)",
        "import subprocess\nsubprocess.run(x, shell=True)", "import subprocess as s\ns.run('ls')",
        "import torch\ntorch.load(x)", "import torch\ntorch.load(x, weights_only=False)",
        "import torch\ntorch.load(x, weights_only=w)", "import dill as d\nd.load(x)",
        "import numpy as np\nnp.load(x, allow_pickle=True)",
        "import yaml\nyaml.compose(x)", "z.extractall()", "from torch import load\nload(x)",
    ],
)  # fmt: skip
def test_each_danger_is_seen(source: str) -> None:
    assert dangers(source)


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_wandb")
def test_no_secret_of_the_environment_is_written_anywhere(
    tree: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = {
        "WANDB_API_KEY": "0123456789abcdef" * 2 + "01234567", "HF_TOKEN": "hf_" + "s" * 30,
        "AWS_SECRET_ACCESS_KEY": "aws" + "t" * 30,
    }  # fmt: skip
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    # wandb writes down where the code came from.
    remote = "https://someone:" + "u" * 30 + "@example.org/repository.git"
    for command in (["init", "-q"], ["remote", "add", "origin", remote]):
        subprocess.run(["git", *command], check=True, cwd=here)
    written(here / "e.yaml", experiment(tree))
    fit = done("fit", "--config", "e.yaml", "--run_dir", "run", "--wandb", "offline")
    arguments = ("--config", "run/config.yaml", "--ckpt_path", "run/checkpoints/best.ckpt", "--wandb", "offline")
    test = done("test", *arguments)
    files = contents(here / "run")
    assert any(name.startswith("wandb/") for name in files)
    for secret in (*secrets.values(), "u" * 30):
        assert not [name for name, data in files.items() if secret.encode() in data]
        assert secret not in fit.out + fit.err + test.out + test.err
