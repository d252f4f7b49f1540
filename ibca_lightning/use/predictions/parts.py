"""`ibca predict` by several processes: each writes a part of its own, and the last to end puts them together.

They tell each other nothing but what lies in the output folder, so that they may be of several machines, and any of
them may be killed: the same command goes on, with as many processes or with fewer.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from ibca_lightning.system.launched import Place
from ibca_lightning.use.predictions.files import PredictionFiles

_PARTS, _DONE = "parts", ".done"
_PATIENCE = 3600.0  # seconds for the others of a launch, of which each looks at what is there before it begins


class PredictionParts:
    """The files of one launch: of one process those of the output itself, of several a part for each below it.

    A part `parts/LAUNCH/RANK` is a folder of `PredictionFiles` like the output, called RANK.CALL.done when it is whole.
    LAUNCH stands for the number of processes and the pictures that they share; what lies under another name was left by
    another launch. CALL stands for one start of it: a part of an earlier one does not count as done, as what failed is
    tried again. Parts are counted, put together and taken up again by the one that has the output's lock.

    Args:
        folder: The output.
        record: As of `PredictionFiles`.
        header: As of `PredictionFiles`.
        ids: Of all pictures, as they are written.
        place: Of this process.
    """

    def __init__(
        self, folder: Path, record: dict[str, Any], header: Sequence[str], ids: Sequence[str], place: Place
    ) -> None:
        self._folder, self._record, self._header, self._place = folder, record, header, place
        launch = hashlib.sha256(json.dumps([place.of, *ids]).encode()).hexdigest()[:16]
        self._launch = folder / _PARTS / launch
        self._end = f".{hashlib.sha256(place.call.encode()).hexdigest()[:8]}{_DONE}"

    @contextmanager
    def own(self) -> Iterator[PredictionFiles]:
        """The files for this process to write, with what is done already, by whomever; at the end they are whole."""
        with closing(self._whole()) as files:
            for part in sorted((self._folder / _PARTS).glob("*/*")):
                if part.parent != self._launch:  # their failures are tried again
                    files.take(part)
            self._tidy()
            if self._place.of == 1:
                files.try_again()
                yield files
                return
            part = self._launch / f"{self._place.rank:05}"
            for earlier in self._launch.glob(f"{part.name}.*"):  # of a call that was stopped before all were done
                earlier.rename(part)
            part.mkdir(parents=True, exist_ok=True)  # here, as others tidy up
        done = files.done
        with closing(PredictionFiles(part, self._record, self._header)) as files:
            files.done |= done
            files.try_again()
            yield files
        part.rename(part.with_name(part.name + self._end))

    def together(self) -> PredictionFiles | None:
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

    def _whole(self) -> PredictionFiles:
        return PredictionFiles(self._folder, self._record, self._header, _PATIENCE if self._place.of > 1 else 0.0)

    def _tidy(self) -> None:
        """Remove the folders of parts that are empty."""
        for folder in (*(self._folder / _PARTS).glob("*"), self._folder / _PARTS):
            with suppress(OSError):
                folder.rmdir()
