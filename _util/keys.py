"""API keys in specs: left out of settings that are written to a file, and hidden in text that is shown."""

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "[key]"
_SHORT = 8  # characters; keys have more
_OPTION = re.compile(r",api_key=[^,]*")
_KEY = re.compile(
    r"(--api[_-]?key[\s=]+|api[_-]?key['\"]?\s*[=:]\s*)"  # of a command, a spec, a variable or a field
    r"(?:\\?'[^']*'|\\?\"(?:[^\"\\]|\\.)*\"|['\"]?[^\s,'\"}]+)"
    r"|(?<=://)[^/\s|]*(?=@)",  # user and password in a URL
    re.IGNORECASE,
)


def hidden(text: str) -> str:
    """`[key]` in place of API keys, and of user and password in a URL."""
    return _KEY.sub(_hidden, text)


def _hidden(found: re.Match[str]) -> str:
    quote = found[0][-1] if found[1] and found[0][-1] in "'\"" else ""
    return f"{found[1] or ''}{quote}{HIDDEN}{quote}"


def without_key(key: str, text: str) -> str:
    """`[key]` in place of this key. A short one, where none is needed, is hidden as a word alone."""
    edge = r"\b" if len(key) < _SHORT else ""
    return re.sub(f"{edge}{re.escape(key)}{edge}", HIDDEN, text)


def key_option(spec: str) -> str:
    """The option `api_key` of a spec, with the comma before it; empty where it has none."""
    return "".join(_OPTION.findall(spec)[:1])


def without_keys(settings: Any) -> Any:
    """Settings as they are written: specs lose the option `api_key`, and any other key is hidden.

    What is made of such a spec again takes its key from the environment.
    """
    if isinstance(settings, str):
        return hidden(_OPTION.sub("", settings))
    if isinstance(settings, Mapping):
        return {name: without_keys(value) for name, value in settings.items()}
    return [without_keys(value) for value in settings] if isinstance(settings, list) else settings
