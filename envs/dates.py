"""Dates of documents: texts in ISO 8601, as precise as they are known."""

from datetime import UTC, datetime

_DAY = len("2019-07-30")


def in_time(date: str) -> str:
    """A text to sort by: as it is, but in UTC where it has an offset, as texts with different ones do not sort."""
    time = date[_DAY:]
    if "+" not in time and "-" not in time:  # the common case; the other takes twenty times as long
        return date.removesuffix("Z")
    try:
        return datetime.fromisoformat(date).astimezone(UTC).replace(tzinfo=None).isoformat()
    except OverflowError:  # on the first or the last day of all
        return date[: -len("+00:00")]
    except ValueError:  # no such date, of a document made in code
        return date


def may_be_since(date: str | None, day: str) -> bool:
    """Whether it may be that day or a later one: a month may be any of its days."""
    return date[:_DAY] >= day[: len(date)] if date else False


def may_be_before(date: str | None, day: str) -> bool:
    """Whether it may be earlier than that day."""
    return date[:_DAY] + "-01-01"[len(date[:_DAY]) - 4 :] < day if date else False
