"""Paths that a table or an option names: inside the root, present, with the extension they lack."""

import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ibca_lightning.data import storage
from ibca_lightning.data.tables.distinct import are_among, distinct
from ibca_lightning.data.tables.groups.respelt import lost_name
from ibca_lightning.data.tables.sheet import Sheet
from ibca_lightning.system.errors import InputError

# In the order in which they are tried; the first is for an id that carries its extension.
_EXTENSIONS = ("", ".png", ".tif", ".jpg", ".jpeg", ".tiff", ".PNG", ".TIF", ".JPG", ".JPEG", ".TIFF", ".dicom", ".dcm")

_BLOCK = 2**15  # names that are looked at together, so that they stay in the cache

# A relative path with nothing in it to judge or to normalise, as nearly all of 100,000 rows have it.
is_plain = re.compile(r"[^/\\.][^/\\]*(?:/[^/\\.][^/\\]*)*").fullmatch


def are_plain(names: NDArray[np.bytes_]) -> bool:
    """Whether all of them, in UTF-8, are, by one look at millions."""
    for start in range(0, len(names), _BLOCK):
        letters = names[start : start + _BLOCK].view(np.uint8).reshape(-1, names.itemsize)
        slash = letters == ord("/")
        begins = np.pad(slash[:, :-1], ((0, 0), (1, 0)), constant_values=True)
        empty = begins & (slash | (letters == 0))  # what stands between two slashes, or is the whole
        if (empty | begins & (letters == ord(".")) | (letters == ord("\\"))).any() or slash[:, -1].any():
            return False
    return True


_FOLDERS = 8  # behind a URL that are listed one by one


def check_root(root: str, fix: str = "correct data.root", what: str = "the folder of the data set (data.root)") -> None:
    """Check that the folder of a data set, or `what`, is there.

    Raises:
        InputError: If it is not, with `fix` as what to do.
    """
    if not storage.is_folder(root):
        got = "a file" if storage.exists(root) else "nothing there"
        whole = os.path.isabs(root) or storage.is_remote(root)
        where = "" if whole else ", seen from the current folder"
        # The config.yaml of a run has the paths as they were seen when it began.
        if re.match(r"~|.*\$[A-Za-z_{]", root):  # Python takes neither for another path
            fix = "give os.path.expanduser(os.path.expandvars(PATH)), as the command line does"
        fix += "" if whole else ", or go to the folder that the configuration's paths are seen from"
        raise InputError(f"{what} at {root}{where}", got, fix)


def find_pictures(
    sheet: Sheet,
    ids: Sequence[str],
    folder: str,
    below: Sequence[str] = ("",),
    fix: str = "restore the picture or remove the row",
) -> list[str]:
    """Find the file names of ids that a data set gives without extension, or without the folder of several they lie in.

    Args:
        sheet: The table, for messages.
        ids: For each row an id, with or without extension.
        folder: The picture folder.
        below: The folders below it that are searched, each listed once; not the folders below those.
        fix: What to do where a picture is absent.

    Returns:
        For each row the path of its file relative to the folder.

    Raises:
        InputError: If there is no file for an id.
    """
    entries: dict[str, str] = {}
    for part in below:
        for entry in storage.names(os.path.join(folder, part)):
            entries.setdefault(entry, f"{part}/{entry}" if part else entry)
    names, gone = [], []
    for row, name in enumerate(ids):
        found = entries.get(name) or next((entries[name + end] for end in _EXTENSIONS if name + end in entries), None)
        # What is not in the folders themselves goes on as it is, for build_table to judge: a path, or one that leaves.
        if found is None and "/" not in name and "\\" not in name:
            gone.append(row)
        names.append(found or name)
    if gone:
        fix = lost_name(ids[gone[0]]) or fix
        where = folder if below == ("",) else f"{folder}, in {', '.join(below[:3])}{' ...' * (len(below) > 3)}"
        raise missing(
            [f"a picture {ids[row] or 'ID'}{_ending(ids[row])} in {where} ({sheet.where(row)})" for row in gone], fix
        )
    return names


def missing(expected: Sequence[str], fix: str) -> InputError:
    """Return the error for files that are absent: it names the first, counts the others and carries them along."""
    more = f", as on {len(expected) - 1} further lines" if len(expected) > 1 else ""
    further = [InputError(each, "nothing there", fix) for each in expected[1:]]
    return InputError(expected[0], f"nothing there{more}", fix, further)


def _ending(name: str) -> str:
    return "" if name.lower().endswith(_EXTENSIONS[1:6]) else "|".join(_EXTENSIONS[1:4])


