"""Rows that may show one patient, where no group column says so: found in other columns and in the names of files.

A column is taken for one of patients by this rule:

1. Its name has a word of a patient (`patient`, `subject`, `case`, `lesion`, `video`, ...), and nothing that is known of
   patients (`Patient Age`): three different values or more.
2. Or its name has no word of something else (age, sex, site, device, date, grade, ...), and its values are identifiers,
   ten or more of them, none in more than a fifth of the rows, on average in 50 rows at most: a digit in each, no blank,
   no decimal, no date; and either rows of one value stand together, or the values are more than a short number and come
   in 10 rows at most.

In both, nearly all rows are filled in and values come again. Columns with another use (labels, subgroups) are never
asked; one that is excluded is. Of the names of files these are asked: folders whose names are such values; `0_left` and
`0_right`, `od` and `os`, `l` and `r`; `p012_a` and `p012_b`; `p012_1` and `p012_2` where the numbers begin again or
a word of a patient stands before them. Where a column is named that puts rows into groups, `finer` says what is asked.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ibca_lightning.data.tables.distinct import all_differ, distinct
from ibca_lightning.data.tables.doubts import Doubt
from ibca_lightning.data.tables.groups.finer import above, within_names
from ibca_lightning.data.tables.labels import is_blank
from ibca_lightning.data.tables.sheet import Sheet
from ibca_lightning.data.tables.table import Table, decode

# Looked for anywhere in a name; the short ones as words by themselves.
_PATIENT = re.compile(
    r"(?i)patient|subject|participant|proband|paciente|person|individual|animal|(?:lesion|video|slide|specimen)(?!s)"
    r"|(?<![a-z])(?:pid|mrn|pat|pt|case|caso|fall|cas|eye_?id)(?![a-z])"
)
_PERSON = re.compile(
    r"(?i)patient|subject|participant|proband|paciente|person|individual|animal|(?<![a-z])(?:pid|mrn|pat|pt)(?![a-z])"
)
_OTHER_WORDS = """
    age sex gender race ethnicity alter geschlecht edad sexo sexe site hospital center centre clinic klinik
    institution institute country city region department ward device camera scanner vendor manufacturer maker
    model machine modality protocol view laterality side position orientation date day month year time timestamp
    datum fecha quality width height rows cols columns size weight bmi score grade stage level severity degree
    type kind class category label labels diagnosis diagnose diag dx code icd snomed finding findings disease
    status outcome comment comments note notes remark remarks keyword keywords description text report reader
    rater annotator grader doctor physician author expert format ext extension url location localization
    localisation anatomy anatomic organ part quadrant segment bbox box area diameter pixel pixels spacing
    thickness resolution iso exposure kv kvp fold split subset partition batch dataset database prob probability
    confidence smoking pressure iop hba1c ldl hdl count eta wiek taille appareil equipo gerat geraet standort
    hopital zentrum centro seite auge oeil ojo cote sesso plec fichier archivo datei jahr annee naissance
"""
_OTHER = frozenset(_OTHER_WORDS.split())
# Of what a patient has several.
_PART_WORDS = """
    visit visits visite besuch study studies exam exams examination session encounter admission appointment procedure
    scan series image picture frame slice timepoint followup eye eyes lesion video slide case accession
