"""Writing a pack: the files of pictures and masks as they are, in shards of LitData, shuffled once for training."""

import hashlib
import json
import os
import shutil
import sys
import tempfile
import uuid
from contextlib import nullcontext
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from ibca_lightning.data.datamodule import TableDataModule
from ibca_lightning.data.pictures.masks import MaskFolder
from ibca_lightning.data.pictures.reading import read_bytes
from ibca_lightning.data.tables.table import Table, decode, encode
from ibca_lightning.datasets.packed.place import Place
from ibca_lightning.datasets.packed.record import NAME, SPLITS, PackRecord, dumped_table, read_record, shared
from ibca_lightning.system.errors import InputError, PictureError
from ibca_lightning.system.locks import sole_user
from ibca_lightning.system.output import write_err, write_out
from ibca_lightning.system.whole_files import remove_parts

_SHARD = 2**26  # bytes, LitData's own default
_PART = ".part-"  # what the names of folders with unfinished shards begin with


def write_pack(data: Any, output: str, shard_bytes: int = _SHARD) -> None:
    """Pack the pictures of a data module; go on where an earlier call was stopped.

    Args:
        data: Not set up.
        output: A folder, or an address such as `s3://bucket/folder`.
        shard_bytes: Of a shard, about.

    Raises:
        InputError: If the data cannot be packed as they are, something else lies there, or litdata is missing.
    """
    _check(data)
    place = Place(output)
    if output.startswith("http"):
        raise InputError("a folder, or an address of s3:// or gs://, for --output", output, "give such a one")
    data.prepare_data()
    data.find_bit_depth()
    read = data.split_tables()
    # As they are before it is known who trains on them: with data.fold or data.splits a pack has other training rows.
    tables = {split: replace(read[split], labels=data.unsettled[split]) for split in SPLITS if split in read}
    record = _record(data, tables)
    if not place.remote:
        os.makedirs(output, exist_ok=True)
    with nullcontext() if place.remote else sole_user(output):
        record = _begun(place, record)
        first, masks = 0, data.space_masks()
        for split, table in () if record.whole else tables.items():
            # Tables go by class, patient or time: a shard is to hold some of everything.
            order = np.random.default_rng(0).permutation(len(table)) if split == "train" else np.arange(len(table))
            _write_split(place, split, table, order, masks, shard_bytes)
            lines = np.empty(len(table), np.int32)
            lines[order] = first + np.arange(len(table))
            names = [_renamed(data, decode(name)) for name in table.names]
            groups = [data.rename(decode(group)) for group in table.groups]
            named = replace(table, lines=lines, names=encode(names), groups=encode(groups))
            place.write(f"{split}/table.npz", dumped_table(named))
            first += len(table)
        place.write(NAME, replace(record, whole=True).dumped())
    write_out(f"wrote {output}\nnext: --data PackedPictures --data.root {output} behind the options of ibca fit\n")


def _renamed(data: TableDataModule, name: str) -> str:
    """Name a picture; without preamble DICOM is known by its suffix."""
    end = os.path.splitext(name)[1]
    renamed = data.rename(name)
    return renamed.removesuffix(end) + end if end.lower() in (".dcm", ".dicom") else renamed


def _check(data: Any) -> None:
    """Refuse what a pack would not carry, and to begin without litdata."""
    if find_spec("litdata") is None:
        fix = "install it: pip install 'ibca-lightning[packed]'"
        raise InputError("the package litdata, for ibca pack", "none", fix)
    if not isinstance(data, TableDataModule) or not data.reads_files:
        fix = "pack each set of files by itself; JoinedDataModule joins packed ones"
        raise InputError("data with tables and files of pictures for ibca pack", type(data).__name__, fix)
    for option in ("marks", "label_noise", "sites"):
        if getattr(data, option) is not None:
            fix = "leave it out here, and give it to the runs on the pack"
            raise InputError("pictures and labels as they are for ibca pack", f"data.{option}", fix)
    if data.test_names != ["test"]:
        fix = "leave out the option that adds the others, such as data.boxes"
        raise InputError("one test set for ibca pack", ", ".join(data.test_names), fix)


