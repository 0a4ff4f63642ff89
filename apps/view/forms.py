"""What forms send, and where a person is led after one."""

from collections.abc import Mapping
from urllib.parse import parse_qsl, quote

from fastapi import Request
from fastapi.responses import RedirectResponse

from ...errors import OptionError

_LONGEST = 1 << 20


async def sent(request: Request) -> Mapping[str, str]:
    """What a form of ours sent."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LONGEST:
            raise OptionError("that is more text than a form may send")
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))


def lines_of(form: Mapping[str, str]) -> str:
    """The text of a form, with the line breaks that models write."""
    return form.get("text", "").replace("\r\n", "\n")


def to(address: str) -> RedirectResponse:
    return RedirectResponse(quote(address, safe="/%:~"), 303)
