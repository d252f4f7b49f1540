"""The files of stored backbone maps: written batch by batch, by several processes at once, read through memory maps.

A folder holds `maps.json`, which says what the maps are of, and for each split (`train`, `val`, `test.<name>`)

* `<split>.stage<i>.npy`, (N, V + D, C, H, W) float16: of N pictures V views of one stage, see `views`, and D of the
  picture with noise drawn on it: view V + d is view d % V;
* `<split>.label.npy`, (N, L) int8;
* `<split>.<mask>.npy`, (N, P, S, S) uint8 bit planes (see `masks.pack`) of view 0, where there are masks;
* `<split>.drawn.npy`, likewise, where D is not 0: mask d says what view V + d is drawn on, turned as that view is;
* `<split>.rows.jsonl`, a line a picture: id, group, subgroups. It is written last.
"""

import json
import os
import re
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ibca_lightning import __version__
from ibca_lightning.data.tables.table import Table, encode
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.strangers import MAX_PICTURE, read_bytes, read_object, regular, told
from ibca_lightning.system.whole_files import naming, whole_text, write_json

FORMAT = 1
_NOT_FINITE = np.uint16(0x7C00)  # the exponent of such a float16
_RECORD = "maps.json"
_MASK = re.compile(r"(\w+_)?mask")
_HALF = re.compile("[\ud800-\udfff]")  # a letter that JSON can escape, and no text in UTF-8 has


@dataclass(frozen=True)
class SplitRecord:
    """The size of one split: N rows, V views, for each kind of mask how many there are of a picture, D drawn views."""

    rows: int
    views: int
    masks: dict[str, int]
    drawn: int = 0


