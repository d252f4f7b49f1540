"""The site of `ibca app`: its pages, its route for programs, and what keeps others out of it.

Nothing is loaded from elsewhere and nothing sent: the policy in every answer allows this site's own files alone. A
page of another site can neither read an answer (the host must be this machine's name, which stops names that are bound
anew to it) nor post (the origin must be this one). Names of uploads are shown, and are no paths to anything.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from threading import Event
from typing import Any, TypeVar

import anyio
import numpy as np
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Message

from ibca_lightning import __version__
from ibca_lightning.data.pictures.drawing import IN_WORDS
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.failures import exit_code
from ibca_lightning.system.pages.html_page import package_text, render
from ibca_lightning.use.app import NOTE
from ibca_lightning.use.app.answers import Model, Upload, answer, as_csv, opinions

MOST_FILES, MOST_BYTES = 64, 2**28  # of one request; the batch page sends a folder in several
_HOSTS = ["127.0.0.1", "localhost"]
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # without any a browser would not say the origin of a form
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",  # answers hold pictures of patients
}
_Result = TypeVar("_Result")


class Site:
    """The answers to requests.

    Args:
        models: At least one.
        safe: Whether CSV files are made safe for spreadsheets.

    Attributes:
        stopping: To be set when the server ends: work then ends after the pictures that it is at.
    """

    def __init__(self, models: Sequence[Model], safe: bool = False) -> None:
        self._models, self._safe = models, safe
        self._one_at_a_time = anyio.CapacityLimiter(1)
        self.stopping = Event()

    def application(self) -> Starlette:
        """What a server runs."""
        return Starlette(
            routes=[
                Route("/", self._page("picture")),
                Route("/", self._picture, methods=["POST"]),
                Route("/batch", self._page("batch")),
                Route("/batch", self._batch, methods=["POST"]),
                Route("/card", self._page("card")),
                Route("/api/predict", self._predict, methods=["POST"]),
                Route("/app.css", _file("text/css", "system/pages/page.css", "use/app/app.css")),
                Route("/app.js", _file("text/javascript", "system/pages/page.js", "use/app/app.js")),
            ],
            middleware=[
                Middleware(BaseHTTPMiddleware, dispatch=self._guarded),
                Middleware(TrustedHostMiddleware, allowed_hosts=_HOSTS, www_redirect=False),
            ],
            exception_handlers={HTTPException: self._refused},
        )

    def _page(self, tab: str) -> Callable[[Request], Awaitable[Response]]:
        async def page(request: Request) -> Response:
            return self._html(tab)

        return page

    async def _picture(self, request: Request) -> Response:
        (upload, *_) = await _uploads(request)
        picture, said = await self._work(partial(opinions, self._models, upload))
        return self._html("picture", name=upload.name, picture=picture, said=said, in_words=IN_WORDS)

    async def _batch(self, request: Request) -> Response:
        answered = await self._answered(request)
        return JSONResponse(answered | {"files": as_csv(self._models, answered, self._safe)})

    async def _predict(self, request: Request) -> Response:
        return JSONResponse({"note": NOTE, "version": __version__} | await self._answered(request))

    async def _answered(self, request: Request) -> dict[str, Any]:
        answered = await self._work(partial(answer, self._models, await _uploads(request), self.stopping))
        if self.stopping.is_set():
            raise HTTPException(503, "Stopped.")
        return answered

    async def _work(self, work: Callable[[], _Result]) -> _Result:
        """Let one thread do it, while other requests wait for their turn."""
        try:
            return await anyio.to_thread.run_sync(work, limiter=self._one_at_a_time)
        except InputError as error:
            raise HTTPException(422, f"Expected {error.expected}, got {error.got}.") from error

    async def _guarded(self, request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        """Refuse what a page of another site posts; a program that is no browser names no origin."""
        origin, host = request.headers.get("origin"), request.headers.get("host", "")
        if request.method not in ("GET", "HEAD") and origin not in (None, f"http://{host}"):
            response: Response = PlainTextResponse("Pages of other sites may not post here.", 403)
        else:
            try:
                response = await call_next(request)
            except Exception as error:  # such as no memory: the page goes on
                exit_code(error)
                said = HTTPException(500, "It failed; the terminal in which ibca app runs says why.")
                response = await self._refused(request, said)
        response.headers.update(_HEADERS)
        return response

    async def _refused(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if request.method == "POST" and request.url.path != "/":
            return JSONResponse({"note": NOTE, "error": error.detail}, error.status_code)
        return self._html("picture", status=error.status_code, error=error.detail)

    def _html(self, tab: str, status: int = 200, **values: Any) -> Response:
        given = {
            "tab": tab, "note": NOTE, "version": __version__, "models": self._models, "most_files": MOST_FILES,
            "most_bytes": MOST_BYTES, "error": None, "said": None, **values,
        }  # fmt: skip
        return HTMLResponse(render(f"use/app/{tab}.html.j2", **given), status)


async def _uploads(request: Request) -> list[Upload]:
    """The files of a form, held in memory; larger ones meanwhile in files without a name, which end with the request.

    Raises:
        HTTPException: There is none, or they are too many or too large.
    """
    left = MOST_BYTES

    async def counted() -> Message:
        nonlocal left
        message = await request.receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise HTTPException(413, f"Expected at most {MOST_BYTES >> 20} MiB in one request, got more.")
        return message

    try:
        async with Request(request.scope, counted).form(max_files=MOST_FILES, max_fields=MOST_FILES) as form:
            files = [file for _, file in form.multi_items() if isinstance(file, UploadFile) and file.filename]
            uploads = [Upload(file.filename or "", np.frombuffer(await file.read(), np.uint8)) for file in files]
    except ClientDisconnect:
        raise HTTPException(400, "Expected the whole form, got a part of it.") from None  # nobody reads it
    if not uploads:
        raise HTTPException(400, "Expected a file, got none.")
    return uploads


def _file(kind: str, *files: str) -> Callable[[Request], Awaitable[Response]]:
    content = "".join(map(package_text, files))

    async def file(request: Request) -> Response:
        return Response(content, media_type=kind)

    return file
