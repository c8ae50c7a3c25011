"""The HTML report in a real browser: it loads completely, requests nothing, and fits the window.

It needs Chromium (Debian's package `chromium`), or another by the variable CHROMIUM.
"""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess

import numpy as np
import pytest
from environments import OFTEN, TINY_DQN
from PIL import Image

import sparl
from sparl import methods

BROWSER = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium here: the report is not opened in a browser"
)

QUIETLY = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--v=0",
    "--virtual-time-budget=5000",
]

PROBE = """<script>addEventListener("load", () => {
  const pictures = [...document.images];
  document.body.dataset.measured = JSON.stringify({
    pictures: pictures.length,
    blank: pictures.filter(picture => !picture.naturalWidth).length,
    charts: [...document.querySelectorAll(".charts svg[role=img]")]
      .filter(chart => chart.getBoundingClientRect().height > 50).length,
    requests: performance.getEntriesByType("resource").map(entry => entry.name)
      .filter(name => !name.startsWith("data:")),
    width: [document.documentElement.scrollWidth, innerWidth],
    ink: getComputedStyle(document.body).color,
  });
})</script>"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The report of two runs, with films."""
    folder = tmp_path_factory.mktemp("runs")
    for name, method in {"dense": methods.Dense(), "rnm": sparl.RNM("1:4", interval=30)}.items():
        sparl.train("environments:Steps-v0", TINY_DQN, method, out=folder / name, **OFTEN)
    return sparl.report(folder, folder / "report.html")


def browse(path, tmp_path, *options):
    """What Chromium prints and logs with a file open, in a fresh profile."""
    assert BROWSER is not None
    command = [BROWSER, *QUIETLY, f"--user-data-dir={tmp_path / 'user'}", *options, path.as_uri()]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return ended.stdout, re.findall(r"CONSOLE.*", ended.stderr)


def measure(report, tmp_path, *options):
    """What a script measures that is put into the report, which itself allows no scripts."""
    path = tmp_path / "probed.html"
    text = re.sub(r"<meta http-equiv=.*?>", "", report.read_text(), flags=re.DOTALL)
    path.write_text(text.replace('<details class="run">', '<details class="run" open>') + PROBE)
    printed, console = browse(path, tmp_path, "--dump-dom", *options)
    assert console == []
    (measured,) = re.findall(r'data-measured="([^"]*)"', printed)
    return json.loads(html.unescape(measured))


def test_the_report_loads_without_a_message_in_the_console(report, tmp_path):
    printed, console = browse(report, tmp_path, "--dump-dom")
    assert console == []
    assert "<h1>environments:Steps-v0</h1>" in printed
    assert printed.count('<details class="run">') == 2
    assert printed.count("<footer>") == 1


def test_requests_and_scripts_do_leave_a_message_in_the_console(report, tmp_path):
    """So their absence in the tests above means something."""
    for fault in ('<img src="https://localhost:1/x.png">', "<script>alert(1)</script>"):
        path = tmp_path / "faulty.html"
        path.write_text(report.read_text().replace("<footer>", fault + "<footer>"))
        _, console = browse(path, tmp_path, "--dump-dom")
        assert "Content Security Policy" in console[0]


@pytest.mark.parametrize("size", ["1280,900", "390,844"])
def test_pictures_and_charts_are_drawn_and_fit_the_window(report, tmp_path, size):
    measured = measure(report, tmp_path, f"--window-size={size}")
    assert measured["blank"] == 0
    assert measured["pictures"] == report.read_text().count("<img ") >= 8
    assert measured["charts"] == len(
        re.findall(r'role="img" aria-label="[^"]* against', report.read_text())
    )
    assert measured["requests"] == []
    needed, available = measured["width"]
    assert needed <= available, "it must be scrolled sideways"


@pytest.mark.parametrize("scheme, dark", [("0", True), ("1", False)])
def test_it_follows_the_readers_light_or_dark_scheme(report, tmp_path, scheme, dark):
    shot, preferred = tmp_path / "shot.png", f"--blink-settings=preferredColorScheme={scheme}"
    browse(report, tmp_path, f"--screenshot={shot}", "--window-size=800,600", preferred)
    pixels = np.asarray(Image.open(shot).convert("L"))
    assert (np.median(pixels) < 64) == dark
    assert np.ptp(pixels) > 150


def test_printing_shows_what_is_folded_on_a_screen(report, tmp_path):
    paper = tmp_path / "report.pdf"
    browse(report, tmp_path, f"--print-to-pdf={paper}")
    assert paper.read_bytes()[:4] == b"%PDF"
    assert paper.read_bytes().count(b"/Type /Page\n") >= 4
