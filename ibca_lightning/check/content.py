"""What a data set really holds: every picture read in full, hashed by its pixels, beside its labels."""

import hashlib
import io
import os
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from ibca_lightning.check.look import SIDE, look
from ibca_lightning.data.base import MultiLabelDataModule
from ibca_lightning.data.datamodule import TableDataModule
from ibca_lightning.data.dataset import check_proportions
from ibca_lightning.data.pictures.channels import as_rgb
from ibca_lightning.data.pictures.masks import MaskFolder, read_mask
from ibca_lightning.data.pictures.reading import PictureFile, Pixels
from ibca_lightning.data.tables.labels import UNKNOWN
from ibca_lightning.data.tables.table import Table, decode, encode
from ibca_lightning.data.worker import end_workers_at_exit, quiet_worker
from ibca_lightning.system.errors import InputError

_CHUNK = 32  # pictures that a worker hands over at once
_HASHED = 128  # rows and columns of a picture that go into the strong hash, or up to twice as many


class Facts(NamedTuple):
    """One picture: hash, look (see `near_copies`), height and width, kind of file, whether all pixels are alike.

    `lesions` are the bits of its mask (-1: none), `problem` is why it cannot be used, `depth` the bits it uses, where
    its file does not say; else 0.
    """

    digest: bytes = bytes(16)
    look: bytes = bytes(SIDE**2)
    size: tuple[int, int] = (0, 0)
    mode: str = ""
    blank: bool = False
    lesions: int = -1
    problem: str = ""
    depth: int = 0


_NOTHING = Facts()
_SIDE = 2**31  # beyond that of any picture


class Item(NamedTuple):
    """What a data set without a table says of a row, beside the facts of its picture."""

    facts: Facts
    name: str
    group: str
    labels: NDArray[np.int8]


@dataclass
class Contents:
    """The N rows of one split and their pictures; a kilobyte a row, whatever the size of the pictures."""

    name: str  # of the split
    ids: NDArray[np.bytes_]  # (N,)
    groups: NDArray[np.bytes_]  # (N,)
    labels: NDArray[np.int8]  # (N, L) in {0, 1, -1}
    source: Table | Dataset[Any]  # where the rows come from
    digests: NDArray[np.uint8]  # (N, 16), all 0 where there is no picture
    looks: NDArray[np.int8]  # (N, 1024), as `near_copies` compares them; all 0 where there is no picture
    sizes: NDArray[np.int32]  # (N, 2), height and width; 0 where there is no picture
    blank: NDArray[np.bool_]  # (N,) whether all pixels are alike
    lesions: NDArray[np.int16]  # (N,) the bits that a row's mask has anywhere; -1 where there is no mask
    modes: dict[str, int]  # number of pictures of each kind
    problems: dict[int, str]  # why a row cannot be used, by row
    depths: NDArray[np.int8]  # (N,) the bits that a picture uses, where its file does not say; 0 where it does
    bit_depth: int | None = None  # with which they are read
    in_channels: int = 3  # of the pictures
    rename: Callable[[str], str] = str  # how names of pictures and groups are shown to people

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def has_pictures(self) -> NDArray[np.bool_]:
        """(N,) whether a row's picture could be read."""
        return self.sizes[:, 0] > 0

    def where(self, row: int) -> str:
        """Name a row for people: its id, and its file and line where it has one."""
        name = self.rename(decode(self.ids[row]))
        return f"'{name}' ({self.source.where(row)})" if isinstance(self.source, Table) else f"'{name}'"

    def group(self, row: int) -> str:
        """Name a row's group for people."""
        return self.rename(decode(self.groups[row]))

    def problem(self, row: int) -> str:
        """Why a row cannot be used, for people."""
        name, text = decode(self.ids[row]), self.problems[row]
        shown = self.rename(name)
        if shown == name or name in text:
            return text.replace(name, shown)
        return f"a row that can be read ({self.where(row)}), got an error that may name a picture; show names to see it"

    def picture(self, row: int, side: int) -> Pixels:
        """Read a row's picture again as RGB, with a short side of `side` pixels or more."""
        if isinstance(self.source, Table):
            file = PictureFile(os.path.join(self.source.folder, self.source.name(row)))
            return as_rgb(file.channels(self.in_channels, side, self.bit_depth))
        return as_rgb(_pixels(self.source[row]))