def _record(data: TableDataModule, tables: dict[str, Table]) -> PackRecord:
    masks = data.space_masks()
    files, folders = (
        shared({split: getattr(table, key) for split, table in tables.items()}) for key in ("file", "folder")
    )
    record = PackRecord(
        whole=False,
        id=uuid.uuid4().hex,
        content="",
        source=type(data).__name__,
        class_names=data.class_names,
        exclusive_classes=data.exclusive_classes,
        group_overlap=data.group_overlap,
        subgroups=[*next(iter(tables.values())).subgroups],
        mask_bits=None if masks is None else [*masks.bits],
        pair=data.pair,
        bit_depth=data.bit_depth,
        labels=asdict(data.label_policy),
        splits={split: [len(table), files[split], folders[split]] for split, table in tables.items()},
    )
    content = hashlib.blake2b(replace(record, id=data.rename("")).dumped(), digest_size=16)
    for table in tables.values():
        for column in (table.names, table.labels, table.groups, *table.subgroups.values()):
            content.update(column.tobytes())
    return replace(record, content=content.hexdigest())


def _begun(place: Place, record: PackRecord) -> PackRecord:
    """Begin a pack, or go on with the one that is there."""
    for part in () if place.remote else Path(place.root).glob(f"{_PART}*"):  # of one that was killed
        shutil.rmtree(part)
    for folder in () if place.remote else ("", *SPLITS):
        remove_parts(place.path(folder))
    if (there := read_record(place)) is None:
        place.write(NAME, record.dumped())
        return record
    if there.content != record.content:
        fix = "give another --output, or the data and options it was begun with"
        raise InputError(f"a pack of the same data, or none, at {place.root}", "one of others", fix)
    return there


def _write_split(
    place: Place, split: str, table: Table, order: NDArray[np.intp], masks: MaskFolder | None, shard_bytes: int
) -> None:
    from litdata.streaming.writer import BinaryWriter

    done = _done(place, split)
    rows = order[sum(shard["chunk_size"] for shard in done) :]
    with tempfile.TemporaryDirectory(prefix=_PART, dir=None if place.remote else place.root) as folder:
        writer = BinaryWriter(folder, chunk_bytes=shard_bytes, chunk_index=len(done))
        shown = track(rows, f"pack {split}", console=Console(stderr=True), disable=not sys.stderr.isatty())
        for at, row in enumerate(shown):
            if shard := writer.add_item(at, _sample(table, masks, int(row))):
                place.put(shard, f"{split}/{os.path.basename(shard)}")
        for shard in writer.done():
            place.put(shard, f"{split}/{os.path.basename(shard)}")
        index = json.loads(Path(folder, "0.index.json").read_bytes())
    place.write(f"{split}/index.json", json.dumps(index | {"chunks": [*done, *index["chunks"]]}).encode())
    write_err(f"{split}: {len(table)} pictures in {len(done) + len(index['chunks'])} shards\n")


def _done(place: Place, split: str) -> list[dict[str, Any]]:
    """What LitData's index says of the shards that an earlier call has put there; the last is written again."""
    sizes = place.sizes(split)
    done: list[dict[str, Any]] = []
    while (name := f"chunk-0-{len(done)}.bin") in sizes:
        samples = int.from_bytes(place.read(f"{split}/{name}", 4) or b"", "little")
        done.append({"chunk_bytes": sizes[name], "chunk_size": samples, "dim": None, "filename": name})
    return done[:-1]


def _sample(table: Table, masks: MaskFolder | None, row: int) -> list[bytes]:
    """The bytes of a picture and of its mask, none where there is none."""
    name = table.name(row)
    files = [os.path.join(table.folder, name), masks.file(name) if masks else None]
    try:
        return [b"" if file is None else read_bytes(file).tobytes() for file in files]
    except PictureError as error:
        raise PictureError(f"{error.expected} ({table.where(row)})", error.got, error.fix) from None
