"""A real Chromium, driven through its DevTools protocol."""

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_KEYS = {"ArrowLeft": 37, "ArrowRight": 39, "Home": 36, "End": 35, "Tab": 9, "Enter": 13}
_PATIENCE = 20.0  # seconds


class Page:
    """One tab."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._number = 0
        self._session: str | None = None
        self.told: list[str] = []  # errors and violations that the page's console shows
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable")

    def look(self, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        self._ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", features=[scheme])

    def go(self, address: str) -> None:
        self._ask("Page.navigate", url=address)
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'")

    def run(self, script: str) -> Any:
        """What an expression gives, waited for where it is a promise."""
        answer = self._ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"].get("exception", {}).get("description", str(answer)))
        return answer["result"].get("value")

    def wait(self, condition: str, seconds: float = _PATIENCE) -> float:
        """How long it took until the condition held."""
        start = time.monotonic()
        while True:
            try:
                if self.run(f"Boolean({condition})"):
                    return time.monotonic() - start
            except AssertionError:  # the page is being replaced
                pass
            if time.monotonic() - start > seconds:
                raise AssertionError(f"never within {seconds} s: {condition}\n{self.run('document.body.innerText')}")
            time.sleep(0.02)

    def press(self, key: str) -> None:
        text = {"text": "\r"} if key == "Enter" else {}
        for kind, more in (("keyDown", text), ("keyUp", {})):
            self._ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=_KEYS[key], **more)

    def click(self, text: str) -> None:
        """On the link, button or summary of that text, as a person would."""
        found = (
            "[...document.querySelectorAll('a, button, summary')].find(one => one.innerText.includes("
            f"{json.dumps(text)}))"
        )
        self.run(f"({found}).click()")

    def cookie(self) -> tuple[str, str]:
        """The one that this page was given."""
        (found,) = self._ask("Network.getCookies")["cookies"]
        return found["name"], found["value"]

    def picture(self, whole: bool = False) -> bytes:
        return base64.b64decode(self._ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"])

    def _ask(self, method: str, **values: Any) -> Any:
        self._number += 1
        number = self._number
        session = {"sessionId": self._session} if self._session else {}
        self._connection.send(json.dumps({"id": number, "method": method, "params": values, **session}))
        while True:
            message = json.loads(self._connection.recv(timeout=_PATIENCE))
            if message.get("id") == number:
                if "error" in message:
                    raise AssertionError(f"{method}: {message['error']['message']}")
                return message["result"]
            self._note(message)

    def _note(self, message: Any) -> None:
        if message.get("method") == "Log.entryAdded":
            self.told.append(message["params"]["entry"]["text"])
        elif message.get("method") == "Runtime.exceptionThrown":
            self.told.append(str(message["params"]["exceptionDetails"]))


@contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """Its profile lies in a folder of the test's own."""
    from websockets.sync.client import connect

    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"]
    command += ["--no-first-run", "--hide-scrollbars", f"--user-data-dir={folder}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port, path = _address(folder / "DevToolsActivePort")
        with connect(f"ws://127.0.0.1:{port}{path}", max_size=None, proxy=None) as connection:
            yield Page(connection)
    finally:
        process.terminate()
        process.wait(_PATIENCE)


def _address(file: Path) -> tuple[str, str]:
    end = time.monotonic() + _PATIENCE
    while not file.exists() or "\n" not in file.read_text():
        assert time.monotonic() < end, "Chromium did not start"
        time.sleep(0.05)
    port, path = file.read_text().splitlines()[:2]
    return port, path
