"""Chromium, driven through its own pipe: what a person does with a page, for the tests of pages that a server gives."""

import base64
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run", "--hide-scrollbars",
)  # fmt: skip


class Page:
    """One page of a browser, by the DevTools protocol."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read, self._number, self._rest, self._session = write, read, 0, b"", {}
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self._session = {"sessionId": self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}
        self("Page.enable")
        self("DOM.enable")

    def __call__(self, method: str, **params: Any) -> Any:
        """The result of a command."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params} | self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        answer = self._await(lambda own: own.get("id") == self._number)
        assert "error" not in answer, answer
        return answer["result"]

    def _await(self, wanted: Any) -> Any:
        while True:
            while b"\0" not in self._rest:
                piece = os.read(self._read, 2**16)
                assert piece, "the browser is gone"
                self._rest += piece
            text, _, self._rest = self._rest.partition(b"\0")
            if wanted(message := json.loads(text)):
                return message

    def open(self, address: str, width: int = 1200, dark: bool = False) -> None:
        """Load a page, in a window of this width."""
        self("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self("Emulation.setEmulatedMedia", features=[scheme])
        self("Page.navigate", url=address)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def __getitem__(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = self("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, script: str) -> None:
        """Wait until an expression holds, also in a page that is loaded meanwhile."""
        waiting = (
            f"new Promise(done => {{ const look = () => ({script}) ? done(true) : setTimeout(look, 50); look(); }})"
        )
        while True:
            try:
                assert self[waiting]
                return
            except AssertionError as error:  # the page that was asked is gone
                if "navigated" not in str(error) and "context" not in str(error):
                    raise

    def choose(self, query: str, *files: Path) -> None:
        """Choose files for an input, as in its dialogue."""
        node = self("DOM.getDocument")["root"]["nodeId"]
        found = self("DOM.querySelector", nodeId=node, selector=query)["nodeId"]
        self("DOM.setFileInputFiles", nodeId=found, files=[str(file) for file in files])

    def drop(self, query: str, *files: Path) -> None:
        """Drop files or folders onto an element."""
        box = self[
            f"(({{left, top}}) => [left + 9, top + 9])(document.querySelector('{query}').getBoundingClientRect())"
        ]
        data = {"items": [], "files": [str(file) for file in files], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self("Input.dispatchDragEvent", type=kind, x=box[0], y=box[1], data=data)

    def shot(self, path: Path) -> None:
        """Write the whole page as a PNG."""
        width, height = self["[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"]
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        data = self("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)["data"]
        path.write_bytes(base64.b64decode(data))


@contextmanager
def chromium(folder: Path, *options: str) -> Iterator[Page]:
    """A browser of its own profile, which is told options such as `--log-net-log`."""
    theirs_in, ours_out, ours_in, theirs_out = (_high(end) for end in (*os.pipe(), *os.pipe()))
    profile = f"--user-data-dir={folder / 'profile'}"
    start = f"import os, sys; os.dup2({theirs_in}, 3); os.dup2({theirs_out}, 4); os.execv(sys.argv[1], sys.argv[1:])"
    command = [sys.executable, "-S", "-c", start, str(BROWSER), "--remote-debugging-pipe"]
    process = subprocess.Popen(
        [*command, *OPTIONS, profile, *options, "about:blank"], pass_fds=(theirs_in, theirs_out),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        page = Page(ours_out, ours_in)
        yield page
        page._session = {}
        page("Browser.close")
        process.wait(60)
    finally:
        process.kill()
        process.wait()
        os.close(ours_in)
        os.close(ours_out)


def _high(end: int) -> int:
    """The same end of a pipe under a number above 3 and 4, which are the browser's."""
    high = fcntl.fcntl(end, fcntl.F_DUPFD, 10)
    os.close(end)
    return high