"""
_SET_WORDS = "group groups gruppe cohort kohorte arm team trial project series family"  # of patients
_PARTS, _SETS = (frozenset(words.split()) for words in (_PART_WORDS, _SET_WORDS))
_IDENTIFIER = re.compile(r"(?=\S*\d)[^\s,;]{1,64}")
_DECIMAL = re.compile(r"[+-]?\d*[.,]\d+(?:e[+-]?\d+)?|-\d+")
_DATE = re.compile(
    r"(?:19|20)\d\d([-/._]?)(?:0?[1-9]|1[0-2])\1(?:0?[1-9]|[12]\d|3[01])(?:\D.*)?|\d\d?[-/.]\d\d?[-/.]\d{2,4}"
)
_SHORT = re.compile(r"[1-9]\d{0,3}|0")
_SIDES = re.compile(r"(?i)(.*?)[ _.-]?(left|right|od|os|links|rechts|izq|der|l|r|lt|rt)")
_LETTERS = re.compile(r"(?i)(.*\d)[ _.-]?([a-e])")
_NUMBERS = re.compile(r"(.*\d.*)[ _.-]([A-Za-z]{0,4}\d{1,4}(?:[A-Za-z]\d{1,3})?)")
_SHARD = re.compile(r"[0-9a-fA-F]{1,2}")
_BETWEEN = r"[\s_:;=#/\\|.,^\u2010-\u2015\u2212-]"  # letter and number of one id, dashes of word processors too
_THOUSANDS = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+")
_LEAST, _MOST = 10, 50  # values at least; rows a value at most, on average


class _Grouping(NamedTuple):
    """The value of each row, "" where it has none; what it comes from; what to do."""

    values: list[str]
    source: str
    fix: str


def grouping_doubts(
    tables: Mapping[str, Table],
    sheets: Iterable[Sheet],
    used: Sequence[str],
    column: str | None = None,
    header: Sequence[str] = (),
) -> list[Doubt]:
    """Say where rows of two splits seem to belong together though they are of two groups.

    Args:
        tables: The splits as they are trained and tested on.
        sheets: The files they come from; read only where they are needed.
        used: Columns with another use: picture, labels, subgroups.
        column: The column of the groups; None where each picture, or case, is one.
        header: The columns of the training table, which tell whether its file is needed.
    """
    groups = np.concatenate([table.groups for table in tables.values()])
    if len(tables) < 2:
        return []
    alone = all_differ(groups)
    if column is not None and not alone and not any(named(name) and name not in used for name in header):
        sheets = ()
        if within_names(list(map(decode, distinct(groups)[0]))) is None:
            return []
    rows = [(split, table, row) for split, table in tables.items() for row in range(len(table))]
    splits = [split for split, _, _ in rows]
    tries: list[Iterable[_Grouping]] = []
    if alone or column is None:
        tries += [_by_column(rows, list(sheets), used), _by_name([t.name(row) for _, t, row in rows])]
    else:
        tries += [_above(rows, list(sheets), used, column)]
    if column is not None:
        tries += [_by_group([decode(group) for group in groups], column)]
    start = "every case" if column is None else f"every value of '{column}'"
    start = "every picture" if alone else start
    for grouping in chain.from_iterable(tries):
        held: defaultdict[str, set[str]] = defaultdict(set)
        for split, value in zip(splits, grouping.values, strict=True):
            if value:
                held[value].add(split)
        shared = Counter(
            split for split, value in zip(splits, grouping.values, strict=True)
            if split != "train" and "train" in held[value]
        )  # fmt: skip
        if not shared:
            continue
        sizes = Counter(splits)
        told = " and ".join(f"{shared[split]} of {sizes[split]} pictures of {split}" for split in shared)
        far = next(at for at, value in enumerate(grouping.values) if splits[at] in shared and "train" in held[value])
        value = grouping.values[far]
        near = next(at for at in range(len(rows)) if splits[at] == "train" and grouping.values[at] == value)
        pair = " and ".join(f"{decode(rows[at][1].names[rows[at][2]])} in {splits[at]}" for at in (near, far))
        example = f"'{value}' ({pair})"
        what = f"{start} is a group of its own, but {grouping.source}: {told} have a partner in train"
        return [Doubt("no groups" if alone else "finer groups", what, grouping.fix, example)]
    return []


def _above(
    rows: Sequence[tuple[str, Table, int]], sheets: Sequence[Sheet], used: Sequence[str], column: str
) -> Iterator[_Grouping]:
    """Columns of patients above the groups, those of fewer first."""
    names = [name for name in sheets[0].header if name and name not in used and named(name)] if sheets else []
    names = [name for name in names if not _words(_spaced(name)) & _SETS]
    groups, found = [decode(table.groups[row]) for _, table, row in rows], []
    for name in names:
        person = of_patients(name)
        values = _values(rows, sheets, name)
        if (person or not of_patients(column)) and above(groups, values, person):
            found.append((not person, len(set(values)), name, values))
    for _, _, name, values in sorted(found):
        fix = f"set data.group_column to {name}, if each '{name}' is one patient"
        yield _Grouping(values, f"values of '{name}' hold several", fix)


def _by_group(groups: Sequence[str], column: str) -> Iterator[_Grouping]:
    """What the names of groups say of the patients they are of."""
    if (found := within_names([*dict.fromkeys(groups)])) is not None:
        heads, what = found
        fix = f"add a column of the patients, such as '{column}' without them, and name it in data.group_column"
        yield _Grouping([heads.get(group, "") for group in groups], f"its values end in {what} of one", fix)


def _by_column(
    rows: Sequence[tuple[str, Table, int]], sheets: Sequence[Sheet], used: Sequence[str]
) -> Iterator[_Grouping]:
    """Columns of patients, by name before by values, those of fewer and larger groups first."""
    names = [name for name in sheets[0].header if name and name not in used] if sheets else []
    found = []
    for name in names:
        columns = [sheet.column(name) if name in sheet.header else [""] * len(sheet) for sheet in sheets]
        texts = [text for column in columns for text in column]
        if like_patients(name, texts):
            found.append((coarsest_first(name, texts), name))
    for _, name in sorted(found, key=lambda each: each[0]):
        values = _values(rows, sheets, name)
        fix = f"set data.group_column to {name}, or to none if pictures of one '{name}' may stand apart"
        yield _Grouping(values, f"values of '{name}' come again", fix)


def _values(rows: Sequence[tuple[str, Table, int]], sheets: Sequence[Sheet], name: str) -> list[str]:
    """The value of each row in a column of the files; blank where it has none."""
    cells: dict[str, str] = {}
    for sheet in sheets:
        texts = sheet.column(name) if name in sheet.header else [""] * len(sheet)
        cells |= {sheet.where(row): "" if is_blank(text) else text.strip() for row, text in enumerate(texts)}
    return [cells.get(table.where(row), "") for _, table, row in rows]


def like_patients(name: str, texts: Sequence[str]) -> bool:
    """Whether a column may be one of patients, by the rule above.

    Examples:
        >>> from ibca_lightning.data.tables.groups.grouping import like_patients
        >>> texts = [f"{at // 2}" for at in range(40)]
        >>> [like_patients(name, texts) for name in ("Patient ID", "Patient Age", "âge", "key")]
        [True, False, False, True]
    """
    filled = [text.strip() for text in texts if not is_blank(text)]
    counts = Counter(filled)
    again = sum(count for count in counts.values() if count > 1)
    if not filled or again < max(2, 0.02 * len(filled)) or _words(_PATIENT.sub(" ", name)) & _OTHER:
        return False
    if named(name):
        return len(counts) >= 3 and 2 * len(filled) >= len(texts)
    return 10 * len(filled) >= 9 * len(texts) and _identify(filled, counts)


def _identify(filled: Sequence[str], counts: Counter[str]) -> bool:
    """Whether values look like those that tell patients apart, whatever the name of their column."""
    whole = {text: re.sub(r"\.0+$", "", text) for text in counts}
    ids = [
        text
        for text in whole.values()
        if _IDENTIFIER.fullmatch(text) and not (_DECIMAL.fullmatch(text) or _DATE.fullmatch(text))
    ]
    if len(counts) < _LEAST or len(filled) > _MOST * len(counts) or 5 * max(counts.values()) > len(filled):
        return False
    if len(ids) < 0.95 * len(counts):
        return False
    beside = sum(a == b for a, b in pairwise(filled))
    together = 2 * beside >= len(filled) - len(counts)
    short = sum(bool(_SHORT.fullmatch(text)) for text in ids) > len(ids) / 2
    return together or (not short and len(filled) <= 10 * len(counts))


def _by_name(names: Sequence[str]) -> Iterator[_Grouping]:
    """What folders and names of files say of which pictures belong together."""
    fix = "name a column of patients in data.group_column, or set that to none if such pictures may stand apart"
    parts = [name.split("/") for name in names]
    for depth in range(1, min(map(len, parts))):
        folders = ["/".join(part[:depth]) for part in parts]
        last = {folder.rpartition("/")[2] for folder in folders}
        patients = len(last) >= 3 and all(_PATIENT.search(folder) and re.search(r"\d", folder) for folder in last)
        ids = not all(map(_SHARD.fullmatch, last)) and _spread(Counter(folders)) and all(map(_plain_id, last))
        if (patients or ids) and max(Counter(folders).values()) > 1:
            yield _Grouping(folders, "pictures lie together in folders", fix)
            break
    stems = [re.sub(r"\.[A-Za-z]\w{0,5}$", "", name) for name in names]
    if len({stem.rpartition("/")[2] for stem in stems}) == len(stems):  # folders may be those of the splits
        stems = [stem.rpartition("/")[2] for stem in stems]
    digits = re.compile(f"[0-9a-f]{{{len(stems[0])}}}", re.IGNORECASE)
    hexadecimal = all(map(digits.fullmatch, stems)) and any(stem[-1].isdigit() for stem in stems)
    for pattern, what, numbered in (
        (_SIDES, "names of files come in pairs of sides", False),
        *([] if hexadecimal else [(_LETTERS, "names of files differ in their last letter", False)]),
        (_NUMBERS, "names of files differ in their last number", True),
    ):
        found = [pattern.fullmatch(stem) for stem in stems]
        heads = [
            each[1].strip(" _.-") if each and re.search(r"\d", each[1].rpartition("/")[2]) else "" for each in found
        ]
        counts = Counter(head for head in heads if head)
        tails = {(each[2].lower() if each else "") for each, head in zip(found, heads, strict=True) if counts[head] > 1}
        pairs = [head for head, count in counts.items() if count > 1]
        rows = sum(counts[head] for head in pairs)
        if len(pairs) < 3 or 20 * rows < len(names):
            continue
        begins_again = 2 * len(tails) <= rows or all(map(_PATIENT.search, pairs))
        ids = all(_plain_id(head.rpartition("/")[2]) for head in pairs)
        if numbered and not (_spread(counts) and begins_again and ids):
            continue
        yield _Grouping([head if counts[head] > 1 else "" for head in heads], what, fix)


def _spread(counts: Counter[str]) -> bool:
    """Whether groups are as many and as small as those of patients."""
    rows = counts.total()
    return len(counts) >= _LEAST and rows <= _MOST * len(counts) and 5 * max(counts.values()) <= rows


def _plain_id(text: str) -> bool:
    return bool(_IDENTIFIER.fullmatch(text)) and not _DATE.fullmatch(text) and not _words(text) & _OTHER


def named(name: str) -> bool:
    """Whether a column's name has a word of a patient, and nothing that is known of patients."""
    name = _spaced(name)
    return _PATIENT.search(name) is not None and not _words(_PATIENT.sub(" ", name)) & _OTHER


