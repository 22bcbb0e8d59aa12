"""Headless Chromium, driven over its debugging pipe: real keys, real pictures, every request."""

import base64
import fcntl
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_NAMES = {" ": "Space", "/": "Slash"}
_CODES = {"Enter": 13, "Escape": 27, "Tab": 9, "ArrowLeft": 37, "ArrowUp": 38}
_CODES |= {"ArrowRight": 39, "ArrowDown": 40, "Backspace": 8}
_LONGEST = 30.0


class Tab:
    """One page. `requests` are the addresses it asked for, `errors` what its console shows."""

    def __init__(self, send: Callable[..., dict[str, Any]]) -> None:
        self._send = send
        self.requests: list[str] = []
        self.errors: list[str] = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            send(f"{domain}.enable")

    def event(self, method: str, params: dict[str, Any]) -> None:
        """Note what the browser reports."""
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(str(params["exceptionDetails"]))
        elif method == "Log.entryAdded":
            self.errors.append(str(params["entry"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
            self.errors.append(str(params["args"]))

    def open(self, path: Path) -> None:
        """Open a page from the disk and wait until its script has drawn it."""
        self._send("Page.navigate", url=path.as_uri())
        self.wait("window.MODEL !== undefined && document.readyState === 'complete'")

    def wait(self, condition: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + _LONGEST
        while not self.value(condition):
            assert time.monotonic() < end, f"never true: {condition}; {self.errors}"
            time.sleep(0.02)

    def value(self, expression: str) -> Any:
        """Return the value of an expression, or of what it promises."""
        answer = self._send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def text(self, selector: str) -> str:
        """Return the visible text of an element."""
        return str(self.value(f"document.querySelector({json.dumps(selector)}).innerText"))

    def press(self, *keys: str) -> None:
        """Press keys one after the other: names as in KeyboardEvent.key, or characters."""
        for key in keys:
            shared = {"key": key, "code": _NAMES.get(key, key)}
            code = _CODES.get(key, ord(key.upper()) if len(key) == 1 else 0)
            text = key if len(key) == 1 else "\r" if key == "Enter" else None
            self._send(
                "Input.dispatchKeyEvent",
                type="keyDown" if text else "rawKeyDown",
                windowsVirtualKeyCode=code,
                **shared,
                **({"text": text} if text else {}),
            )
            self._send("Input.dispatchKeyEvent", type="keyUp", windowsVirtualKeyCode=code, **shared)
        self.settle()

    def click(self, x: float, y: float) -> None:
        """Move the mouse to a point and click there."""
        where = {"x": x, "y": y}
        self._send("Input.dispatchMouseEvent", type="mouseMoved", **where)
        for kind in ("mousePressed", "mouseReleased"):
            self._send("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **where)
        self.settle()

    def settle(self) -> None:
        """Wait until what was done is drawn."""
        self.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def window(self, width: int, height: int, *, scale: float = 1) -> None:
        """Set the size of the window in CSS pixels."""
        self._send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=width < 700,
        )
        self.settle()

    def prefer(self, *, scheme: str = "light", motion: str = "reduce") -> None:
        """Set what the reader prefers: light or dark; reduce or no-preference."""
        features = {"prefers-color-scheme": scheme, "prefers-reduced-motion": motion}
        self._send(
            "Emulation.setEmulatedMedia",
            features=[{"name": name, "value": value} for name, value in features.items()],
        )

    def picture(self, *, whole: bool = False) -> bytes:
        """Return a picture of the window, or of the whole page, as PNG."""
        answer = self._send("Page.captureScreenshot", captureBeyondViewport=whole)
        return base64.b64decode(answer["data"])


class Browser:
    """A running Chromium."""

    def __init__(self, commands: int, answers: int) -> None:
        self._commands = commands
        self._answers = answers
        self._buffer = b""
        self._last = 0
        self._tabs: dict[str, Tab] = {}

    def tab(self) -> Tab:
        """Open an empty tab."""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = Tab(lambda method, **params: self._call(method, session=session, **params))
        self._tabs[session] = tab
        return tab

    def _call(self, method: str, *, session: str | None = None, **params: Any) -> dict[str, Any]:
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._last:
                assert "error" not in answer, answer
                return dict(answer["result"])
            tab = self._tabs.get(answer.get("sessionId", ""))
            if tab is not None and "method" in answer:
                tab.event(answer["method"], answer["params"])

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            part = os.read(self._answers, 1 << 20)
            assert part, "chromium has ended"
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(message))


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """Run Chromium with a profile in `folder`, which must exist."""
    theirs, ours = zip(_pipe(), _pipe()[::-1], strict=True)
    arguments = [
        "chromium",
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--remote-debugging-pipe",
        f"--user-data-dir={folder}",
    ]
    # Chromium reads 3 and writes 4; bash moves high descriptors there.
    script = f'exec "$@" 3<&{theirs[0]} 4>&{theirs[1]}'
    with open(folder / "chromium.log", "wb") as log:
        process = subprocess.Popen(
            ["bash", "-c", script, "bash", *arguments],
            pass_fds=theirs,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    for descriptor in theirs:
        os.close(descriptor)
    try:
        yield Browser(*ours)
    finally:
        for descriptor in ours:
            os.close(descriptor)
        process.terminate()
        process.wait(timeout=10)


def _pipe() -> tuple[int, int]:
    """Return the reading and the writing end of a pipe, both above the numbers bash uses."""
    ends = os.pipe()
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 60) for end in ends]
    for end in ends:
        os.close(end)
    return high[0], high[1]
