"""What listing and opening data files costs: `python -m tests.bench.storage`.

The same loop runs on any commit that has these five functions, so that a change of `data/storage` is seen.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ibca_lightning.data.cache import Signature
from ibca_lightning.data.pictures.reading import read_bytes
from ibca_lightning.data.tables.paths import absent
from ibca_lightning.data.tables.table import encode
from ibca_lightning.datasets.layouts.picture_files import pictures_below
from ibca_lightning.datasets.layouts.picture_index import PictureIndex

_FOLDERS, _EACH, _TIMES = 40, 500, 7


def main() -> None:
    """Print CPU microseconds a file, the least of several passes."""
    with tempfile.TemporaryDirectory() as root:
        names = [f"patient{head}/study/{at}.png" for head in range(_FOLDERS) for at in range(_EACH)]
        for name in names:
            path = Path(root, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"\x89PNG" * 64)
        files = [f"{root}/{name}" for name in names]
        _say("absent: are the files of a table there", lambda: absent(root, encode(names)))
        _say("pictures_below: what lies in a folder", lambda: pictures_below(root))
        _say("PictureIndex: the same by name", lambda: PictureIndex(root))
        _say("read_bytes: open and read", lambda: [read_bytes(file) for file in files])
        _say("Signature: is a file as it was", lambda: [Signature.of([file]) for file in files])


def _say(what: str, work: Callable[[], object]) -> None:
    least = float("inf")
    for _ in range(_TIMES):
        before = time.process_time()
        work()
        least = min(least, time.process_time() - before)
    print(f"{what}: {least / (_FOLDERS * _EACH) * 1e6:.2f} us")


if __name__ == "__main__":
    main()