def of_patients(name: str) -> bool:
    """Whether it is one of patients, and not of videos, cases, lesions, eyes or visits, of which a patient has several.

    Examples:
        >>> from ibca_lightning.data.tables.groups.grouping import of_patients
        >>> [of_patients(name) for name in ("PatientID", "subject", "video", "Patient Age", "patient_visit")]
        [True, True, False, False, False]
    """
    name = _spaced(name)
    return named(name) and _PERSON.search(name) is not None and not _words(name) & _PARTS


def coarsest_first(name: str, texts: Sequence[str]) -> tuple[bool, int]:
    """What puts several columns of patients in order: by name before by values, fewer and larger groups first."""
    return not named(name), len(set(texts))


def _spaced(name: str) -> str:
    """`PatID` as `Pat ID`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)


def _words(name: str) -> set[str]:
    """The words of a name such as `PatientAge` or `exam_date`, in lower case."""
    name = without_accents(name)
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\d_]+", name)}


def otherwise_written(first: NDArray[np.bytes_], second: NDArray[np.bytes_]) -> list[tuple[int, int]]:
    """Find groups of two splits, or of one twice, that differ but may be one: `PT-3` and `pt3`, `0003` and `3.0`.

    Args:
        first: (N,) the group of each row.
        second: (M,) that of other rows.

    Returns:
        For each such pair the first row of either.
    """
    (ours, here), (theirs, there) = map(_first_rows, (first, second))
    spelt: dict[str, list[int]] = {}
    for at, group in enumerate(ours):
        spelt.setdefault(_canonical(group.decode()), []).append(at)
    return [
        (here[at], there[other])
        for other, group in enumerate(theirs)
        for at in spelt.get(_canonical(group.decode()), [])
        if ours[at] != group
    ]


def _first_rows(groups: NDArray[np.bytes_]) -> tuple[list[bytes], list[int]]:
    """The different groups in order, and the first row of each."""
    names, codes = distinct(groups)
    first = np.empty(len(names), np.intp)
    first[codes[::-1]] = np.arange(len(codes))[::-1]  # the last that is written stays
    return names.tolist(), first.tolist()


def _canonical(group: str) -> str:
    """What ways to write a group have in common.

    Without case, leading zeros, `.0`, commas of thousands, what nobody sees, and what stands round it or not between
    two numbers.
    """
    if group.isascii() and group.isalnum():  # as most are, in a fifth of the time
        return re.sub(r"(?<!\d)0+(?=\d)", "", group.lower())
    plain = re.sub(r"[\u00ad\u200b-\u200f\u2060\ufeff]", "", unicodedata.normalize("NFKC", group).casefold())
    plain = re.sub(r"\.0+$|,00?$", "", re.sub(r"^\W+|\W+$", "", plain) or plain)  # `.000` as SPSS writes it
    if _THOUSANDS.fullmatch(plain):
        plain = plain.replace(",", "")
    plain = re.sub(rf"({_BETWEEN}){_BETWEEN}+", r"\1", plain)
    plain = re.sub(rf"(?<!\d){_BETWEEN}|{_BETWEEN}(?!\d)", "", plain)
    if not plain.isascii():
        plain = re.sub(r"\d", lambda found: str(unicodedata.decimal(found[0])), plain)
    return re.sub(r"(?<!\d)0+(?=\d)", "", plain)


def without_accents(name: str) -> str:
    """`Âge` as `Age`, `płeć` as `plec`: names are known without them.

    Examples:
        >>> from ibca_lightning.data.tables.groups.grouping import without_accents
        >>> without_accents("Âge, Gerät, płeć")
        'Age, Gerat, plec'
    """
    if name.isascii():
        return name
    parted = unicodedata.normalize("NFKD", name.replace("ł", "l"))
    return "".join(letter for letter in parted if not unicodedata.combining(letter))
