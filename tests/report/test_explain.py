# SPDX-License-Identifier: Apache-2.0
"""octavo.explain: figures of this call, and a page that opens offline and works in a browser."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

import octavo
from octavo.errors import InvalidArgumentError

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-headless-shell", "google-chrome"))), None
)


def shipped(name):
    with resources.as_file(resources.files("octavo.demo") / name) as path:
        return Path(path)


@pytest.fixture(scope="module")
def digits():
    with np.load(shipped("digits_heldout.npz")) as data:
        images = data["test_images"][:80].astype(np.float32).reshape(-1, 1, 8, 8) / 16
        return images, data["test_labels"][:80]


@pytest.fixture(scope="module")
def explained(digits):
    return octavo.explain(
        shipped("digits_int8.octavo"),
        digits[0],
        shipped("digits_f32.octavo"),
        labels=digits[1],
        seconds=0.05,
        command="octavo explain <this & that>",
    )


@pytest.fixture(scope="module")
def page(explained):
    pytest.importorskip("jinja2", reason="NOT RUN: needs pip install 'octavo[report]'")
    pytest.importorskip("matplotlib", reason="NOT RUN: needs pip install 'octavo[report]'")
    return explained.to_html()


def test_claims_are_measured(explained, digits):
    claims = {claim.name: claim for claim in explained.claims}
    accuracy = claims["top-1 accuracy"]
    logits = octavo.load(shipped("digits_int8.octavo")).compile().run(digits[0])["logits"]
    assert accuracy.quantized == 100 * np.mean(logits.argmax(1) == digits[1])
    assert accuracy.floating == pytest.approx(accuracy.quantized, abs=2)
    assert claims["file"].quantized == shipped("digits_int8.octavo").stat().st_size
    assert claims["file"].floating == shipped("digits_f32.octavo").stat().st_size
    for name in ("latency, fastest", "latency, median", "weights", "activations (arena)"):
        assert claims[name].quantized > 0 and claims[name].floating > 0
    assert claims["latency, fastest"].quantized <= claims["latency, median"].quantized
    assert claims["SQNR"].floating is None and claims["SQNR"].quantized > 20


def test_every_step_has_a_row_and_every_gap_a_reason(explained):
    session = octavo.load(shipped("digits_int8.octavo")).compile()
    assert [row["kernel"] for row in explained.layers] == [k.kernel for k in session.kernels()]
    assert sum(row["share_of_time"] for row in explained.layers) == pytest.approx(1)
    columns = ("sqnr_db", "own_db", "saturated", "gmacs", "share_of_peak")
    for row in explained.layers:
        assert row["us"] > 0 and row["bytes"] > 0 and row["precision"] == "int8"
        for column in columns:
            assert (row[column] is None) == (column in row["absent"]), (row["layer"], column)
    errors = explained.comparison.by_node()
    assert any(row["own_db"] == errors[row["layer"]].own_db for row in explained.layers)


def test_without_a_reference_gaps_are_named(digits):
    found = octavo.explain(octavo.load(shipped("digits_int8.octavo")), digits[0][:8], seconds=0.02)
    for claim in found.claims:
        if claim.quantized is None or (claim.floating is None and claim.unit in ("B", "ms")):
            assert claim.absent, claim
    assert found.about["reference"] is None


def test_json_is_plain_and_says_how_it_was_made(explained, tmp_path):
    document = json.loads(explained.to_json())
    assert document["format"] == "octavo-explanation" and document["version"] == 1
    for key in ("cpu", "isa", "threads", "command", "date", "octavo", "samples", "macs"):
        assert document[key]
    assert document["samples"] == 80 and len(document["layers"]) == len(explained.layers)
    assert "NaN" not in explained.to_json() and "Infinity" not in explained.to_json()
    explained.save(tmp_path / "x.json")
    assert json.loads((tmp_path / "x.json").read_text()) == document
    with pytest.raises(InvalidArgumentError, match="ending"):
        explained.save(tmp_path / "x.pdf")


def test_labels_must_fit(digits):
    with pytest.raises(InvalidArgumentError, match="labels"):
        octavo.explain(shipped("digits_int8.octavo"), digits[0], labels=digits[1][:7], seconds=0.01)


class _Links(HTMLParser):
    """What a browser would fetch."""

    def __init__(self):
        super().__init__()
        self.found, self.ids, self.tags = [], set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "srcset", "data", "action", "poster"):
                self.found.append(value)
            if name == "id":
                self.ids.add(value)


def test_the_page_fetches_nothing(page):
    links = _Links()
    links.feed(page)
    assert links.found and all(link.startswith("#") for link in links.found), links.found
    assert {link[1:] for link in links.found} <= links.ids
    assert "link" not in links.tags and "iframe" not in links.tags
    assert not re.search(r"@import|url\(\s*['\"]?(?!#)|fetch\(|XMLHttpRequest", page)
    assert not re.search(r"https?://", re.sub(r'xmlns(:\w+)?="[^"]*"', "", page))


def test_the_page_is_small_complete_and_escaped(page, explained):
    assert len(page.encode()) < 600_000
    assert page.count("<svg") >= 2 + 6, "signal, time, and histograms"
    for row in explained.layers:
        assert row["kernel"] in page
    assert "octavo explain &lt;this &amp; that&gt;" in page
    assert not re.search(r"#0[1-8]0[1-8]0[1-8]", page), "a colour that does not follow the theme"
    assert "prefers-color-scheme: dark" in page


def browse(path, *more):
    """The DOM after scripts ran, and what the console said."""
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    done = subprocess.run(
        [*command, *more, "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout, console


@pytest.mark.skipif(CHROMIUM is None, reason="NOT RUN: no chromium")
def test_in_a_browser(page, tmp_path, explained):
    path = tmp_path / "page.html"
    sort = "document.querySelectorAll('#layers th')[5].click();"
    path.write_text(page.replace("</main>", f"<script>{sort}</script></main>"), encoding="utf-8")
    dom, console = browse(path)
    assert console == []
    assert dom.count("<svg") == page.count("<svg") and "<path" in dom
    body = dom[dom.index('id="layers"') : dom.index("Layers in depth")]
    times = [float(re.findall(r'data-v="([^"]*)"', row)[5]) for row in body.split("<tr>")[2:]]
    assert len(times) == len(explained.layers)
    assert times == sorted(times, reverse=True)


@pytest.mark.skipif(CHROMIUM is None, reason="NOT RUN: no chromium")
def test_the_browser_test_sees_errors(tmp_path):
    path = tmp_path / "bad.html"
    path.write_text("<!doctype html><script>undefined_function()</script>", encoding="utf-8")
    assert browse(path)[1]
