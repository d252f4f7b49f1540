"""Cells that a spreadsheet has made into something else, as on opening a CSV file: numbers cut, dates of ids."""

import re
from collections.abc import Collection

# Also of German, French, Spanish, Italian and Dutch; those that are words elsewhere (set, out) are not here.
_MONTHS = (
    "jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec|mrz|mär|mai|okt|dez|janv|févr|mars|avr|juin|juil|août|déc"
    "|ene|abr|ago|dic|gen|mag|giu|lug|ott|mrt|mei"
)
_DAY = re.compile(rf"\d{{1,2}}(?:-|\. ?)(?:{_MONTHS})\.?")  # MAR-1 and 3-1 become 1-Mar, SEPT2 2-Sep
_DATE = re.compile(r"(?:19|20)\d\d-\d\d-\d\d(?:[ t]00:00(?::00)?)?|\d{1,2}/\d{1,2}/(?:(?:19|20)\d\d|\d\d)"
                   r"|\d{1,2}\.\d{1,2}\.(?:19|20)\d\d")  # fmt: skip
_SHORT = re.compile(r"\d{1,2}/\d{1,2}/\d\d")
_CUT = re.compile(r"[+-]?\d(?:[.,]\d+)?e\+\d{2,3}")


def is_cut(text: str) -> bool:
    """Whether it is a number as a spreadsheet shortens it: of several long ids it makes one.

    Examples:
        >>> from ibca_lightning.data.tables.groups.respelt import is_cut
        >>> [is_cut(text) for text in ("1.23457E+12", "1,2E+20", "12E5", "3E12")]
        [True, True, False, False]
    """
    return _CUT.fullmatch(text.casefold()) is not None


def made_dates(texts: Collection[str], of_ids: bool = False) -> list[str]:
    """Return which values of a column look like dates that a spreadsheet has made of something else.

    A day and a month without a year do. A whole date does among others that are none, or where ids are meant: a column
    of dates alone may be one. Years of two digits need the others: `1/12/01` may be a site, a patient and an eye.

    Examples:
        >>> from ibca_lightning.data.tables.groups.respelt import made_dates
        >>> made_dates(["1-Mar", "2026-03-02", "BER-1", "MAR-40"]), made_dates(["2026-03-02", "2026-04-01"])
        (['1-Mar', '2026-03-02'], [])
    """
    days, dates = [], []
    for text in texts:
        if text[:1].isdigit():
            plain = text.casefold()
            if _DAY.fullmatch(plain):
                days.append(text)
            elif _DATE.fullmatch(plain):
                dates.append(text)
    if 2 * len(dates) > len(texts):
        dates = [text for text in dates if of_ids and not _SHORT.fullmatch(text)]
    return days + dates


def lost_name(name: str) -> str:
    """Say what to do about a name that a spreadsheet has probably made of another; blank where it is none.

    Examples:
        >>> from ibca_lightning.data.tables.groups.respelt import lost_name
        >>> lost_name("scan-1")
        ''
    """
    what = "a number, cut short" if is_cut(name) else "a date" if made_dates([name], of_ids=True) else ""
    whole = "take the column from where it is whole, and keep it as text"
    return f"a spreadsheet may have made {what} of the name: {whole}" if what else ""
