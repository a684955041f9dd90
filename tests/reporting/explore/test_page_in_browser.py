"""The page of `tmrepro view` as a browser shows it: its numbers are the store's, and everything can be reached and turned."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.reporting.explore.browser import CHROMIUM, Opened, chromium, opened
from tmrepro.reporting.explore import write_view
from tmrepro.store.finished import Finished, read_finished

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt-get install chromium)"),
]


@pytest.fixture(scope="module")
def run(small_run: Path) -> Finished:
    return read_finished(small_run)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def view(browser: Browser, small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    with opened(browser, write_view(small_run, to=tmp_path_factory.mktemp("view") / "page.html")) as found:
        yield found


def shows(view: Opened, run: Finished, surface: str, model: str, i: int, j: int) -> bool:
    """Whether the numbers at the cursor are the store's of the point (i, j), to the last bit."""
    values = run.surface(surface, model)[0]
    stored = [values.a[i], values.b[j], values.loss[i, j], values.accuracy[i, j]]
    return [float(view.text(f"at-{name}")) for name in ("a", "b", "loss", "accuracy")] == stored


def choose(view: Opened, **choices: str) -> None:
    for name, value in choices.items():
        view.page.select_option(f"#{name}", value)


def test_every_surface_can_be_chosen_and_its_numbers_are_the_stores(view: Opened, run: Finished) -> None:
    seen = set()
    for surface, model in run.surfaces:
        base, _, replicate = model.partition(".r")
        choose(view, surface=surface)
        if view.page.locator("#seed").is_visible():
            choose(view, seed=replicate or "0")
        assert run.models[model].base == base
        view.page.locator("#map").focus()
        view.page.keyboard.press("Home")
        home = run.surface(surface, model)[2]
        assert view.text("at-home") == "This is θ*."
        assert shows(view, run, surface, model, *home)
        view.page.locator("#cursor-a").fill("1")
        view.page.locator("#cursor-b").fill("2")
        assert shows(view, run, surface, model, 1, 2)
        assert f"{model} (" in view.text("about")
        seen.add((surface, model))
    assert seen == set(run.surfaces)


def test_keys_and_pointer_move_the_cursor(view: Opened, run: Finished) -> None:
    choose(view, surface="between")
    view.page.locator("#map").focus()
    for key, place in (("Home", (2, 2)), ("ArrowRight", (3, 2)), ("ArrowUp", (3, 3)), ("Shift+ArrowLeft", (0, 3))):
        view.page.keyboard.press(key)
        assert shows(view, run, "between", "one", *place)
    frame = view.page.locator("#map .frame").bounding_box()
    view.page.mouse.move(frame["x"] + 0.74 * frame["width"], frame["y"] + 0.02 * frame["height"])
    assert shows(view, run, "between", "one", 3, 4)


def test_the_surface_turns_by_pointer_keys_and_buttons(view: Opened) -> None:
    solid = view.page.locator("#solid")
    solid.scroll_into_view_if_needed()
    eyes, before = [solid.get_attribute("data-eye")], solid.screenshot()

    def turned() -> None:
        view.until(f"document.getElementById('solid').dataset.eye !== '{eyes[-1]}'")
        eyes.append(solid.get_attribute("data-eye"))

    box = solid.bounding_box()
    view.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    view.page.mouse.down()
    view.page.mouse.move(box["x"] + box["width"] / 2 + 120, box["y"] + box["height"] / 2 + 20, steps=3)
    view.page.mouse.up()
    turned()
    view.wait_for(lambda: solid.screenshot() != before)
    solid.focus()
    view.page.keyboard.press("ArrowLeft")
    turned()
    view.page.get_by_role("button", name="Further away").click()
    turned()
    view.page.get_by_role("button", name="Reset").click()
    turned()
    assert eyes[-1] == eyes[0]
    assert len(set(eyes)) == 4