@dataclass(frozen=True)
class MapsRecord:
    """What stored maps are of, in plain data.

    Attributes:
        backbone: timm name.
        feature_stride: As the module was given it.
        fingerprint: Of the backbone's weights.
        mean: Per channel, in [0, 1], that the pictures were normalised with; `std` likewise.
        image_size: S.
        preprocessing: How pictures were brought to S.
        test_names: Of the test sets, in order.
        stages: (C, H, W) of each stage, finest first.
        precision: `32` or `bf16`, of the backbone's arithmetic.
        data: Class and options of the data module.
        feature_blocks: As the module was given it; the last stage is then of one cell where there are class tokens.
        version: Of the package that wrote them.
    """

    backbone: str
    feature_stride: int | list[int]
    fingerprint: str
    mean: list[float]
    std: list[float]
    image_size: int
    preprocessing: dict[str, Any]
    class_names: list[str]
    test_names: list[str]
    stages: list[list[int]]
    precision: str
    splits: dict[str, SplitRecord]
    data: dict[str, Any] = field(default_factory=dict)
    feature_blocks: int = 0
    version: str = __version__
    format: int = FORMAT

    def shapes(self, split: str) -> dict[str, tuple[tuple[int, ...], type[np.generic]]]:
        """Return shape and type of every array of a split."""
        size = self.splits[split]
        shapes: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {
            f"stage{at}": ((size.rows, size.views + size.drawn, *stage), np.float16)
            for at, stage in enumerate(self.stages)
        }
        shapes["label"] = ((size.rows, len(self.class_names)), np.int8)
        for name, count in (size.masks | ({"drawn": size.drawn} if size.drawn else {})).items():
            shapes[name] = ((size.rows, -(-count // 8), self.image_size, self.image_size), np.uint8)
        return shapes


def read_record(folder: str) -> MapsRecord:
    """Read `maps.json`.

    Raises:
        InputError: If there is none, or it is of another format.
    """
    path = Path(folder) / _RECORD
    fix = "write the maps with `ibca maps --config FILE --output DIR`, or correct data.root"
    if not path.is_file():
        raise InputError(f"stored maps at {folder}", f"no {_RECORD} there", fix)
    try:
        content = read_object(path)
        if content.get("format") != FORMAT:
            raise InputError(f"{path} in format {FORMAT}", content.get("format"), "write the maps again")
        return _record(content)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} as `ibca maps` wrote it", told(error), fix) from error


def _record(content: dict[str, Any]) -> MapsRecord:
    """Make the record of plain data; a ValueError names what is not of its kind."""
    for each in fields(MapsRecord):
        if each.name not in content and each.default is MISSING and each.default_factory is MISSING:
            raise ValueError(f"no {each.name}")
    splits, stride = content["splits"], content["feature_stride"]
    sound = {
        "splits": isinstance(splits, dict) and all(map(_is_split, splits.values())),
        "stages": _all(content["stages"], lambda stage: _all(stage, _is_size) and len(stage) == 3),
        "image_size": _is_size(content["image_size"]),
        "feature_blocks": (blocks := content.get("feature_blocks", 0)) == 0 or _is_size(blocks),
        "feature_stride": _all(stride if isinstance(stride, list) else [stride], _is_size),
    }
    sound |= {name: _all(content[name], lambda value: type(value) in (int, float)) for name in ("mean", "std")}
    sound |= {name: _all(content[name], lambda one: isinstance(one, str)) for name in ("class_names", "test_names")}
    sound |= {name: isinstance(content[name], str) for name in ("backbone", "fingerprint", "precision")}
    sound |= {name: isinstance(content.get(name, {}), dict) for name in ("preprocessing", "data")}
    sound["data"] = sound["data"] and isinstance(content.get("data", {}).get("init_args") or {}, dict)
    # The name of a test set is part of names of files, here and of figures that are written; that of a mask of a batch.
    tests, classes = (content[name] if sound[name] else [] for name in ("test_names", "class_names"))
    sound["test_names"] &= len({*tests}) == len(tests) and not any(re.search(r"[/\\\0]", name) for name in tests)
    sound["class_names"] = len({*classes}) == len(classes) > 0
    sound["splits"] = (
        sound["splits"] and splits.keys() == {"train", "val", *(f"test.{name}" for name in tests)}
        and all(_MASK.fullmatch(name) for split in splits.values() for name in split["masks"])
    )  # fmt: skip
    if wrong := [name for name, holds in sound.items() if not holds]:
        raise ValueError(f"{wrong[0]} {reprlib.repr(content[wrong[0]])}")
    known = {each.name for each in fields(MapsRecord)}
    if unknown := [name for name in content if name not in known]:
        raise ValueError(f"an unknown {unknown[0]}")
    return MapsRecord(**content | {"splits": {name: SplitRecord(**split) for name, split in splits.items()}})


def _is_split(split: Any) -> bool:
    return (
        isinstance(split, dict) and sorted({"drawn": 0} | split) == ["drawn", "masks", "rows", "views"]
        and isinstance(split["masks"], dict) and (split.get("drawn", 0) == 0 or _is_size(split["drawn"]))
        and all(map(_is_size, (split["rows"], split["views"], *split["masks"].values())))
    )  # fmt: skip


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 < value < 2**40


def _all(values: Any, holds: Callable[[Any], bool]) -> bool:
    return isinstance(values, list) and all(map(holds, values))


def start_record(folder: str, record: MapsRecord) -> None:
    """Write `maps.json`, or agree with the one that is there.

    Raises:
        InputError: If the folder holds maps of another model, other data or other options.
    """
    path = Path(folder) / _RECORD
    if path.exists():
        theirs, ours = (json.loads(json.dumps(asdict(each))) for each in (read_record(folder), record))
        for name in ours:
            if name != "version" and theirs[name] != ours[name]:
                fix = "give another --output, or the options they were written with"
                raise InputError(f"--output {folder} to hold maps of {name} {ours[name]}", theirs[name], fix)
        return
    write_json(path, asdict(record))


class SplitWriter:
    """Writes the files of one split: its arrays in any order, and when all of them are there its rows.

    Several processes may write arrays at once, each its own rows; `prepare` is for one alone.
    """

    def __init__(self, folder: str, record: MapsRecord, split: str) -> None:
        self._rows, self._size = Path(folder, f"{split}.rows.jsonl"), record.splits[split].rows
        self._arrays = {
            name: (_array_file(folder, split, name), *wanted) for name, wanted in record.shapes(split).items()
        }

    @property
    def done(self) -> bool:
        """Whether the split is whole."""
        return self.sound and self._rows.exists() and read_bytes(self._rows).count(b"\n") == self._size

    @property
    def sound(self) -> bool:
        """Whether its arrays are there."""
        return all(_shape(path) == (shape, np.dtype(kind)) for path, shape, kind in self._arrays.values())

    @property
    def missing(self) -> int:
        """Bytes of the arrays that the disk does not have yet."""
        wanted = sum(int(np.prod(shape)) * np.dtype(kind).itemsize for _, shape, kind in self._arrays.values())
        return max(0, wanted - sum(path.stat().st_blocks * 512 for path, *_ in self._arrays.values() if path.exists()))

    def prepare(self) -> None:
        """Make the arrays; sparse, so that they take no space yet."""
        self._rows.unlink(missing_ok=True)
        for path, shape, kind in self._arrays.values():
            np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=shape)

    def write(self, rows: Sequence[int], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write a batch.

        Args:
            rows: Which ones.
            arrays: For each file of the split (`stage0`, `label`, ...) the batch's rows.

        Raises:
            ValueError: If an array is not of its file's shape.
        """
        for name, (path, shape, kind) in self._arrays.items():
            values = np.ascontiguousarray(arrays[name], dtype=kind)
            if values.shape != (len(rows), *shape[1:]):
                raise ValueError(f"expected {name} of shape {(len(rows), *shape[1:])}, got {values.shape}")
            start = np.load(path, mmap_mode="r").offset
            # Not through the memory map: on a full disk that ends in a bus error instead of an exception.
            with naming(path), path.open("r+b") as file:
                for row, value in zip(rows, values, strict=True):
                    file.seek(start + row * value.nbytes)
                    file.write(value.data)
                file.flush()
                os.fsync(file.fileno())

    def finish(self, rows: Iterable[str]) -> None:
        """Write the lines of all rows, in order: JSON of `id`, `group` and `subgroup`."""
        with whole_text(self._rows) as file:
            file.writelines(f"{row}\n" for row in rows)


class MapSplit:
    """One split of stored maps, read through memory maps that are opened when first used, in each process.

    Attributes:
        table: The N rows.
        views: V.
        masks: For each kind of mask its number.
        drawn: D.
        pair: Whether each picture is two, side by side, each turned by itself.

    Raises:
        InputError: If the split is not complete.
    """

    def __init__(self, folder: str, record: MapsRecord, split: str) -> None:
        size = record.splits[split]
        self._paths = {name: _array_file(folder, split, name) for name in record.shapes(split)}
        self._open: dict[str, NDArray[Any]] = {}
        for name, (shape, kind) in record.shapes(split).items():
            if (found := _shape(self._paths[name])) != (shape, np.dtype(kind)):
                wanted = f"an array {shape} of {np.dtype(kind)} at {self._paths[name]}"
                raise InputError(wanted, found or "none", "write the maps again with `ibca maps`")
        rows_file = Path(folder, f"{split}.rows.jsonl")
        if size.rows * len(record.class_names) > MAX_PICTURE:
            got = f"{size.rows} rows of {len(record.class_names)}"
            raise InputError(f"at most {MAX_PICTURE} labels of {split} at {folder}", got, "restore its maps.json")
        rows = _read_rows(rows_file) if rows_file.exists() else []
        if len(rows) != size.rows:
            fix = "run the same `ibca maps` again: it goes on there"
            raise InputError(f"{size.rows} maps of {split} at {folder}", len(rows), fix)
        labels = np.load(self._paths["label"])
        if not ((labels >= -1) & (labels <= 1)).all():
            fix = "write the maps again with `ibca maps`"
            raise InputError(f"labels of 0, 1 and -1 at {self._paths['label']}", "others", fix)
        self.table = Table(
            file=str(rows_file),
            folder=folder,
            lines=np.arange(1, size.rows + 1, dtype=np.int32),
            names=encode([row["id"] for row in rows]),
            labels=labels,
            groups=encode([row["group"] for row in rows]),
            subgroups={name: encode([row["subgroup"][name] for row in rows]) for name in rows[0]["subgroup"]},
        )
        self.views, self.masks, self.drawn, self._stages = size.views, size.masks, size.drawn, len(record.stages)
        self.pair = "pair" in record.preprocessing

    def __getstate__(self) -> dict[str, Any]:
        """Leave the memory maps behind: pickled, they would be copied whole."""
        return self.__dict__ | {"_open": {}}

    def maps(self, row: int, view: int) -> list[NDArray[np.float16]]:
        """Return (C, H, W) of each stage, not copied.

        Raises:
            InputError: A number is none, or infinite: one such would make the model's weights such.
        """
        maps = [self._array(f"stage{at}")[row, view] for at in range(self._stages)]
        for at, stage in enumerate(maps):
            if (stage.view(np.uint16) & _NOT_FINITE == _NOT_FINITE).any():
                wanted = f"finite maps of '{self.table.name(row)}' at {self._paths[f'stage{at}']}"
                raise InputError(wanted, f"NaN or infinity in row {row}", "write the maps again with `ibca maps`")
        return maps

    def planes(self, row: int, mask: str) -> NDArray[np.uint8]:
        """Return the bit planes (P, S, S) of one kind of mask, not copied."""
        planes: NDArray[np.uint8] = self._array(mask)[row]
        return planes

    def _array(self, name: str) -> NDArray[Any]:
        if name not in self._open:
            # Copy on write: tensors can be made of it without a copy, and nothing reaches the file.
            self._open[name] = np.asarray(np.load(self._paths[name], mmap_mode="c"))
        return self._open[name]


def _read_rows(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    fix = "write the maps again with `ibca maps`"
    try:
        lines = read_bytes(path).split(b"\n")
    except OSError as error:
        raise InputError(f"rows of maps at {path}", told(error), fix) from error
    for number, line in enumerate(lines, 1):
        if line:
            row: Any
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            columns = row.get("subgroup") if isinstance(row, dict) else None
            if isinstance(columns, dict) and columns.keys() == (rows or [row])[0]["subgroup"].keys():
                texts = [row.get("id"), row.get("group"), *columns.values()]
            else:
                texts = [None]
            if not all(isinstance(text, str) and not _HALF.search(text) for text in texts):
                got = repr(line[:80].decode(errors="replace"))
                raise InputError(f"id, group and subgroup of a picture in {path}, line {number}", got, fix)
            rows.append(row)
    return rows


def _array_file(folder: str, split: str, name: str) -> Path:
    return Path(folder, f"{split}.{name}.npy")


def _shape(path: Path) -> tuple[tuple[int, ...], np.dtype[Any]] | None:
    """Shape and type of a stored array; None where there is no whole one."""
    try:
        array = np.load(regular(path), mmap_mode="r")
    except Exception:  # numpy's parser of headers ends in errors of its own
        return None
    return array.shape, array.dtype
