"""The page of latents in a real browser, from file://: what a reader sees, finds and opens."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from made_latents import ATTACK, LATENTS, OWN, SILENT, interpreted
from utils.pages.latent_page import write_latent_page
from utils.sae.latents.interpretations import entries
from watched_page import watched

UNSHADED = "rgba(0, 0, 0, 0)"
WORST = 100  # milliseconds that a search may take


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("latents")
    found = interpreted(folder)
    path = folder / "page.html"
    write_latent_page(path, found, f"a/{ATTACK}")
    return SimpleNamespace(path=path, found=found, entries=list(entries(found)), number=found.study.activity.number)


@pytest.fixture
def page(chromium, made):
    page = watched(chromium)
    page.goto(made.path.as_uri())
    ready(page)
    yield page
    page.close()


def until(page, condition):
    """Wait until an expression is true. (Playwright's own way to wait needs eval, which the page's policy forbids.)"""
    for _ in range(300):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never true: {condition}")


def ready(page):
    """Wait until all latents can be searched."""
    page.fill("#search", "qqqq")
    until(page, "document.getElementById('found').textContent === '0 latents'")
    page.fill("#search", "")


def opened(page, latent):
    page.evaluate(f"location.hash = 'latent-{latent}'")
    until(page, f"document.querySelector('#latent h2 a').textContent === '#{latent}'")


def listed(page):
    """The latents of the rows that exist, from the top."""
    return page.eval_on_selector_all("#rows .row", "all => all.map(one => Number(one.dataset.latent))")


def found_latents(page):
    return int(page.inner_text("#found").split()[0].replace(",", ""))


def test_the_page_opens_without_an_error_or_a_request(page, made):
    page.mouse.wheel(0, 500)
    opened(page, 5)
    assert [event for event in page.events if event != f"request: {made.path.as_uri()}"] == []


def test_what_the_policy_forbids_does_not_happen(page):
    """The test's own control: the browser reports what is injected by force, so the silence above means something."""
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"alert(1)\">')")
    page.wait_for_timeout(200)
    assert [event for event in page.events if "Content Security Policy" in event]
    assert not [event for event in page.events if event.startswith("dialog")]


def test_the_card_shows_what_the_file_says(page, made):
    for latent in (0, 7, 1234, 4095):
        opened(page, latent)
        entry = made.entries[latent]
        facts = page.inner_text("#latent .facts")
        assert f"{entry['num_activations']:,} activation" in facts
        assert page.inner_text("#latent h2").strip() == f"#{latent} {entry['label']}".strip()
        assert (page.locator("#latent h2 .automatic").count() == 0) == (latent in OWN)
        for title, key in (("Reads", "speaking_tokens"), ("Promotes", "promoted"), ("Suppresses", "suppressed")):
            section = page.locator(".lists section", has_text=title).first
            words = section.locator(".word").evaluate_all("all => all.map(one => one.textContent)")
            assert words == [token for token, _ in entry[key]]
        assert page.locator(".lists section", has_text="Neighbours").locator("a").all_inner_texts() == [
            f"#{near}" for near, _ in entry["neighbours"]
        ]
        blocks = [entry["top_examples"], *(one["examples"] for one in reversed(entry["interval_examples"]))]
        shown = page.locator("#latent .example p").evaluate_all(
            "all => all.map(one => Array.from(one.children).map(token => token.textContent.replaceAll('\\u200b', '')))"
        )
        assert shown == [example["tokens"] for block in blocks for example in block]
        bars = page.locator("#latent .histogram rect title").evaluate_all("all => all.map(one => one.textContent)")
        assert [int(bar.split(": ")[1].split()[0].replace(",", "")) for bar in bars] == [
            count for count in entry["histogram"]["counts"] if count
        ]


