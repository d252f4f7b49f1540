"""Galar: capsule endoscopy, 29 labels, whole videos."""

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ibca_lightning.data import storage
from ibca_lightning.data.options import check_classes, check_whole
from ibca_lightning.data.tables.sheet import Sheet, read_sheet
from ibca_lightning.data.tables.splits import split_off
from ibca_lightning.data.tables.table import Table, decode, joined
from ibca_lightning.datasets.layouts.released import OpenSplitSet
from ibca_lightning.system.errors import InputError

_COLUMNS = ("lines", "names", "labels", "groups")
_FRAME = re.compile(r"(\d+)\.(?:png|jpe?g)", re.IGNORECASE)


class Galar(OpenSplitSet):
    """Galar, video capsule endoscopy of two centres in Saxony (Germany).

    80 videos with 3,513,539 frames, each labelled by hand. No official split here: training, validation and test are
    split by video, by the labels of all frames, so that every `stride` has the same videos in the same split.
    Frames that follow each other are nearly alike; `stride: 25` reads every 25th.

    Labels. Places: z-line, pylorus, ampulla of vater, ileocecal valve, mouth, esophagus, stomach, small intestine,
    colon. Findings: ulcer, polyp, active bleeding, blood, erythema, erosion, angiectasia, IBD (inflammatory bowel
    disease), foreign body, esophagitis, varices, hematin, celiac, cancer, lymphangioectasis. View: bubbles, dirt, no
    view, reduced view, good view; 74 of the 80 tables lack these five, which are blank there, so unknown. The column
    `section` is a name, no label.

    Licence: as stated with the release. Citation: Le Floch et al., "Galar - a large multi-label video capsule endoscopy
    dataset", Scientific Data, 2025, doi 10.1038/s41597-025-05112-7. Data: Figshare, article 25304616.

    Expected tree (frames also in `Frames/recording_{video}/`, and either of them below `Galar_Frames_*/`, the names of
    the archives, with or without `Frames/`; a frame is found by the number its name ends in)::

        root/Labels/{video}.csv  root/Frames/{video}/frame_{frame, six digits}.PNG

    Args:
        root: Folder of the data set.
        classes: The labels, some of the 29; None for all.
        videos: The videos, for a copy of some of the archives; None for all that have a table.
        stride: Every how many rows of a video's table a frame is read, in all splits; 1 reads all.
        val_fraction: Share of the frames whose videos become validation, in (0, 1).
        test_fraction: Share of the frames whose videos become test, in [0, 1).
        common: The arguments of `TableDataModule`: labels, image_size, batch_size, num_workers, augment, resize, ...
    """

    _everywhere = (
        *("z-line", "pylorus", "ampulla of vater", "ileocecal valve"),
        *("mouth", "esophagus", "stomach", "small intestine", "colon"),
        *("ulcer", "polyp", "active bleeding", "blood", "erythema", "erosion", "angiectasia", "IBD", "foreign body"),
        *("esophagitis", "varices", "hematin", "celiac", "cancer", "lymphangioectasis"),
    )
    _in_some = ("bubbles", "dirt", "no view", "reduced view", "good view")
    names = (*_everywhere, *_in_some)
    _help = (
        "get Galar (Figshare, article 25304616) and unpack it as root/Labels/VIDEO.csv, "
        "root/Frames/VIDEO/frame_NUMBER.PNG"
    )

    def __init__(
        self,
        root: str,
        classes: list[str] | None = None,
        videos: list[int] | None = None,
        stride: int = 1,
        val_fraction: float = 0.1,
        test_fraction: float = 0.2,
        **common: Any,
    ) -> None:
        super().__init__(root, val_fraction, **common)
        check_whole("stride", stride, 1)
        check_classes(classes, self.names)
        self.classes, self.videos, self.stride = classes, videos, stride
        self.fractions["test"] = test_fraction

    @property
    def own_names(self) -> list[str]:
        """The 29 labels, those of the view last; or `classes`."""
        return list(self.classes or self.names)

    def tables(self) -> Mapping[str, Table]:
        """Read the tables of the videos and split by video."""
        places = [f"{base}{name}" for base in ("", "Galar_labels_and_metadata/") for name in ("Labels", "labels")]
        folder = self.present(*places)
        every, read = [], []
        bases = self._bases()
        for video in self._videos(folder):
            sheet = self._sheet(os.path.join(folder, f"{video}.csv"))
            labels = self.label_policy.cells(sheet, self.own_names)
            # What the split depends on: the labels of all frames, whatever the stride.
            groups = np.repeat(np.array([video.encode()]), len(sheet))
            every.append(Table(folder, "", np.array(sheet.lines, dtype=np.int32), groups, labels, groups))
            rows = range(0, len(sheet), self.stride)
            part = sheet.take(rows)
            pictures = self._pictures(part, video, bases)
            read.append(self.rows(part, pictures, labels=labels[rows], groups=[video] * len(part)))
        parts = split_off({"train": joined(every)}, self.fractions, self.split_seed)
        columns: dict[str, Any] = {name: np.concatenate([getattr(each, name) for each in read]) for name in _COLUMNS}
        table = _Videos(folder, self.root, **columns)
        return {
            split: table.take(np.flatnonzero(np.isin(table.groups, np.unique(part.groups))))
            for split, part in parts.items()
        }

    def _videos(self, folder: str) -> list[str]:
        """Return the names of the videos that have a table, or of those that are asked for."""
        stems = [os.path.splitext(name)[0] for name in storage.names(folder) if name.lower().endswith(".csv")]
        present = sorted((stem for stem in stems if stem.isdecimal()), key=int)
        wanted = present if self.videos is None else [str(video) for video in self.videos]
        absent = [video for video in wanted if video not in present]
        if absent or not wanted:
            raise InputError(f"a table {absent[0] if absent else 'VIDEO'}.csv in {folder}", "nothing there", self._help)
        return list(dict.fromkeys(wanted))

    def _sheet(self, path: str) -> Sheet:
        """Read the table of a video, with the columns it lacks as blanks."""
        sheet = read_sheet(path)
        official = {name.casefold(): name for name in (*self.names, "frame")}
        header = [official.get(name.casefold(), name) for name in sheet.header]
        lacking = [name for name in self._in_some if name not in header]
        return replace(sheet, header=header).with_columns(dict.fromkeys(lacking, [""] * len(sheet)))

    def _bases(self) -> list[str]:
        """Return the folders, relative to the root, in which the folders of the videos may lie."""
        bases = ["Frames", "frames", "."]
        for base in list(bases):
            path = os.path.join(self.root, base)
            if storage.is_folder(path):
                bases += [f"{base}/{name}" for name in sorted(storage.names(path)) if name.startswith("Galar_Frames")]
        return bases

    def _pictures(self, sheet: Sheet, video: str, bases: list[str]) -> list[str]:
        """Return the path of each row's frame relative to the root."""
        places = [f"{base}/{prefix}{video}" for base in bases for prefix in ("", "recording_")]
        place = next((place for place in places if storage.is_folder(os.path.join(self.root, place))), None)
        if place is None:
            raise InputError(
                f"the frames of video {video} in {os.path.join(self.root, 'Frames', video)}",
                "nothing there",
                f"{self._help}; data.videos reads some of the videos",
            )
        files = {}
        for name in storage.names(os.path.join(self.root, place)):
            if not name.startswith(".") and (match := _FRAME.search(name)):
                files[int(match[1])] = name
        pictures = []
        for row, text in enumerate(sheet.column("frame")):
            if not text.isdecimal():
                raise InputError(f"the number of a frame in {sheet.where(row)}", repr(text), "correct the value")
            pictures.append(f"{place}/{files.get(int(text), f'frame_{int(text):06d}.PNG')}")
        return pictures


class _Videos(Table):
    """Rows of several tables, one for each video, all in the folder `file`."""

    def where(self, row: int) -> str:
        """Name a row for a message."""
        return f"{os.path.join(self.file, decode(self.groups[row]))}.csv, line {self.lines[row]}"
