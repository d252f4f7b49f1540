"""What a pack says of itself: `pack.json`, and the table of each of its splits.

Below its root a pack holds

* `pack.json`, which says whether all else is there;
* `<split>/table.npz`: ids, labels, groups, subgroups of N rows, and for each the number of its picture;
* `<split>/chunk-*.bin`, `<split>/index.json`: shards of LitData, and what LitData says of them. A sample is the bytes
  of two files, picture and mask; of none where there is no mask. Samples are numbered through all splits.
"""

import io
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, get_args
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray

from ibca_lightning.data.pictures.bit_depth import BitDepth
from ibca_lightning.data.tables.label_policy import LabelPolicy
from ibca_lightning.data.tables.splits import GroupOverlap
from ibca_lightning.data.tables.table import Table
from ibca_lightning.datasets.packed.place import Place
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.strangers import MAX_TABLE, regular, require_unpacked

NAME, FORMAT = "pack.json", 1
_MOST = 8 * MAX_TABLE  # bytes of the table of a split: each text is as long as the longest of its column
_TOGETHER = 2**16  # rows
SPLITS = ("train", "val", "test")  # in the order in which their pictures are numbered


@dataclass(frozen=True)
class PackRecord:
    """What packed pictures are of, in plain data.

    Attributes:
        whole: Whether the pack was written to its end.
        id: A name of its own for each pack.
        content: A hash of tables and options, by which a pack that was interrupted is known again.
        source: Class of the data module.
        labels: The policy that the labels were read with, as a mapping.
        mask_bits: As `MaskFolder.bits`; None where there are no masks.
        splits: For each split its number of rows, and the splits whose table, and whose picture folder, are the same.
    """

    whole: bool
    id: str
    content: str
    source: str
    class_names: list[str]
    exclusive_classes: list[list[str]]
    group_overlap: GroupOverlap
    subgroups: list[str]
    mask_bits: list[int | None] | None
    pair: bool
    bit_depth: Any
    labels: dict[str, Any]
    splits: dict[str, list[Any]]
    format: int = FORMAT

    def rows(self) -> dict[str, int]:
        """Return the number of rows of each split, in order."""
        return {split: self.splits[split][0] for split in SPLITS if split in self.splits}

    def dumped(self) -> bytes:
        """Return what `read_record` reads."""
        return json.dumps(asdict(self), indent=1).encode()


def read_record(place: Place) -> PackRecord | None:
    """Read `pack.json`; None where there is none.

    Raises:
        InputError: If it is not as it was written, or of another format.
    """
    if (data := place.read(NAME)) is None:
        return None
    try:
        content = json.loads(data)
        record = PackRecord(**content)
        texts = [record.class_names, record.subgroups, *record.exclusive_classes]
        texts += [list(own[1:]) for own in record.splits.values()]
        bits = [None] * len(record.class_names) if record.mask_bits is None else record.mask_bits
        sound = (
            record.format == FORMAT and content.keys() == asdict(record).keys()
            and re.fullmatch("[0-9a-f]{32}", record.id)
            and all(isinstance(each, list) and all(isinstance(text, str) for text in each) for each in texts)
            and record.group_overlap in get_args(GroupOverlap) and record.bit_depth in (None, *get_args(BitDepth))
            and all(len({*each}) == len(each) for each in texts[:2])
            and {*bits} <= {None, *range(8)} and len(bits) == len(record.class_names) > 0
            and isinstance(LabelPolicy(**record.labels), LabelPolicy)
            and record.splits.keys() <= {*SPLITS}
            and all(type(own[0]) is int and len(own) == 3 for own in record.splits.values())
        )  # fmt: skip
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError, InputError):
        sound = False
    if not sound:
        raise InputError(f"{place.root}/{NAME} as `ibca pack` writes it", "something else", "write the pack again")
    return record


def shared(places: Mapping[str, str]) -> dict[str, str]:
    """Say of each split which have the same place as it, such as `train+val`."""
    return {split: "+".join(other for other in places if places[other] == place) for split, place in places.items()}


def dumped_table(table: Table) -> bytes:
    """Return a table, whose `lines` are the numbers of its pictures, as `read_table` reads it."""
    arrays: dict[str, Any] = {name: getattr(table, name) for name in ("names", "labels", "groups", "lines")}
    arrays |= {f"subgroup{at}": column for at, column in enumerate(table.subgroups.values())}
    np.savez_compressed(file := io.BytesIO(), **arrays)
    return file.getvalue()


def read_table(root: str, record: PackRecord, split: str, path: str) -> Table:
    """Read the table of a split of a pack from where it lies on this machine.

    Raises:
        InputError: If it is damaged, or not the one of this pack.
    """
    rows, file, folder = record.splits[split]
    first = sum(number for other, number in record.rows().items() if SPLITS.index(other) < SPLITS.index(split))
    try:
        with ZipFile(regular(path)) as archive:
            require_unpacked(archive, _MOST)
        with np.load(path, allow_pickle=False) as arrays:
            plain = {name: arrays[name] for name in ("names", "labels", "groups", "lines")}
            columns = {name: arrays[f"subgroup{at}"] for at, name in enumerate(record.subgroups)}
        labels, texts = plain["labels"], [plain["names"], plain["groups"], *columns.values()]
        sound = (
            all(column.dtype.kind == "S" and column.shape == (rows,) and _utf8(column) for column in texts)
            and labels.dtype == np.int8 and labels.shape == (rows, len(record.class_names)) and _within(labels, -3, 1)
            and plain["lines"].dtype == np.int32 and plain["lines"].shape == (rows,)
            and _within(plain["lines"], first, first + rows - 1)
        )  # fmt: skip
    except Exception:  # the parsers of numpy's headers and of archives raise many kinds over damaged bytes
        sound = False
    if not sound:
        expected, fix = f"the table of {rows} rows at {root}/{split}/table.npz", "restore it, or write the pack again"
        raise InputError(expected, "none, or another one", fix)
    # `file` and `folder` say no more than which splits share one: by that, rows move between splits or do not.
    return Table(f"{root} ({file})", f"{root}/{folder}", subgroups=columns, **plain)


def _utf8(column: NDArray[np.bytes_]) -> bool:
    """True, or a UnicodeDecodeError; some rows at a time, as a text takes more memory than its bytes."""
    return all(
        isinstance(b"\n".join(column[at : at + _TOGETHER].tolist()).decode(), str)
        for at in range(0, len(column), _TOGETHER)
    )


def _within(numbers: NDArray[Any], least: int, most: int) -> bool:
    return bool(((numbers >= least) & (numbers <= most)).all())
