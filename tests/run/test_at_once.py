"""What is refused before anything dear is imported."""

import subprocess
import sys
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import pytest

from ibca_lightning.run.command_line.at_once import gone_on, refuse_at_once
from ibca_lightning.run.command_line.shipped import named
from ibca_lightning.run.command_line.short_names import NAMES
from ibca_lightning.run.command_line.source_options import options_of
from ibca_lightning.run.command_line.unknown_names import refuse_unknown
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.imports.own_modules import own_modules
from tests.command_line import done, experiment, ibca, refused, rows, written


@pytest.fixture
def taken(here: Path) -> None:
    """A run, and the YAML of an experiment."""
    (here / "old" / "checkpoints").mkdir(parents=True)
    (here / "old" / "checkpoints" / "last.ckpt").touch()
    (here / "e.yaml").write_text("data: {class_path: CSVDataModule}\n")


@pytest.mark.usefixtures("taken")
def test_a_taken_folder_one_for_a_yaml_and_an_option_without_its_part_are_refused_without_torch(here: Path) -> None:
    code = (
        "import sys\nfrom ibca_lightning.cli import main\n"
        "for given in (['e.yaml', '--run_dir', 'old'], ['--config', 'old'], ['e.yaml', '--head', 'gap']):\n"
        "    assert main(['fit', *given]) == 2\n"
        "    assert not {'torch', 'lightning', 'timm'} & set(sys.modules), given\n"
    )
    end = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    first, second, third = end.stderr.splitlines()
    assert first.startswith("error: --run_dir old without a run, got checkpoints of an earlier one; give another")
    assert first.endswith("or go on with --ckpt_path old/checkpoints/last.ckpt")
    assert second.startswith("error: a YAML file at --config old, got a folder; name the YAML of an experiment")
    assert third == "error: known options only, got --head; did you mean --model.head?"


@pytest.mark.usefixtures("taken")
def test_a_run_that_goes_on_and_a_process_of_a_run_are_left_to_the_parser(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ["--config=e.yaml", "--run_dir=old"]
    with pytest.raises(InputError, match="without a run"):
        refuse_at_once("fit", given)
    refuse_at_once("test", given)
    refuse_at_once("fit", [*given, "--ckpt_path", "old/checkpoints/last.ckpt"])
    (here / "goes_on.yaml").write_text("ckpt_path: old/checkpoints/last.ckpt\n")
    refuse_at_once("fit", [*given, "--config", "goes_on.yaml"])
    monkeypatch.setenv("LOCAL_RANK", "1")
    refuse_at_once("fit", given)


@pytest.mark.usefixtures("taken")
def test_what_torchrun_starts_again_goes_on_by_itself(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, last = ["--config=e.yaml", "--run_dir=old"], ["--ckpt_path", "old/checkpoints/last.ckpt"]
    assert gone_on("fit", given) == given
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "0")
    assert gone_on("fit", given) == given, "a run that is there is not gone on with unasked"
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "3")
    assert gone_on("fit", given) == [*given, *last]
    assert gone_on("fit", [*given, "--ckpt_path", "other.ckpt"])[-2:] == last, "which it had started from"
    assert gone_on("test", given) == given
    assert gone_on("fit", ["--config=e.yaml"]) == ["--config=e.yaml"]
    refuse_at_once("fit", gone_on("fit", given))
    (here / "old/checkpoints/last.ckpt").unlink()
    for name in ("config.yaml", "metrics.csv", "notes.txt", "checkpoints/.0123abcd.last.ckpt"):
        (here / "old" / name).touch()
    assert gone_on("fit", given) == given
    refuse_at_once("fit", given)
    assert [path.name for path in (here / "old").iterdir()] == ["notes.txt"], "killed in its first checkpoint"


