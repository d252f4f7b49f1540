"""A column whose cells name the findings: `polyp; ulcer`, `["polyp", "ulcer"]`, or one word each."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ibca_lightning.data.tables.doubts import Doubt
from ibca_lightning.data.tables.labels import is_blank, plain_name, shown_name
from ibca_lightning.data.tables.listed_names import is_list, joined_names, listed_names, parted
from ibca_lightning.data.tables.sheet import Sheet
from ibca_lightning.system.errors import InputError

_MOST = 1000  # classes of a column: beyond it, it is text


@dataclass(frozen=True)
class LabelList:
    """A column of names, each of which becomes a class. Names are compared by `plain_name`.

    Args:
        column: The column.
        separator: What stands between two names of a cell; without one a cell is one name. A line break always parts
            two, what stands in brackets stays together, and a list of JSON, Python or numpy is always one.
        absent: Names that are no class, such as `normal`; a blank cell too names none.
        unknown: Names that make all classes of the column unknown in their row, such as `unsure`; "" for a blank cell.
        names: The classes; None takes every name of the training table. Any other name is an error.
        least: A name that fewer rows of the training table hold is no class.
        prefix: Whether a class is called after its column too (`pigment network typical`), as several columns of words
            need it that share a word.
        ordered: Whether the names are grades, numbers or `names` in their order: a class is then a grade and all above
            it, such as `2+`.
    """

    column: str
    separator: str | None = None
    absent: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    names: list[str] | None = None
    least: int = 1
    prefix: bool = False
    ordered: bool = False

    def __post_init__(self) -> None:
        """Check what would take a cell to pieces."""
        if self.separator == "":
            raise InputError("a mark in data.label_list.separator", "none", "leave it out for one name a cell")

    def classes(self, sheet: Sheet) -> dict[str, str | None]:
        """Return what each name of a training table is, by its plain form: its class, or None where it is no class.

        Raises:
            InputError: If no name is a class.
        """
        rows: Counter[str] = Counter()
        spelt: dict[str, Counter[str]] = {}
        for row, text in enumerate(sheet.column(self.column)):
            names = self._names(text, sheet, row)
            rows.update({plain_name(name) for name in names})
            for name in names:
                spelt.setdefault(plain_name(name), Counter())[name] += 1
        none = {plain_name(name) for name in (*self.absent, *self.unknown)}
        order = (
            [name for name in sorted(rows) if name not in none]
            if self.names is None
            else [*map(plain_name, self.names)]
        )
        if self.ordered:
            order = order if self.names is not None else self._by_number(order, sheet)
            rows = Counter({name: sum(rows[above] for above in order[at:]) for at, name in enumerate(order)})
        if self.names is None:
            kept = {name: max(spelt[name], key=lambda form: spelt[name][form]) for name in order}
            found = {name: form if rows[name] >= self.least else None for name, form in kept.items()}
        else:
            found = {plain_name(name): name for name in self.names}
        if sum(form is not None for form in found.values()) > _MOST:
            expected = f"at most {_MOST} findings in column '{self.column}' of {sheet.file}"
            raise InputError(expected, len(found), "name another column, or set label_list: least")
        if not any(found.values()):
            raise InputError(f"a finding in column '{self.column}' of {sheet.file}", "none", "correct data.label_list")
        start = f"{self.column} " if self.prefix else ""
        end = "+" if self.ordered else ""
        return dict.fromkeys(none) | {name: form and f"{start}{form}{end}" for name, form in found.items()}

    def columns(self, sheet: Sheet, classes: Mapping[str, str | None]) -> dict[str, list[str]]:
        """Return a column of 0, 1 and -1 for each class.

        Args:
            sheet: The table.
            classes: What `classes` gave for the training table.

        Raises:
            InputError: If a cell holds a name that is not among them.
        """
        read: dict[str, list[str]] = {name: [] for name in classes.values() if name is not None}
        unknown = {plain_name(name) for name in self.unknown}
        order = [*classes]  # those that are no class in front
        for row, text in enumerate(sheet.column(self.column)):
            names = [plain_name(name) for name in self._names(text, sheet, row)]
            if strange := [name for name in names if name not in classes]:
                known = ", ".join([*read][:20])
                fix = "correct it, or name it in label_list: names, or absent if it is no class"
                expected = f"findings among {known} in column '{self.column}' of {sheet.where(row)}"
                raise InputError(expected, strange[0], fix)
            reached = order[: max(map(order.index, names), default=-1) + 1] if self.ordered else names
            present = {classes[name] for name in reached}
            rest = "-1" if unknown & set(names or [""]) else "0"
            for name, column in read.items():
                column.append("1" if name in present else rest)
        return read

    def exclusive(self, sheet: Sheet) -> bool:
        """Whether a picture has one of the classes at most, as each cell holds one name."""
        if self.ordered or self.separator:
            return False
        return not any(is_list(text) or len(parted(text, None)) > 1 for text in {*sheet.column(self.column)})

    def doubts(self, sheet: Sheet, classes: Mapping[str, str | None]) -> Iterator[Doubt]:
        """Say which names of a training table are several others, parted in another way: no row of it is read as meant.

        Args:
            sheet: The table.
            classes: What `classes` gave for it.
        """
        if self.ordered or self.names is not None:
            return
        joined = {*joined_names(classes)}.difference(map(plain_name, (*self.absent, *self.unknown)))
        cells = sheet.column(self.column) if joined else list[str]()
        rows = [row for row, text in enumerate(cells) if joined & {*map(plain_name, self._names(text, sheet, row))}]
        if rows:
            what = f"names of column '{self.column}' are several others in one, in {len(rows)} rows"
            example = f"'{' '.join(cells[rows[0]].split())}', {sheet.where(rows[0])}"
            fix = "part them as in other rows, or name them in label_list: names, or unknown"
            yield Doubt("joined names", what, fix, example)

    def _by_number(self, names: list[str], sheet: Sheet) -> list[str]:
        try:
            return sorted(names, key=float)
        except ValueError:
            fix = "name the grades from the lowest in label_list: names"
            got = ", ".join(names[:5])
            raise InputError(f"numbers in the ordered column '{self.column}' of {sheet.file}", got, fix) from None

    def _names(self, text: str, sheet: Sheet, row: int) -> list[str]:
        if is_blank(text):
            return []
        if is_list(text, self.separator):
            names = listed_names(text, None, sheet.where, row)
        else:  # a database writes {polyp,ulcer}
            whole = self.separator is not None and text.startswith("{") and text.find("}") == len(text) - 1
            names = parted(text[1:-1] if whole else text, self.separator)
        return [shown for name in names if (shown := shown_name(name).strip())]
