"""Where the files of a release lie in copies of it: folders doubled by an unpacker, or all of it a folder deeper."""

import os
from collections.abc import Iterator, Sequence

from ibca_lightning.data import storage
from ibca_lightning.system.errors import InputError, first_of

_SHOWN = 6  # entries of a folder that a message names
_PACKED = (".zip", ".7z", ".rar", ".tar", ".tgz", ".tar.gz")


def first_present(root: str, candidates: Sequence[str], fix: str) -> str:
    """Return the first of some paths that exists below a root, or else below one of its folders.

    Unpackers often double a folder (`images/images`): for each candidate that is tried first. All are relative to the
    root, in POSIX form.

    Raises:
        InputError: If none does, with what is there instead and `fix` as what to do; or if several folders have one.
    """
    for base in _bases(root, candidates, fix):
        return os.path.join(root, base, _hits(os.path.join(root, base), candidates)[0])
    raise InputError(f"{' or '.join(candidates[:2])} in {root}", _instead(root, candidates[0]), fix)


def all_present(root: str, candidates: Sequence[str], fix: str) -> list[str]:
    """Return those of some folders that exist below a root, or else below one of its folders, relative to the root.

    A doubled one stands before it.

    Raises:
        InputError: As `first_present`.
    """
    for base in _bases(root, candidates, fix):
        inside = [f"{base}/{path}" if base else path for path in _hits(os.path.join(root, base), candidates)]
        if folders := [path for path in inside if storage.is_folder(os.path.join(root, path))]:
            return folders
    expected = f"at least one of the folders {', '.join(candidates[:3])}, ... in {root}"
    raise InputError(expected, _instead(root, candidates[0]), fix)


def found_in(folder: str) -> str:
    """Name what lies in a folder, in a line."""
    kept = {name: is_folder for name, is_folder in storage.entries(folder).items() if not name.startswith(".")}
    names = sorted(f"{name}/" if is_folder else name for name, is_folder in kept.items())
    names = [f"{name} (not unpacked)" if name.lower().endswith(_PACKED) else name for name in names]
    return first_of(names, _SHOWN) or "nothing there"


def _instead(root: str, path: str) -> str:
    """Name what lies where a path ends to be there."""
    while path and not storage.is_folder(os.path.join(root, path)):
        path = os.path.dirname(path)
    return (f"in {path}: " if path else "") + found_in(os.path.join(root, path))


def _bases(root: str, candidates: Sequence[str], fix: str) -> Iterator[str]:
    """The root, or its one folder, that has one of the candidates; nothing where there is none."""
    if _hits(root, candidates):
        yield ""
        return
    folders = sorted(name for name, is_folder in storage.entries(root).items() if is_folder)
    having = [name for name in folders if _hits(os.path.join(root, name), candidates)]
    if len(having) > 1:
        raise InputError(f"{' or '.join(candidates[:2])} once below {root}", f"it in {', '.join(having[:3])}", fix)
    yield from having


def _hits(base: str, candidates: Sequence[str]) -> list[str]:
    paths = [path for name in candidates for path in (*_doubled(name), name)]
    return [path for path in paths if storage.exists(os.path.join(base, path))]


def _doubled(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join([*parts[: at + 1], *parts[at:]]) for at in reversed(range(len(parts)))]
