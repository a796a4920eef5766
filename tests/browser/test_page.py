"""The page answers what Python answers with the same file, as one types, and asks nobody else."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from playwright.sync_api import Page, expect

from .conftest import WAIT
from .serving import PAGE, folder_serving

TEXTS = [
    "I love this!",
    "Why did they leave?",
    "Thank you, I was so worried about her!",
    "¡Qué sorpresa! Ünïcode, 你好 and 😀.",
    "What a terrible evening, I am sad and angry. " * 30,
]
# In int8 the integer sums are equal everywhere. The floats between them may be summed in another order, by which now
# and then an activation is rounded to its neighbour, 1/255 of its range away. Where none is, scores agree to 1e-7.
INT8, FLOAT32 = 1e-2, 2e-5


def answered(page: Page, text: str) -> dict[str, float]:
    """What the page shows for a text that is written."""
    page.fill("#text", "")
    expect(page.locator("#labels li")).to_have_count(0, timeout=WAIT)
    page.fill("#text", text)
    return shown(page)


def shown(page: Page) -> dict[str, float]:
    """The labels on the page with their scores; the exact ones, where they agree with what is read."""
    expect(page.locator("#labels li")).to_have_count(5, timeout=WAIT)
    found = {}
    for row in page.locator("#labels li").all():
        score = float(row.locator("data").get_attribute("value") or "nan")
        assert float(row.locator("data").inner_text().removesuffix(" %")) == pytest.approx(100 * score, abs=0.0501)
        assert ("likely" in (row.get_attribute("class") or "")) == (score > 0.5)
        found[row.locator(".name").inner_text()] = score
    assert list(found.values()) == sorted(found.values(), reverse=True)
    return found


def assert_same(found: dict[str, float], expected: dict[str, float], tolerance: float) -> None:
    """The best labels with their scores; labels whose scores are within the tolerance may change places."""
    assert found == {label: pytest.approx(expected[label], abs=tolerance) for label in found}
    best = sorted(expected.values(), reverse=True)[: len(found)]
    assert list(found.values()) == pytest.approx(best, abs=tolerance)


def test_it_answers_as_python_while_one_types(visit, site, python_answers, elsewhere):
    page = visit(site)
    asked: list[str] = []
    page.context.on("request", lambda request: asked.append(request.url))
    page.reload()
    for text, expected in zip(TEXTS, python_answers("int8", TEXTS), strict=True):
        assert_same(answered(page, text), expected, INT8)
        expect(page.locator("#cut")).to_be_visible(visible=text is TEXTS[-1])
    expect(page.locator("#cut")).to_have_text("Only the first 128 tokens are read.")
    page.fill("#text", "")
    page.locator("#text").press_sequentially("Thank you")
    expect(page.locator("#labels .likely .name")).to_have_text(["gratitude"])
    expect(page.locator("#spoken")).to_have_text("gratitude")
    expect(page.locator("#status")).to_contain_text(" ms · WebAssembly, 1 thread")
    page.get_by_role("button", name="I am so angry.").click()
    expect(page.locator("#labels .name").first).to_have_text("anger")
    assert len(asked) > 5 and {url.split("/")[2] for url in asked} == {site.split("/")[2]}
    assert elsewhere.asked == []


def test_a_request_to_another_host_would_be_seen_and_is_refused_by_the_page(visit, site, elsewhere, tmp_path):
    ask = "fetch('http://another.invalid/file').then((answer) => answer.status, () => 'refused')"
    assert visit(site).evaluate(ask) == "refused"
    assert elsewhere.asked == []
    (tmp_path / "index.html").write_text("<!doctype html><title>another page</title>")
    with folder_serving(tmp_path) as address:
        visit(address).evaluate(ask)
    assert [url for url in elsewhere.asked if "another.invalid" in url]
    elsewhere.asked.clear()


def test_it_runs_on_threads_where_the_server_allows_them_and_on_webgpu(visit, python_answers):
    with folder_serving(PAGE, isolated=True) as address:
        page = visit(address)
        expect(page.locator("#labels li")).to_have_count(5, timeout=WAIT)
        threads = page.evaluate("Math.min(4, navigator.hardwareConcurrency)")
        expect(page.locator("#status")).to_contain_text(f"WebAssembly, {threads} thread")
        assert_same(shown(page), python_answers("int8", TEXTS[:1])[0], INT8)
        page.select_option("#device", "webgpu")
        expect(page.locator("#status")).to_contain_text("WebGPU", timeout=WAIT)
        (expected,) = python_answers("fp32", TEXTS[:1])
        assert_same(shown(page), expected, FLOAT32)


def test_labels_of_which_one_is_true_share_their_scores(visit, python_answers, tmp_path):
    for path in PAGE.iterdir():
        if path.name != "model":
            (tmp_path / path.name).symlink_to(path)
    shutil.copytree(PAGE / "model" / "int8", tmp_path / "model" / "int8")
    config = tmp_path / "model" / "int8" / "config.json"
    config.write_text(config.read_text().replace("multi_label", "single_label"))
    record = json.loads((config.parent / "export.json").read_text())
    record.pop("record_sha256", None)  # which exports of earlier versions have not
    del record["sha256"]["config.json"]
    (config.parent / "export.json").write_text(json.dumps(record))
    with folder_serving(tmp_path) as address:
        found = shown(visit(address))
    (expected,) = python_answers(tmp_path / "model" / "int8", TEXTS[:1])
    assert sum(expected.values()) == pytest.approx(1, abs=1e-5)
    assert_same(found, expected, INT8)


@pytest.mark.parametrize(
    ("without", "message"),
    [
        ("model", "The model in model/int8 did not load. Make it with `make browser`."),
        ("library", "transformers.js is not beside this page. Get it with `make browser`."),
        ("worker.js", "The page is not complete: worker.js did not load."),
    ],
)
def test_what_is_missing_is_a_message(visit, tmp_path, without, message):
    for path in PAGE.iterdir():
        if path.name != without:
            (tmp_path / path.name).symlink_to(path)
    with folder_serving(tmp_path) as address:
        page = visit(address)
        expect(page.get_by_role("alert")).to_contain_text(message, timeout=WAIT)
        expect(page.locator("#status")).to_have_text("")


def test_from_a_disk_it_says_that_it_needs_a_server(visit):
    expect(visit((PAGE / "index.html").as_uri()).get_by_role("alert")).to_contain_text("python -m http.server")


def test_it_fits_a_phone_and_can_be_read(visit, site):
    page = visit(site, viewport={"width": 390, "height": 760})
    expect(page.locator("#labels li")).to_have_count(5, timeout=WAIT)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.locator("#labels li").nth(2).bounding_box()["y"] < 460  # above the keyboard of a phone
    for control in page.locator("button, select, textarea").all():
        assert control.bounding_box()["height"] >= 44
    page.get_by_role("button", name="I am so angry.").click()
    assert page.locator("#labels .name", has_text="disappointment").bounding_box()["height"] < 30  # one line
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        ground = luminance(page, "body", "backgroundColor")
        for place in ("h1", "header p", "#labels .name", "#labels data", "#status"):
            low, high = sorted((ground, luminance(page, place, "color")))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (scheme, place)


def luminance(page: Page, place: str, what: str) -> float:
    """Of a colour, as WCAG 2 defines it."""
    colour = page.locator(place).first.evaluate(f"(element) => getComputedStyle(element).{what}")
    parts = [int(number) / 255 for number in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