@pytest.mark.usefixtures("taken")
@pytest.mark.parametrize(
    ("processes", "restarts", "lent", "hangs"),
    [(2, 3, True, True), (1, 3, True, False), (2, 0, True, False), (2, 3, False, False)],
)
def test_processes_that_could_wait_for_dead_ones_are_not_started(
    processes: int, restarts: int, lent: bool, hangs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"WORLD_SIZE": processes, "TORCHELASTIC_MAX_RESTARTS": restarts, "TORCHELASTIC_USE_AGENT_STORE": lent}
    for name, value in given.items():
        monkeypatch.setenv(name, str(value))
    command = ["--config", "e.yaml", "--run_dir", "new"]
    if hangs:
        with pytest.raises(InputError, match="TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 for torchrun --max-restarts, got"):
            refuse_at_once("fit", command)
    else:
        refuse_at_once("fit", command)
    refuse_at_once("predict", command)


def test_a_fit_that_torchrun_starts_again_is_one_run(tree: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ("fit", "--config", written(here / "e.yaml", experiment(tree)), "--run_dir", "run")
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "1")
    done(*command)
    done(*command, "--trainer.max_epochs", 2)
    assert len([row for row in rows(here / "run/metrics.csv") if row["val/mAP"]]) == 2
    monkeypatch.delenv("TORCHELASTIC_MAX_RESTARTS")
    assert ibca(*command).code == 2


def test_a_folder_where_a_yaml_was_meant(here: Path) -> None:
    for name in ("skin", "eyes", "endo"):
        (here / name).mkdir()
    for name in ("skin.yaml", "eyes/b.yml", "eyes/a.yaml", "lung.yaml"):
        (here / name).touch()
    for given, said in (
        ("skin", "got a folder; did you mean skin.yaml?"),
        ("./skin/", "got a folder; did you mean skin.yaml?"),
        ("eyes", "got a folder; name one that it holds: eyes/a.yaml, eyes/b.yml"),
        ("lung", "got lung; did you mean lung.yaml?"),
    ):
        assert said in refused("fit", given, names=()).errors[0]
    refuse_at_once("fit", ["--config", "endo"])  # a recipe's name wins over a folder


def test_no_option_of_the_parser_is_taken_for_an_unknown_one(monkeypatch: pytest.MonkeyPatch) -> None:
    parsers: dict[str, Any] = {}

    def look(cli: Any, *_: object) -> None:
        parsers.update(cli._subcommand_parsers)
        raise InputError("nothing", "more", "stop")

    monkeypatch.setattr("ibca_lightning.run.lightning_cli.IBCACLI.parse_arguments", look)
    ibca("fit", "--config", "scm")
    assert set(parsers) == {"fit", "validate", "test", "predict"}
    for command, parser in parsers.items():
        options = {name for action in parser._actions for name in action.option_strings}
        for name in (name for name in options if name.startswith("--") and name != "--config"):
            refuse_at_once(command, [name, "null"])


NAMES_OF_NOBODY = {
    "--modle.head gap": "known options only, got --modle.head; did you mean --model.head?",
    "--model.haed gap": "known options only, got --model.haed; did you mean --model.head?",
    "--trainer.max_epoch 3": "known options only, got --trainer.max_epoch; did you mean --trainer.max_epochs?",
    "--model.head.init_args.widht 3": "got --model.head.init_args.widht; did you mean --model.head.init_args.width?",
    "--data.batchsize=3": "known options only, got --data.batchsize; did you mean --data.batch_size?",
    "--colour red": "known options only, got --colour; see ibca fit --help",
    "--model.head ibca_typo": "a class for model.head (Head), got ibca_typo; did you mean ibca?",
    "--model.head.class_path=csr": "a class for model.head (Head), got csr; did you mean csra?",
    "--model.head nowhere.MyHead": "got nowhere.MyHead (No module named 'nowhere'); see ibca list heads",
    "--model.head asl": "a class for model.head (Head), got asl; ",
    "--model.loss als": "a class for model.loss (Loss), got als; did you mean asl?",
    "--model.terms [mask_guidnce]": "a class for model.terms (Term), got mask_guidnce; did you mean mask_guidance?",
    "--data chexprt": "a class for data (LightningDataModule), got chexprt; did you mean chexpert?",
    "--config key.yaml": "known keys only in key.yaml, got trainer.max_epoch; did you mean trainer.max_epochs?",
    "--config part.yaml": "known keys only in part.yaml, got modle; did you mean model?",
    "--config head.yaml": "a class for model.head (Head), got gapp; did you mean gap?",
}
ELSEWHERE = {
    "predict e.yaml --output out": "got --output; give --run_dir DIR; --output goes with --images, in place of",
    "predict e.yaml --trust mine": "got --trust; leave it out, as the configuration names the module of each class;",
    "predict e.yaml --device cpu": "got --device; give --trainer.accelerator; --device goes with --images",
    "test e.yaml --output out": "known options only, got --output; did you mean --run_dir?",
    "test e.yaml --colour red": "see ibca test --help model",
    "fit e.yaml --model.optimiser.lr 1": "got --model.optimiser.lr; did you mean --model.optimizer.lr?",
}
OTHERS = {
    "check": "", "maps": "--output new", "pack": "--output new", "probe": "", "faithfulness": "--ckpt_path x.ckpt",
    "sweep": "--heads gap --output new", "tune": "--head gap --trials 1 --output new",
}  # fmt: skip


