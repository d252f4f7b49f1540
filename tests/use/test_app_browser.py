"""`ibca app` in a real browser: a picture and a batch go through, and no request leaves the page's own address."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from ibca_lightning.use.app.answers import Model
from ibca_lightning.use.app.command import NOTE
from ibca_lightning.use.app.site import Site
from ibca_lightning.use.app.track_record import read_track_record
from ibca_lightning.use.predictor import load
from tests import made_run
from tests.chromium import BROWSER, chromium
from tests.command_line import contents, rows
from tests.made_run import NAMES

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium here: apt-get install chromium")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("app")
    made_run.write(root)
    (root / "images" / ".hidden").write_bytes(b"x")
    return root


@pytest.fixture(scope="module")
def address(root: Path) -> Iterator[str]:
    """A site with two models, at a port of its own, in a thread."""
    best = root / "run/checkpoints/best.ckpt"
    predictor = load(best, "cpu")
    figures = root / "run/test_metrics.json"
    content = json.loads(figures.read_text())
    for own, value in zip(content["thresholds"].values(), predictor.spec.thresholds, strict=True):
        own["threshold"] = value
    figures.write_text(json.dumps(content))
    record = read_track_record(best, predictor.spec, str(root / "images"))
    models = [Model("one", predictor, record), Model("two", predictor, "none")]
    server = uvicorn.Server(uvicorn.Config(Site(models).application(), port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.05)
        assert thread.is_alive()
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.mark.slow
def test_a_picture_and_a_batch_go_through_and_nothing_is_asked_of_others(
    root: Path, address: str, tmp_path: Path
) -> None:
    log, before = tmp_path / "net.json", contents(root)
    pictures = [root / "images" / made_run.picture_id(row) for row in range(0, 20, 2)]
    with chromium(tmp_path, f"--log-net-log={log}", "--net-log-capture-mode=Everything") as page:
        colours = []
        for width, dark in ((1200, False), (390, True)):
            page.open(address, width, dark)
            if dark:
                page.choose("#picture", pictures[0])
            else:
                page.drop("#one", pictures[0])
            page.until("document.getElementById('result') !== null && document.readyState === 'complete'")
            assert page["document.getElementById('result').textContent"] == pictures[0].name
            assert page["document.querySelectorAll('.classes tbody tr').length"] == 2 * len(NAMES)
            assert page["[...document.images].every(image => image.naturalWidth > 0)"]
            assert page["document.images.length"] == 1 + 2 * len(NAMES) + 6
            assert page["document.documentElement.scrollWidth"] == width, "the page does not scroll sideways"
            assert page["[...document.querySelectorAll('.scroll')].every(box => "
                        "box.nextElementSibling.hidden === (box.scrollWidth <= box.clientWidth + 1))"]  # fmt: skip
            assert NOTE in page["document.body.textContent"]
            assert page["document.activeElement.id"] == "result", "readers of screens go on there"
            assert page["[...document.querySelectorAll('input, button')].every(e => e.labels.length || e.textContent)"]
            colours.append(page["getComputedStyle(document.body).backgroundColor"])
        assert colours[0] != colours[1], "it follows dark mode"

        page.open(f"{address}/batch")
        bad = tmp_path / "bad_one.png"
        bad.write_bytes(b"no picture")
        page.choose("#files", *pictures, bad)
        page.until("document.querySelectorAll('#downloads a').length === 3")
        assert page["document.getElementById('status').textContent"] == "10 pictures, and 1 that could not be read."
        assert page["[...document.querySelectorAll('#downloads a')].map(own => own.download)"] == [
            "predictions-one.csv", "predictions-two.csv", "failed.csv"
        ]  # fmt: skip
        assert page["document.getElementById('rows').tBodies[0].rows.length"] == 11
        page("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
        page["document.querySelector('#downloads a').click()"]
        while not (table := tmp_path / "predictions-one.csv").exists():
            time.sleep(0.05)
        assert [row["id"] for row in rows(table)] == [file.name for file in pictures]
        page.open(f"{address}/batch", 390)
        page.drop("#many", root / "images")
        page.until("document.querySelectorAll('#downloads a').length === 2")
        assert page["document.getElementById('status').textContent"] == f"{made_run.PICTURES} pictures."
        assert page["document.getElementById('rows').rows[1].cells[0].textContent"].startswith("images/jane<i>&")
        assert page["document.documentElement.scrollWidth"] == 390
        page.open(f"{address}/card", 390)
        assert page["document.documentElement.scrollWidth"] == 390
        # A page of another site cannot post here, nor read; that it asks shows that a request would be seen.
        page.open("data:text/html,<title>other</title>")
        for path in ("/", "/api/predict"):
            ask = f"fetch('{address}{path}', {{method: 'POST', body: new FormData()}})"
            assert page[f"{ask}.then(() => 'read', () => 'not')"] == "not"
    events = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
    # What Chromium asks for by itself has no page that it is for.
    asked = {event["url"] for event in events if event.get("initiator", "not an origin") != "not an origin"}
    own = {f"{address}{path}" for path in ("/", "/app.css", "/app.js", "/batch", "/api/predict")}
    assert {url for url in asked if not url.startswith(("data:", "blob:"))} == own
    assert contents(root) == before