def test_path_marks_and_scales_are_drawn(view: Opened, run: Finished) -> None:
    choose(view, surface="between")
    assert view.page.locator("#map .path circle").count() == len(run.trajectory("one"))
    names = view.page.locator("#map text.name").all_text_contents()
    K = run.spec.surfaces[1].grid.K
    marks, a = run.surface("between", "one")[1].marks, run.surface("between", "one")[0].a
    assert names == [mark.name for mark in marks if a[0] <= mark.a <= a[K - 1] and a[0] <= mark.b <= a[K - 1]]
    view.page.uncheck("#path")
    assert view.page.locator("#map .path").count() == 0
    view.page.check("#path")
    lines = view.page.locator("#map .contour").get_attribute("d")
    assert lines.count("M") > 4
    choose(view, scale="log")
    assert "log scale" in view.page.locator("#map").text_content()
    assert view.page.locator("#map .contour").get_attribute("d") != lines
    choose(view, scale="auto")


def test_all_values_are_in_a_table(view: Opened, run: Finished) -> None:
    choose(view, surface="plain")
    stored = run.surface("plain", "one")[0].loss.ravel()
    view.page.locator("#values summary").click()
    view.wait_for(lambda: view.page.locator("#table td").count() == len(stored))  # a browser tells of `toggle` later
    cells = view.page.locator("#table td").all_inner_texts()
    assert [float(cell) for cell in cells] == pytest.approx(stored.tolist(), rel=1e-3)
    view.page.locator("#values summary").click()


def test_everything_is_reached_by_the_keyboard(view: Opened) -> None:
    choose(view, surface="plain")
    view.page.locator("#surface").focus()
    reached = []
    for _ in range(20):
        name = view.page.evaluate("document.activeElement.id || document.activeElement.dataset.turn || ''")
        reached.append(name)
        view.page.keyboard.press("Tab")
    wanted = ["surface", "seed", "scale", "shared", "path", "solid", "ArrowLeft", "Home", "map", "cursor-a", "cursor-b"]
    assert [name for name in reached if name in wanted] == wanted


def test_it_fits_a_narrow_screen_the_dark_and_paper(view: Opened) -> None:
    page = view.page
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    view.until("document.querySelector('#solid canvas').getBoundingClientRect().right <= 390")
    page.emulate_media(color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(22, 25, 29)"
    page.emulate_media(media="print", color_scheme="light")
    assert not page.locator(".turns").is_visible()
    assert page.locator("#map svg").is_visible()
    assert page.locator("#statistics table").is_visible()
    page.emulate_media(media="screen")
    page.set_viewport_size({"width": 1000, "height": 900})


def test_nothing_else_runs_or_is_loaded(view: Opened) -> None:
    tried = view.page.evaluate(
        """async () => {
            const script = document.createElement("script");
            script.textContent = "window.intruder = true";
            document.body.append(script);
            const button = document.createElement("button");
            button.setAttribute("onclick", "window.intruder = true");
            document.body.append(button);
            button.click();
            button.remove();
            const loaded = await fetch("data:text/plain,x").then(() => "loaded", () => "refused");
            return [Boolean(window.intruder), loaded];
        }"""
    )
    assert tried == [False, "refused"]
    refused, others = [], []
    for words in view.errors:
        (refused if "Content Security Policy" in words else others).append(words)
    assert len(refused) >= 2  # what was just tried
    assert not others
    assert all(address.startswith(("file:", "data:image/png", "data:text/plain")) for address in view.requests)
    assert sum(address.startswith("file:") for address in view.requests) == 1


def test_gaps_are_gaps_and_the_page_is_quiet(browser: Browser, odd_reference: Path, tmp_path: Path) -> None:
    with opened(browser, write_view(odd_reference, to=tmp_path / "odd.html")) as view:
        choose(view, surface="filter", network="cnn")
        for place, words in (((0, 1), "nan"), ((2, 0), "inf"), ((10, 3), "0")):
            view.page.locator("#cursor-a").fill(str(place[0]))
            view.page.locator("#cursor-b").fill(str(place[1]))
            assert view.text("at-loss") == words
        choose(view, scale="log")
        view.page.check("#shared")
        view.ready()
        assert view.errors == []
