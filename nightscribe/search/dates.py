"""Read filters as a person gives them. Pure."""

import re
from datetime import datetime

from nightscribe.search.base import Filters
from nightscribe.shared.errors import ValueRefused
from nightscribe.shared.model.languages import language_code

_DATE = re.compile(r"(\d{4})(?:-(\d{1,2})(?:-(\d{1,2}))?)?")


def filters_from(
    *, speaker: str = "", language: str = "", folder: str = "", since: str | None = None, until: str | None = None
) -> Filters:
    """Return filters; dates are years, months or days of the local time, and `until` includes all of its own.

    Raises: ValueRefused: if the language or a date is not valid.
    """
    try:
        code = language_code(language) if language else ""
    except ValueError as error:
        raise ValueRefused(str(error)) from None
    return Filters(
        speaker=speaker.strip(),
        language="" if code == "auto" else code,
        folder=folder,
        since=_bounds(since)[0] if since else None,
        until=_bounds(until)[1] if until else None,
    )


def _bounds(text: str) -> tuple[datetime, datetime]:
    """Return the beginning and the end of a year, a month or a day."""
    found = _DATE.fullmatch(text.strip())
    year, month, day = (int(group or 0) for group in found.groups()) if found else (0, 0, 0)
    try:
        start = datetime(year, month or 1, day or 1).astimezone()
        if day:
            end = datetime.fromordinal(start.date().toordinal() + 1)
        elif month:
            end = datetime(year + month // 12, month % 12 + 1, 1)  # noqa: DTZ001  local, as the user means it
        else:
            end = datetime(year + 1, 1, 1)  # noqa: DTZ001
        return start, end.astimezone()
    except (ValueError, OverflowError):
        raise ValueRefused(f"{text!r} is not a date; give a year, a month or a day, such as 2012-05-31.") from None
