"""Tables for a terminal: no word is broken and no name is cut, however narrow it is."""

from collections.abc import Sequence
from io import StringIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

_LEAST = 3  # columns beside names that leave no room: lines then go on beyond the edge


def terminal_table(
    rows: Sequence[Sequence[str]], where: str, *, wanted: Sequence[str] = (), most: int | None = None
) -> str:
    """Lay a table out in the width of the terminal; cells break between words, columns without room are left out.

    Args:
        rows: The header first, and in each row the name first.
        where: What holds the columns that are left out; they are named below the table.
        wanted: Columns that are left out last, the most wanted first.
        most: Columns at most.
    """
    header = list(rows[0])
    width = Console().width
    widths = [max(len(word) for row in rows for word in row[at].split() or [""]) for at in range(len(header))]
    widths[0] = max(len(row[0]) for row in rows)
    rank = {name: at for at, name in enumerate(wanted)}
    shown, room = [0], width - widths[0]
    for at in sorted(range(1, len(header)), key=lambda at: (rank.get(header[at], len(rank)), at)):
        if len(shown) == most or (room < 1 + widths[at] and len(shown) >= _LEAST):
            break
        room -= 1 + widths[at]
        shown.append(at)
    table = Table(box=SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)  # the box has a space between columns
    for at in sorted(shown):
        side = "right" if at else "left"
        table.add_column(Text(header[at]), justify=side, no_wrap=not at, min_width=widths[at])  # type: ignore[arg-type]
    for row in rows[1:]:
        table.add_row(*(Text(row[at]) for at in sorted(shown)))
    text = StringIO()
    Console(file=text, width=max(width, width - room)).print(table)
    lines = [line.rstrip() for line in text.getvalue().splitlines()]
    if len(shown) < len(header):
        lines.append(f"not shown: {', '.join(name for at, name in enumerate(header) if at not in shown)}; see {where}")
    return "\n".join(lines) + "\n"