def content_hash(pixels: Pixels) -> bytes:
    """Hash a picture by shape and pixels, so that a copy in another lossless format has the same; 16 bytes.

    The pixels are those of `reading`: 8 bits a channel, with the orientation applied. Every pixel counts, by its
    checksum of 32 bits, which costs a fifth of a strong hash; that hash is of every n-th pixel of every n-th row, at
    least 128 of either, so that only pictures which agree in all of those depend on the checksum to be told apart.
    """
    pixels = np.ascontiguousarray(pixels)
    step = max(1, min(pixels.shape[:2]) // _HASHED)
    digest = hashlib.blake2b(repr((pixels.shape, zlib.crc32(pixels.data))).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels[::step, ::step]).data)
    return digest.digest()


def read_contents(data: MultiLabelDataModule, num_workers: int, progress: Any = None) -> dict[str, Contents]:
    """Read every row and every picture of a data module.

    Args:
        data: The data module, not set up.
        num_workers: Processes that read; 0 reads in this one.
        progress: Called with (batches, description), returns the batches; for a progress bar.

    Returns:
        The splits by name: train, val, and the test set or sets.

    Raises:
        InputError: If the tables are wrong.
    """

    def read(one: Callable[[int], Any], rows: int, split: str) -> Iterable[list[Any]]:
        batches = _batches(one, rows, num_workers)
        return progress(batches, split) if progress else batches

    data.prepare_data()  # as the trainer does: tiles are cut and arrays unpacked there
    data.find_bit_depth()
    contents = {}
    if isinstance(data, TableDataModule) and data.reads_files:
        masks, depth = data.space_masks(), data.evaluation_transform().bit_depth
        for split, table in data.split_tables().items():
            batches = read(partial(_of_file, table, masks, data.in_channels, depth), len(table), split)
            contents[split] = Contents(
                split, table.names, table.groups, table.labels, table, **_gathered(batches, len(table)),
                bit_depth=depth, in_channels=data.in_channels,
            )  # fmt: skip
        return contents
    data.augment, data.drawn_noise = "none", 0.0  # a picture that is changed at random has no hash
    sets: dict[str, Any] = {"train": data.train_set(), "val": data.val_set(), **_test_sets(data)}
    for split, dataset in sets.items():
        items: list[Item] = []

        def facts(batches: Iterable[list[Item]], items: list[Item] = items) -> Iterator[list[Facts]]:
            for batch in batches:
                items += [item._replace(facts=_NOTHING) for item in batch]
                yield [item.facts for item in batch]

        batches = read(partial(_of_item, dataset, data.num_labels), len(dataset), split)
        gathered = _gathered(facts(batches), len(dataset))
        labels = np.array([item.labels for item in items], dtype=np.int8).reshape(len(items), data.num_labels)
        names, groups = encode([item.name for item in items]), encode([item.group for item in items])
        contents[split] = Contents(split, names, groups, labels, dataset, **gathered)
    return contents


def _test_sets(data: MultiLabelDataModule) -> Mapping[str, Dataset[Any]]:
    if isinstance(data, TableDataModule) and "test" not in data.split_tables():
        return {}
    return data.test_sets()


