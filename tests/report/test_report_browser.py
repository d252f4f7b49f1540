"""The report in a real browser: no request, tables sort, fits a phone and paper, follows dark mode."""

import json
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from tests import made_run
from tests.command_line import done
from tests.made_run import EVIL

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium here: apt-get install chromium")

# Shows the page in frames of several widths, and writes what it finds into #found. A srcdoc frame has the page's own
# policy, and lets this script look inside. The later frames go without the policy, so that nothing holds a request up.
HARNESS = """<!DOCTYPE html><meta charset="utf-8"><pre id="found"></pre><script>
const html = PAGE, found = {};
const free = html.replace(/<meta http-equiv="Content-Security-Policy"[^>]*>/, "");
function frame(width, html) {
  return new Promise(resolve => {
    const it = document.createElement("iframe");
    it.style.cssText = `width: ${width}px; height: 800px; border: 0`;
    it.onload = () => resolve(it.contentDocument);
    it.srcdoc = html;
    document.body.append(it);
  });
}
const width = page => [page.documentElement.scrollWidth, page.documentElement.clientWidth];
const style = (page, query, name) =>
  [...page.querySelectorAll(query)].map(e => page.defaultView.getComputedStyle(e)[name]);
function column(table, at) {  // what a figure's interval follows, or the whole of a name
  const text = cell => ("sort" in cell.dataset ? cell.firstChild.data : cell.textContent).trim();
  return [...table.tBodies[0].rows].map(row => text(row.cells[at]));
}
(async () => {
  const wide = await frame(1200, html);
  found.title = wide.title;
  found.wide = width(wide);
  found.colours = [style(wide, "body", "backgroundColor")[0], style(wide, "body", "color")[0]];
  found.pictures = [...wide.images].map(image => image.naturalWidth);
  const table = [...wide.querySelectorAll("h3")].find(
    h => h.textContent.includes("ranking")).nextElementSibling.querySelector("table");
  const heads = [...table.tHead.rows[0].cells];
  const ap = heads.findIndex(head => head.textContent === "AP");
  found.before = [column(table, 0), column(table, ap)];
  for (const turn of ["up", "down"]) {
    heads[ap].querySelector("button").click();
    const marked = wide.querySelectorAll("th[aria-sort]").length;
    found[turn] = [column(table, ap), heads[ap].getAttribute("aria-sort"), marked];
  }
  heads[0].querySelector("button").click();
  found.names = column(table, 0);
  found.blocked = [];
  wide.addEventListener("securitypolicyviolation", event => found.blocked.push(event.effectiveDirective));
  const script = wide.createElement("script");
  script.textContent = "parent.found_evil = true";
  const image = wide.createElement("img");
  image.src = "http://127.0.0.1:9/x.png";
  wide.body.append(script, image);
  await new Promise(resolve => setTimeout(resolve, 200));
  found.evil = "found_evil" in window;
  found.freed = html.length - free.length;
  await fetch("http://127.0.0.1:9/control").catch(() => 0);
  const phone = await frame(390, free);
  found.phone = width(phone);
  const boxes = [...phone.querySelectorAll(".scroll")];
  found.phoneBoxes = boxes.map(box => [
    box.scrollWidth > box.clientWidth + 1, box.getBoundingClientRect().right, !box.nextElementSibling.hidden]);
  const words = [...phone.querySelectorAll("td:first-child, .exhibit h4, .panels b")];
  found.broken = words.filter(e => {  // a word that stands in two lines
    const text = e.firstChild, range = phone.createRange();
    for (const word of text.data.matchAll(/[A-Za-z]{2,15}/g)) {
      range.setStart(text, word.index);
      range.setEnd(text, word.index + word[0].length);
      if (range.getClientRects().length > 1) return true;
    }
    return false;
  }).map(e => e.textContent);
  const paper = await frame(718, free);  // A4 less margins of 1 cm
  for (const sheet of paper.styleSheets) {
    for (const rule of [...sheet.cssRules]) {
      if (!rule.media) continue;
      const shown = rule.conditionText.includes("print");
      const inner = [...rule.cssRules].map(own => own.cssText);
      if (shown) for (const text of inner) sheet.insertRule(text, sheet.cssRules.length);
    }
  }
  found.paper = width(paper);
  found.cut = [...paper.querySelectorAll(".scroll, pre")].filter(
    e => e.scrollWidth > e.clientWidth + 1 || e.scrollHeight > e.clientHeight + 1).length;
  found.links = style(paper, "nav", "display");
  document.getElementById("found").textContent = JSON.stringify(found);
})();
</script>"""


