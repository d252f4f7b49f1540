"""What a data set really holds: every picture read in full, hashed by its pixels, beside its labels."""

import hashlib
import os
import warnings
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from ibca_lightning.data.datamodule import MultiLabelDataModule, TableDataModule
from ibca_lightning.data.dataset import check_proportions
from ibca_lightning.data.loader import start_worker
from ibca_lightning.data.pictures.masks import MaskFolder, mask_name, read_mask
from ibca_lightning.data.pictures.reading import Pixels, read_image
from ibca_lightning.data.tables.labels import UNKNOWN
from ibca_lightning.data.tables.table import Table, decode, encode
from ibca_lightning.system.errors import InputError

_CHUNK = 32  # pictures that a worker hands over at once
_HASHED = 128  # rows and columns of a picture that go into the strong hash, or up to twice as many
_NOTHING = b""


class Facts(NamedTuple):
    """One picture: hash (16 bytes), size, kind of file, whether all pixels are alike, the bits of its mask (-1: none).

    Or, in `problem`, why it cannot be used.
    """

    digest: bytes = _NOTHING
    height: int = 0
    width: int = 0
    mode: str = ""
    blank: bool = False
    lesions: int = -1
    problem: str = ""


class Item(NamedTuple):
    """What a data set without a table says of a row, beside the facts of its picture."""

    facts: Facts
    name: str
    group: str
    labels: NDArray[np.int8]


@dataclass
class Contents:
    """The rows of one split and their pictures; a few bytes a row, whatever the size of the pictures.

    Attributes:
        name: Of the split.
        ids: (N,) bytes.
        groups: (N,) bytes.
        labels: (N, L) int8 in {0, 1, -1}.
        digests: (N, 16) uint8, all 0 where there is no picture.
        sizes: (N, 2) int32, height and width; 0 where there is no picture.
        blank: (N,) bool, whether all pixels are alike.
        lesions: (N,) int16, the bits that a row's mask has anywhere; -1 where there is no mask.
        modes: Number of pictures of each kind.
        problems: Why a row cannot be used, by row.
        source: Where the rows come from.
        rename: How names of pictures and groups are shown to people; as they are by default.
    """

    name: str
    ids: NDArray[np.bytes_]
    groups: NDArray[np.bytes_]
    labels: NDArray[np.int8]
    digests: NDArray[np.uint8]
    sizes: NDArray[np.int32]
    blank: NDArray[np.bool_]
    lesions: NDArray[np.int16]
    modes: dict[str, int]
    problems: dict[int, str]
    source: Table | Dataset[Any] = field(repr=False)
    rename: Callable[[str], str] = str

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
        """Read a row's picture again, with a short side of `side` pixels or more."""
        if isinstance(self.source, Table):
            return read_image(os.path.join(self.source.folder, self.source.name(row)), side)
        return _pixels(self.source[row])


def content_hash(pixels: Pixels) -> bytes:
    """Hash a picture by shape and pixels, so that a copy in another lossless format has the same; 16 bytes.

    The pixels are those of `read_image`: 8 bits a channel, with the orientation applied. Every pixel counts, by its
    checksum of 32 bits, which costs a fifth of a strong hash; that hash is of every n-th pixel of every n-th row, at
    least 128 of either, so that only pictures which agree in all of those depend on the checksum to be told apart.
    """
    pixels = np.ascontiguousarray(pixels)
    step = max(1, min(pixels.shape[:2]) // _HASHED)
    digest = hashlib.blake2b(repr((pixels.shape, zlib.crc32(pixels.data))).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels[::step, ::step]).data)
    return digest.digest()


class FileFacts(Dataset[Facts]):
    """The facts of every picture of a table, and whether its mask fits.

    Args:
        table: The rows.
        masks: The folder of the masks; None where there are none.
    """

    def __init__(self, table: Table, masks: MaskFolder | None) -> None:
        self.table, self.masks = table, masks

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, row: int) -> Facts:
        """Read one picture in full."""
        name = self.table.name(row)
        path = os.path.join(self.table.folder, name)
        lesions = -1
        try:
            pixels = read_image(path)
            if self.masks is not None:
                place = os.path.join(self.masks.path, mask_name(name))
                mask = read_mask(place)
                check_proportions(pixels.shape[:2], mask.shape, place)
                lesions = int(np.bitwise_or.reduce(mask, axis=None))
        except InputError as error:
            return Facts(problem=str(InputError(f"{error.expected} ({self.table.where(row)})", error.got, error.fix)))
        return _facts(pixels, _mode(path))._replace(lesions=lesions)


