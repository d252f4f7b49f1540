"""What each column of a table is for: picture, patient, split, label, subgroup, or nothing, and why."""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from itertools import takewhile
from os.path import splitext
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ibca_lightning.data.tables.columns import splits_of, two_tests, with_values
from ibca_lightning.data.tables.doubts import NORMAL, negating_all
from ibca_lightning.data.tables.groups.finer import within_names
from ibca_lightning.data.tables.groups.group_cells import doubtful_groups, wrong_group
from ibca_lightning.data.tables.groups.grouping import (
    coarsest_first,
    like_patients,
    named,
    of_patients,
    otherwise_written,
)
from ibca_lightning.data.tables.groups.respelt import lost_name
from ibca_lightning.data.tables.labels import MOSTLY, is_blank, parse_label
from ibca_lightning.data.tables.paths import suggestion
from ibca_lightning.data.tables.sheet import Sheet
from ibca_lightning.data.tables.table import encode
from ibca_lightning.datasets.layouts.bands import in_bands, limits_of, number
from ibca_lightning.datasets.layouts.picture_index import PictureIndex
from ibca_lightning.start import words
from ibca_lightning.start.label_form import (
    LEAST,
    Form,
    Reading,
    form_of,
    is_code,
    is_number,
    is_text,
    prefixed,
    says_present,
    slips,
)  # fmt: skip
from ibca_lightning.start.words import spaced
from ibca_lightning.system.errors import InputError, first_of

