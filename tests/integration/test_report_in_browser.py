"""The page about a run as its reader sees it: in a real browser, on a screen, on a phone, and under attack."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from scripts import cli

# Needs Debian's chromium and its driver.
pytestmark = pytest.mark.slow

# Without the networking flags the browser looks for its maker's hosts at every start.
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
)  # fmt: skip
_HOSTILE = (
    "<script>window.hurt=1</script>\"'><img src=x onerror=window.hurt=2><svg onload=window.hurt=3>{{7*7}}</title>"
)
_LONGEST = "s3://recordings/" + "åæ/" * 200 + "\N{BIRD}" * 10 + "x" * 376 + ".wav"  # its key is 1,024 bytes
_NAMES = (
    f"s3://recordings/{_HOSTILE}",
    _LONGEST,
    "s3://recordings/a\u202evaw.\ud800\n\N{BIRD}.wav",
    "s3://recordings/b.wav",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if not all(programs):
        pytest.skip("needs chromium and chromedriver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = str(programs[0])
    for flag in _FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(executable_path=str(programs[1])))
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run of three children whose every name is hostile."""
    folder = tmp_path_factory.mktemp("run")
    for index in range(3):
        _write(folder, index)
    (folder / "broken.json").write_text(_HOSTILE)
    with (folder / "job-2.items.jsonl").open("a") as items:
        items.write('{"input": "cut')
    assert cli.main(["report", str(folder), "--output", str(folder / "page.html")]) == 0
    return folder / "page.html"


