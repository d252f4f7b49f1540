"""`ibca app`: a page on this machine: drop a picture, see what models say of it, and how often that was right."""

import os
import socket
from argparse import Namespace
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from ibca_lightning.system.errors import InputError
from ibca_lightning.system.options import OptionParser
from ibca_lightning.system.output import write_err, write_out
from ibca_lightning.use.app import NOTE
from ibca_lightning.use.model_options import add_device, add_excel_safe, add_names, named, opened

if TYPE_CHECKING:  # torch takes seconds to import, and --help needs none
    from ibca_lightning.use.app.answers import Model

_HOST = "127.0.0.1"  # this machine alone; there is no option for another one
_NEEDED = {"starlette": "starlette", "uvicorn": "uvicorn", "python_multipart": "python-multipart"}


def app(arguments: list[str]) -> int:
    """Serve the page until Ctrl-C; nothing is written."""
    options = _parse(arguments)
    for module, package in _NEEDED.items():
        if find_spec(module) is None:
            fix = "install it: pip install 'ibca-lightning[app]'"
            raise InputError(f"{package}, to serve the page", "no such package", fix)
    with _listening(options.port) as listening:
        # Behind what can be wrong at once: these imports take seconds.
        import uvicorn

        from ibca_lightning.use.app.site import Site

        site = Site(_models(options), options.excel_safe)
        write_out(f"open http://{_HOST}:{listening.getsockname()[1]} in a browser; Ctrl-C ends it. {NOTE}\n")
        settings = uvicorn.Config(
            site.application(), log_level="critical", access_log=False, server_header=False, proxy_headers=False,
            lifespan="off", ws="none", limit_concurrency=32, timeout_graceful_shutdown=3,
        )  # fmt: skip

        class Server(uvicorn.Server):
            def handle_exit(self, sig: int, frame: FrameType | None) -> None:
                site.stopping.set()
                super().handle_exit(sig, frame)

        Server(settings).run([listening])
        if site.stopping.is_set():  # uvicorn raises the signal again, for whatever handler stood there before
            raise KeyboardInterrupt
    return 0


def _models(options: Namespace) -> "list[Model]":
    """Open each checkpoint with its test record and its card; what is not there is said on the page."""
    from ibca_lightning.use.app.answers import Model
    from ibca_lightning.use.app.card import card_beside
    from ibca_lightning.use.app.track_record import TrackRecord, read_track_record

    models = []
    for name, path in zip(options.names, map(Path, options.ckpt_path), strict=True):
        predictor = opened(str(path), options.device, options.trust)
        record: TrackRecord | str
        try:
            record = read_track_record(path, predictor.spec, options.images)
        except InputError as error:
            record = f"expected {error}"
            write_err(f"note: {name}: no figures of a test set: {record}\n")
        models.append(Model(name, predictor, record, card_beside(path), not options.no_images))
    return models


def _listening(port: int) -> socket.socket:
    """A socket that listens already, so that a port in use is said before seconds of imports."""
    listening = socket.socket()
    try:
        if os.name == "posix":  # or a port stays taken for a minute after its page ended
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((_HOST, port))
        listening.listen()
    except OSError as error:
        listening.close()
        raise InputError(f"a free port, --port {port}", error.strerror, "give another one, or 0 for any") from error
    return listening


def _parse(arguments: list[str]) -> Namespace:
    parser = OptionParser(
        "ibca app",
        "options of `ibca app`",
        "A page on this machine, at 127.0.0.1: drop a picture or a DICOM file, see classes with thresholds, heat maps, "
        "how often such a decision was right in the test set, and the nearest test pictures; many pictures at once as "
        "CSV; the model card; a route for other programs. It loads nothing from elsewhere and sends nothing. " + NOTE,
    )
    parser.add_argument(
        "--ckpt_path", required=True, nargs="+", action="extend", metavar="CKPT",
        help="A checkpoint written by `ibca fit`; a second one is shown beside it. Figures and pictures of the test "
        "set come from its run folder, where it was tested.",
    )  # fmt: skip
    add_names(parser)
    parser.add_argument("--port", type=int, default=8765, help="Of the page (default 8765); 0 takes a free one.")
    parser.add_argument(
        "--images", help="Folder below which the test pictures lie by their ids, where the data have moved; default "
        "data.root and data.image_dir of RUN/config.yaml.",
    )  # fmt: skip
    parser.add_argument("--no_images", action="store_true", help="Show no test picture, as they are of patients.")
    add_excel_safe(parser)
    add_device(parser)
    options = parser.parse_args(arguments)
    if not 0 <= options.port < 2**16:
        raise InputError("a --port from 0 to 65535", options.port, "give another one")
    options.names = named(options)
    return options
