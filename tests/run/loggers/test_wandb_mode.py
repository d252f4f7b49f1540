"""Where wandb logs, by what the user has told it in its own ways."""

from pathlib import Path
from urllib.parse import urlparse

import pytest
import wandb

from ibca_lightning.run.loggers.wandb_logging import wandb_mode


@pytest.fixture
def home(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder without anything, and none of wandb's variables."""
    for name in ("DISABLED", "CONFIG_DIR", "BASE_URL", "IDENTITY_TOKEN_FILE", "DIR"):
        monkeypatch.delenv(f"WANDB_{name}", raising=False)
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.setenv("HOME", str(here.parent))
    return here.parent


def settings(folder: Path, **values: str) -> None:
    folder.mkdir(parents=True)
    lines = ["[default]", *(f"{name} = {value}" for name, value in values.items())]
    (folder / "settings").write_text("\n".join(lines))


def key(path: Path, machine: str = "") -> None:
    machine = machine or urlparse(wandb.Settings().base_url).netloc
    path.write_text(f"machine {machine}\n  login user\n  password {'0' * 40}\n")
    path.chmod(0o600)


@pytest.mark.parametrize("place", ["here/wandb", ".config/wandb", "own"])
@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_what_wandb_offline_and_wandb_disabled_wrote_wins_over_a_key(
    mode: str, place: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key(home / ".netrc")
    assert wandb_mode("auto") == "online"
    if place == "own":
        monkeypatch.setenv("WANDB_CONFIG_DIR", str(home / place))
    settings(home / place, mode=mode)
    assert wandb_mode("auto") == mode
    assert wandb_mode("online") == "online", "what is asked for on the command line wins"
    monkeypatch.setenv("WANDB_MODE", "online")
    assert wandb_mode("auto") == "online", "so does the variable, as with wandb"


def test_the_variable_that_other_libraries_know_switches_it_off(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key(home / ".netrc")
    monkeypatch.setenv("WANDB_DISABLED", "true")
    assert wandb_mode("auto") == "disabled"


def test_a_key_is_found_where_wandb_finds_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert wandb_mode("auto") == "offline"
    key(home / ".netrc", "api.wandb.ai")
    assert wandb_mode("auto") == "online", "a key of before 0.31"
    key(home / "keys", "wandb.clinic:8080")
    monkeypatch.setenv("NETRC", "~/keys")
    assert wandb_mode("auto") == "offline", "the key of another server"
    settings(home / ".config/wandb", base_url="http://wandb.clinic:8080")
    assert wandb_mode("auto") == "online"
    monkeypatch.setenv("NETRC", "~/none")
    assert wandb_mode("auto") == "offline"
    monkeypatch.setenv("WANDB_IDENTITY_TOKEN_FILE", "token")
    assert wandb_mode("auto") == "online"
