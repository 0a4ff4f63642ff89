"""Addresses of servers."""

from base64 import b64encode
from urllib.parse import unquote, urlsplit, urlunsplit


def without_login(url: str) -> tuple[str, dict[str, str]]:
    """The address without the user and password in it, and the header that sends them."""
    parts = urlsplit(url)
    login, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, {}
    user, _, password = login.partition(":")
    sent = b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
    return urlunsplit(parts._replace(netloc=host)), {"Authorization": f"Basic {sent}"}
