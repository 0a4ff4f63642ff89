"""Numbers with what they count."""


def counted(number: int, one: str, many: str = "") -> str:
    """`1 user`, `1,200 users`; `many` is for words that take no `s`."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
