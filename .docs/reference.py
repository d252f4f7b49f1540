"""Below the page of each room: the docstrings of its modules; the losses, which have no room, below the package's."""

from pathlib import Path
from typing import Any


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Add the reference of a room; mkdocs calls this for each page.

    Args:
        markdown: The text of the page.
        page: Of mkdocs; its file says which room it is.

    Returns:
        The text, with mkdocstrings' line for the room behind it.
    """
    room = Path(page.file.src_uri).parent
    if room.parts[:1] != ("ibca_lightning",) or not (Path(page.file.abs_src_path).parent / "__init__.py").exists():
        return markdown
    name = ".".join(room.parts) if room.parts[1:] else "ibca_lightning.losses"
    return f"{markdown}\n\n## Reference\n\n::: {name}\n"
