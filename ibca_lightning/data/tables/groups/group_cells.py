"""What a cell of a group column may not be: a word for nobody, an error of a spreadsheet, a number that one has cut."""

import re
import unicodedata
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ibca_lightning.data.tables.distinct import distinct
from ibca_lightning.data.tables.groups.respelt import is_cut, made_dates
from ibca_lightning.data.tables.labels import is_blank

# What stands for a patient whom nobody knows: all such rows would be one group. Letters that may be somebody's initials
# (nk, nn, x) are not here.
_WORDS = """
    unknown, unk, unidentified, undefined, undetermined, unspecified, unassigned, unnamed, unavailable, missing, nat,
    nil, nan.0, n.a, n/k, n.k, k.a, tbd, tba, tbc, anonymous, anonymised, anonymized, anonym, anonyme, anonimo,
    anonymisiert, deidentified, de-identified, pseudonymised, pseudonymized, redacted, not known, not available,
    not applicable, not recorded, not given, not provided, to be determined, unbekannt, inconnu, inconnue, desconocido,
    desconocida, desconhecido, sconosciuto, onbekend, okänd, ukjent, xxx, xxxx, xxxxx
"""
_NOBODY = frozenset(tuple(re.split(r"[\s-]+", text.strip())) for text in _WORDS.split(","))
_SOMEBODY = frozenset(("patient", "subject", "participant", "person", "case", "id", "name", "identifier", "pid", "mrn"))
_IDENTIFIER = re.compile(r"[A-Za-z_-]*\d[\w-]*", re.ASCII)  # as nearly all are
# Excel, LibreOffice, and the C library of Windows for NaN.
_ERROR = re.compile(r"#(?:ref|value|div/0|num|null|spill|calc|field|blocked|connect)!|#name\?|#n/?a|#getting_data"
                    r"|err:\d{3}|[+-]?\d\.#(?:qnan|snan|ind|inf)\d*|[+-]?nan(?:\(\w*\))?")  # fmt: skip
_EXACT = 15  # digits of a number that a spreadsheet keeps
_CODE = re.compile(r"0+(?:\.0+)?|-\d+(?:\.0+)?|9{2,}(?:\.0+)?|x{1,2}|n[nkas]|others?|dummy|test|default")
_LEAST, _OTHERS = 10, 5  # rows of a group, and other groups, for its size to say something


def wrong_group(text: str) -> tuple[str, str] | None:
    """Say what is wrong with a cell, and what to do about it; None where it may be somebody's name.

    Examples:
        >>> from ibca_lightning.data.tables.groups.group_cells import wrong_group
        >>> [wrong_group(text) is None for text in ("0012", "unknown 7", "Unknown patient", "#REF!", "1.23457E+12")]
        [True, True, False, False, False]
    """
    if _IDENTIFIER.fullmatch(text):
        return None
    fill = "fill in the group column; a row that belongs to no other gets a name of its own"
    plain = unicodedata.normalize("NFKC", text).strip().casefold()
    if is_blank(plain):
        return f"'{text}'" if text else "a blank", fill
    if is_cut(plain):
        fix = "take it from where it is whole, and keep the column as text: cut, many may have become one"
        return f"'{text}', a number as a spreadsheet shortens it", fix
    if _ERROR.fullmatch(plain):
        return f"'{text}', an error of a spreadsheet", f"correct the formula, or {fill}"
    words = _words(plain)
    rest = [word for word in words if word not in _SOMEBODY]
    nobody = is_blank(" ".join(rest)) or tuple(rest) in _NOBODY or rest in (["no"], ["without"])
    return (f"'{text}'", fill) if nobody and (rest or not words) else None


def _words(plain: str) -> list[str]:
    """The words of a cell, without what stands round it; none where it is `#`, `--` or `{}`."""
    return re.split(r"[\s_-]+", inner) if (inner := re.sub(r"^[\W_]+|[\W_]+$", "", plain)) else []


def doubtful_groups(groups: NDArray[np.bytes_], of_ids: bool = False) -> Iterator[tuple[str, str, str, str]]:
    """Say what of the groups (N,) of all rows looks as if it were not a patient each, as kind, what, fix, example.

    A code such as 0, -1 or 9999 counts where it has ten rows or more, twice those of the next and five times those of
    half of the others: as one of many patients it is a number like any other. Dates count among other names, or where
    the column is known to hold ids.
    """
    names, of_rows = distinct(groups)
    counts, texts = np.bincount(of_rows), [name.decode() for name in names.tolist()]
    if len(texts) > _OTHERS:
        far = int(counts.argmax())
        rest = np.delete(counts, far)
        large = counts[far] >= max(_LEAST, 2 * rest.max(), 5 * np.median(rest))
        if large and _CODE.fullmatch(texts[far].casefold()):
            what = f"a group that is called like a code for nobody has {counts[far]} rows, the next one {rest.max()}"
            fix = "give each such row a name of its own in the group column, unless it is one patient"
            yield "unknown group", what, fix, f"'{texts[far]}'"
    long = [text for text in texts if re.fullmatch(rf"\d{{{_EXACT + 1},}}", text)]
    if len(long) >= _OTHERS and not any(text[_EXACT:].strip("0") for text in long):
        what = f"all {len(long)} groups of more than {_EXACT} digits end in zeros, as a spreadsheet cuts numbers"
        yield "cut groups", what, "take them from where they are whole, and read the column as text", f"'{long[0]}'"
    if dates := made_dates(texts, of_ids):
        what = f"{len(dates)} of {len(texts)} groups are dates, as a spreadsheet makes them of MAR-1 or 3-1"
        yield (
            "dates for groups",
            what,
            "take them from where they are whole, and keep the column as text",
            f"'{dates[0]}'",
        )
