"""Below the page of each room: the docstrings of its modules."""

from pathlib import Path
from typing import Any


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    room = Path(page.file.src_uri).parent
    if room.parts[:1] != ("ibca_lightning",) or not (Path(page.file.abs_src_path).parent / "__init__.py").exists():
        return markdown
    return f"{markdown}\n\n## Reference\n\n::: {'.'.join(room.parts)}\n"
