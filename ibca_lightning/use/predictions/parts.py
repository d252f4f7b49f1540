"""One piece of work by several processes: each writes rows of its own, and the last to end puts them together.

They tell each other nothing but what lies in the output folder, so that they may be of several machines, and any of
them may be killed: the same command goes on, with as many processes or with fewer.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from ibca_lightning.system.launched import Place
from ibca_lightning.system.locks import sole_user
from ibca_lightning.system.output import write_err
from ibca_lightning.use.predictions.files import PREDICTIONS, Kind, RowFiles

_PARTS, _DONE = "parts", ".done"
_PATIENCE = 3600.0  # seconds for the others of a launch, of which each looks at what is there before it begins


class RowParts:
    """The files of one launch: of one process those of the output itself, of several a part for each below it.

    A part `parts/LAUNCH/RANK` is a folder of `RowFiles` like the output, called RANK.CALL.done when it is whole.
    LAUNCH stands for the number of processes and the pictures that they share; what lies under another name was left by
    another launch. CALL stands for one start of it: a part of an earlier one does not count as done, as what failed is
    tried again. Parts are counted, put together and taken up again by the one that has the output's lock.

    Args:
        folder: The output.
        record: As of `RowFiles`.
        header: As of `RowFiles`.
        ids: Of all pictures, as they are written.
        place: Of this process.
        kind: As of `RowFiles`.
        anew: Forget rows that are there; of one process alone.
        pictures: The path of each, by id: that of a row is the one it was written of.
    """

    def __init__(
        self, folder: Path, record: dict[str, Any], header: Sequence[str], ids: Sequence[str], place: Place,
        kind: Kind = PREDICTIONS, anew: bool = False, pictures: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self._pictures = dict(pictures or {})
        self._share = dict([*self._pictures.items()][place.share(len(self._pictures))])
        self._folder, self._record, self._header, self._place = folder, record, header, place
        self._kind, self._anew, self._patience = kind, anew, _PATIENCE if place.of > 1 else 0.0
        launch = hashlib.sha256(json.dumps([place.of, *ids]).encode()).hexdigest()[:16]
        self._launch = folder / _PARTS / launch
        self._end = f".{hashlib.sha256(place.call.encode()).hexdigest()[:8]}{_DONE}"

    @contextmanager
    def own(self) -> Iterator[RowFiles]:
        """The files for this process to write, with what is done already, by whomever; at the end they are whole."""
        with closing(self._whole()) as files:
            for part in sorted((self._folder / _PARTS).glob("*/*")):
                if self._anew:
                    shutil.rmtree(part)
                elif part.parent != self._launch:  # their failures are tried again
                    files.require_unchanged(self._share)
                    files.take(part, self._pictures)
            self._tidy()
            if self._place.of == 1:
                files.require_unchanged(self._share)
                files.try_again()
                yield files
                return
            part = self._launch / f"{self._place.rank:05}"
            for earlier in self._launch.glob(f"{part.name}.*"):  # of a call that was stopped before all were done
                earlier.rename(part)
            part.mkdir(parents=True, exist_ok=True)  # here, as others tidy up
        files.require_unchanged(self._share)  # like the rows, looked at without the lock
        done = files.done
        with closing(RowFiles(part, self._record, self._header, kind=self._kind)) as files:
            files.require_unchanged(self._share)
            files.done |= done
            files.try_again()
            yield files
        part.rename(part.with_name(part.name + self._end))

    def ended(self, files: RowFiles, left: int, share: int) -> tuple[RowFiles, str] | None:
        """Say what this process has done, and put the parts together where it is the last.

        Args:
            files: Those of `own`.
            left: How many pictures of its share it had to do.
            share: How many these are.

        Returns:
            The files of the whole, and how much there is; None where others are still at work, or do it.
        """
        said = f"{left - files.failures} pictures" + (f", {share - left} were there" if left < share else "")
        if self._place.of == 1:
            return files, said
        write_err(f"process {self._place.rank + 1} of {self._place.of}: {said}\n")
        whole = self.together()
        return None if whole is None else (whole, f"{len(whole.done)} pictures")

    def together(self) -> RowFiles | None:
        """Put the parts together if every process is done; None where others are still at work, or do it."""
        if not self._all_done():
            return None
        with closing(self._whole()) as files:
            if not self._all_done():  # another put them together meanwhile, or goes on with its part in another call
                return None
            taken = self._launch.rename(self._launch.with_suffix(".whole"))
            files.try_again()
            for part in sorted(taken.iterdir()):
                files.fail(files.take(part))
            self._tidy()
            return files

    def _all_done(self) -> bool:
        # Listed, and not asked for one by one: a disk of the network answers that from memory.
        return len(list(self._launch.glob(f"*{self._end}"))) == self._place.of

    def alone(self) -> AbstractContextManager[None]:
        """Meanwhile nobody else begins or ends there."""
        return sole_user(self._folder, self._patience)

    def forget(self) -> None:
        """Remove what is noted, of rows that are only notes."""
        for name in self._kind[:2]:
            (self._folder / name).unlink(missing_ok=True)
        shutil.rmtree(self._folder / _PARTS, ignore_errors=True)

    def _whole(self) -> RowFiles:
        return RowFiles(self._folder, self._record, self._header, self._patience, self._kind, self._anew)

    def _tidy(self) -> None:
        """Remove the folders of parts that are empty."""
        for folder in (*(self._folder / _PARTS).glob("*"), self._folder / _PARTS):
            with suppress(OSError):
                folder.rmdir()
