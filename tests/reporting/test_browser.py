"""The pages as a reader sees them, in a real Chromium."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gradscope.reporting import study_page
from gradscope.study.comparing.comparison import Comparison

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.xdist_group("browser")]

CONTRAST = """() => {
  const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const luminance = (rgb) => {
    const curve = (c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = rgb.slice(0, 3).map((c) => curve(c / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const page = luminance(parse(getComputedStyle(document.documentElement).backgroundColor));
  const worst = { ratio: 99, text: "" };
  const told = "p, h1, h2, h3, h4, td, th, dt, dd, li, small, figcaption, a, svg.plot text, .verdict";
  for (const element of document.querySelectorAll(told)) {
    if (!element.textContent.trim() || !element.checkVisibility() || element.matches(".skip")) continue;
    const style = getComputedStyle(element);
    const colour = element.namespaceURI.endsWith("svg") ? style.fill : style.color;
    const own = luminance(parse(colour));
    const ratio = (Math.max(own, page) + 0.05) / (Math.min(own, page) + 0.05);
    if (ratio < worst.ratio) Object.assign(worst, { ratio, text: element.textContent.trim().slice(0, 40) });
  }
  return worst;
}"""

OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
COLUMN = "(column) => [...document.querySelectorAll('#verdicts tbody tr')].map((row) => row.cells[column].dataset.sort)"


@contextmanager
def opened(chromium: Any, page: Path, width: int = 1400, scheme: str = "light", script: bool = True) -> Iterator[Any]:
    """Open a page offline; fail on a console error and on any request but the one for the file."""
    context = chromium.new_context(
        offline=True, color_scheme=scheme, viewport={"width": width, "height": 900}, java_script_enabled=script
    )
    tab = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(page.as_uri())
    yield tab
    context.close()
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [page.as_uri()]


@pytest.fixture(params=["study", "run_page"])
def page(request: pytest.FixtureRequest) -> Path:
    """Each page in turn."""
    path: Path = request.getfixturevalue(request.param)
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_themes(chromium: Any, page: Path, scheme: str) -> None:
    """All text, that of the figures too, has a contrast of at least 4.5 to 1 against the page."""
    with opened(chromium, page, scheme=scheme) as tab:
        worst = tab.evaluate(CONTRAST)
    assert worst["ratio"] >= 4.5, worst


def test_paper_is_white(chromium: Any, page: Path) -> None:
    """Printed by someone who reads in the dark, the page is dark ink on white, without its controls."""
    with opened(chromium, page, width=800, scheme="dark") as tab:
        tab.emulate_media(media="print", color_scheme="dark")
        background = tab.evaluate("() => getComputedStyle(document.documentElement).backgroundColor")
        worst = tab.evaluate(CONTRAST)
        assert tab.locator("nav").is_hidden()
    assert background == "rgb(255, 255, 255)"
    assert worst["ratio"] >= 4.5, worst


def test_paper_is_wide_enough(chromium: Any, page: Path) -> None:
    """On A4 with a centimetre of margin nothing is cut off: there a table cannot be scrolled."""
    with opened(chromium, page, width=718) as tab:
        tab.emulate_media(media="print")
        assert tab.evaluate(OVERFLOW) == 0


def test_many_tasks_are_chosen_within_the_page(chromium: Any, comparison: Comparison, tmp_path: Path) -> None:
    """Names that do not fit beside each other make the choice scroll, and not the page."""
    names = ("trials", "settings", "lags", "heat", "losses", "clipping")
    tasks = {task: f"{task}{'_and_at_length' * 5}" for task in ("adding", "text")}
    longer = {name: getattr(comparison, name).replace({"task": tasks}) for name in names}
    with opened(chromium, study_page(replace(comparison, **longer), tmp_path / "long.html")) as tab:
        assert tab.locator(".filter button").count() == 3
        for width in (360, 700, 1000):
            tab.set_viewport_size({"width": width, "height": 900})
            assert tab.evaluate(OVERFLOW) == 0


def test_figures_follow_the_theme(chromium: Any, page: Path) -> None:
    """The ink of a figure is another one in the dark."""
    ink = "() => getComputedStyle(document.querySelector('svg.plot text')).fill"
    found = set()
    for scheme in ("light", "dark"):
        with opened(chromium, page, scheme=scheme) as tab:
            found.add(tab.evaluate(ink))
    assert len(found) == 2


@pytest.mark.parametrize("unfolded", [False, True])
def test_nothing_sticks_out_of_the_page(chromium: Any, page: Path, unfolded: bool) -> None:
    """The page itself never scrolls sideways, reasons unfolded or not; wide tables do so inside their own region."""
    widths = [360, 400, 640, 800, 1000, 1200, 1280, 1400, 1600]
    with opened(chromium, page) as tab:
        if unfolded:
            tab.eval_on_selector_all("details", "all => all.forEach(e => { e.open = true; })")
        overflow = {}
        for width in widths:
            tab.set_viewport_size({"width": width, "height": 900})
            overflow[width] = tab.evaluate(OVERFLOW)
    assert overflow == dict.fromkeys(widths, 0)


def test_lone_panels_line_up_over_a_wide_caption(chromium: Any, comparison: Comparison, tmp_path: Path) -> None:
    """A heading of two lines does not shift its figure against the neighbour's; the caption is wider than a figure."""
    names = ("trials", "settings", "lags", "heat", "losses", "clipping")
    renamed = {"adding": "a task with a name that needs two lines at least above a figure"}
    lone = {
        name: (table := getattr(comparison, name))[table["cell"] == "gru"].replace({"task": renamed}) for name in names
    }
    with opened(chromium, study_page(replace(comparison, **lone), tmp_path / "lone.html"), width=1200) as tab:
        titles, figures = (
            tab.eval_on_selector_all(f"#loss {selector}", "all => all.map(e => e.getBoundingClientRect().toJSON())")
            for selector in ("h3", ".plot")
        )
        caption = tab.locator("#loss .caption").last.evaluate("e => e.getBoundingClientRect().width")
    assert len(figures) == 2
    # Both are as high as the higher one, of two lines.
    assert [title["height"] > 35 for title in titles] == [True, True]
    assert titles[0]["top"] == titles[1]["top"]
    assert figures[0]["top"] == figures[1]["top"]
    assert caption > 1.5 * figures[0]["width"]


def test_figures_are_named_and_ids_unique(chromium: Any, page: Path) -> None:
    """Each figure is an image with a sentence; no two elements share an id; every reference finds its target."""
    with opened(chromium, page) as tab:
        labels = tab.eval_on_selector_all("svg.plot", "all => all.map(e => e.getAttribute('aria-label'))")
        ids = tab.eval_on_selector_all("[id]", "all => all.map(e => e.id)")
        anchors = tab.eval_on_selector_all("a[href^='#']", "all => all.map(e => e.getAttribute('href').slice(1))")
        markup = tab.content()
    assert labels
    assert all(label.endswith(".") and len(label) > 30 for label in labels)
    assert len(ids) == len(set(ids))
    assert set(anchors) <= set(ids)
    for reference in set(re.findall(r"url\((?:&quot;)?#([^)&]+)", markup)):
        assert reference in ids


def test_a_table_sorts_by_number(chromium: Any, study: Path) -> None:
    """A click on a heading sorts by value, a second one turns the order; the heading says so."""
    with opened(chromium, study) as tab:
        head = tab.locator("#verdicts th", has_text="Left at the task")
        column = head.evaluate("e => e.cellIndex")
        head.locator("button").click()
        rising = [float(value) for value in tab.evaluate(COLUMN, column)]
        said = head.get_attribute("aria-sort")
        head.locator("button").click()
        falling = [float(value) for value in tab.evaluate(COLUMN, column)]
    assert said == "ascending"
    assert rising == sorted(rising)
    assert falling == rising[::-1]


def test_a_table_sorts_from_the_keyboard(chromium: Any, study: Path) -> None:
    """A heading can be reached and used without a mouse."""
    with opened(chromium, study) as tab:
        tab.locator("#verdicts th button").nth(1).focus()
        tab.keyboard.press("Enter")
        cells = tab.eval_on_selector_all("#verdicts tbody tr", "rows => rows.map(r => r.cells[1].textContent.trim())")
    assert cells == sorted(cells)


def test_one_task_can_be_shown_alone(chromium: Any, study: Path) -> None:
    """The filter hides the other task's answer, rows and figures, and brings them back."""
    visible = "[...document.querySelectorAll('[data-topic]')].filter(e => e.checkVisibility())"
    shown = f"() => {visible}.map(e => e.dataset.topic)"
    with opened(chromium, study) as tab:
        both = set(tab.evaluate(shown))
        tab.locator(".filter button", has_text="text").click()
        alone = set(tab.evaluate(shown))
        tab.locator(".filter button", has_text="all tasks").click()
        again = set(tab.evaluate(shown))
    assert (both, alone, again) == ({"adding", "text"}, {"text"}, {"adding", "text"})


def test_the_heading_of_a_long_table_stays(chromium: Any, study: Path) -> None:
    """Scrolled into the middle of the table, its heading is still in sight, at the top of the table's region."""
    with opened(chromium, study) as tab:
        tab.locator("#verdicts tbody tr").nth(20).evaluate("e => e.scrollIntoView({block: 'center'})")
        head, region = (
            tab.locator(selector).first.evaluate("e => e.getBoundingClientRect().top")
            for selector in ("#verdicts thead th", "#verdicts .scroll")
        )
    assert 0 <= head == pytest.approx(region, abs=1)


def test_the_page_is_whole_without_its_script(chromium: Any, study: Path) -> None:
    """Without JavaScript everything is there, and no control that does nothing."""
    with opened(chromium, study, script=False) as tab:
        assert tab.locator("#verdicts tbody tr").count() == 28
        assert tab.locator(".filter").is_hidden()
        assert tab.locator(".enhanced").is_hidden()


def test_nothing_that_a_run_says_is_executed(chromium: Any, runs: Path, tmp_path: Path) -> None:
    """A script in a layer's name or in the metadata is shown as text."""
    from gradscope.reporting import report

    with opened(chromium, report(runs / "hostile", tmp_path / "hostile.html")) as tab:
        assert tab.locator("script").count() == 1
        assert tab.locator("img").count() == 0
        assert "<script>alert(2)</script>" in tab.locator("main").inner_text()