def _write(folder: Path, index: int) -> None:
    """A child with one item of each name: done, done, skipped, failed."""
    items: list[dict[str, Any]] = [
        {
            "input": name,
            "state": state,
            "seconds": {"download": 0.25, "predict": spent + index / 10, _HOSTILE: 0.1},
            "finished": f"2026-11-24T10:00:{place * 10:02d}Z",
        }
        for place, (name, state, spent) in enumerate(
            zip(_NAMES, ("done", "done", "skipped", "failed"), (1, 2, 3, 14), strict=True)
        )
    ]
    items[3]["error"] = {"category": "item-failed", "message": f"{_HOSTILE} chunk {index}", "hint": _HOSTILE}
    (folder / f"job-{index}.items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in items))
    answers = ({"labels": [_HOSTILE, "wren"], "probabilities": [0.9 - index, 0.1]} for _ in range(2))
    (folder / f"job-{index}.results.jsonl").write_text("".join(json.dumps({"answer": a}) + "\n" for a in answers))
    document = {
        "version": 1,
        "state": ("FAILED", "SUCCEEDED", _HOSTILE)[index],
        "exit_code": (65, 0, 0)[index],
        "job": {"id": _HOSTILE, "attempt": 1, "array_index": index},
        "started": "2026-11-24T10:00:00Z",
        "updated": "2026-11-24T10:01:00Z",
        "counts": {"total": 5 + index, "done": 2, "skipped": 1, "failed": 1, "placeholders": 0},
        "seconds": {"model": 2.5, "download": 1.0, "predict": 20.0 + index * 0.4, "total": 60.0},
        "module": {"name": _HOSTILE, "version": "1"},
        "image": {"name": _HOSTILE},
        "device": {"kind": "cuda", "gpus": [{"name": _HOSTILE, "memory": 1}], "driver": "12.4"},
        "error": {"category": _HOSTILE, "message": _HOSTILE, "hint": _HOSTILE},
    }
    (folder / f"job-{index}.json").write_text(json.dumps(document))


def _open(browser: webdriver.Chrome, page: Path) -> None:
    _console(browser)  # what an earlier page said
    browser.get(page.as_uri())


def _console(browser: webdriver.Chrome) -> list[dict[str, Any]]:
    """What the console has said since it was last asked."""
    said: list[dict[str, Any]] = browser.get_log("browser")  # type: ignore[no-untyped-call]
    return said


def _texts(browser: webdriver.Chrome, selector: str) -> list[str]:
    """The visible text of each element, its white space made one."""
    return [" ".join(found.text.split()) for found in browser.find_elements(By.CSS_SELECTOR, selector)]


def test_the_console_stays_silent(browser: webdriver.Chrome, page: Path) -> None:
    _open(browser, page)
    assert _console(browser) == []


def test_the_counts_shown_are_those_of_the_data(browser: webdriver.Chrome, page: Path) -> None:
    _open(browser, page)
    assert _texts(browser, "#counts .tile b") == ["18", "6", "3", "3", "6"]


def test_the_seconds_shown_are_those_of_the_data(browser: webdriver.Chrome, page: Path) -> None:
    _open(browser, page)
    rows = {row.split()[0]: row for row in _texts(browser, "#stages tbody tr")}
    assert rows["predict"].startswith("predict 61.2 s")
    assert rows["predict"].endswith("2.20 s 14.2 s 14.2 s item, 12 timed")
    assert rows["model"].endswith("2.50 s 2.50 s 2.50 s child, 3 timed")


def test_the_bars_of_the_chart_add_up_to_the_items_that_ended(browser: webdriver.Chrome, page: Path) -> None:
    _open(browser, page)
    titles = browser.execute_script("return [...document.querySelectorAll('.chart title')].map(t => t.textContent)")
    assert sum(int(n) for title in titles for n in re.findall(r"(\d+) done", title)) == 6
    assert sum(int(n) for title in titles for n in re.findall(r"(\d+) failed", title)) == 3


def test_the_failures_shown_are_one_cause_with_its_count(browser: webdriver.Chrome, page: Path) -> None:
    _open(browser, page)
    (row,) = _texts(browser, "#failures tbody tr")
    assert row.startswith("3 item-failed")
    assert "s3://recordings/b.wav" in row


def test_the_labels_shown_are_those_of_the_answers(browser: webdriver.Chrome, page: Path) -> None:
    _open(browser, page)
    rows = _texts(browser, "#labels tbody tr")
    assert [row.split(" %")[0].split()[-2:] for row in rows] == [["4", "66.7"], ["2", "33.3"]]


def test_what_could_not_be_used_is_said(browser: webdriver.Chrome, page: Path) -> None:
    _open(browser, page)
    notes = _texts(browser, ".notes li")
    assert "1 last line that is cut off left out." in notes
    assert "1 file that is no status document left out." in notes


@pytest.mark.parametrize("guard", ["with", "without"])
def test_hostile_names_are_shown_and_never_run(browser: webdriver.Chrome, page: Path, guard: str) -> None:
    """Also without the page's own policy, which would hide that something was not escaped."""
    if guard == "without":
        text = page.read_text()
        page = page.with_name("unguarded.html")
        page.write_text(re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text))
    _open(browser, page)
    found = browser.execute_script("""return {
        hurt: window.hurt ?? null,
        scripts: document.scripts.length,
        images: document.images.length,
        handlers: [...document.querySelectorAll("*")].flatMap(e => e.getAttributeNames()).filter(n => /^on/.test(n)),
    }""")
    assert found == {"hurt": None, "scripts": 1, "images": 0, "handlers": []}
    assert _texts(browser, "h1 bdi")[0].startswith("<script>window.hurt=1</script>")


def test_a_long_name_is_whole_in_its_title(browser: webdriver.Chrome, page: Path) -> None:
    _open(browser, page)
    titles = browser.execute_script("return [...document.querySelectorAll('#slowest bdi')].map(b => b.title)")
    assert _LONGEST in titles


def test_a_click_on_a_head_sorts_the_children_by_number(browser: webdriver.Chrome, page: Path) -> None:
    _open(browser, page)
    head = browser.find_element(By.XPATH, "//*[@id='children']//th[normalize-space()='Items']")
    orders = []
    for _ in range(2):
        head.find_element(By.TAG_NAME, "button").click()
        orders.append((head.get_attribute("aria-sort"), _texts(browser, "#children tbody td:nth-child(5)")))
    assert orders == [("descending", ["7", "6", "5"]), ("ascending", ["5", "6", "7"])]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_screen(browser: webdriver.Chrome, page: Path, width: int, scheme: str) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    try:
        _open(browser, page)
        wide, light = browser.execute_script(
            "return [document.documentElement.scrollWidth, getComputedStyle(document.body).backgroundColor]"
        )
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert wide <= width
    assert light == {"light": "rgb(246, 247, 248)", "dark": "rgb(20, 23, 26)"}[scheme]