def browse(page: Path, *options: str) -> str:
    """The document that Chromium has made of a page."""
    given = (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
        "--disable-sync", "--no-first-run", "--hide-scrollbars", "--virtual-time-budget=20000", "--dump-dom",
    )  # fmt: skip
    profile = f"--user-data-dir={page.parent / 'profile'}"
    done = subprocess.run(
        [str(BROWSER), *given, profile, *options, page.as_uri()], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("browser")
    run = made_run.write(root)
    done("report", run, "--images", root / "images", "--mask_dir", root / "masks", "--device", "cpu")
    text = json.dumps((run / "report.html").read_text()).replace("</", "<\\/")
    (root / "harness.html").write_text(HARNESS.replace("PAGE", text), encoding="utf-8")
    return root / "harness.html"


def found_in(dumped: str) -> Any:
    return json.loads(unescape(dumped.split('<pre id="found">')[1].split("</pre>")[0]))


@pytest.mark.slow
def test_the_page_sorts_fits_phone_and_paper_loads_nothing_and_follows_dark_mode(harness: Path) -> None:
    log = harness.parent / "net.json"
    found = found_in(browse(harness, f"--log-net-log={log}", "--net-log-capture-mode=Everything"))
    assert found["title"] == "GAPHead on test_resnet"

    names, precisions = found["before"]
    assert EVIL in names
    numbers = sorted(text for text in precisions if text != "–")
    assert numbers != [text for text in precisions if text != "–"], "or this test sees nothing"
    assert found["up"] == [[*numbers, "–"], "ascending", 1]
    assert found["down"] == [[*numbers[::-1], "–"], "descending", 1]
    assert found["names"] == sorted(names)

    assert found["wide"][0] == found["wide"][1] == 1200
    assert found["phone"][0] == found["phone"][1] == 390, "the page does not scroll sideways, its tables do"
    assert any(scrolls for scrolls, _, _ in found["phoneBoxes"])
    assert all(right <= 390 for _, right, _ in found["phoneBoxes"])
    assert all(scrolls == said for scrolls, _, said in found["phoneBoxes"]), "a table that is cut says so"
    assert found["broken"] == []
    assert found["paper"][0] == found["paper"][1], "no table is wider than the paper"
    assert found["cut"] == 0, "nothing is hidden in a box"
    assert found["links"] == ["none"]

    assert len(found["pictures"]) > 10
    assert all(found["pictures"])
    assert not found["evil"], "a script that is not the page's own does not run"
    assert sorted(found["blocked"]) == ["img-src", "script-src-elem"]
    assert found["freed"] > 100
    events = [event.get("params", {}) for event in json.loads(log.read_text())["events"]]
    # What Chromium asks for by itself has no page that it is for.
    asked = {event["url"] for event in events if event.get("initiator", "not an origin") != "not an origin"}
    assert asked == {"http://127.0.0.1:9/control"}, "the test's own request, which shows that one would be seen"

    dark = found_in(browse(harness, "--blink-settings=preferredColorScheme=0"))
    for (light_paper, light_ink), (dark_paper, dark_ink) in ((found["colours"], dark["colours"]),):
        assert brightness(light_paper) > 240 > 60 > brightness(light_ink)
        assert brightness(dark_paper) < 60 < 200 < brightness(dark_ink)


def brightness(colour: str) -> float:
    parts = [float(part) for part in colour.partition("(")[2].rstrip(")").split(",")[:3]]
    return sum(parts) / 3