def test_examples_are_shaded_by_activation(page, made):
    opened(page, 1234)
    entry = made.entries[1234]
    colours = (
        page.locator("#latent .examples >> nth=0")
        .locator(".example p")
        .evaluate_all(
            "all => all.map(one => Array.from(one.children).map(token => getComputedStyle(token).backgroundColor))"
        )
    )
    peaks = 0
    for example, of_tokens in zip(entry["top_examples"], colours, strict=True):
        for activation, colour in zip(example["activations"], of_tokens, strict=True):
            share = (activation or 0) / entry["top_activation"]
            other = 255 - int(colour.split(",")[1]) if colour != UNSHADED else 0
            assert abs(other - 255 * share) <= 1.5 and (colour == UNSHADED) == (not activation)
            peaks += colour == "rgb(255, 0, 0)"
    assert peaks >= 1  # the strongest of all is red, not white again
    assert page.locator("#latent .examples >> nth=0").locator(".peak").count() == len(entry["top_examples"])


def test_hostile_words_are_text(page, made):
    latent = next(
        entry["feature_id"]
        for entry in made.entries
        if sum(ATTACK in example["tokens"] for example in entry["top_examples"]) and entry["feature_id"] > 100
    )
    for each in (7, latent):
        opened(page, each)
        assert page.locator("#latent img").count() == page.locator("#latent b b").count() == page.locator("img").count() == 0
    assert ATTACK in page.locator("#latent .example").all_inner_texts().__str__()
    assert ATTACK in page.inner_text(".about")
    title = page.locator("#latent .example .value >> nth=0").get_attribute("title")
    assert ATTACK in title
    assert [event for event in page.events if not event.startswith("request: file:")] == []


@pytest.mark.parametrize("where", ["labels", "tokens", "examples", "all"])
def test_a_search_finds_every_latent_that_holds_the_words_and_no_other(where, page, made):
    page.select_option("#where", where)
    for query in ("zebra", "captain", "the old", "mine </SCRIPT>", "w1234"):
        page.fill("#search", query)
        wanted = query.lower()
        texts = {
            "labels": lambda entry: [entry["label"]],
            "tokens": lambda entry: [
                token for key in ("speaking_tokens", "next_tokens", "promoted", "suppressed") for token, _ in entry[key]
            ],
            "examples": lambda entry: [
                "".join(example["tokens"])
                for block in (entry["top_examples"], *(one["examples"] for one in entry["interval_examples"]))
                for example in block
            ],
        }
        scopes = texts if where == "all" else [where]
        expected = {
            entry["feature_id"]
            for entry in made.entries
            if entry["active"] and any(wanted in text.lower() for scope in scopes for text in texts[scope](entry))
        }
        assert found_latents(page) == len(expected)
        assert set(listed(page)) <= expected and len(listed(page)) == min(len(expected), len(listed(page)))
    assert len(expected) < LATENTS  # the control: not everything is found


def test_a_number_finds_its_latent_first_also_a_silent_one(page):
    for query, latent in (("1234", 1234), ("#60", 60), (" 0 ", 0)):
        page.fill("#search", query)
        assert listed(page)[0] == latent
    page.fill("#search", "99999")
    assert found_latents(page) == 0


def test_the_order_is_that_of_density_activation_label_or_number(page, made):
    active = np.flatnonzero(made.number > 0)
    labels = [entry["label"].lower() or "\uffff" for entry in made.entries]
    orders = {
        "density": sorted(active, key=lambda latent: (-made.number[latent], latent)),
        "largest": sorted(active, key=lambda latent: (-made.found.study.activity.largest[latent], latent)),
        "number": active.tolist(),
    }
    for name, expected in orders.items():
        page.select_option("#order", name)
        assert listed(page) == [int(latent) for latent in expected[: len(listed(page))]] and len(listed(page)) > 10
        page.click("#turn")
        assert listed(page)[0] == int(expected[-1])
        page.click("#turn")
    page.select_option("#order", "label")
    shown = [labels[latent] for latent in listed(page)]
    assert shown == sorted(labels[latent] for latent in active)[: len(shown)]


