"""What the `config.yaml` of a run folder says, read as plain data: nothing that it describes is built."""

import os
from pathlib import Path
from typing import Any

import yaml

from ibca_lightning.data.storage import is_remote
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.strangers import read_text, told
from ibca_lightning.system.yaml_text import load


def read_settings(run: Path) -> dict[str, Any]:
    """The content of `config.yaml` in a run folder; empty where there is none.

    Raises:
        InputError: When it cannot be read.
    """
    path = run / "config.yaml"
    try:
        content = load(read_text(path))
        if not isinstance(content, dict):
            raise ValueError("no mapping")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise InputError(f"the configuration of a run in {path}", told(error), "restore it") from error
    return content


def setting(settings: Any, key: str) -> Any:
    """What stands at a dotted key of such settings, which may leave `init_args` out; None where there is no place."""
    for name in key.split("."):
        if isinstance(settings, dict) and name not in settings and isinstance(settings.get("init_args"), dict):
            settings = settings["init_args"]
        settings = settings.get(name) if isinstance(settings, dict) else None
    return settings


def picture_folders(settings: Any) -> tuple[str | None, str | None]:
    """The folders of pictures and of masks that such settings name; None for what they do not.

    None also where they are a URL: no network is asked because of what a run, maybe a stranger's, says.
    """
    options = setting(settings, "data.init_args")
    options = options if isinstance(options, dict) else {}
    given = {key: value for key, value in options.items() if isinstance(value, str)}
    if (root := given.get("root")) is None or is_remote(root):
        return None, None
    masks = "mask_dir" in given and "mask_labels" not in options  # bits of other classes say nothing here
    return os.path.join(root, given.get("image_dir", "")), os.path.join(root, given["mask_dir"]) if masks else None