def inside(name: str, root: str, folder: str, where: str) -> str:
    """Check that a path stays in the root, by its text: a symbolic link in the root is the user's choice.

    Args:
        name: A path relative to `folder`, or an absolute one.
        root: The folder of the data set.
        folder: The folder the path is relative to.
        where: File and line, or the option, for the message.

    Returns:
        The path relative to `folder`, in POSIX form and without `.` or doubled slashes.

    Raises:
        InputError: If the path is blank, holds `..`, or is absolute and outside the root.

    Examples:
        >>> from ibca_lightning.data.tables.paths import inside
        >>> inside("./train//a.png", root="data", folder="data", where="train.csv, line 2")
        'train/a.png'
    """
    if is_plain(name):
        return name
    if not name:
        raise InputError(f"the path of a picture in {where}", "a blank", "fill in the path or remove the row")
    if ".." in re.split(r"[/\\]", name):
        raise InputError(f"a path below {folder} in {where}", f"'{name}'", "write a path without '..'")
    if os.path.isabs(name) or storage.is_remote(name):
        path = storage.normal(name)
        if not path.startswith(os.path.join(storage.absolute(root), "")):
            raise InputError(f"a path inside {root} in {where}", f"'{name}'", "write a path relative to that folder")
        name = os.path.relpath(path, storage.absolute(folder))
    return os.path.normpath(name).replace(os.sep, "/")


def absent(folder: str, names: NDArray[np.bytes_]) -> list[int]:
    """Find the rows whose file, named in UTF-8 relative to a folder, does not exist.

    Each folder is listed once: on network storage asking for 100,000 files one by one takes minutes. Where folders hold
    a picture or two each (CheXpert), asking for the files is cheaper.
    """
    heads, of_rows = _heads(names)
    present: Iterable[list[bytes]]
    if storage.is_remote(folder) and len(heads) > _FOLDERS:  # there all names below come a thousand at a time
        listed = {*heads}
        present = [[name.encode() for name in storage.files_below(folder)]]
    else:
        counts = np.bincount(of_rows, minlength=len(heads)).tolist()
        listed = {head for head, count in zip(heads, counts, strict=True) if count > 3}
        present = _files(folder, listed)
    rows = np.flatnonzero(~are_among(names, present)).tolist()
    texts = [bytes(names[row]).decode() for row in rows]
    # A file system that ignores case, or normalises Unicode, finds what the listing spells otherwise.
    told = {name for name in texts if _head(name) in listed and "/." not in f"/{name}"}  # hidden ones are not listed
    told = told if storage.is_bucket(folder) else set()
    gone = told | {name for name in {*texts} - told if not storage.is_file(os.path.join(folder, name))}
    return [row for row, name in zip(rows, texts, strict=True) if name in gone]


def _heads(names: NDArray[np.bytes_]) -> tuple[list[str], NDArray[np.intp]]:
    """What stands before the last slash of a name, "" where none does: each once, and which of them a row has."""
    heads, ends = names.copy(), np.strings.rfind(names, b"/")
    letters = heads.view(np.uint8).reshape(len(names), -1)
    for start in range(0, len(names), _BLOCK):
        letters[start : start + _BLOCK] *= np.arange(names.itemsize) < ends[start : start + _BLOCK, None]
    found, of_rows = distinct(heads)
    return [head.decode() for head in found.tolist()], of_rows


def _files(folder: str, heads: Iterable[str]) -> Iterator[list[bytes]]:
    """The files of folders below a folder, relative to it, a folder at a time."""
    for head in heads:
        within = f"{head}/".encode() if head else b""
        try:
            yield [within + name for name in storage.files(os.path.join(folder, head))]
        except OSError:
            continue


def _head(name: str) -> str:
    return name.rpartition("/")[0]


def suggestion(folder: str, name: str) -> str:
    """Guess what to do about a picture that is absent; blank where there is no guess."""
    for tail in (name.replace("\\", "/"), re.split(r"[/\\]", name)[-1]):  # as Windows writes it, or from elsewhere
        head, file = os.path.split(os.path.join(folder, tail))
        if not storage.is_folder(head):
            continue
        wanted, entries = _spelt(file), sorted(storage.names(head))
        if similar := [entry for entry in entries if _spelt(entry) == wanted]:
            written = os.path.join(os.path.dirname(tail), similar[0])
            alike = unicodedata.normalize("NFC", written) == unicodedata.normalize("NFC", name)
            how = " (in the other form of Unicode)" if alike else ""
            return f"write '{written}'{how}, as the file is called"
        if similar := [entry for entry in entries if _spelt(os.path.splitext(entry)[0]) == wanted]:
            return f"write the extension, as in {similar[0]}"
        if similar := [
            entry for entry in entries if _spelt(entry).rpartition(".")[0] == wanted.rpartition(".")[0] != ""
        ]:
            return f"there is {similar[0]}: correct the extension"
    if lost := lost_name(name):
        return lost
    head = os.path.dirname(os.path.join(folder, name))
    return "" if storage.is_folder(head) else f"there is no folder {head}: check root and image_dir"


def _spelt(name: str) -> str:
    """Without regard to case, the form of Unicode, and blanks round it."""
    return unicodedata.normalize("NFKC", name).casefold().strip()
