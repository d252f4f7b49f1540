"""A true S3 server and a web server in front of it, at which faults may be had."""

import http.client
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

BUCKET = "ward"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def moto(log: Path) -> Iterator[int]:
    """Run moto's S3 server; its port."""
    beside = str(Path(sys.executable).parent)  # CI does not have the environment on its PATH
    program = shutil.which("moto_server", path=f"{beside}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        pytest.skip("no moto_server (pip install 'moto[s3]' flask flask-cors): S3 is tried against a true server only")
    port = free_port()
    with log.open("wb") as said:
        server = subprocess.Popen([program, "-H", "127.0.0.1", "-p", str(port)], stdout=said, stderr=said)
    try:
        end = time.monotonic() + 120
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < end, "moto_server does not listen"
                time.sleep(0.1)
        yield port
    finally:
        server.kill()
        server.wait()


class Front:
    """Hands requests on to a server, but for those that a fault is said of.

    Attributes:
        fault: Of a method and a path: a status to answer with; `truncated`; `silent`; None to hand it on.
        asked: (method, path without query) of every request.
    """

    def __init__(self, behind: int) -> None:
        self.behind = behind
        self.fault: Callable[[str, str], int | str | None] = lambda method, path: None
        self.asked: list[tuple[str, str]] = []
        self.ended = threading.Event()
        front = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                front.asked.append((self.command, path))
                fault = front.fault(self.command, self.path)
                if fault == "silent":
                    front.ended.wait(20)
                    self.close_connection = True
                elif isinstance(fault, int):
                    self._answer(fault, {}, b"")
                else:
                    size = int(self.headers.get("Content-Length") or 0)
                    connection = http.client.HTTPConnection("127.0.0.1", front.behind)
                    connection.request(self.command, self.path, self.rfile.read(size), dict(self.headers))
                    answer = connection.getresponse()
                    self._answer(answer.status, dict(answer.getheaders()), answer.read(), fault == "truncated")
                    connection.close()

            do_HEAD = do_PUT = do_POST = do_DELETE = do_GET  # noqa: N815 - as http.server wants them

            def _answer(self, status: int, headers: dict[str, str], body: bytes, truncated: bool = False) -> None:
                self.send_response_only(status)
                length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(body))
                for name, value in headers.items():
                    if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                        self.send_header(name, value)
                self.send_header("Content-Length", length)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body[: len(body) // 2] if truncated else body)
                self.close_connection = self.close_connection or truncated

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.ended.set()
        self.server.shutdown()
        self.server.server_close()


def credentials(front: Front, home: Path) -> dict[str, str]:
    """The environment by which S3 is found there, and fails soon; of no user's own settings."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{front.port}", "AWS_ACCESS_KEY_ID": "AKIATESTKEY",
        "AWS_SECRET_ACCESS_KEY": "s3cr3t-of-the-test", "AWS_DEFAULT_REGION": "us-east-1", "AWS_MAX_ATTEMPTS": "2",
        "AWS_RETRY_MODE": "standard", "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true", "NO_PROXY": "127.0.0.1", "XDG_CACHE_HOME": str(home / "cache"),
    }  # fmt: skip
