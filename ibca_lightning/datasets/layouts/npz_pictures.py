"""Pictures in an array of an npz archive: unpacked once, then mapped into the memory of all processes."""

import math
import os
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ibca_lightning.data.dataset import PictureDataset, described
from ibca_lightning.data.pictures.formats.array_file import array_header
from ibca_lightning.data.pictures.reading import Pixels
from ibca_lightning.data.pictures.transforms import Transform
from ibca_lightning.data.storage import here, require_local
from ibca_lightning.data.tables.table import Table
from ibca_lightning.datasets.layouts.made_pictures import writable
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.strangers import MAX_TABLE, regular, require_unpacked, told
from ibca_lightning.system.whole_files import whole


class ArrayDataset(PictureDataset):
    """Rows of a table whose pictures lie in one array, as items of a batch.

    The file is mapped, not read: worker processes, ranks and runs share its pages, whichever way they were started.

    Args:
        table: The N rows; `lines` says where in the array their pictures are.
        path: A `.npy` file, (M, H, W) or (M, H, W, 3) uint8.
        transform: What makes a picture S x S.
    """

    def __init__(self, table: Table, path: str, transform: Transform) -> None:
        super().__init__(table, transform)
        self.path = path
        self._pixels: Pixels | None = None

    def __getstate__(self) -> dict[str, Any]:
        # A mapped array would be pickled with all its pixels; the other process maps the file itself.
        return {**self.__dict__, "_pixels": None}

    def __getitem__(self, row: int) -> dict[str, Any]:
        """Return one row."""
        if self._pixels is None:
            self._pixels = np.load(self.path, mmap_mode="r")
        picture = self._pixels[self.table.lines[row]]
        image = np.array(picture) if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
        return described(self.table, row) | self.finished(row, *self.transform.prepare(image))


def read_array(archive: str, name: str) -> NDArray[Any]:
    """Read a small array of an npz archive into memory.

    Raises:
        InputError: If the file is no npz archive or damaged, has no such array, or one of more than `MAX_TABLE` bytes.
    """
    with _opened(archive) as file:
        member = _member(file, archive, name, MAX_TABLE)
        with file.open(member) as packed:
            try:
                return np.asarray(np.lib.format.read_array(packed, allow_pickle=False))
            except Exception:
                raise zipfile.BadZipFile(f"'{name}' is no array") from None


def unpack(archive: str, name: str, folder: str, limit: int) -> str:
    """Write an array of an npz archive as a file of its own, unless that was done before.

    The name of the file holds the checksum of the array, so another version of the archive is another file. It is
    written beside its place and then renamed: a process that was stopped leaves no half file under that name, and of
    two at once each writes the whole.

    Args:
        archive: The npz file.
        name: The array.
        folder: Where the file, whose path is returned, is written; made if absent.
        limit: Bytes that the array may have.

    Raises:
        InputError: If the archive is damaged or has no such array, or a larger one, or the folder cannot be written to.
    """
    require_local(folder, "a folder for unpacked pictures", "set data.unpack_dir")
    with _opened(archive) as file:
        member = _member(file, archive, name, limit)
        stem = os.path.splitext(os.path.basename(archive))[0]
        path = os.path.join(folder, f"{stem}.{name}.{member.CRC:08x}.npy")
        if not os.path.exists(path):
            with (
                writable("unpacked pictures", folder, "unpack_dir"),
                file.open(member) as packed,
                whole(path) as part,
                part.open("wb") as array,
            ):
                shutil.copyfileobj(packed, array, 1 << 20)
    return regular(path)


@contextmanager
def _opened(archive: str) -> Iterator[zipfile.ZipFile]:
    """Open an npz archive; whatever is wrong with it is an InputError."""
    try:
        with zipfile.ZipFile(regular(here(archive))) as file:
            yield file
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        what = f"an npz archive at {archive}"
        raise InputError(what, f"a file that is none or damaged ({told(error)})", "restore the file") from None


def _member(file: zipfile.ZipFile, archive: str, name: str, limit: int) -> zipfile.ZipInfo:
    """The member that is an array, whose header and size agree."""
    if f"{name}.npy" not in file.namelist():
        arrays = ", ".join(member.removesuffix(".npy") for member in file.namelist()[:5])
        raise InputError(f"an array '{name}' in {archive}", f"the arrays {arrays or 'none'}", "restore the file")
    member = file.getinfo(f"{name}.npy")
    require_unpacked(file, limit, [member])
    with file.open(member) as packed:
        try:
            shape, kind = array_header(packed)
        except Exception:  # the parsers of numpy's headers raise many kinds over damaged bytes
            raise zipfile.BadZipFile(f"'{name}' is no array") from None
        if packed.tell() + math.prod(shape) * kind.itemsize != member.file_size or kind.hasobject:
            raise zipfile.BadZipFile(f"'{name}' has another size than it says")
    return member
