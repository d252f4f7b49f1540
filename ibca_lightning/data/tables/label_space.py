"""Which class of one data set is which class of another: by name, and by a table of names that mean the same."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ibca_lightning.data import storage
from ibca_lightning.data.tables.labels import UNKNOWN, plain_name
from ibca_lightning.system.errors import InputError, doubled
from ibca_lightning.system.model_files.model_record import load_plain, model_record
from ibca_lightning.system.strangers import read_bytes, told

# Names of one finding in the sets that we read. Only what means the same is here: `Nodule/Mass` (VinDr-CXR) is neither
# a nodule nor a mass, `Lung Lesion` (CheXpert) is more than both, `hiatal hernia` (PadChest) is less than a hernia, and
# the letters of ODIR are too short to be safe. What fits your question better goes into `label_aliases`.
SAME = (
    # Chest: ChestX-ray14, ChestMNIST, CheXpert, PadChest, VinDr-CXR, MedFM ChestDR.
    ("effusion", "pleural effusion"),
    ("pleural thickening", "thickened pleura"),
    ("fibrosis", "pulmonary fibrosis"),
    ("infiltration", "infiltrates"),
    ("edema", "pulmonary edema", "lung edema"),
    ("mass", "pulmonary mass", "lung mass"),
    ("tuberculosis", "tb"),
    ("support devices", "support device"),
    ("other disease", "other diseases"),
    ("no finding", "no findings"),
    # Retina: MuReD, RFMiD, ODIR, by code and by full name.
    ("dr", "diabetic retinopathy"),
    ("armd", "amd", "age related macular degeneration"),
    ("mh", "media haze"),
    ("dn", "drusen"),
    ("mya", "myopia", "pathological myopia"),
    ("brvo", "branch retinal vein occlusion"),
    ("crvo", "central retinal vein occlusion"),
    ("tsln", "tessellation"),
    ("odc", "optic disc cupping"),
    ("odp", "optic disc pallor"),
    ("ode", "optic disc edema"),
    ("cnv", "choroidal neovascularisation", "choroidal neovascularization"),
    ("rs", "retinitis"),
    ("ls", "laser scars", "laser scar"),
    ("csr", "central serous retinopathy"),
    ("htr", "hypertensive retinopathy"),
    ("asr", "arteriosclerotic retinopathy"),
    ("crs", "chorioretinitis"),
)
_MEANING = {name: names[0] for names in SAME for name in names}
_MOST = 2**22  # bytes of a file of names: 50,000 of them, and more
_REST = frozenset({"other", "others", "other disease", "other lesion"})  # what they hold depends on the other classes


@dataclass(frozen=True)
class LabelSpace:
    """The classes a data set is read with, and where each of them stands in its own table.

    Attributes:
        names: The L classes.
        sources: For each class its column among the data set's own classes; None where it has no such class.
    """

    names: tuple[str, ...]
    sources: tuple[int | None, ...]

    @property
    def absent(self) -> list[str]:
        """The classes that the data set does not have."""
        return [name for name, source in zip(self.names, self.sources, strict=True) if source is None]

    def labels(self, own: NDArray[np.int8]) -> NDArray[np.int8]:
        """Return labels (N, L) of the data set's own (N, K); -1 where it has no such class."""
        labels = np.full((len(own), len(self.names)), UNKNOWN, dtype=np.int8)
        for at, source in enumerate(self.sources):
            if source is not None:
                labels[:, at] = own[:, source]
        return labels

    def summary(self, own: Sequence[str]) -> str:
        """Say in one line what became of the classes."""
        pairs = [(name, own[s]) for name, s in zip(self.names, self.sources, strict=True) if s is not None]
        renamed = [f"{name} = {theirs}" for name, theirs in pairs if name != theirs]
        rest = [name for at, name in enumerate(own) if at not in self.sources]
        parts = [f"{len(pairs)} of {len(self.names)} classes are in the data"]
        parts += [f"under another name: {', '.join(renamed)}"] if renamed else []
        rests = [name for name, _ in pairs if meaning(name) in _REST]
        if rests and {meaning(name) for name in own} != {meaning(name) for name in self.names}:
            parts.append(f"not the same findings in both, as the other classes differ: {', '.join(rests)}")
        parts += [f"unknown: {', '.join(self.absent)}"] if self.absent else []
        parts += [f"of the data not used: {', '.join(rest)}"] if rest else []
        return "label space: " + "; ".join(parts)


