"""A headless Chromium that tests steer: it opens a page, moves the mouse, looks at the document and takes
pictures of it."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from latentrun.plotting.pages import embedded, packed, policy, scripts

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-unsafe-swiftshader",
    "--use-gl=angle",
    "--use-angle=swiftshader",
)
PATIENCE = 240  # seconds: a busy machine draws in software


def page_of(figures: Sequence[dict[str, Any]], title: str) -> str:
    """A page that draws plotly figures, each as JSON, in the way reports do."""
    guard = f'<meta http-equiv="Content-Security-Policy" content="{policy(True)}">'
    head = f'<meta charset="utf-8">{guard}<title>{title}</title>{packed()}'
    body = f"{''.join(map(embedded, figures))}<script>{scripts()[1]}</script>"
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>'


class Browser:
    """One page of a Chromium of its own, spoken to in the DevTools protocol over a pipe (no port is
    opened)."""

    def __init__(self, profile: Path, width: int = 1000, height: int = 800):
        # Chromium reads commands from 3 and writes answers to 4: high numbers here, so that none is
        # overwritten on the way.
        pipes = [
            fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for pair in (os.pipe(), os.pipe()) for end in pair
        ]
        theirs, (self._answers, self._commands) = (pipes[0], pipes[3]), (pipes[2], pipes[1])

        def hand_over() -> None:
            for end, place in zip(theirs, (3, 4), strict=True):
                os.dup2(end, place)

        command = [
            CHROMIUM,
            *OPTIONS,
            f"--window-size={width},{height}",
            f"--user-data-dir={profile}",
            "--remote-debugging-pipe",
            "about:blank",
        ]
        self._process = subprocess.Popen(
            command,
            preexec_fn=hand_over,
            pass_fds=(3, 4),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for end in theirs:
            os.close(end)
        self._number, self._buffer, self._session = 0, b"", None
        self.complaints: list[
            str
        ] = []  # what the page wrote to its console as errors, policy violations among them
        try:
            self._attach()
        except BaseException:
            self.__exit__()
            raise

    def _attach(self) -> None:
        target = next(
            found for found in self.call("Target.getTargets")["targetInfos"] if found["type"] == "page"
        )
        self._session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)  # it leads a group of its own, of all its processes
        self._process.wait()
        os.close(self._answers)
        os.close(self._commands)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the protocol, and its answer; AssertionError for an error or none in time."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        text = json.dumps(message | ({"sessionId": self._session} if self._session else {}))
        os.write(self._commands, text.encode() + b"\0")
        until = time.monotonic() + PATIENCE
        while True:
            answer = self._next(until)
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer.get('error')}"
                return answer["result"]
            if answer.get("method") == "Log.entryAdded" and answer["params"]["entry"]["level"] == "error":
                self.complaints.append(answer["params"]["entry"]["text"])
            if answer.get("method") == "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(answer["params"]["exceptionDetails"]))

    def _next(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            assert select.select([self._answers], [], [], max(0, until - time.monotonic()))[0], (
                "the browser does not answer"
            )
            part = os.read(self._answers, 1 << 20)
            assert part, "the browser has ended"
            self._buffer += part
        text, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(text)

    # ---------------------------------------------------------------- what a test does
    def open(self, path: Path, until: str = "true") -> None:
        """Show a page, and wait for an expression to hold there."""
        self.call("Page.navigate", url=path.as_uri())
        self.wait(f"document.readyState === 'complete' && Boolean({until})")

    def read(self, expression: str) -> Any:
        """The value of an expression, or what it promises; AssertionError for what it throws."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found.get("exceptionDetails")
        return found["result"].get("value")

    def wait(self, expression: str, seconds: float = PATIENCE) -> Any:
        """The value of an expression as soon as it is neither false nor nothing."""
        until = time.monotonic() + seconds
        while not (value := self.read(expression)):
            assert time.monotonic() < until, f"not so within {seconds:g} s: {expression}"
            time.sleep(0.05)
        return value

    def move(self, x: float, y: float) -> None:
        """The mouse, to a place in the window; twice, as nothing is touched before it has moved."""
        for shift in (1, 0):
            self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x + shift, y=y)

    def click(self, x: float, y: float) -> None:
        self.move(x, y)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def picture(self, path: Path) -> Path:
        """The window as a PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))
        return path
