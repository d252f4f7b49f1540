"""Tables for a terminal: no word is broken and no name is cut, however narrow it is."""

from collections.abc import Sequence
from io import StringIO

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

_LEAST = 3  # columns beside names that leave no room: lines then go on beyond the edge


def terminal_table(
    rows: Sequence[Sequence[str]],
    where: str,
    *,
    wanted: Sequence[str] = (),
    most: int | None = None,
    told: set[str] | None = None,
) -> str:
    """Lay a table out in the width of the terminal; cells break between words, columns without room are left out.

    Args:
        rows: The header first, and in each row the name first.
        where: What holds the columns that are left out; they are named below the table.
        wanted: Columns that are left out last, the most wanted first.
        most: Columns at most.
        told: Columns that a table above has named as left out, which are not named again; those of this one join them.
    """
    header = list(rows[0])
    # A sign stays with its number.
    rows = [[row[0], *(cell.replace("± ", "±").replace(" %", "%") for cell in row[1:])] for row in rows]
    room = Console().width - max(cell_len(row[0]) for row in rows)
    widths = {0: Console().width - room}
    rank = {name: at for at, name in enumerate(wanted)}
    for at in sorted(range(1, len(header)), key=lambda at: (rank.get(header[at], len(rank)), at)):
        longest = max(cell_len(word) for row in rows for word in row[at].split() or [""])
        if len(widths) == most or (room < 1 + longest and len(widths) >= _LEAST):
            break
        widths[at] = longest
        room -= 1 + longest
    table = Table(box=SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)  # the box has a space between columns
    for at in list(widths)[1:]:  # what is left over lets cells stand in one line
        more = min(max(room, 0), max(cell_len(row[at]) for row in rows) - widths[at])
        widths[at] += more
        room -= more
    for at, width in sorted(widths.items()):
        table.add_column(Text(rows[0][at]), justify="right" if at else "left", no_wrap=not at, width=width)
    for row in rows[1:]:
        table.add_row(*(Text(row[at]) for at in sorted(widths)))
    text = StringIO()
    Console(file=text, width=sum(widths.values()) + len(widths) - 1).print(table)
    lines = [line.rstrip() for line in text.getvalue().splitlines()]
    told = set() if told is None else told
    if left := [name for at, name in enumerate(header) if at not in widths and name not in told]:
        lines.append(f"not shown: {', '.join(left)}; see {where}")
        told.update(left)
    return "\n".join(lines) + "\n"