def match(names: Sequence[str], own: Sequence[str], aliases: Mapping[str, str] | None = None) -> LabelSpace:
    """Find each class among the classes of a data set.

    A class is found by an alias of the user's (from a class of the data set to one that is wanted), else by its name,
    else by its name without regard to case, `_`, `-` and blanks, else by the table `SAME`.

    Raises:
        InputError: If no class is found, several classes of the data set mean the same one, or an alias names no class.
    """
    aliases = aliases or {}
    for theirs, ours in aliases.items():
        for name, known, what in ((theirs, own, "the data"), (ours, names, "the label space")):
            if name not in known:
                expected = f"data.label_aliases from a class of the data to one of the label space, '{theirs}: {ours}'"
                raise InputError(expected, f"no class '{name}' in {what} ({', '.join(known)})", "correct it")
    found: dict[str, int] = {}
    free = {at for at, theirs in enumerate(own) if theirs not in aliases}
    for theirs, ours in aliases.items():
        found[ours] = own.index(theirs)
    for form in (str, plain, meaning):
        for name in names:
            if name in found:
                continue
            same = [at for at in sorted(free) if form(own[at]) == form(name)]
            if len(same) > 1:
                fix = f"choose with data.label_aliases, such as '{own[same[0]]}: {name}'"
                raise InputError(f"one class of the data for '{name}'", ", ".join(own[at] for at in same), fix)
            if same:
                found[name] = same[0]
                free.discard(same[0])
    if not found:
        expected = f"a class of the label space ({', '.join(names)}) among those of the data"
        fix = "name those that mean the same in data.label_aliases, as {CLASS_OF_THE_DATA: CLASS}"
        raise InputError(expected, ", ".join(own), fix)
    return LabelSpace(tuple(names), tuple(found.get(name) for name in names))


def union(spaces: Sequence[Sequence[str]]) -> list[str]:
    """Return every class of several data sets once, under the name of the first set that has it, in order.

    Examples:
        >>> from ibca_lightning.data.tables.label_space import intersection, union
        >>> sets = [["DR", "MH"], ["diabetic retinopathy", "glaucoma"]]
        >>> union(sets), intersection(sets)
        (['DR', 'MH', 'glaucoma'], ['DR'])
    """
    names: dict[str, str] = {}
    for own in spaces:
        for name in own:
            names.setdefault(meaning(name), name)
    return list(names.values())


def intersection(spaces: Sequence[Sequence[str]]) -> list[str]:
    """Return the classes that all data sets have, under the first one's names and in its order.

    Raises:
        InputError: If there is none.
    """
    shared = [{meaning(name) for name in own} for own in spaces]
    names = [name for name in union(spaces[:1]) if all(meaning(name) in own for own in shared)]
    if not names:
        got = " / ".join(", ".join(own) for own in spaces)
        raise InputError("a class that all data sets have", got, "or take the union")
    return names


def plain(name: str) -> str:
    """Return a name without regard to case, `_`, `-` and doubled blanks."""
    return " ".join(plain_name(name).replace("_", " ").replace("-", " ").split())


def meaning(name: str) -> str:
    """Return what stands for a name and all others that mean the same."""
    return _MEANING.get(plain(name), plain(name))


def read_label_space(space: Sequence[str] | str | None) -> list[str] | None:
    """Read the option `label_space`: class names, a checkpoint of `ibca fit`, or a text file with one name a line.

    Raises:
        InputError: If there is no such file, it holds no names, or a name stands there twice.
    """
    if space is None:
        return None
    names = _read(space) if isinstance(space, str) else [str(name) for name in space]
    if not names or len(set(names)) < len(names):
        got = f"'{doubled(names)[0]}' twice" if names else "none"
        raise InputError("class names in data.label_space, each once", got, "correct it")
    return names


def _read(path: str) -> list[str]:
    if not storage.is_file(path):
        expected = "data.label_space as a list of class names, a checkpoint, or a file with a name a line"
        raise InputError(expected, f"no file at {path}", "correct the path, or write [NAME, NAME]")
    if os.path.splitext(path)[1] == ".ckpt":
        return [str(name) for name in model_record(load_plain(storage.here(path), mmap=True), path)["class_names"]]
    try:
        lines = re.split(r"\r\n?|\n", read_bytes(storage.here(path), _MOST).decode("utf-8-sig"))
        return [line.strip() for line in lines if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        fix = "give RUN/checkpoints/best.ckpt, or a text file"
        raise InputError(f"class names in {path}", told(error), fix) from error
