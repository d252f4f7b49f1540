"""`ibca app`: what the page says is what predict and the test set say, and nobody else gets at it."""

import csv
import io
import json
import os
import re
import shutil
import signal
import socket
import tempfile
import threading
import time
import urllib.request
from html import unescape
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

from ibca_lightning.model.checkpoint import read_checkpoint
from ibca_lightning.run.run_settings import picture_folders
from ibca_lightning.system.errors import InputError
from ibca_lightning.system.model_files.model_record import CHECKPOINT_KEY
from ibca_lightning.use.app import command
from ibca_lightning.use.app import site as app_site
from ibca_lightning.use.app.answers import Model
from ibca_lightning.use.app.card import card_beside
from ibca_lightning.use.app.site import Site
from ibca_lightning.use.app.track_record import TrackRecord, read_track_record
from ibca_lightning.use.predictor import load
from tests import made_run
from tests.command_line import contents, done, ibca, near, refused
from tests.made_run import EVIL, NAMES, THRESHOLDS
from tests.training import checkpoint

HOST = "http://127.0.0.1:8765"
NOTE = "Research software, not a medical device."


def tuned(path: Path, thresholds: list[float]) -> Path:
    record = read_checkpoint(path)
    record[CHECKPOINT_KEY] |= {"thresholds": thresholds, "threshold_positives": [30, 9, 30, 30]}
    torch.save(record, path)
    return path


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tested run, its pictures, and a model of other classes that was not tested."""
    root = tmp_path_factory.mktemp("app")
    run = made_run.write(root)
    tuned(run / "checkpoints" / "best.ckpt", THRESHOLDS)
    card = f"# Card\n\n{EVIL}\n\n![x](http://127.0.0.1:9/x.png) [y](javascript:z)\n\n|a|b_c|\n|-|-:|\n|1|2|\n\n"
    (run / "checkpoints" / "model_card.md").write_text(card + '<!-- ibca-facts {"model": {}} -->\n')
    checkpoint(root / "other.ckpt", 1, ["EX", "polyp"])
    return root


@pytest.fixture(scope="module")
def models(root: Path) -> list[Model]:
    best, other = root / "run/checkpoints/best.ckpt", root / "other.ckpt"
    tested = load(best, "cpu")
    record = read_track_record(best, tested.spec, str(root / "images"))
    return [Model("one", tested, record, card_beside(best)), Model("two", load(other, "cpu"), "expected x, got y; z")]


@pytest.fixture(scope="module")
def client(models: list[Model]) -> TestClient:
    return TestClient(Site(models).application(), base_url=HOST)


def files(*uploads: tuple[str, bytes]) -> list[tuple[str, tuple[str, bytes]]]:
    return [("picture", upload) for upload in uploads]


def picture(root: Path, row: int = 3) -> bytes:
    return (root / "images" / made_run.picture_id(row)).read_bytes()


def test_the_page_says_what_predict_and_the_test_set_say(root: Path, client: TestClient, models: list[Model]) -> None:
    answer = client.post("/", files=files(("<i>x.png", picture(root))), headers={"Origin": HOST})
    assert answer.status_code == 200
    page = answer.text
    assert NOTE in page
    assert page.count('class="scroll"') == page.count('class="on soft" hidden>') == 2, "what says that a table is cut"
    assert "<i>" not in page, "names are escaped"
    assert "<script>document" not in page
    said = models[0].predictor.predict(root / "images" / made_run.picture_id(3))
    rows = re.findall(r"<tr[^>]*><th scope=\"row\">(.*?)</th>(.*?)</tr>", page, re.S)
    assert [unescape(name) for name, _ in rows] == [*NAMES, "EX", "polyp"]
    scores, labels, figures = (
        made_run.probabilities(),
        made_run.labels(),
        json.loads((root / "run/test_metrics.json").read_text()),
    )
    for at, (name, cells) in enumerate(rows[:4]):
        text = re.sub(r"(?s)<svg.*?</svg>|<[^>]*>", " ", cells)
        present = bool(said.decisions[at])
        assert f"{said.probabilities[at]:.2f}" in text
        assert ("not found" not in text) == present
        assert ("*" in text) == (at == 1), "the one threshold that rests on nine positives"
        # By hand, from what the test wrote.
        same = ((scores[:, at] > THRESHOLDS[at]) == present) & (labels[:, at] >= 0)
        right = same & (labels[:, at] == present)
        assert f"{right.sum()} of {same.sum()}" in text
        interval = figures["tuned_per_class_intervals"][unescape(name)]["precision"]
        shown = f"{100 * interval[0]:.0f} to {100 * interval[1]:.0f}&nbsp;%" if interval else "nothing"
        assert (shown in text) == (present and interval is not None)
        if present:
            assert f"{right.sum()} of {same.sum()} findings like this were right in the test set" in page
    assert said.decisions[:3].any()
    assert not said.decisions.all()
    assert page.count("data:image/jpeg;base64,") == 1 + 4 + 2 + 3 + 3, "the picture, maps, test pictures"
    assert "No figures of a test set: expected x, got y; z" in page


def test_the_nearest_test_pictures_are_those_with_the_nearest_probabilities(models: list[Model], root: Path) -> None:
    record = models[0].record
    assert isinstance(record, TrackRecord)
    scores, labels = made_run.probabilities(), made_run.labels()
    wanted = np.array([0.5, 0.2, 0.9, 0.4], np.float32)
    distance = np.abs(scores - wanted).mean(1)
    wrong = ((labels >= 0) & ((scores > THRESHOLDS) != (labels == 1))).any(1)
    for right in (True, False):
        order = [row for row in np.argsort(distance) if wrong[row] != right]
        assert 0 < len(order) < len(scores)
        found = record.nearest(wanted, right)
        assert [own.name for own in found] == [made_run.picture_id(row) for row in order]
        assert [own.distance for own in found] == pytest.approx(distance[order], abs=1e-6)
        assert found[0].there == [name for name, own in zip(NAMES, labels[order[0]], strict=True) if own == 1]
        assert record.path(found[0]) == root / "images" / found[0].name


def test_programs_and_tables_get_what_predict_writes(root: Path, client: TestClient, tmp_path: Path) -> None:
    given = [made_run.picture_id(row) for row in range(12)]  # more than are looked at at once
    best = root / "run/checkpoints/best.ckpt"
    for name in given:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes((root / "images" / name).read_bytes())
    done("predict", "--ckpt_path", best, "--images", tmp_path / "in", "--output", tmp_path / "out", "--device", "cpu")
    expected = (tmp_path / "out/predictions.csv").read_text()
    uploads = files(*((name, (root / "images" / name).read_bytes()) for name in given), ("no.png", b"no picture"))
    batch = client.post("/batch", files=uploads).json()
    header, rows = batch["files"]["predictions-one.csv"]
    near(list(csv.DictReader(io.StringIO(header + rows))), list(csv.DictReader(io.StringIO(expected))))
    assert batch["files"]["failed.csv"][1].startswith('no.png,"expected a picture that can be decoded')
    answer = client.post("/api/predict", files=uploads).json()
    assert answer["note"] == NOTE
    assert [own["id"] for own in answer["pictures"]] == given
    assert [own["id"] for own in answer["failed"]] == ["no.png"]
    for own, row in zip(answer["pictures"], csv.DictReader(io.StringIO(expected)), strict=True):
        assert list(own["models"]) == ["one", "two"]
        for name in NAMES:
            finding = own["models"]["one"][name]
            assert finding["probability"] == pytest.approx(float(row[name]), abs=1e-6)
            assert str(int(finding["present"])) == row[f"decision:{name}"]
            assert finding["tested"]["of"] <= made_run.PICTURES
        assert own["models"]["two"]["polyp"]["tested"] is None


def test_a_dicom_picture_is_read(client: TestClient) -> None:
    data, file = pydicom.Dataset(), io.BytesIO()
    data.Rows = data.Columns = 40
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    data.PixelData = np.arange(1600, dtype=np.uint16).tobytes()
    pydicom.dcmwrite(file, data, implicit_vr=False, little_endian=True)
    answer = client.post("/", files=files(("scan.dcm", file.getvalue())))
    assert (answer.status_code, ">scan.dcm</h2>" in answer.text) == (200, True), answer.text


def test_no_other_site_gets_at_it(root: Path, client: TestClient) -> None:
    upload = files(("x.png", picture(root)))
    for origin in ("http://evil.example", "null", "http://127.0.0.1:9", "https://127.0.0.1:8765"):
        for path in ("/", "/batch", "/api/predict"):
            assert client.post(path, files=upload, headers={"Origin": origin}).status_code == 403, (path, origin)
    evil = {"Host": "evil.example:8765", "Origin": "http://evil.example:8765"}
    assert client.post("/api/predict", files=upload, headers=evil).status_code == 400, (
        "a name bound anew to this machine"
    )
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 400
    assert client.get("/", headers={"Host": "localhost:8765"}).status_code == 200
    for answer in (
        client.get("/"),
        client.get("/batch"),
        client.get("/card"),
        client.get("/nowhere"),
        client.get("/app.js"),
    ):
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'self'; img-src 'self' data:;")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["Cache-Control"] == "no-store"
        assert "access-control-allow-origin" not in answer.headers
        if "html" in answer.headers["Content-Type"]:
            assert NOTE in answer.text, "on every page"
            assert not re.search(r"\sstyle=|<script>|<style|(src|href)=(?!\"(/|data:))", answer.text)
    assert client.get("/nowhere").status_code == 404
    assert client.put("/").status_code == 405


def test_uploads_are_bounded_and_are_no_paths(
    root: Path, client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = contents(root)
    real, other = root / "images" / made_run.picture_id(0), picture(root, 9)
    answers = [
        client.post("/api/predict", files=files((name, other))).json()["pictures"][0]["models"]
        for name in ("x.png", str(real), f"../../{real.name}", "C:\\x.png", "\x00.png", "x.csv", "~/x.png")
    ]
    assert all(answer == answers[0] for answer in answers), "the name changes nothing"
    noise = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (900, 900, 3), dtype=np.uint8)).save(noise, "PNG")
    assert len(noise.getvalue()) > 2**20, "beyond what is held in memory"
    assert client.post("/api/predict", files=files(("big.png", noise.getvalue()))).status_code == 200
    assert client.post("/api/predict", files=files(*[("x.png", b"x")] * 65)).status_code == 400
    assert client.post("/api/predict", data={"picture": "x.png"}).json()["error"] == "Expected a file, got none."
    empty = client.post("/", files=files(("empty.png", b"")))
    assert (empty.status_code, "Expected a picture in empty.png, got 0 bytes." in empty.text) == (422, True)
    assert client.post("/", files=files(("text.png", b"text"))).status_code == 422
    bomb = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (10**6).to_bytes(4) * 2 + b"\x08\x02\0\0\0"
    (failed,) = client.post("/batch", files=files(("bomb.png", bomb))).json()["failed"]
    assert "a height of 1000000" in failed["reason"], "refused before it is decoded"
    monkeypatch.setattr(app_site, "MOST_BYTES", 10_000)
    large = client.post("/", files=files(("x.png", bytes(20_000))))
    assert (large.status_code, 'role="alert"' in large.text) == (413, True)
    assert client.post("/batch", files=files(("x.png", bytes(20_000)))).status_code == 413
    assert contents(root) == before
    assert not list(tmp_path.iterdir()), "nothing is left"


def test_the_card_is_shown_and_nothing_in_it_lives(client: TestClient, root: Path) -> None:
    page = client.get("/card").text
    assert "<h1>Card</h1>" in page
    assert "<td>1</td>" in page
    assert not re.search(r"<script>|<b>|<img|<a [^>]*javascript|style=|ibca-facts", page)
    assert "No model card lies beside this checkpoint." in page, "of the second one"


def test_figures_of_another_checkpoint_are_not_taken_for_its_own(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run ibca test"):
        read_track_record(root / "other.ckpt", load(root / "other.ckpt", "cpu").spec)
    best = root / "run/checkpoints/best.ckpt"
    spec = load(best, "cpu").spec
    assert (
        read_track_record(best, spec).folder == picture_folders({"data": {"init_args": {"root": "/home/jane/data"}}})[0]
    )
    for others in ([0.3, 0.6, 0.5, 0.4], [0.5, 0.5, 0.5, 0.5]):
        with pytest.raises(InputError, match="another checkpoint"):
            read_track_record(best, type(spec)(**(spec.as_dict() | {"thresholds": others})))
    card = best.with_name("model_card.md")
    text = card.read_text()
    try:
        of_another = {"checkpoint": "last.ckpt", "sets": {}, "versions": {}, "command": ""}
        facts = {"model": {"class_names": [], "preprocessing": {}}, "test": of_another}
        card.write_text(text.replace('{"model": {}}', json.dumps(facts)))
        with pytest.raises(InputError, match="another checkpoint"):
            read_track_record(best, spec)
    finally:
        card.write_text(text)


def test_a_run_that_was_changed_is_told_of(root: Path, tmp_path: Path) -> None:
    run = shutil.copytree(root / "run", tmp_path / "run")
    best, file = run / "checkpoints/best.ckpt", run / "test_metrics.json"
    spec, content = load(best, "cpu").spec, json.loads(file.read_text())
    for change in (
        {"thresholds": 3}, {"thresholds": {NAMES[0]: 3}}, {"tuned_per_class_intervals": []},
        {"tuned_per_class_intervals": {NAMES[0]: {"precision": [2, 1]}}}, {"metrics": None},
    ):  # fmt: skip
        file.write_text(json.dumps(content | change))
        with pytest.raises(InputError, match=r"test_metrics\.json"):
            read_track_record(best, spec)
    file.write_text(json.dumps(content))
    card = run / "checkpoints/model_card.md"
    card.write_text('<!-- ibca-facts {"test": 3} -->')
    assert read_track_record(best, spec).name == "test"
    card.write_bytes(b"\xff")
    assert card_beside(best) == ""
    (run / "test_predictions.csv").write_text("id\n")
    with pytest.raises(InputError, match=r"test_predictions\.csv"):
        read_track_record(best, spec)


def test_what_nobody_foresaw_ends_no_page(
    root: Path, models: list[Model], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*given: object) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(app_site, "opinions", fail)
    client = TestClient(Site(models).application(), base_url=HOST)
    answer = client.post("/", files=files(("x.png", picture(root))))
    assert (answer.status_code, NOTE in answer.text, "says why" in answer.text) == (500, True, True)
    assert capsys.readouterr().err.startswith("error: enough memory for a batch, got CUDA out of memory")
    assert client.post("/batch", files=files(("x.png", picture(root)))).status_code == 200
    site = Site(models)
    site.stopping.set()
    stopped = TestClient(site.application(), base_url=HOST).post("/api/predict", files=files(("x.png", picture(root))))
    assert (stopped.status_code, stopped.json()["error"]) == (503, "Stopped."), "and not a part of the answer"


def test_test_pictures_are_left_out_with_a_line(models: list[Model], root: Path) -> None:
    hidden = [Model("one", models[0].predictor, models[0].record, pictures=False)]
    moved = read_track_record(root / "run/checkpoints/best.ckpt", models[0].predictor.spec, str(root / "nowhere"))
    for own, line in (
        (hidden, "because of --no_images"),
        ([Model("one", models[0].predictor, moved)], "--images FOLDER"),
    ):
        page = TestClient(Site(own).application(), base_url=HOST).post("/", files=files(("x.png", picture(root)))).text
        assert line in page
        assert page.count("data:image/jpeg;base64,") == 1 + 4


def test_spreadsheets_run_nothing_where_that_is_asked_for(models: list[Model], root: Path) -> None:
    for safe, name in ((True, "'=x.png"), (False, "=x.png")):
        client = TestClient(Site(models, safe).application(), base_url=HOST)
        answer = client.post("/batch", files=files(("=x.png", picture(root)))).json()
        assert answer["files"]["predictions-one.csv"][1].startswith(f"{name},")


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_ctrl_c_ends_it_with_130_and_leaves_nothing(root: Path) -> None:
    port, before, seen = free_port(), contents(root), []

    def visit() -> None:
        end = time.monotonic() + 60
        while not seen and time.monotonic() < end:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as answer:
                    seen.append(answer.read().decode())
            except OSError:
                time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    visitor = threading.Thread(target=visit)
    visitor.start()
    best = root / "run/checkpoints/best.ckpt"
    result = ibca("app", "--ckpt_path", best, root / "other.ckpt", "--port", port, "--device", "cpu")
    visitor.join()
    assert (result.code, result.err.splitlines()[-1]) == (130, "error: stopped by Ctrl-C")
    assert f"http://127.0.0.1:{port} " in result.out
    assert "no figures of a test set: expected test_metrics.json" in result.err
    assert "It can find EX, polyp" in seen[0]
    assert contents(root) == before
    command._listening(port).close()  # and it could be started anew


def test_what_is_wrong_is_one_line(root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    best = root / "run/checkpoints/best.ckpt"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        refused("app", "--ckpt_path", best, "--port", port, names=(f"--port {port}", "in use"))
    refused("app", "--ckpt_path", best, "--port", "70000", names=("65535",))
    refused("app", "--ckpt_path", best, best, "--names", "a", names=("2 different --names",))
    refused("app", "--ckpt_path", "none.ckpt", "--port", "0", names=("none.ckpt",))
    refused("app", names=("--ckpt_path",))
    monkeypatch.setattr(command, "find_spec", lambda name: None if name == "uvicorn" else object())
    refused("app", "--ckpt_path", best, names=("uvicorn", "pip install 'ibca-lightning[app]'"))
    help_text = done("app", "--help").out
    assert "not a medical device" in " ".join(help_text.split())
