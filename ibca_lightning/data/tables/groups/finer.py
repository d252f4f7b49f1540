"""Groups that are finer than patients: the sides and visits of one in their names, or a column of patients above them.

A column is taken for one of patients above the groups where its name says so, and nothing else (`Patient Age`, `site`);
nearly every group has one value of it; and its values are many, or identifiers, none in more than half of the rows.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import median

_SIDE = re.compile(r"(?:left|right|od|os|links|rechts|izq|der|l|r|lt|rt|re|le)\Z")
_VISIT = re.compile(
    r"(?:(?:visite?|ses(?:sion)?|tp|time-?point|exam|study|scan|fu|follow-?up|v|(?<=[ _./-])t)"
    r"[ _./-]?\d{1,3}|baseline|(?<=[ _./-])bl)\Z"
)
_DAY = re.compile(r"(?<=[ _./-])(?:19|20)\d\d([-_.]?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])\Z")
_LONGEST = 16  # characters of such an end, and one before it: `_time-point-123`
_DIGIT = re.compile(r"\d")
_ID = re.compile(r"(?=\S*\d)\S{1,64}")
_NO_ID = re.compile(
    r"(?i)site|cent(?:er|re)|hospital|clinic|klinik|device|camera|scanner|day|date|batch|fold|class|set"
)
_PAIRS, _MANY = 3, 10  # patients of several groups at least; values, or visits of one patient, that are many


def within_names(groups: Sequence[str]) -> tuple[dict[str, str], str] | None:
    """Find sides or visits of patients in the names of groups, each once.

    Returns:
        What stands before them, by group, and what they are called; None where there are none.

    Examples:
        >>> from ibca_lightning.data.tables.groups.finer import within_names
        >>> heads, what = within_names(["7-OD", "7-OS", "8-OD", "8-OS", "9-OD", "9-OS"])
        >>> heads["8-OS"], what
        ('8', 'sides')
    """
    for pattern, what in ((_SIDE, "sides"), (_VISIT, "visits"), (_DAY, "days")):
        found = {group: parts for group in groups if (parts := _parted(pattern, group.strip()))}
        heads = {group: head.strip(" _./-").casefold() for group, (head, _) in found.items()}
        counts = Counter(heads.values())
        several = {head for head, count in counts.items() if count > 1}
        rows = sum(counts[head] for head in several)
        if len(several) < (_PAIRS if what != "days" else _MANY) or 20 * rows < len(groups):
            continue
        tails = {tail.casefold() for group, (_, tail) in found.items() if heads[group] in several}
        if what == "visits" and 2 * len(tails) > rows:  # they begin again with each patient
            continue
        if what == "visits" and median(counts[head] for head in several) > _MANY:  # pictures of a centre or a video
            continue
        if what != "sides" and 2 * max(counts.values()) > rows:
            continue
        if not any(_NO_ID.search(head) for head in several):
            return {group: head for group, head in heads.items() if head in several}, what
    return None


def _parted(pattern: re.Pattern[str], group: str) -> tuple[str, str] | None:
    """What stands before an end of a group, with a digit in it, and that end; of the end only, as UIDs are long."""
    match = pattern.search(group[-_LONGEST:].lower())
    if match is None:
        return None
    head = group[: len(group) - len(match[0])]
    return (head, match[0]) if _DIGIT.search(head) and "\n" not in head else None


def above(groups: Sequence[str], values: Sequence[str], person: bool) -> bool:
    """Whether values of a column that is called one of patients may be these, each with one group or more.

    Args:
        groups: (N,) the group of each row.
        values: (N,) the value of each row, "" for a blank.
        person: Whether the name says patient, not case, lesion or video.
    """
    held: defaultdict[str, set[str]] = defaultdict(set)
    for group, value in zip(groups, values, strict=True):
        if value:
            held[group].add(value)
    counts = Counter(filter(None, values))
    if len(counts) < 3 or 2 * counts.total() < len(values) or 2 * max(counts.values()) > counts.total():
        return False
    if 20 * sum(len(each) > 1 for each in held.values()) > len(held):
        return False
    identifiers = sum(bool(_ID.fullmatch(value)) for value in counts)
    return len(counts) >= _MANY or (person and 20 * identifiers >= 19 * len(counts))