class ItemFacts(Dataset[Item]):
    """The facts of the items of any data set.

    Args:
        dataset: Of items as a data module's.
        num_labels: L.
    """

    def __init__(self, dataset: Dataset[Any], num_labels: int) -> None:
        self.dataset, self.num_labels = dataset, num_labels

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]  # torch leaves __len__ out of Dataset

    def __getitem__(self, row: int) -> Item:
        """Make one item."""
        unknown = np.full(self.num_labels, UNKNOWN, dtype=np.int8)
        try:
            item = self.dataset[row]
        except InputError as error:
            return Item(Facts(problem=str(error)), f"row {row}", f"row {row}", unknown)
        facts = _facts(_pixels(item), "made in memory") if "image" in item else Facts()
        name = str(item["id"])
        return Item(facts, name, str(item.get("group", name)), np.asarray(item["label"], dtype=np.int8))


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
    show = progress or (lambda batches, text: batches)
    data.prepare_data()  # as the trainer does: tiles are cut and arrays unpacked there
    if isinstance(data, TableDataModule) and _reads_files(type(data)):
        masks = data.space_masks()
        return {
            split: _of_table(split, table, show(_batches(FileFacts(table, masks), num_workers), split))
            for split, table in data.split_tables().items()
        }
    data.augment = "none"  # a picture that is turned at random has no hash
    sets: dict[str, Dataset[Any]] = {"train": data.train_set(), "val": data.val_set()}
    sets |= _test_sets(data)
    contents = {}
    for split, dataset in sets.items():
        items = ItemFacts(dataset, data.num_labels)
        contents[split] = _of_items(split, dataset, show(_batches(items, num_workers), split), data.num_labels)
    return contents


def _reads_files(kind: type[TableDataModule]) -> bool:
    """Whether the names of its tables are files, and not, say, places in an array."""
    return kind.train_set is TableDataModule.train_set and kind._dataset is TableDataModule._dataset


def _test_sets(data: MultiLabelDataModule) -> Mapping[str, Dataset[Any]]:
    if isinstance(data, TableDataModule) and "test" not in data.split_tables():
        return {}
    return data.test_sets()


def _batches(dataset: Dataset[Any], num_workers: int) -> DataLoader[Any]:
    workers = min(num_workers, len(dataset) // _CHUNK)  # type: ignore[arg-type]
    return DataLoader(
        dataset, _CHUNK, num_workers=workers, collate_fn=list, worker_init_fn=start_worker if workers else None
    )


def _of_table(split: str, table: Table, batches: Iterable[Sequence[Facts]]) -> Contents:
    found = _empty(split, table.names, table.groups, table.labels, table)
    row = 0
    for batch in batches:
        for facts in batch:
            _note(found, row, facts)
            row += 1
    return found


def _of_items(split: str, dataset: Dataset[Any], batches: Iterable[Sequence[Item]], num_labels: int) -> Contents:
    # The pictures are gone when a batch has been looked at; what is kept is small.
    items = [item for batch in batches for item in batch]
    labels = np.array([item.labels for item in items], dtype=np.int8).reshape(len(items), num_labels)
    names, groups = encode([item.name for item in items]), encode([item.group for item in items])
    found = _empty(split, names, groups, labels, dataset)
    for row, item in enumerate(items):
        _note(found, row, item.facts)
    return found


def _empty(
    split: str,
    ids: NDArray[np.bytes_],
    groups: NDArray[np.bytes_],
    labels: NDArray[np.int8],
    source: Table | Dataset[Any],
) -> Contents:
    rows = len(labels)
    digests, sizes = np.zeros((rows, 16), dtype=np.uint8), np.zeros((rows, 2), dtype=np.int32)
    lesions = np.full(rows, -1, dtype=np.int16)
    return Contents(split, ids, groups, labels, digests, sizes, np.zeros(rows, dtype=bool), lesions, {}, {}, source)


def _note(found: Contents, row: int, facts: Facts) -> None:
    if facts.problem:
        found.problems[row] = facts.problem
    if facts.digest:
        found.digests[row] = np.frombuffer(facts.digest, dtype=np.uint8)
        found.sizes[row] = facts.height, facts.width
        found.blank[row], found.lesions[row] = facts.blank, facts.lesions
        found.modes[facts.mode] = found.modes.get(facts.mode, 0) + 1


def _facts(pixels: Pixels, mode: str) -> Facts:
    height, width = pixels.shape[:2]
    # A few pixels tell of nearly every picture that it has more than one colour.
    blank = all(bool((part == pixels[0, 0]).all()) for part in (pixels[::16, ::16], pixels))
    return Facts(content_hash(pixels), height, width, mode, blank)


def _mode(path: str) -> str:
    """The kind of file, from its header alone, such as `PNG L` or `TIFF I;16`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes; the picture has been read by now
            with Image.open(path) as header:
                return f"{header.format} {header.mode}"
    except (OSError, ValueError, Image.DecompressionBombError):  # what Pillow does not know: DICOM, above all
        return os.path.splitext(path)[1].lstrip(".").upper() or "unknown"


def _pixels(item: Mapping[str, Any]) -> Pixels:
    return np.ascontiguousarray(item["image"].permute(1, 2, 0).numpy())