def _batches(one: Callable[[int], Any], rows: int, num_workers: int) -> DataLoader[Any]:
    """What `one` says of each row, in lists; worker processes call it."""
    workers = min(num_workers, rows // _CHUNK)
    end_workers_at_exit()
    return DataLoader(
        range(rows),  # type: ignore[arg-type]  # any sequence will do
        _CHUNK, num_workers=workers, collate_fn=partial(_each, one), worker_init_fn=quiet_worker if workers else None,
    )  # fmt: skip


def _each(one: Callable[[int], Any], rows: Sequence[int]) -> list[Any]:
    return [one(row) for row in rows]


def _of_file(table: Table, masks: MaskFolder | None, channels: int, depth: int | None, row: int) -> Facts:
    """Read one picture of a table in full, and its mask, which must fit."""
    name = table.name(row)
    path = os.path.join(table.folder, name)
    lesions = -1
    try:
        file = PictureFile(path)
        pixels, used = file.channels(channels, depth=depth), file.depth(channels) or 0
        if masks is not None and (place := masks.file(name)):
            mask = read_mask(place)
            check_proportions(pixels.shape[:2], mask.shape, place)
            lesions = int(np.bitwise_or.reduce(mask, axis=None))
    except InputError as error:
        return Facts(problem=str(InputError(f"{error.expected} ({table.where(row)})", error.got, error.fix)))
    mode = _mode(path, file.encoded) + (f", {used} bits" if used else "")
    return _facts(pixels, mode, lesions)._replace(depth=used)


def _of_item(dataset: Dataset[Any], num_labels: int, row: int) -> Item:
    """Make one item of any data set."""
    try:
        item = dataset[row]
    except InputError as error:
        unknown = np.full(num_labels, UNKNOWN, dtype=np.int8)
        return Item(Facts(problem=str(error)), f"row {row}", f"row {row}", unknown)
    facts = _facts(_pixels(item), "made in memory") if "image" in item else Facts()
    name = str(item["id"])
    return Item(facts, name, str(item.get("group", name)), np.asarray(item["label"], dtype=np.int8))


def distinct_sizes(sizes: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """As `np.unique(sizes, axis=0, return_inverse=True)` of (N, 2), but as one number a row, which is sorted sooner."""
    numbers, of_rows = np.unique(sizes @ np.array([_SIDE, 1]), return_inverse=True)
    return np.stack([numbers // _SIDE, numbers % _SIDE], axis=1), of_rows


def _gathered(batches: Iterable[Sequence[Facts]], rows: int) -> dict[str, Any]:
    """What `Contents` has of the pictures. Each batch is put in its place and is gone: a kilobyte a row, held once."""
    digests, looks = np.zeros((rows, 16), np.uint8), np.zeros((rows, SIDE**2), np.int8)
    sizes, blank = np.zeros((rows, 2), np.int32), np.zeros(rows, bool)
    lesions, depths = np.full(rows, -1, np.int16), np.zeros(rows, np.int8)
    modes, problems, start = Counter[str](), dict[int, str](), 0
    for batch in batches:
        here = slice(start, start + len(batch))
        digests[here] = np.frombuffer(b"".join([own.digest for own in batch]), np.uint8).reshape(-1, 16)
        looks[here] = np.frombuffer(b"".join([own.look for own in batch]), np.int8).reshape(-1, SIDE**2)
        sizes[here], blank[here] = [own.size for own in batch], [own.blank for own in batch]
        lesions[here], depths[here] = [own.lesions for own in batch], [own.depth for own in batch]
        modes.update(own.mode for own in batch if own.mode)
        problems |= {row: own.problem for row, own in enumerate(batch, start) if own.problem}
        start += len(batch)
    return {
        "digests": digests, "looks": looks, "sizes": sizes, "blank": blank, "lesions": lesions, "depths": depths,
        "modes": modes, "problems": problems,
    }  # fmt: skip


def _facts(pixels: Pixels, mode: str, lesions: int = -1) -> Facts:
    # A few pixels tell of nearly every picture that it has more than one colour.
    blank = all(bool((part == pixels[0, 0]).all()) for part in (pixels[::16, ::16], pixels))
    return Facts(content_hash(pixels), look(as_rgb(pixels)), pixels.shape[:2], mode, blank, lesions)


def _mode(path: str, encoded: memoryview) -> str:
    """The kind of file, from its header alone, such as `PNG L` or `TIFF I;16`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes; the picture has been read by now
            with Image.open(io.BytesIO(encoded)) as header:
                return f"{header.format} {header.mode}"
    except (OSError, ValueError, Image.DecompressionBombError):  # what Pillow does not know: DICOM, above all
        return os.path.splitext(path)[1].lstrip(".").upper() or "unknown"


def _pixels(item: Mapping[str, Any]) -> Pixels:
    return np.ascontiguousarray(item["image"].permute(1, 2, 0).numpy())