Role = Literal["picture", "group", "split", "label", "subgroup", "left out"]
Answer = Role | Reading | tuple[str, ...]  # the names of grades, from the lowest
_LOOKED_AT = 2000  # rows of a long table that tell whether a column names pictures
_WORDS = "they may be findings (label) or kinds of patients (subgroup)"
_TWO = (
    "two numbers: yes and no (write 0 and 1, or name it in label_columns and say in label_values which of them is "
    "present), or a code (subgroup)"
)
_CODED = "0 and 1 beside what may be a code for unknown (label, which takes it so), or all a code (subgroup)"
_WHOLE = "whole numbers: grades or numbers of findings (label), or a code (subgroup)"
_SPLIT = (
    "it may say what is for training and what for test: write train, val and test there for split_column, or the table "
    "is split anew, and its test rows are trained on"
)
_TESTS = (
    "external rows stand beside those of test, and their figures would be mixed: leave the rows of one out, or the "
    "table is split anew, and its test rows are trained on"
)
_ORDER = "ordered: true, names: [LOWEST, ..., WORST]"
_FEW = 12  # different values of a subgroup
_SHOWN = 5
_SAME = 0.9  # of the rows that hold either of two findings, for one to say the other again
_NEAR, _LONG = 0.8, 5  # how alike two names are of which one may be a slip, and the letters it takes to tell
_DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([ T].*)?|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}([ T].*)?")


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: As in the table.
        role: What it is taken for.
        why: The reason; of a column that is left out it holds no cell, as it is written into the YAML.
        seen: What its cells hold, for the screen alone.
        doubt: What speaks against it, as a line for the user; blank where nothing does. It too holds no cell.
        example: Of the doubt, for the screen alone.
        form: How its labels are written.
        bands: Where the bands of a subgroup of numbers end.
    """

    name: str
    role: Role
    why: str
    seen: str = ""
    doubt: str = ""
    example: str = ""
    form: Form | None = None
    bands: Sequence[int] = ()

    @property
    def told(self) -> str:
        """Why, with what its cells hold."""
        return self.why + f": {self.seen}" * bool(self.seen)

    @property
    def asked(self) -> str:
        """The doubt with its example, behind the name."""
        return f"'{self.name}': {self.doubt}" + f" ({self.example})" * bool(self.example)


@dataclass(frozen=True)
class _Texts:
    """The cells of a column, and the lines on which they stand."""

    name: str
    all: Sequence[str]
    lines: Sequence[int]

    @cached_property
    def counts(self) -> Counter[str]:
        """How often each filled cell comes."""
        return Counter(text for text in self.all if not is_blank(text))

    @property
    def filled(self) -> int:
        return self.counts.total()

    @property
    def blank(self) -> float:
        return 1 - self.filled / len(self.all)

    def lines_of(self, cells: Collection[str]) -> list[str]:
        """Where some cells stand."""
        return [f"line {line}" for line, text in zip(self.lines, self.all, strict=True) if text in cells]

    def shown(self) -> str:
        """The most frequent values."""
        most = [text if len(text) <= 30 else f"{text[:30]}..." for text, _ in self.counts.most_common(_SHOWN)]
        return ", ".join(most) + (f", ... ({len(self.counts)} different)" if len(self.counts) > _SHOWN else "")


def look(sheet: Sheet, index: PictureIndex, forced: Mapping[str, Answer] | None = None) -> list[Column]:
    """Say what each column with a name is, in the order of the table.

    Args:
        sheet: The table.
        index: The pictures.
        forced: What the user says that columns are, or how their labels are read.

    Raises:
        InputError: If no column names the pictures, or a picture stands in several rows.
    """
    forced = forced or {}
    texts = {name: _Texts(name, sheet.column(name), sheet.lines) for name in sheet.header if name}
    found = {each.name: each for each in _pictures(sheet, texts, index)}
    free = [name for name in texts if name not in found and name not in forced]
    group = next((name for name in forced if forced[name] == "group"), None) or _group([texts[name] for name in free])
    split = next((name for name in free if name != group and _is_split(texts[name])), None)
    if split is not None and group is not None and (cut := _cut(texts[split], texts[group])):
        doubt = f"it puts {cut} values of '{group}' into several splits: the table is split anew by '{group}'"
        found[split] = Column(split, "left out", "a split that cuts groups", texts[split].shown(), doubt)
    elif split is not None:
        found[split] = Column(split, "split", texts[split].shown())
    if group is not None:
        found[group] = _finer(_as_group(texts[group], group in forced), texts[group])
    for name, each in texts.items():
        if name not in found:
            found[name] = _forced(each, forced[name]) if name in forced else _plain(each)
            if found[name].role == "group":  # a second one
                found[name] = Column(name, "left out", f"one column groups, and '{group}' was named first")
    if not any(each.role == "label" for each in found.values()):
        found |= {name: _last_resort(texts[name]) for name, each in found.items() if each.doubt == _WORDS}
    return _repeated(sheet, _apart([found[name] for name in texts]), forced)


def _last_resort(texts: _Texts) -> Column:
    """A column of words where no other column holds labels."""
    return replace(_forced(texts, "label"), doubt="taken for findings, as no other column holds any")


def _pictures(sheet: Sheet, texts: Mapping[str, _Texts], index: PictureIndex) -> list[Column]:
    """The columns that name pictures: the first, those with further pictures of a case, those with the same ones."""
    files: dict[str, dict[str, list[str]]] = {}
    shares: dict[str, float] = {}
    for name, each in texts.items():
        looked = [*each.counts][:: max(1, len(each.counts) // _LOOKED_AT)]
        share = sum(map(bool, index.find(looked).values())) / max(len(looked), 1)
        if share >= 0.5 and len(each.counts) >= min(10, each.filled):
            files[name], shares[name] = index.find(each.counts), share
    unique = {name: len(texts[name].counts) / texts[name].filled for name in files}
    able = [name for name in files if unique[name] > 0.9]
    if not able:
        if files:
            name = max(files, key=lambda name: unique[name])
            text, count = texts[name].counts.most_common(1)[0]
            fix = "bring the findings of a picture into one row, with a column each or as a list"
            raise InputError(f"one row a picture in {sheet.file}", f"'{text}' on {count} rows of '{name}'", fix)
        near = ", ".join(f"'{each.name}' ({next(iter(each.counts), '')[:40]})" for each in [*texts.values()][:4])
        example = f"such as {index.files[0]}"
        raise InputError(
            f"a column of {sheet.file} that names the pictures in {index.folder}, {example}", f"none of {near}",
            _nearly(texts, index) or "give the folder they lie in with --images, or correct the names",
        )  # fmt: skip
    first = max(able, key=lambda name: (round(shares[name], 2), bool(words.IMAGE.search(spaced(name)))))
    columns = [_as_picture(sheet, texts[first], files[first], index)]
    taken = {file for found in files[first].values() for file in found}
    for name in able:
        own = {file for found in files[name].values() for file in found}
        if name != first and not own & taken:
            columns.append(_as_picture(sheet, texts[name], files[name], index))
            taken |= own
        elif name != first:
            columns.append(Column(name, "left out", f"it names the same pictures as '{first}'"))
    return columns


def _nearly(texts: Mapping[str, _Texts], index: PictureIndex) -> str:
    """What to do about names that are those of files but for case or extension; blank where none is."""
    files = {_bare(file): file for file in index.files}
    cells = (cell for each in texts.values() for cell in [*each.counts][:_LOOKED_AT])
    cell = next((cell for cell in cells if _bare(cell) in files), None)
    if cell is None:
        return ""
    return f"'{cell}' is called {files[_bare(cell)]}: write names as the files have them, in case too"


def _bare(name: str) -> str:
    return splitext(re.split(r"[/\\]", name)[-1])[0].casefold()


def _as_picture(sheet: Sheet, texts: _Texts, files: Mapping[str, list[str]], index: PictureIndex) -> Column:
    for text, found in files.items():
        if len(found) > 1:
            fix = "give the folder of the pictures alone with --images, or write paths into the table"
            raise InputError(f"one picture '{text}' below {index.folder}", " and ".join(found[:2]), fix)
    gone = [text for text, found in files.items() if not found]
    doubt, example = "", ""
    if gone:
        doubt = f"{len(gone)} pictures are not in the folder: their rows are left out"
        near = suggestion(index.folder, gone[0])
        example = f"such as '{gone[0]}', {sheet.where(texts.all.index(gone[0]))}" + f"; {near}" * bool(near)
        doubt += next((f"; {lost}" for text in gone if (lost := lost_name(text))), "") if not near else ""
    text, file = next((text, found[0]) for text, found in files.items() if found)
    why = f"{texts.filled} pictures, such as {text}" + (f" (the file {file})" if file != text else "")
    return Column(texts.name, "picture", why, doubt=doubt, example=example)


def _group(free: Sequence[_Texts]) -> str | None:
    """The column that says which pictures belong together, by the rule of `grouping`; of labels, by its name alone.

    Its values come again, or each once where the name says patient, person and so on.
    """
    found = []
    for each in free:
        once = len(each.counts) == len(each.all) and of_patients(each.name)
        if (once or like_patients(each.name, each.all)) and each.filled == len(each.all):
            form = form_of(each.name, each.all)
            found += [each] if form is None or (named(each.name) and form.kind != "flags") else []
    return min(found, key=lambda each: coarsest_first(each.name, each.all)).name if found else None


def _as_group(texts: _Texts, forced: bool) -> Column:
    pictures = texts.filled / len(texts.counts)
    why = f"{len(texts.counts)} groups of {pictures:.1f} rows, such as {next(iter(texts.counts))}; never in two splits"
    doubt = (
        f"taken as no filled column of patients was found: rows of one '{texts.name}' stay in one split, but a patient "
        "with several of them may be in training and in test; if you have their names, add them as group_column"
    )
    doubts = [] if forced or of_patients(texts.name) else [doubt]
    names, examples = encode([*texts.counts]), list[str]()
    if wrong := [text for text in texts.counts if wrong_group(text)]:
        doubts.append(f"{len(wrong)} values that name nobody, or that a spreadsheet has cut: ibca fit refuses them")
        examples.append(f"'{wrong[0]}'")
    for _, what, fix, example in doubtful_groups(encode(texts.all), of_patients(texts.name)):
        doubts.append(f"{what}: {fix}")
        examples.append(example)
    alike = [pair for pair in otherwise_written(names, names) if pair[0] < pair[1]]
    if alike:
        one, other = ([*texts.counts][at] for at in alike[0])
        doubts.append(
            f"values in two spellings, and in two splits, if they are one ({len(alike)}): write each in one way"
        )
        examples.append(f"'{one}' and '{other}'")
    return Column(texts.name, "group", why, doubt="; ".join(doubts), example="; ".join(examples))


def _finer(group: Column, texts: _Texts) -> Column:
    """A group column whose values seem to be sides or visits of patients, with that doubt."""
    if (within := within_names([*texts.counts])) is None:
        return group
    doubt = f"its values end in {within[1]}: one patient may be in training and in test; add a column without them"
    return replace(group, doubt="; ".join(filter(None, (group.doubt, doubt))))


def _is_split(texts: _Texts) -> bool:
    splits = {*splits_of(texts.counts).values()}
    whole = not texts.blank and None not in splits and "train" in splits and len(splits) > 1
    return whole and not two_tests(texts.counts)


def _may_be_split(texts: _Texts) -> bool:
    """Whether a few words are called as those of a split are, training or test among them, or the column is."""
    splits = splits_of(texts.counts)
    called = len(splits) > 1 and all(split or words.PART.fullmatch(text.strip()) for text, split in splits.items())
    called = called and any(re.search("(?i)train|test", text) for text in splits)
    results = {text.casefold() for text in splits} <= words.RESULT | words.UNSURE
    named = not results and words.SPLIT.fullmatch(spaced(texts.name)) is not None
    return len(splits) <= _FEW and (called or named)


def _cut(split: _Texts, group: _Texts) -> int:
    """How many groups stand in several splits."""
    own: dict[str, set[str | None]] = {}
    splits = splits_of(split.all)
    for part, name in zip(split.all, group.all, strict=True):
        own.setdefault(name, set()).add(splits[part])
    return sum(len(parts) > 1 for parts in own.values())


def _forced(texts: _Texts, answer: Answer) -> Column:
    """What the user says that it is."""
    if answer in ("group", "subgroup", "left out"):
        return Column(texts.name, answer, "so you said", texts.shown())
    if isinstance(answer, tuple):
        form = form_of(texts.name, texts.all, "ordered", answer)
    else:
        form = form_of(texts.name, texts.all, answer)
    if form is None:
        what = "whole numbers from 0" if answer == "count" else "0 and 1, words for them, or names that come again"
        return Column(texts.name, "left out", f"not {what}", texts.shown())
    return _as_label(texts, form)


def _plain(texts: _Texts) -> Column:
    """What a column is that names no picture, group or split."""
    name, called, count = texts.name, spaced(texts.name), len(texts.counts)
    form = form_of(name, texts.all)
    if not texts.filled and form is None:
        return Column(name, "left out", "blank")
    if texts.blank and count > 2 and of_patients(name):
        doubt = f"it could say which pictures are of one patient, but {len(texts.all) - texts.filled} rows are blank"
        return Column(name, "left out", f"{texts.blank:.0%} blank", doubt=f"{doubt}: fill them in, for group_column")
    if count == 1 and not texts.blank:
        return Column(name, "left out", "the same in every row", texts.shown())
    splits = splits_of({*texts.all})
    wrong = [text for text, split in splits.items() if split is None]
    if wrong and {"train", "test"} <= {*splits.values()} and 2 * len(lines := texts.lines_of(wrong)) < len(texts.all):
        doubt = f"a split but for {first_of(lines, _SHOWN)}: correct them, or the table is split anew"
        return Column(name, "left out", "no whole split", texts.shown(), doubt)
    if two_tests(texts.counts) and None not in splits.values():
        return Column(name, "left out", "a split with two tests", texts.shown(), _TESTS)
    if _may_be_split(texts):
        return Column(name, "left out", "it may be a split", texts.shown(), _SPLIT)
    if words.DATE.search(called) or all(map(_DATE.fullmatch, texts.counts)):
        return Column(name, "left out", "dates", texts.shown())
    found = {text.casefold() for text in texts.counts}
    if (count in (2, 3) and (found <= words.SEXES or found <= words.SIDES)) or words.SEX.search(called):
        return Column(name, "subgroup", "by its name or values", texts.shown())
    if words.AGE.search(called):
        if 2 <= count <= _FEW and not all(map(is_number, texts.counts)):
            return Column(name, "subgroup", "by its name", texts.shown())
        if texts.blank <= MOSTLY and (limits := limits_of(texts.all)):
            rising = sorted(texts.counts.elements(), key=lambda text: (number(text) is None, number(text) or 0))
            seen = ", ".join(f"{band} {rows}" for band, rows in Counter(in_bands(rising, limits)).items())
            return Column(name, "subgroup", "in bands", seen, bands=limits)
        return Column(name, "left out", "numbers", texts.shown())
    if words.NOTES.search(called):
        return Column(name, "left out", "text", texts.shown())
    if words.SUBGROUP.search(called) and not words.LABEL.search(called) and form is not None and form.kind != "count":
        if 2 <= count <= _FEW:
            return Column(name, "subgroup", "by its name", texts.shown())
        return Column(name, "left out", f"more than {_FEW} kinds", texts.shown())
    if form is None:
        return Column(name, "left out", *_nothing(texts), doubt=_question(texts))
    if words.NO_FINDING.search(called):
        return Column(name, "left out", "no finding by its name", texts.shown(), "it could be a label all the same")
    marked = form.blank_is_absent or (form.listed is not None and form.listed.separator is not None)
    if texts.blank > MOSTLY and not marked:
        doubt = "a label if a blank says something" if form.kind == "flags" else ""
        return Column(name, "left out", f"{texts.blank:.0%} blank", doubt=doubt)
    if word := says_present(form):
        doubt = f"'{word}' stands beside more of other words: it is no name of a finding"
        return Column(name, "left out", "yes and no among other words", texts.shown(), doubt)
    if form.kind == "list" and not (form.sure or words.LABEL.search(called) or words.GRADE.search(called)):
        return Column(name, "left out", "words", texts.shown(), _WORDS)
    return _as_label(texts, form)


def _as_label(texts: _Texts, form: Form) -> Column:
    if text := [cell for cell in slips(form, texts.counts) if is_text(cell)]:  # which may name a patient
        lines = first_of(texts.lines_of(text), _SHOWN)
        doubt = f"a label, but for text that says neither present nor absent: {lines}; write yes or no there"
        return Column(texts.name, "left out", "yes and no beside text", doubt=doubt, example=repr(text[0]))
    if form.kind != "list":
        (count,) = form.positives.values()
        unknown = sum(of for text, of in texts.counts.items() if form.values.get(text.casefold()) == -1)
        rest = len(texts.all) - count if form.blank_is_absent else texts.filled - count - unknown
        if min(count, rest) < LEAST:
            why = f"{count} rows have it and {rest} have not: at least {LEAST} of either make a class"
            return Column(texts.name, "left out", why)
    doubt = ""
    if form.blank_is_absent:
        mark = next(text for text in texts.counts if form.values.get(text.casefold(), parse_label(text)) == 1)
        doubt = f"a blank is taken for absent, as only '{mark}' is ever written"
    elif form.kind == "count":
        doubt = "a number above 0 is taken for present, however large it is"
    elif form.listed is not None and not form.listed.ordered and _graded(texts):
        doubt = "each grade but 0 is a class of its own; ordered: true in its label_list makes them 'so or worse'"
        if not all(map(is_number, texts.counts)):
            doubt = f"each grade is a class of its own; {_ORDER} in its label_list makes them 'so or worse'"
    elif texts.blank and _spared(form):
        absent = form.listed.absent if form.listed else []
        though = f", though '{absent[0]}' is written elsewhere" if absent else ""
        doubt = f"a blank is taken for none of them{though}"
        doubt += " (label_list: {unknown: ['']} makes it unknown)"
    more = _of_cells(texts, form)
    doubt = "; ".join([*filter(None, [doubt]), *(what for what, _ in more)])
    example = "; ".join(cells for _, cells in more)
    classes = ", ".join(f"{name} {count}" for name, count in [*form.positives.items()][:_SHOWN])
    further = f", ... ({len(form.positives)} classes)" if len(form.positives) > _SHOWN else ""
    total = len(texts.all) if form.blank_is_absent else texts.filled
    rows = f"{next(iter(form.positives.values()))} of {total} rows" + f" ({texts.shown()})" * bool(form.values)
    if form.kind != "list" and texts.blank and not form.blank_is_absent:
        rows += f"; {len(texts.all) - texts.filled} blank: unknown"
    meaning = {text: form.values.get(text, form.values.get(text.casefold())) for text in texts.counts}
    unsure = {text: count for text, count in texts.counts.items() if meaning[text] == -1}
    if unsure:
        rows += f"; {', '.join(unsure)} ({sum(unsure.values())} row{'s' * (sum(unsure.values()) > 1)}): unknown"
    names = f"names: {classes}{further}" + f"; a blank ({texts.blank:.0%}) names none" * (
        texts.blank > 0 and _spared(form)
    )
    if form.rare:
        names += f"; no class, as in fewer than {LEAST} rows: {', '.join([*form.rare][:_SHOWN])}"
    why = {"flags": f"in {rows}", "count": f"a number above 0 in {rows}", "list": names}[form.kind]
    return Column(texts.name, "label", why, doubt=doubt, example=example, form=form)


def _of_cells(texts: _Texts, form: Form) -> list[tuple[str, str]]:
    """What is doubtful about single cells of a label, each with the cells."""
    found = []
    if wrong := slips(form, texts.counts):
        lines = first_of(texts.lines_of(wrong), _SHOWN)
        found.append((f"neither present nor absent, and so taken for unknown: {lines}; correct them", wrong))
    if weak := [text for text in texts.counts if form.kind != "list" and text.casefold() in words.WEAK]:
        found.append(("what is between absent and present is taken for unknown (label_values)", weak))
    if form.unread:
        what = "names that are not sure, or several others in one, make their rows unknown: write them as the others"
        found.append((what, [*form.unread]))
    if form.unsure:
        what = (
            "names that may say that something is not known are classes (label_list: unknown makes their rows unknown)"
        )
        found.append((what, [*form.unsure]))
    if form.alike:
        found.append(("names that differ in marks or numbers in front alone: write them in one way", [*form.alike]))
    if form.perhaps:
        found.append(("names may be several in one: part them as in other rows if they are", [*form.perhaps]))
    shown = [(what, ", ".join(map(repr, cells[:_SHOWN]))) for what, cells in found]
    if near := _near(form):
        what = "some rare names are nearly those of classes, and their rows count as without: correct them"
        shown.append((what, ", ".join(near[:_SHOWN])))
    return shown


def _near(form: Form) -> list[str]:
    """Names of a list that are too rare for a class and written nearly as one."""
    near = {rare: get_close_matches(rare, form.positives, 1, _NEAR) for rare in form.rare if len(rare) >= _LONG}
    return [f"'{rare}' and '{name}'" for rare, names in near.items() for name in names]


def _graded(texts: _Texts) -> bool:
    """Whether what a column names may be grades of one thing."""
    return words.GRADE.search(spaced(texts.name)) is not None or all(map(is_number, texts.counts))


def _spared(form: Form) -> bool:
    """Whether a blank is taken for the absence of every name."""
    return form.listed is not None and "" not in form.listed.unknown


def _nothing(texts: _Texts) -> tuple[str, str]:
    """What a column is that is of no use, and what it holds."""
    if texts.blank > MOSTLY:
        return f"{texts.blank:.0%} blank", ""
    if all(map(is_number, texts.counts)):
        return "numbers", texts.shown()
    if len(texts.counts) > 0.9 * texts.filled:
        long = sum(text.count(" ") > 2 for text in texts.counts) > 0.3 * len(texts.counts)
        return "text" if long else "another value in every row", texts.shown()
    return "of no known use", texts.shown()


def _question(texts: _Texts) -> str:
    """What a column that was left out might be after all."""
    if sum(text.startswith(("[", "{")) for text in texts.counts) > len(texts.counts) / 2:
        return "lists in another form: write them as ['a', 'b'], or as names with a mark between"
    whole = {text.split(".")[0] for text in texts.counts if re.fullmatch(r"[+-]?\d{1,6}(\.0+)?", text)}
    if len(whole) < len(texts.counts) or not 2 <= len(whole) <= 10:
        return ""
    if {"0", "1"} < whole and all(map(is_code, whole - {"0", "1"})):
        return _CODED
    called = spaced(texts.name)
    if words.SIZE.search(called):
        return ""
    if len(whole) == 2:
        return _TWO if max(map(int, whole)) < 10 and not words.COUNT.search(called) else ""
    return "" if texts.blank > MOSTLY else _WHOLE


def _apart(columns: Sequence[Column]) -> list[Column]:
    """Call classes after their column where another column has one of that name, or holds single words too."""
    forms = [column.form for column in columns if column.form is not None]
    often = Counter(name.casefold() for form in forms for name in form.positives)
    single = sum(form.listed is not None and form.listed.separator is None for form in forms)

    def named(column: Column) -> Column:
        form = column.form
        if form is None or form.listed is None:
            return column
        shared = any(often[name.casefold()] > 1 for name in form.positives)
        apart = shared or (single > 1 and form.listed.separator is None)
        return replace(column, form=prefixed(form, column.name)) if apart else column

    return [named(column) for column in columns]


def _repeated(sheet: Sheet, columns: Sequence[Column], forced: Collection[str]) -> list[Column]:
    """Doubt what says again what other columns say: a class such as `normal`, findings in words beside yes and no."""
    rows = {column.name: _rows(sheet, column, column.form) for column in columns if column.form is not None}
    flags = {name: own[name] for name, own in rows.items() if name in own}
    negating = {[*flags][at] for at in negating_all(np.array([*flags.values()]).T, [*flags])}

    def judged(column: Column) -> Column:
        if column.form is None or column.name in forced:
            return column
        if column.name in negating:
            doubt = "" if NORMAL.search(column.name) else "it could be a finding that never comes with another"
            return Column(column.name, "left out", "it says that no other class is present", doubt=doubt)
        own = rows[column.name].values()
        others = [flags[name] for name in takewhile(lambda name: name != column.name, flags)]
        again = sum(any((a & b).sum() >= _SAME * (a | b).sum() for b in others) for a in own)
        if not again:
            return column
        doubt = f"{again} of its {len(own)} findings stand in the same rows as findings of other columns"
        if column.form.kind != "list" or 2 * again < len(own):
            return replace(column, doubt=f"{column.doubt}; {doubt}" if column.doubt else doubt)
        return Column(column.name, "left out", "findings of other columns in words", column.told, doubt)

    return [judged(column) for column in columns]


def _rows(sheet: Sheet, column: Column, form: Form) -> dict[str, NDArray[np.bool_]]:
    """The rows that hold each class of a column."""
    if form.listed is not None:
        read = form.listed.columns(sheet, form.listed.classes(sheet))
        return {name: np.array(cells) == "1" for name, cells in read.items()}
    counts = [column.name] if form.kind == "count" else []
    texts = with_values(sheet, [column.name], form.values, counts).column(column.name)
    ones = {text for text in set(texts) if parse_label(text) == 1}
    return {column.name: np.array([text in ones for text in texts])}
