"""`ibca report`: a tested run as one HTML page; in a notebook `ibca_lightning.report(RUN)`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from markupsafe import escape


@dataclass(frozen=True)
class Page:
    """A page that has been written; a notebook shows it in a frame, in which nothing can reach the notebook."""

    path: Path

    def _repr_html_(self) -> str:
        page = escape(self.path.read_text(encoding="utf-8"))
        return f'<iframe srcdoc="{page}" sandbox="allow-scripts" style="width:100%;height:40em;border:0"></iframe>'


class _Room(ModuleType):
    """The room, which can be called: the function of a notebook bears its name."""

    def __call__(self, run: str | Path, output: str | Path | None = None, images: bool = True) -> Page:
        """Write a tested run as one HTML page, as `ibca report` does.

        Args:
            run: A run folder that `ibca test` has written into.
            output: The file; default `report.html` in the run folder.
            images: Whether pictures of patients stand in it.

        Raises:
            InputError: It is no tested run.
        """
        from ibca_lightning.report.command import report
        from ibca_lightning.system.expanded import expanded

        run = expanded(str(run))
        path = Path(expanded(str(output)) if output else Path(run, "report.html"))
        report([str(run), "--output", str(path), *([] if images else ["--no_images"])])
        return Page(path)


sys.modules[__name__].__class__ = _Room