def test_only_rows_in_sight_exist_and_the_last_can_be_reached(page, made):
    page.select_option("#order", "number")
    assert found_latents(page) == LATENTS - SILENT and len(listed(page)) < 40
    page.evaluate("document.getElementById('list').scrollTop = 1e9")
    until(page, "document.querySelector('#row-4095') !== null")
    assert len(listed(page)) < 40
    page.select_option("#which", "silent")
    assert found_latents(page) == SILENT and listed(page)[0] == 50
    page.locator("#row-51").click()
    assert "Silent: not active at any of the" in page.inner_text("#latent")
    page.select_option("#which", "all")
    assert found_latents(page) == LATENTS


def test_a_link_opens_its_latent_and_the_browser_goes_back(chromium, page, made):
    fresh = chromium.new_page()
    fresh.goto(f"{made.path.as_uri()}#latent-321")
    assert fresh.inner_text("#latent h2 a") == "#321" and "Latent 321" in fresh.title()
    near = fresh.locator(".lists section", has_text="Neighbours").locator("a").first
    wanted = near.inner_text()
    near.click()
    until(fresh, f"document.querySelector('#latent h2 a').textContent === '{wanted}'")
    fresh.go_back()
    until(fresh, "document.querySelector('#latent h2 a').textContent === '#321'")
    fresh.goto(f"{made.path.as_uri()}#latent-999999")
    assert fresh.inner_text("#latent h2 a").startswith("#")
    fresh.close()


def test_the_keys_walk_through_what_was_found(page, made):
    page.select_option("#order", "number")
    page.locator("#row-3").click()
    page.keyboard.press("ArrowDown")
    assert page.inner_text("#latent h2 a") == "#4" and page.url.endswith("#latent-4")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    assert page.inner_text("#latent h2 a") == "#2"
    page.keyboard.press("/")
    page.keyboard.type("zebra")
    page.keyboard.press("Enter")
    assert page.inner_text("#latent h2 a") == "#4095"
    assert page.locator(".row.chosen").get_attribute("data-latent") == "4095"
    page.keyboard.press("Escape")
    assert page.input_value("#search") == "" and found_latents(page) == LATENTS - SILENT
    for _ in range(30):
        page.keyboard.press("ArrowUp")
    box, inside = page.locator("#list").bounding_box(), page.locator(".row.chosen").bounding_box()
    assert box["y"] - 1 <= inside["y"] <= box["y"] + box["height"]


def test_typing_into_the_search_never_holds_the_page_for_long(page):
    """Best of three rounds: the machine may be busy with other things. The observer is proved on a pause of its own."""
    page.evaluate(
        """() => { window.tasks = [];
             const watcher = new PerformanceObserver(list => tasks.push(...list.getEntries().map(one => one.duration)));
             watcher.observe({type: "longtask"});
             setTimeout(() => { const end = performance.now() + 150; while (performance.now() < end); }); }"""
    )
    until(page, f"tasks.some(one => one > {WORST})")
    worst = math.inf
    for _ in range(3):
        page.evaluate("tasks.length = 0")
        times = [
            page.evaluate(
                """query => { const search = document.getElementById("search"), start = performance.now();
                   search.value = query; search.dispatchEvent(new Event("input"));
                   document.getElementById("list").getBoundingClientRect(); return performance.now() - start; }""",
                query,
            )
            for query in ("t", "th", "the", "the ", "captain", "old house", "w12", "12", "</script>", "")
        ]
        page.wait_for_timeout(100)
        worst = min(worst, max(*times, *page.evaluate("tasks"), 0))
    assert worst < WORST


def test_a_narrow_window_has_no_sideways_scrolling_and_shows_the_card_of_a_row(page):
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator(".row >> nth=2").click()
    until(page, "document.getElementById('latent').getBoundingClientRect().top < 400")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
