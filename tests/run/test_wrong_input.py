"""Wrong input: one line that says what, where and what to do; exit code 2; nothing written, nothing overwritten."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import huggingface_hub
import pytest

from tests.command_line import contents, experiment, ibca, refused, rows, written

Change = Callable[[Path], object]


@pytest.fixture
def broken(tree: Path, here: Path) -> Path:
    """A copy of the data set to damage, at `data` below the current folder."""
    shutil.copytree(tree, here / "data")
    written(here / "e.yaml", experiment(Path("data")))
    return here / "data"


@pytest.fixture
def config(tree: Path, here: Path) -> Path:
    """An experiment on sound data, `e.yaml` in the current folder."""
    return written(here / "e.yaml", experiment(tree))


def edit(file: str, change: Callable[[str], str]) -> Change:
    def apply(root: Path) -> None:
        path = root / file
        path.write_text(change(path.read_text()))

    return apply


def write(file: str, data: bytes) -> Change:
    return lambda root: (root / file).write_bytes(data)


def picture(change: Callable[[Path], object], split: str = "val.csv", row: int = 1) -> Change:
    return lambda root: change(root / "images" / rows(root / split)[row]["image"])


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def leave(text: str) -> str:
    head, _, tail = text.partition("\n")
    return f"{head}\n../outside/{tail}"


DATA: dict[str, tuple[Change, tuple[str, ...]]] = {
    "missing root": (shutil.rmtree, ("data.root", "nothing there")),
    "root is a file": (lambda root: (shutil.rmtree(root), root.write_text("x")), ("data.root", "a file")),
    "missing training CSV": (lambda root: (root / "train.csv").unlink(), ("data.train_csv", "data/train.csv")),
    "missing validation CSV": (lambda root: (root / "val.csv").unlink(), ("data.val_csv", "data/val.csv")),
    "missing test CSV": (lambda root: (root / "test.csv").unlink(), ("data.test_csv", "data/test.csv")),
    "missing training picture": (picture(Path.unlink, "train.csv"), ("data/train.csv, line 3", "data/images/")),
    "missing picture": (picture(Path.unlink), ("data/val.csv, line 3", "data/images/")),
    "missing picture folder": (lambda root: shutil.rmtree(root / "images"), ("data.image_dir", "data/images")),
    "empty CSV": (write("train.csv", b""), ("data/train.csv", "an empty file")),
    "blank CSV": (write("val.csv", b"\n\n"), ("data/val.csv", "an empty file")),
    "header-only CSV": (edit("val.csv", lambda text: text.partition("\n")[0]), ("data/val.csv", "a header only")),
    "binary CSV": (write("val.csv", b"PK\3\4\0\0\xff"), ("data/val.csv", "a binary file")),
    "UTF-16 CSV": (lambda root: (root / "train.csv").write_text("image,A\n", "utf-16"), ("data/train.csv", "binary")),
    "ragged CSV": (edit("train.csv", lambda text: text + "a.png,1\n"), ("data/train.csv, line 17", "got 2")),
    "no image column": (edit("train.csv", lambda text: text.replace("image", "file", 1)), ("'image'", "train.csv")),
    "no group column": (edit("val.csv", lambda text: text.replace("patient", "id", 1)), ("'patient'", "val.csv")),
    "duplicate column": (edit("train.csv", lambda text: text.replace("B", "A", 1)), ("data/train.csv", "'A' twice")),
    "label that is a word": (edit("train.csv", lambda t: t.replace(",1,", ",so,", 1)), ("train.csv, line ", "'so'")),
    "label 2": (edit("val.csv", lambda text: text.replace(",1,", ",2,", 1)), ("data/val.csv, line ", "'2'")),
    "another class": (edit("val.csv", lambda text: text.replace("A,B,C", "A,B,D", 1)), ("data/val.csv", "D")),
    "a class less": (
        edit("val.csv", lambda text: "\n".join(line.rpartition(",")[0] for line in text.splitlines())),
        ("data/val.csv", "no column C"),
    ),
    "path that leaves the root": (edit("val.csv", leave), ("data/val.csv, line 2", "'../outside/")),
    "absolute path outside": (edit("val.csv", lambda t: t.replace("\n", "\n/etc/", 1)), ("val.csv, line 2", "/etc/")),
    "one group in two splits": (edit("val.csv", lambda text: text.replace(",0003,", ",0001,")), ("'0001'", "val.csv")),
    "truncated picture": (picture(cut), ("data/val.csv, line 3", "data/images/", "truncated")),
    "zero-byte picture": (picture(lambda path: path.write_bytes(b"")), ("data/val.csv, line 3", "0 bytes")),
    "non-image file": (picture(lambda path: path.write_text("text\n" * 99)), ("data/val.csv, line 3", "damaged")),
}  # fmt: skip


@pytest.mark.parametrize("case", DATA)
def test_data(case: str, broken: Path) -> None:
    change, names = DATA[case]
    change(broken)
    refused("fit", "--config", "e.yaml", "--run_dir", "new", names=names)


@pytest.mark.parametrize("workers", [0, 1])
def test_picture_met_while_training(workers: int, broken: Path) -> None:
    for row in range(3):  # the last batch, which is not full, may be dropped
        picture(cut, "train.csv", row)(broken)
    refused(
        "fit", "--config", "e.yaml", "--run_dir", "new", "--data.num_workers", workers, "--data.augment", "none",
        names=("data/train.csv, line ", "truncated"),
    )  # fmt: skip


def test_failed_start_leaves_what_the_folder_held(broken: Path) -> None:
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("kept")
    picture(cut)(broken)
    refused("fit", "--config", "e.yaml", "--run_dir", "mine", "--wandb", "offline")
    assert os.listdir("mine") == ["notes.txt"]


OPTIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "unknown backbone": (("--model.backbone", "resnet5o"), ("'resnet5o'", "resnet50")),
    "unknown head": (("--model.head", "GAPHed"), ("model.head", "GAPHed", "did you mean GAPHead?")),
    "unknown short name": (("--model.head", "csr"), ("model.head", "got csr;", "did you mean csra?")),
    "unknown short loss": (("--model.loss", "als"), ("model.loss", "did you mean asl?")),
    "unknown short data": (("--data", "chexprt"), ("data", "did you mean chexpert?")),
    "unknown logger": (("--trainer.logger", "tensorbord"), ("trainer.logger", "did you mean tensorboard?")),
    "no such recipe": (("--config", "murde"), ("--config", "murde", "did you mean mured?", "ibca list recipes")),
    "nothing near": (("--model.head", "NoHead"), ("model.head", "got NoHead; see ibca list heads, or module.Class")),
    "no loss near": (("--model.loss", "NoLoss"), ("model.loss", "got NoLoss; see ibca list losses")),
    "option of a head": (
        ("--model.head.init_args.widht", "3"),
        ("model.head.init_args.widht", "did you mean --model.head.init_args.width?"),
    ),
    "option of a loss": (
        ("--model.loss", "asl", "--model.loss.gama_neg", "3"),
        ("model.loss.gama_neg", "did you mean --model.loss.gamma_neg?"),
    ),
    "option of an optimizer": (
        ("--model.optimizer.init_args.wieght_decay", "0"),
        ("did you mean model.optimizer.init_args.weight_decay?",),
    ),
    "option of data": (
        ("--data.init_args.batchsize", "3"),
        ("data.init_args.batchsize", "did you mean --data.init_args.batch_size?"),
    ),
    "option that is gone": (("--find_lr", "true"), ("find_lr",)),
    "head of another kind": (("--model.head", "torch.nn.Linear"), ("model.head (Head)", "torch.nn.Linear")),
    "base of the heads": (("--model.head", "Head"), ("a class for model.head (Head)", "ibca_lightning.heads.Head")),
    "base of the losses": (("--model.loss", "ibca_lightning.losses.Loss"), ("a class for model.loss (Loss)",)),
    "base of the schedulers": (
        ("--model.scheduler", "torch.optim.lr_scheduler.LRScheduler"), ("a class for model.scheduler", "LRScheduler"),
    ),
    "base of the data": (("--data", "MultiLabelDataModule"), ("a class for data", "MultiLabelDataModule")),
    "base of all data": (("--data", "lightning.pytorch.LightningDataModule"), ("a class for data",)),
    "no head": (("--model.head", "null"), ("model.head", "None", "IBCAHead")),
    "no optimizer": (("--model.optimizer", "null"), ("model.optimizer", "None")),
    "head of no module": (("--model.head", "nowhere.MyHead"), ("model.head", "nowhere.MyHead")),
    "unknown loss": (("--model.loss", "FocalLos"), ("model.loss", "did you mean FocalLoss?")),
    "unknown optimizer": (("--model.optimizer", "AdamX"), ("model.optimizer", "AdamX", "torch.optim.")),
    "unknown data": (("--data", "MuRed"), ("data", "MuRed", "did you mean MuReD?")),
    "unknown model key": (("--model.bakbone", "resnet50"), ("model.bakbone", "did you mean --model.backbone?")),
    "unknown data key": (("--data.batchsize", "3"), ("data.batchsize", "did you mean --data.batch_size?")),
    "unknown trainer key": (("--trainer.max_epoch", "3"), ("trainer.max_epoch", "max_epochs")),
    "two as near": (("--trainer.epochs", "3"), ("did you mean --trainer.max_epochs?",)),
    "near, without its part": (("--epochs", "3"), ("did you mean --trainer.max_epochs?",)),
    "a list is wanted": (("--data.label_columns", "A"), ("a list behind --data.label_columns, got A;", "'[A]' for")),
    "no such label column": (("--data.label_columns", "[AA]"), ("no column AA; did you mean 'A'?",)),
    "nothing like a label column": (("--data.label_columns", "[xyz]"), ("no column xyz; every", "it has image, ")),
    "unknown head option": (("--model.head.heads", "3"), ("model.head.heads",)),
    "several values": (("--data.exclude_columns", "age", "sex"), ("age sex; write --data.exclude_columns '[age, sex",)),
    "values with commas": (("--data.label_columns=A,B",), ("got A,B; write --data.label_columns '[A, B]'",)),
    "strides": (("--model.feature_stride", "16", "32"), ("write --model.feature_stride '[16, 32]' for a list",)),
    "blanks in a text": (("--data.root", "my", "data"), ("got my data;", "or quotes round a text with blanks")),
    "betas": (("--model.optimizer.betas", "0.9", "0.99"), ("write --model.optimizer.betas '[0.9, 0.99]'",)),
    "scheduler in part": (("--model.scheduler", "cosine"), ("did you mean torch.optim.lr_scheduler.CosineAnneal",)),
    "unknown scheduler": (("--model.scheduler", "StepLr"), ("did you mean torch.optim.lr_scheduler.StepLR?",)),
    "unknown option": (("--rundir", "x"), ("--rundir", "did you mean --run_dir?")),
    "option without its part": (("--head", "gap"), ("--head", "did you mean --model.head?")),
    "another one": (("--feature_stride=16",), ("--feature_stride", "did you mean --model.feature_stride?")),
    "abbreviated option": (("--run", "x"), ("--run",)),
    "stray word": (("stray",), ("stray",)),
    "option without value": (("--data.batch_size",), ("--data.batch_size",)),
    "wrong type": (("--data.batch_size", "many"), ("int for data.batch_size", "many")),
    "wrong type of model": (("--model.pretrained", "maybe"), ("bool for model.pretrained", "maybe")),
    "wrong type of list": (("--model.feature_stride", "[16, x]"), ("model.feature_stride", "x")),
    "wrong type of head": (("--model.head", "IBCAHead", "--model.head.num_heads", "two"), ("num_heads", "two")),
    "wrong type of optimizer": (
        ("--model.optimizer", "AdamW", "--model.optimizer.lr", "fast"), ("float", "model.optimizer.lr", "fast"),
    ),
    "batch size 0": (("--data.batch_size", "0"), ("data.batch_size", "got 0")),
    "negative workers": (("--data.num_workers", "-1"), ("data.num_workers", "got -1")),
    "image size 0": (("--data.image_size", "0"), ("data.image_size", "got 0")),
    "unknown augmentation": (("--data.augment", "strong"), ("data.augment", "strong", "'none', 'default'")),
    "stride that is not there": (("--model.feature_stride", "[7]"), ("7",)),
    "unknown normalisation": (("--model.normalisation", "caffe"), ("model.normalisation", "caffe", "imagenet")),
    "missing weights": (("--model.checkpoint_path", "no.pth"), ("checkpoint_path", "no.pth")),
    "junk weights": (("--model.checkpoint_path", "e.yaml"), ("e.yaml",)),
    "missing start": (("--model.init_from", "no.ckpt"), ("no.ckpt",)),
    "missing checkpoint": (("--ckpt_path", "no.ckpt"), ("a checkpoint file at no.ckpt",)),
    "junk checkpoint": (("--ckpt_path", "e.yaml"), ("e.yaml to be a checkpoint",)),
    "trainer's accelerator": (("--trainer.accelerator", "quantum"), ("quantum", "--trainer")),
    "trainer's devices": (("--trainer.devices", "0"), ("devices", "0")),
    "strategy of copies": (("--trainer.strategy", "ddp_spawn"), ("ddp_spawn; give ddp",)),
    "trainer's strategy": (("--trainer.strategy", "nope"), ("nope", "--trainer")),
    "trainer's precision": (("--trainer.precision", "8"), ("trainer.precision", "8")),
    "trainer's epochs": (("--trainer.max_epochs", "-5"), ("max_epochs", "-5")),
    "trainer's limit": (("--trainer.limit_val_batches", "1.5"), ("limit_val_batches", "1.5")),
    "trainer as a number": (("--trainer", "3"), ("trainer", "3")),
    "seed": (("--seed_everything", "-4"), ("seed_everything", "-4")),
    "wandb": (("--wandb", "maybe"), ("wandb", "'disabled'", "maybe")),
    "run folder that is a file": (("--run_dir", "e.yaml"), ("--run_dir e.yaml", "a file")),
    "run folder below a file": (("--run_dir", "e.yaml/run"), ("--run_dir e.yaml/run",)),
    "second config missing": (("--config", "no.yaml"), ("--config no.yaml",)),
    "second config a folder": (("--config", "."), ("--config .", "a folder")),
    "config without value": (("--config",), ("--config",)),
    "one hyphen for two": (("-data.image_size", "32"), ("got -data.image_size; did you mean --data.image_size?",)),
    "a list with commas and blanks": (("--data.exclude_columns", "sex,", "age"), ("'[sex, age]' for a list",)),
    "a head by its file": (("--model.head", "my/head.py"), ("model.head, got my/head.py;", "module.Class")),
    "a dash for two hyphens": (("\u2014data.image_size", "32"), ("\u2014data.image_size; write --data.image_size:",)),
}  # fmt: skip


@pytest.mark.parametrize("case", OPTIONS)
def test_options(case: str, config: Path) -> None:
    arguments, names = OPTIONS[case]
    refused("fit", "--config", "e.yaml", "--run_dir", "new", *arguments, names=names)


def test_early_errors_are_a_single_line(config: Path) -> None:
    for case in ("unknown head", "wrong type", "unknown data key", "missing checkpoint", "second config missing"):
        result = refused("fit", "--config", "e.yaml", *OPTIONS[case][0])
        assert result.err.count("\n") == 1


MODEL = "model: {class_path: MultiLabelModule, init_args: {backbone: test_resnet, pretrained: false}}\n"
DATA_PART = "data: {class_path: CSVDataModule, init_args: {root: data}}\n"
FILES: dict[str, tuple[bytes | str, tuple[str, ...]]] = {
    "empty": ("", ("w.yaml", "empty")),
    "comments only": ("# nothing\n", ("w.yaml", "empty")),
    "a word": ("hello", ("w.yaml", "a single value")),
    "a list": ("- model\n- data\n", ("w.yaml", "a list")),
    "broken": ("model: {class_path: A\ndata: [", ("w.yaml, line 2",)),
    "tab": ("model:\n\tclass_path: A\n", ("w.yaml, line 2, column 1",)),
    "colon": ("a: b: c", ("w.yaml, line 1, column 5",)),
    "binary": (b"\x89PNG\r\n\x1a\n\0\xff", ("w.yaml", "binary")),
    "zero bytes": (b"\0\0\0", ("w.yaml", "binary")),
    "latin-1": ("# Mühe\n".encode("latin-1"), ("w.yaml", "UTF-8")),
    "no data": (MODEL, ("data",)),
    "data a list": (MODEL + "data: [1]\n", ("data in w.yaml, line 2", "a list")),
    "data a number": (MODEL + "data: 3\n", ("data in w.yaml, line 2", "got 3")),
    "model a number": (DATA_PART + "model: 3\n", ("model in w.yaml, line 2", "got 3")),
    "trainer a number": (MODEL + DATA_PART + "trainer: 3\n", ("trainer in w.yaml, line 3", "got 3")),
    "init_args a number": (MODEL + "data: {class_path: MuReD, init_args: 3}\n", ("data.init_args in w.yaml, line 2",)),
    "key twice": (MODEL + MODEL + DATA_PART, ("w.yaml", "model on lines 1 and 2")),
    "unknown section": (MODEL + DATA_PART + "modell: 3\n", ("modell", "did you mean model?")),
    "unknown key": (MODEL + DATA_PART.replace("root: data", "root: data, batchsize: 3"), ("data.batchsize",)),
    "wrong type": (MODEL + DATA_PART.replace("root: data", "root: data, image_size: big"), ("data.image_size", "big")),
    "no root": (MODEL + DATA_PART.replace("root: data", ""), ("root", "data")),
    "unknown data": (MODEL + DATA_PART.replace("CSVData", "CVSData"), ("did you mean CSVDataModule?",)),
    "data of another kind": (MODEL + DATA_PART.replace("CSVDataModule", "GAPHead"), ("data", "GAPHead")),
    "unknown head": (MODEL.replace("pre", "head: {class_path: Nope}, pre") + DATA_PART, ("model.head", "Nope")),
    "head a number": (MODEL.replace("pre", "head: 3, pre") + DATA_PART, ("model.head", "3")),
    "head of no such name": (
        MODEL.replace("pre", "head: {class_path: ibca_lightning.heads.Nope}, pre") + DATA_PART,
        ("model.head", "ibca_lightning.heads.Nope"),
    ),
    "head with another key": (
        MODEL.replace("pre", "head: {class_path: GAPHead, init_arg: {}}, pre") + DATA_PART,
        ("GAPHead", "w.yaml", "init_arg on line 1", "did you mean init_args?"),
    ),
    "options beside class_path": (
        MODEL + "data:\n  class_path: CSVDataModule\n  root: data\n",
        ("CSVDataModule", "w.yaml", "root on line 4", "init_args: {root: ...}"),
    ),
    "unknown transform": (
        MODEL + DATA_PART.replace("root: data", "root: data, augment: [{class_path: albumentations.Flipp}]"),
        ("data.augment", "albumentations.Flipp"),
    ),
    "option of a transform": (
        MODEL + DATA_PART.replace(
            "root: data", "root: data, augment: [{class_path: albumentations.Blur, init_args: {blur: 3}}]"
        ),
        ("data.augment", "blur"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FILES)
def test_yaml(case: str, tree: Path, here: Path) -> None:
    text, names = FILES[case]
    Path("w.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    Path("data").symlink_to(tree)
    result = refused("fit", "--config", "w.yaml", "--run_dir", "new", names=names)
    assert result.err.count("\n") == 1


def test_class_in_a_file_that_cannot_be_imported(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(os.getcwd())
    Path("faulty.py").write_text("class MyHead(\n")
    refused("fit", "--config", "e.yaml", "--model.head", "faulty.MyHead", names=("faulty.MyHead",))
    Path("needs.py").write_text("import a_module_that_is_not_there\n")
    refused("fit", "--config", "e.yaml", "--model.head", "needs.MyHead", names=("needs.MyHead",))


def test_pretrained_weights_off_line(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Unreachable:
        def head(self, url: str, timeout: float) -> None:
            raise ConnectionError("no route to the hub")

    monkeypatch.setattr(huggingface_hub, "get_session", Unreachable)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    refused(
        "fit", "--config", "e.yaml", "--run_dir", "new", "--model.pretrained", "true",
        names=("test_resnet", "no route to the hub", "--model.pretrained false", "--model.checkpoint_path"),
    )  # fmt: skip


# --- test, validate, predict -----------------------------------------------------------------------------------------

EVALUATION: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "no checkpoint": ((), ("--ckpt_path for ibca",)),
    "missing checkpoint": (("--ckpt_path", "no.ckpt"), ("no.ckpt",)),
    "junk checkpoint": (("--ckpt_path", "junk"), ("junk to be a checkpoint",)),
    "another head": (("--ckpt_path", "best.ckpt", "--model.head", "CSRAHead"), ("head", "CSRAHead", "GAPHead")),
    "other classes": (("--ckpt_path", "best.ckpt", "--data.label_columns", "[A, C]"), ("class_names", "['A', 'C']")),
    "other backbone": (("--ckpt_path", "best.ckpt", "--model.backbone", "test_vit"), ("backbone", "test_vit")),
}


@pytest.mark.parametrize("command", ["test", "validate", "predict"])
@pytest.mark.parametrize("case", EVALUATION)
def test_evaluation(case: str, command: str, config: Path, run: Path) -> None:
    arguments, names = EVALUATION[case]
    Path("junk").write_bytes(b"\x80\x04junk")
    shutil.copy(run / "checkpoints/best.ckpt", "best.ckpt")
    refused(command, "--config", "e.yaml", *arguments, names=names)


@pytest.mark.parametrize("command", ["test", "predict"])
def test_nothing_to_test_on(command: str, config: Path, run: Path) -> None:
    before = contents(run)
    refused(
        command, "--config", "e.yaml", "--ckpt_path", run / "checkpoints/best.ckpt", "--data.test_csv", "null",
        names=("a test split", "data.test_csv"),
    )  # fmt: skip
    assert contents(run) == before


PICTURES: dict[str, tuple[dict[str, str | None], tuple[str, ...]]] = {
    "nothing there": ({"--images": "nowhere"}, ("nowhere",)),
    "nothing to predict on": ({"--images": "empty"}, ("empty", "none")),
    "pattern that fits nothing": ({"--images": "empty/*.png"}, ("empty/*.png", "none")),
    "table without the column": ({"--images": "table.csv"}, ("column 'image'", "table.csv", "picture")),
    "views": ({"--tta": "3"}, ("--tta", "3")),
    "missing checkpoint": ({"--ckpt_path": "no.ckpt"}, ("no.ckpt",)),
    "junk checkpoint": ({"--ckpt_path": "e.yaml"}, ("e.yaml",)),
    "no checkpoint": ({"--ckpt_path": None}, ("--ckpt_path",)),
    "no output": ({"--output": None}, ("--output",)),
    "output is a file": ({"--output": "e.yaml"}, ("--output e.yaml", "a file")),
    "batch size 0": ({"--batch_size": "0"}, ("--batch_size",)),
    "wrong type": ({"--batch_size": "many"}, ("--batch_size", "many")),
    "unknown option": ({"--treshold": "1"}, ("--treshold",)),
    "unknown device": ({"--device": "abacus"}, ("--device", "abacus")),
    "another file of torch": ({"--ckpt_path": "weights.pth"}, ("weights.pth",)),
}  # fmt: skip


@pytest.mark.parametrize("case", PICTURES)
def test_predict_on_pictures(case: str, config: Path, tree: Path, run: Path) -> None:
    import torch

    change, names = PICTURES[case]
    Path("empty").mkdir()
    Path("empty/notes.txt").write_text("no picture")
    Path("table.csv").write_text("picture\nx.png\n")
    torch.save({"weight": torch.ones(2)}, "weights.pth")
    given: dict[str, str | None] = {
        "--ckpt_path": str(run / "checkpoints/best.ckpt"), "--images": str(tree / "images"), "--output": "new",
    } | change  # fmt: skip
    arguments = [word for option, value in given.items() if value is not None for word in (option, value)]
    assert refused("predict", *arguments, names=names).err.count("\n") == 1


def test_predict_without_pictures_or_configuration(here: Path) -> None:
    refused("predict", "--ckpt_path", "x.ckpt", names=("data", "--images", "--config"))


def test_images_without_value() -> None:
    assert ibca("predict", "--images").code == 2


# --- the other commands ----------------------------------------------------------------------------------------------

MODEL_ON_PICTURES = {"--ckpt_path": "best.ckpt", "--images": "pictures", "--output": "new"}
GIVEN: dict[str, dict[str, str]] = {
    "predict": MODEL_ON_PICTURES,
    "explain": MODEL_ON_PICTURES,
    "export": {"--ckpt_path": "best.ckpt", "--images": "pictures", "--output": "new.pt2"},
    "faithfulness": {"--ckpt_path": "best.ckpt", "--config": "e.yaml", "--output": "new"},
    "compare": {"": "run", "--output": "new"},
    "report": {"": "run", "--output": "new.html"},
    "check": {"--config": "e.yaml", "--output": "new"},
    "maps": {"--config": "e.yaml", "--output": "new"},
    "pack": {"--config": "e.yaml", "--output": "new"},
    "probe": {"--config": "e.yaml", "--output": "new"},
    "tune": {"--config": "e.yaml", "--space": "space.yaml", "--trials": "1", "--output": "new"},
    "sweep": {"--config": "e.yaml", "--heads": "gap", "--seeds": "0", "--output": "new"},
}
ON_PICTURES, MODELS = ("predict", "explain", "export"), ("predict", "explain", "export", "faithfulness")
NAMED = [("explain", "--classes"), ("compare", "--without"), ("compare", "--figures")]
RANGES = [
    ("predict", "--batch_size", "0"), ("explain", "--max_side", "3"), ("explain", "--batch_size", "0"),
    ("export", "--batch_size", "0"), ("faithfulness", "--pairs", "0"), ("check", "--num_workers", "-1"),
    ("maps", "--views", "3"), ("tune", "--trials", "0"), ("sweep", "--processes", "0"),
    ("report", "--pictures", "-1"),
]  # fmt: skip
WRONG: list[tuple[str, dict[str, str], tuple[str, ...]]] = [
    *((command, {"--ckpt_path": "no.ckpt"}, ("no.ckpt",)) for command in MODELS),
    *((each, {"--ckpt_path": "run"}, ("at run, got a folder; give run/checkpoints/best.ckpt",)) for each in MODELS),
    ("explain", {"--mask_dir": "nowhere"}, ("a folder of masks at --mask_dir nowhere, got nothing there",)),
    *((command, {"": name}, (f"a run folder at {name}, got {what}",)) for command in ("compare", "report")
      for name, what in (("nowhere", "nothing there"), ("e.yaml", "a file"))),
    ("tune", {"--space": "no.yaml"}, ("no.yaml",)),
    *((command, {"--images": "empty"}, ("empty", "none")) for command in ON_PICTURES),
    *((command, {option: "Nope"}, ("Nope",)) for command, option in NAMED),
    ("sweep", {"--heads": "nope"}, ("nope",)),
    ("probe", {}, ("stored maps", "CSVDataModule", "ibca maps")),
    *((command, {"--output": "e.yaml/new" + Path(own["--output"]).suffix}, ("e.yaml/new",))
      for command, own in GIVEN.items()),
    *((command, {option: value}, (option, value)) for command, option, value in RANGES),
]  # fmt: skip


@pytest.mark.parametrize(
    ("command", "change", "names"), WRONG, ids=[f"{command} {' '.join(own)}" for command, _, own in WRONG]
)
def test_every_command(
    command: str, change: dict[str, str], names: tuple[str, ...], config: Path, tree: Path, run: Path
) -> None:
    shutil.copy(run / "checkpoints/best.ckpt", "best.ckpt")
    shutil.copytree(run, "run")
    Path("space.yaml").write_text("model.warmup_fraction: {choice: [0.1, 0.2]}\n")
    Path("pictures").mkdir()
    shutil.copy(next((tree / "images").rglob("*.png")), "pictures/a.png")
    Path("empty").mkdir()
    given = {"--reference": "best", **GIVEN["compare"]} if "--without" in change else GIVEN[command]
    refused(
        command, *(word for option, value in (given | change).items() for word in (option, value) if word), names=names
    )
