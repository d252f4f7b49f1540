"""README.md is one page, every room has one, every link leads somewhere, and the code they show is tested."""

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
OWN = ROOT / "tests" / "own"
ROOMS = sorted(
    folder for folder in (ROOT / "ibca_lightning").iterdir() if folder.is_dir() and folder.name.isidentifier()
)
PAGES = sorted(
    page
    for top in ("README.md", "experiments/**/README.md", "ibca_lightning/**/README.md", "tests/**/README.md")
    for page in ROOT.glob(top)
)


def _named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, made as a git host and the site make them."""
    prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", prose, re.M)
    }


def test_the_readme_is_one_page():
    assert len(README.splitlines()) <= 130
    assert len(README.split()) <= 1300


def test_a_table_of_figures_in_the_readme_has_at_most_six_rows():
    tables = re.findall(r"(?:^\|.*\n)+", README, re.M)
    figures = [table.splitlines()[2:] for table in tables if "±" in table]
    assert [len(rows) <= 6 for rows in figures] == [True]


@pytest.mark.parametrize("room", [room for room in ROOMS if room.name != "__pycache__"], ids=lambda room: room.name)
def test_every_room_has_a_page_that_opens_with_one_screen(room: Path):
    page = (room / "README.md").read_text(encoding="utf-8")
    screen = re.split(r"^## ", page, maxsplit=1, flags=re.M)[0]
    assert page.startswith(f"# {room.name}: ")
    assert 10 <= len(screen.splitlines()) <= 40, "the first screen, up to the first section"
    assert "| file | holds |" in screen
    assert "git show" in screen, "how to add one, with an example of the history"


@pytest.mark.parametrize("page", PAGES, ids=_named)
def test_links_of_a_page_resolve(page: Path):
    text = page.read_text(encoding="utf-8")
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        target, _, anchor = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        if link.startswith(("http://", "https://")):
            continue
        if not file.exists() or (anchor and anchor not in _anchors(file)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=_named)
def test_files_and_make_targets_that_a_page_names_exist(page: Path):
    text = page.read_text(encoding="utf-8")
    files = set(re.findall(r"\b((?:experiments|tests)/[\w/]+\.(?:yaml|sh|py|md))", text))
    assert [name for name in sorted(files) if not (ROOT / name).exists()] == []
    targets = set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.M))
    makefile = (ROOT / "Makefile").read_text()
    assert [target for target in sorted(targets) if not re.search(rf"^{target}:", makefile, re.M)] == []


def test_the_readme_names_the_two_commands():
    assert {"demo", "test"} <= set(re.findall(r"^make ([a-z]+)", README, re.M))


def test_recipes_that_pages_name_are_shipped():
    named = {name for page in PAGES for name in re.findall(r"--config ([a-z]\w+)(?![\w./])", page.read_text())}
    assert named
    assert [name for name in sorted(named) if not (ROOT / "experiments" / f"{name}.yaml").exists()] == []


def test_pages_store_maps_of_one_kind_in_one_folder():
    # `ibca maps` refuses a folder of maps that were made with other options.
    free = ("--output", "--data.root", "--model.checkpoint_path", "--data.num_workers")  # the reader's, or of no effect
    stored: dict[str, set[tuple[str, ...]]] = {}
    for file in (*PAGES, *(ROOT / "experiments").glob("*.yaml")):
        text = re.sub(r"\\\n[# ]*", "", file.read_text(encoding="utf-8"))
        for command in re.findall(r"^(?:[# ]*|.*; (?:do )?)(ibca maps .*)$", text, re.M):
            words = shlex.split(command.partition("; done")[0], comments=True)[2:]
            options = {name: value for name, value in pairwise(words) if name.startswith("--")}
            options["--config"] = Path(options["--config"]).stem
            kind = tuple(sorted(f"{name} {value}" for name, value in options.items() if name not in free))
            stored.setdefault(options["--output"], set()).add(kind)
    assert len(stored) >= 8
    stored.pop("MAPS")  # whatever the reader calls them
    assert {folder: kinds for folder, kinds in stored.items() if len(kinds) > 1} == {}


def test_the_python_that_pages_show_is_the_code_that_is_tested():
    shown = {
        code: _named(page)
        for page in PAGES
        for code in re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)
    }
    tested = {file.read_text(encoding="utf-8"): file.name for file in OWN.glob("*.py") if file.name != "__init__.py"}
    assert {where for code, where in shown.items() if code not in tested} == set()
    assert {name for code, name in tested.items() if code not in shown} == set()


def test_training_in_python(tree: Path, here: Path):
    (here / "data").mkdir()
    (here / "data/ward7").symlink_to(tree)
    code = (OWN / "train_in_python.py").read_text(encoding="utf-8")
    for large, small in (
        (
            'group_column="patient", image_size=384',
            'group_column="patient", exclude_columns=["sex", "age"], image_size=32',
        ),
        ('backbone="resnet50"', 'backbone="test_resnet", pretrained=False'),
        ("max_epochs=20", 'max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False'),
    ):
        assert large in code
        code = code.replace(large, small)
    exec(compile(code, "train_in_python.py", "exec"), {})
    assert (here / "ward7.ckpt").exists()
