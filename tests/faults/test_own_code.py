"""A fault in a class of the user's own: its file and line, and where it gives something else, what was wanted."""

import sys
from pathlib import Path

import pytest

from ibca_lightning.system.imports.users_code import last_words, users_line
from tests.command_line import experiment, ibca, written

MINE = """
import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

from ibca_lightning.data import CSVDataModule
from ibca_lightning.heads import GAPHead, Head, HeadOutput
from ibca_lightning.losses import Loss
from ibca_lightning.terms import Term


class Slip(Head):
    def forward(self, features, labels=None):
        return self.nothing(features)  # slip


class Shape(Head):
    def forward(self, features, labels=None):
        return features.flatten(1) @ torch.zeros(3, 2)  # shape


class Tuple(GAPHead):
    def forward(self, features, labels=None):
        return tuple(super().forward(features, labels))


class Few(GAPHead):
    def forward(self, features, labels=None):
        output = super().forward(features, labels)
        return output._replace(logits=output.logits[:, :1])


class Early(GAPHead):
    def __init__(self, channels, num_labels):
        super().__init__(channels, num_labels)
        self.nothing  # early


class Soon(Loss):
    def __init__(self, weight=1.0):
        super().__init__()
        self.nothing  # soon


class Each(Loss):
    def forward(self, logits, labels):
        return (logits - labels).abs().mean(0)


class Bare(Term):
    def forward(self, step):
        return step.output.logits.mean()


class Wrong(Loss):
    def forward(self, logits, labels):
        return logits[len(logits)].mean()  # wrong


class Pictures(CSVDataModule):
    def train_set(self):
        return Broken(super().train_set())


class Broken(torch.utils.data.Dataset):
    def __init__(self, inner):
        self.inner = inner

    def __len__(self):
        return len(self.inner)

    def __getitem__(self, at):
        return {}["label"]  # broken


class Pairs(pl.LightningDataModule):
    num_labels, class_names, image_size, preprocessing = 1, ["A"], 32, {"resize": "stretch"}

    def train_dataloader(self):
        return DataLoader(TensorDataset(torch.zeros(4, 3, 32, 32), torch.zeros(4, 1)))


class Watch(pl.Callback):
    def on_train_batch_end(self, trainer, *more):
        trainer.nothing  # watch
"""
FAULTS = {
    "a slip in a head": (
        {"head": "mine.Slip"}, "AttributeError: 'Slip' object has no attribute 'nothing', at mine.py, line {slip}, in "
        "forward; run again with --debug",
    ),
    "shapes in a head": ({"head": "mine.Shape"}, "RuntimeError: ", "shapes cannot be", "at mine.py, line {shape}, in"),
    "a head that is not built": ({"head": "mine.Early"}, "'Early' object has", "at mine.py, line {early}, in __init__"),
    "a loss that is not built": ({"loss": "mine.Soon"}, "'Soon' object has no", "at mine.py, line {soon}, in __init__"),
    "a tuple of a head": (
        {"head": "mine.Tuple"}, "a HeadOutput of ibca_lightning.heads from Tuple.forward, got a tuple; return HeadOut",
    ),
    "logits too few": ({"head": "mine.Few"}, "of 3 labels from Few.forward, got logits (4, 1) and attention (4, 3,"),
    "a loss for each label": (
        {"loss": "mine.Each"}, "a scalar tensor from Each.forward, got one of shape (3,); return a mean",
    ),
    "an index in a loss": ({"loss": "mine.Wrong"}, "IndexError: ", "at mine.py, line {wrong}, in forward;"),
    "a term without a name": ({"terms": ["mine.Bare"]}, "a dict from Bare.forward, got a Tensor; return {{}} where"),
}  # fmt: skip


@pytest.fixture
def mine(here: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The module in the current folder; its lines by their remarks."""
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", ".")])
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    (here / "mine.py").write_text(MINE)
    return {text.rpartition("# ")[2]: at for at, text in enumerate(MINE.splitlines(), 1) if "# " in text}


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_of_ones_own_class_names_its_line_or_what_was_wanted(
    case: str, tree: Path, here: Path, mine: dict[str, int]
) -> None:
    options, *said = FAULTS[case]
    config = experiment(tree, augment="none")
    config["model"]["init_args"] |= options
    result = ibca("fit", "--config", written(here / "e.yaml", config), "--run_dir", "run")
    (line,) = result.errors
    for part in said:
        assert part.format(**mine) in line, line
    assert result.code == (1 if "--debug" in line else 2)


def test_a_fault_of_ones_own_data_and_callbacks(tree: Path, here: Path, mine: dict[str, int]) -> None:
    config = experiment(tree, augment="none")
    written(here / "watched.yaml", config | {"trainer": config["trainer"] | {"callbacks": "mine.Watch"}})
    said = f"AttributeError: 'Trainer' object has no attribute 'nothing', at mine.py, line {mine['watch']}, in on_train"
    assert said in ibca("fit", "--config", "watched.yaml", "--run_dir", "run").errors[0]
    for workers in (0, 1):
        config["data"]["init_args"] |= {"num_workers": workers}
        written(here / "own.yaml", config | {"data": config["data"] | {"class_path": "mine.Pictures"}})
        said = f"error: KeyError: 'label', at mine.py, line {mine['broken']}, in __getitem__; run again with --debug"
        assert said in ibca("fit", "--config", "own.yaml", "--run_dir", f"run{workers}").errors[0]
    written(here / "pairs.yaml", config | {"data": {"class_path": "mine.Pairs"}})
    said = "a batch of the data as a mapping with image, id, label, got a list; give {"
    assert said in ibca("fit", "--config", "pairs.yaml", "--run_dir", "pairs").errors[0]


def test_a_line_of_the_users_is_told_from_ours_and_from_what_is_installed(here: Path) -> None:
    (here / "theirs.py").write_text("import json\n\n\ndef read():\n    json.loads('{')\n")
    made: dict[str, object] = {}
    exec(compile((here / "theirs.py").read_text(), str(here / "theirs.py"), "exec"), made)
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - its words are Python's
        made["read"]()  # type: ignore[operator]
    error = raised.value
    error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next  # this test is somebody's own code, too
    assert users_line(error) == ", at theirs.py, line 5, in read"
    text = f'Caught KeyError in DataLoader worker process 0.\nOriginal:\n  File "{here}/theirs.py", line 3, in get'
    told = RuntimeError(f"{text}\n    x\nKeyError: 'label'\n")
    assert last_words(ValueError("a\nb")) == "ValueError: a"
    assert users_line(told) == ", at theirs.py, line 3, in get"
    assert last_words(told) == "KeyError: 'label'"
    assert users_line(RuntimeError("of nobody")) == ""


@pytest.mark.parametrize(
    ("folder", "said"),
    [("lib/dist-packages", ""), ("lib/site-packages", ""), ("mine", ", at mine/x.py, line 2, in f")],
)
def test_a_package_of_the_system_is_installed_wherever_it_lies(folder: str, said: str, here: Path) -> None:
    """As Debian's, beside which a virtual environment stands: sysconfig does not name its folder."""
    Path(folder).mkdir(parents=True)
    file = Path(folder, "x.py")
    file.write_text("def f():\n    raise ValueError('x')\n")
    made: dict[str, object] = {}
    exec(compile(file.read_text(), str(file.absolute()), "exec"), made)
    with pytest.raises(ValueError, match="x") as raised:
        made["f"]()  # type: ignore[operator]
    error = raised.value
    error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next
    assert users_line(error) == said
