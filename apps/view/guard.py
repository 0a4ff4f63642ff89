"""Access control: checks every request first, and sets the security headers of every response."""

import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),  # without it, browsers omit the origin of this site's own forms
    (b"cache-control", b"no-store"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


class Guard:
    """Lets a request pass if it names this server as host, comes from no other site, and has the cookie.

    The token of the start-up URL gives the cookie to any number of browsers until the server ends.
    """

    def __init__(self, app: App, port: int, token: str) -> None:
        self._app = app
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        self._token = token
        self._cookie = f"profilegym-{port}"  # cookies ignore ports: servers on two ports need two names
        self._secret = secrets.token_urlsafe(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, _with_headers(send))

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._foreign(scope["method"], headers)
        if refusal:
            await _say(send, 403, "Refused", refusal)
        elif self._known(headers):
            await self._app(scope, receive, send)
        elif scope["method"] == "GET" and self._has_token(scope):
            cookie = f"{self._cookie}={self._secret}; Path=/; HttpOnly; SameSite=Strict"
            await _say(send, 200, "Opening …", '<a href="/">Go on to the runs</a>', cookie)
        else:
            told = "Open the address that <code>profilegym view</code> printed when it started, with its token."
            await _say(send, 403, "Who is asking?", told)

    def _foreign(self, method: str, headers: dict[str, str]) -> str | None:
        """Why a request is refused with or without the cookie: another host name, or another origin."""
        host, origin = headers.get("host", ""), headers.get("origin")
        if host not in self._hosts:
            hosts = " and ".join(sorted(self._hosts))
            return f"This server goes by {hosts} only. Through a tunnel, forward the same port."
        if origin is None:
            return "A form without an origin is not taken." if method not in ("GET", "HEAD") else None
        return None if origin == f"http://{host}" else "This was sent by a page of another site."

    def _known(self, headers: dict[str, str]) -> bool:
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            return False
        return cookie is not None and secrets.compare_digest(cookie.value.encode(), self._secret.encode())

    def _has_token(self, scope: Scope) -> bool:
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        return secrets.compare_digest(given.encode(), self._token.encode())


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            there = {name for name, _ in message["headers"]}
            more = [header for header in _HEADERS if header[0] not in there]
            message = {**message, "headers": [*message["headers"], *more]}
        await send(message)

    return sent


async def _say(send: Send, status: int, title: str, text: str, cookie: str | None = None) -> None:
    """A page without the viewer's templates. With a cookie it redirects from a page of this site, as a browser sends a
    strict cookie only then, even if a link on another site led here.
    """
    onward = '<meta http-equiv="refresh" content="0; url=/">' if cookie else ""
    page = files(__package__).joinpath("templates/sign_in.html").read_text("utf-8")
    body = page.replace("{onward}", onward).replace("{title}", title).replace("{text}", text).encode()
    headers = [(b"content-type", b"text/html; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    if cookie:
        headers.append((b"set-cookie", cookie.encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