@pytest.mark.usefixtures("taken")
def test_names_that_nobody_knows_are_refused_without_torch_by_every_command(here: Path) -> None:
    written(here / "key.yaml", {"trainer": {"max_epoch": 3}})
    written(here / "part.yaml", {"modle": {"head": "gap"}})
    written(here / "head.yaml", {"model": {"class_path": "MultiLabelModule", "init_args": {"head": "gapp"}}})
    commands = [["fit", "e.yaml", *given.split()] for given in NAMES_OF_NOBODY]
    commands += [given.split() for given in ELSEWHERE]
    commands += [[name, "e.yaml", *more.split(), "--data.rooot", "x"] for name, more in OTHERS.items()]
    code = (
        "import sys\nfrom ibca_lightning.cli import main\n"
        f"for given in {commands}:\n"
        "    assert main(given) == 2\n"
        "    assert not {'torch', 'lightning', 'timm'} & set(sys.modules), given\n"
    )
    end = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    said = [*NAMES_OF_NOBODY.values(), *ELSEWHERE.values()]
    said += ["got --data.rooot; did you mean --data.root?"] * len(OTHERS)
    for line, expected in zip(end.stderr.splitlines(), said, strict=True):
        assert expected in line


def test_every_option_of_every_class_counts_as_known() -> None:
    from jsonargparse._parameter_resolvers import get_signature_parameters

    for part in ("model.head", "model.loss", "model.terms", "data"):
        for path in NAMES[part].values():
            own = {each.name for each in get_signature_parameters(resolve_name(path), None)}
            assert own - options_of(part) == set(), path


def test_what_may_be_of_the_users_own_is_left_to_the_parser(here: Path) -> None:
    (here / "mine.py").write_text("raise AssertionError('imported')\n")
    for given in (
        "--model.head mine.Head --model.head.colour 3",
        "--model.optimizer mine.SGD --model.head Other",  # which that module may have
        "--data mine.Data --data.colour 3",
        "--data mine.yaml --data.colour 3",
        "--model mine.Module --model.colour 3 --model.head.colour 3",
        "--model.head.dict_kwargs.colour 3",
        "--trainer.callbacks+ mine.Callback --trainer.callbacks.colour 3",
        "--data.label_values.present 1",
        "--data.marks.colour 3",
    ):
        with own_modules(str(here)):
            refuse_at_once("fit", given.split())
    written(here / "own.yaml", {"trainer": {"callbacks": [{"class_path": "mine.C"}]}, "model": {"head": "Theirs"}})
    refuse_at_once("fit", ["--config", "own.yaml"])


@pytest.mark.parametrize("recipe", [*named().values()], ids=[*named()])
def test_no_shipped_recipe_has_a_name_that_nobody_knows(recipe: Path) -> None:
    refuse_at_once("fit", ["--config", str(recipe)])


class LoadedHead:
    """Of nobody's module on the command line, but imported where Python calls a command."""


def test_a_class_that_is_loaded_is_left_to_the_parser() -> None:
    refuse_unknown(["--model.head", "LoadedHead"])
    with pytest.raises(InputError, match=r"a class for model\.head \(Head\), got UnloadedHead"):
        refuse_unknown(["--model.head", "UnloadedHead"])
