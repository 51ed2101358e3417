"""The page in a real browser, from file://: what a reader sees and does."""

import math
import re

import numpy as np
import pytest
import torch

from helpers import make_tokenizer, prose
from utils.pages.html.page import write_page
from utils.pages.probe_page import page_values
from utils.pages.shown_texts import ShownText
from utils.saved.probe_sets import ProbeSet
from utils.scores.metrics import at_threshold

TURNING = "</script><img src=x onerror=alert(1)>\u202e שלום 7"  # with a control character, and letters from right to left
ATTACK = "</script><img src=x onerror=alert(1)>"
NASTY = [ATTACK, "<b>bold</b>", "&lt;", "שלום", "مرحبا", "👩‍👩‍👧", "🙂", "\n", "\n\n", "\t", "\u202e"]
LAYERS = ["embed", 0, 1, 2, 3, "final_norm"]
NAMES = ["embed", "layer0", "layer1", "layer2", "layer3", "final_norm"]


def made(folder, truth=None, **changes):
    """A page of 6 probes on prose and nasty tokens with random logits; what is on it. truth: of the tokens, as a function of
    which are the target; changes: to the probes' metadata.
    """
    tokenizer = make_tokenizer(folder / "tokenizer")
    tokenizer.add_tokens(NASTY)
    ids = tokenizer(prose(3, 200), add_special_tokens=False)["input_ids"]
    ids = np.array(
        [
            *ids[:100],
            *tokenizer.convert_tokens_to_ids(NASTY),
            *ids[100:350],
            *tokenizer("é☃", add_special_tokens=False)["input_ids"],
        ]
    )
    random = np.random.default_rng(1)
    logits = (3 * random.standard_normal((len(LAYERS), len(ids)))).astype(np.float32)
    logits[:, 0] = np.nan
    logits[2, 5], logits[2, 6] = 60, -60  # a probability that rounds to 1, and to 0
    logits[3, 7] = np.nan  # a state that overflowed in one layer only
    the = tokenizer.convert_tokens_to_ids("Ġthe")
    scores = {
        "balanced_accuracy": 0.8,
        "balanced_accuracy_low": 0.7,
        "balanced_accuracy_high": 0.9,
        "auc": 0.9,
        "n": 500,
        "groups": 12,
    }
    common = {
        "target": " the",
        "token": the,
        "lag": -1,
        "model": f"a/{ATTACK}",
        "prevalence": 0.03,
        "causal": True,
        "kind": "linear",
        **changes,
        "baselines": {"read token": {"test": {**scores, "balanced_accuracy": 0.75}}, "own probability": None},
    }
    metadata = [
        {**common, "threshold": threshold, "metrics": {"test": scores}} for threshold in (-0.5, 0.0, 0.25, 1.0, -2.0, 0.7)
    ]
    probes = ProbeSet([], LAYERS, torch.zeros(6, 4), torch.zeros(6), metadata)
    gaps = [""] * len(ids)
    gaps[50], gaps[101] = " ", f" {ATTACK}\n\n\n\n"
    truth = ids == the if truth is None else truth(ids == the)
    texts = [
        ShownText("one", "", ids[:200], gaps[:200], truth[:200].astype(np.int8)),
        ShownText(TURNING, "note", ids[200:], gaps[200:], truth[200:].astype(np.int8)),
    ]
    path = folder / "page.html"
    write_page(path, "probes", **page_values(probes, tokenizer, texts, [logits[:, :200], logits[:, 200:]], 256))
    return path, logits, truth, [one["threshold"] for one in metadata]


@pytest.fixture(scope="module")
def opened(tmp_path_factory, chromium):
    """The page, open; (page, logits, truth, thresholds)."""
    path, *facts = made(tmp_path_factory.mktemp("page"))
    page = watched(chromium, path)
    yield page, *facts
    page.close()


def watched(chromium, path):
    """The page, open. Every error, dialog and request is an entry of page.events."""
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    page.events = []
    page.on("console", lambda message: page.events.append(f"console {message.type}: {message.text}"))
    page.on("pageerror", lambda error: page.events.append(f"error: {error}"))
    page.on("dialog", lambda dialog: (page.events.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on("request", lambda request: page.events.append(f"request: {request.url}"))
    page.goto(path.as_uri())
    return page


@pytest.fixture(autouse=True)
def fresh(opened):
    opened[0].reload()
    opened[0].events.clear()


def probability(logit):
    return 1 / (1 + math.exp(-float(logit)))


def colours(page):
    return page.eval_on_selector_all("#texts .token", "all => all.map(one => getComputedStyle(one).backgroundColor)")


def expected_colour(logit):
    if np.isnan(logit):
        return "rgba(0, 0, 0, 0)"
    other = math.floor(255 * (1 - probability(logit)) + 0.5)
    return f"rgb(255, {other}, {other})"


def shown_counts(page):
    return {name: int(page.inner_text(f"#{name}").replace(",", "")) for name in ("tp", "fp", "tn", "fn")}


def true_counts(logits, truth, threshold):
    read = ~np.isnan(logits)
    found = at_threshold(logits[read], truth[read], threshold)
    return {name: found[name] for name in ("tp", "fp", "tn", "fn")}


def exact(logit):
    """A probability as the card writes it."""
    p = probability(logit)
    return f"{p:.4f}" if p >= 0.001 else re.sub(r"e-0*", "e-", f"{p:.2e}")


def assert_layer(page, logits, index):
    assert page.inner_text("#layer-name") == NAMES[index]
    assert page.input_value("#layer") == str(index)
    assert colours(page) == [expected_colour(value) for value in logits[index]]
    unread = page.eval_on_selector_all("#texts .token", "all => all.map(one => one.classList.contains('unread'))")
    assert unread == np.isnan(logits[index]).tolist()


def test_the_page_opens_without_an_error_or_a_request(opened):
    page, *_ = opened
    page.reload()
    page.mouse.wheel(0, 500)
    assert [event for event in page.events if not event.startswith(f"request: {page.url}")] == []
    assert page.locator("#texts .token").count() == opened[1].shape[1]


def test_shades_are_the_probabilities_of_every_layer_and_the_slider_and_keys_move_through_them(opened):
    page, logits, *_ = opened
    assert_layer(page, logits, 5)
    page.keyboard.press("ArrowRight")  # there is no layer beyond
    assert_layer(page, logits, 5)
    for index in (4, 3):
        page.keyboard.press("ArrowLeft")
        assert_layer(page, logits, index)
    page.focus("#layer")  # the slider's own keys: one step each, not two
    page.keyboard.press("ArrowLeft")
    assert_layer(page, logits, 2)
    page.fill("#layer", "0")
    assert_layer(page, logits, 0)
    page.locator(".point").nth(1).click()
    assert_layer(page, logits, 1)
    page.locator("h1").click()
    page.keyboard.press("ArrowRight")
    assert_layer(page, logits, 2)


def test_white_is_0_and_red_is_1(opened):
    page, *_ = opened
    page.fill("#layer", "2")
    found = colours(page)
    assert found[5] == "rgb(255, 0, 0)" and found[6] == "rgb(255, 255, 255)"


def test_hovering_shows_the_exact_values_of_every_layer(opened):
    page, logits, truth, _ = opened
    for token in (5, 6, 40, 104, 300):
        page.locator("#texts .token").nth(token).hover()
        assert page.locator("#card").is_visible()
        found = page.locator("#card td.probability").all_inner_texts()
        assert found == [exact(value) for value in logits[:, token]]
        assert [float(text.replace("−", "-")) for text in page.locator("#card td.logit").all_inner_texts()] == pytest.approx(
            logits[:, token].tolist(), abs=0.00501
        )
        fact = page.inner_text("#card .fact")
        assert f"token {token + 1}," in fact and (("not the target" in fact) != truth[token])
        box = page.locator("#card").bounding_box()
        assert box["x"] >= 0 and box["y"] >= 0 and box["x"] + box["width"] <= 1280 and box["y"] + box["height"] <= 900
    page.locator("#texts .token").nth(0).hover()
    assert page.locator("#card td.probability").count() == 0
    page.locator("h1").hover()
    assert page.locator("#card").is_hidden()


def test_the_truth_is_marked_and_nothing_else(opened):
    page, _, truth, _ = opened
    marked = page.eval_on_selector_all("#texts .token", "all => all.map(one => one.classList.contains('target'))")
    assert marked == truth.tolist() and 3 < sum(marked) < len(marked) / 2
    assert page.eval_on_selector("#texts .token.target", "one => getComputedStyle(one).borderBottomStyle") == "solid"


def test_the_keys_walk_from_token_to_token_and_escape_closes_the_card(opened):
    page, logits, *_ = opened
    page.locator("#texts .token").nth(40).hover()
    page.keyboard.press("Shift+ArrowRight")
    assert "token 42," in page.inner_text("#card .fact")
    assert page.locator("#card td.probability").all_inner_texts() == [exact(value) for value in logits[:, 41]]
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("Shift+ArrowLeft")
    assert "token 40," in page.inner_text("#card .fact")
    assert page.input_value("#layer") == "5"
    page.keyboard.press("Escape")
    assert page.locator("#card").is_hidden()


def test_the_threshold_is_each_layers_own_until_it_is_moved(opened):
    page, logits, truth, thresholds = opened
    seen = []
    for index in range(6):
        page.fill("#layer", str(index))
        assert page.inner_text("#threshold-value") == f"{probability(thresholds[index]):.3f}"
        seen.append(shown_counts(page))
        assert seen[-1] == true_counts(logits[index], truth, thresholds[index])
    assert len({tuple(one.values()) for one in seen}) == 6


@pytest.mark.parametrize("value", ["0", "0.1", "0.5", "0.9", "1"])
def test_a_moved_threshold_counts_anew_and_marks_what_is_above(value, opened):
    page, logits, truth, _ = opened
    page.fill("#threshold", value)
    assert not page.is_checked("#own-threshold")
    p = float(value)
    limit = {0: -math.inf, 1: math.inf}.get(p, math.log(p / (1 - p)) if 0 < p < 1 else None)
    for index in (5, 1):
        page.fill("#layer", str(index))
        expected = true_counts(logits[index], truth, limit)
        assert shown_counts(page) == expected
        marked = page.eval_on_selector_all("#texts .token", "all => all.map(one => one.classList.contains('said'))")
        assert marked == [bool(logit > limit) for logit in logits[index]]
        recall = expected["tp"] / (expected["tp"] + expected["fn"])
        assert page.inner_text("#recall") == f"{recall:.3f}"
    page.check("#own-threshold")
    assert page.inner_text("#threshold-value") == f"{probability(0.0):.3f}"


def test_the_keys_of_the_threshold_slider_leave_the_layer_alone(opened):
    page, logits, *_ = opened
    page.focus("#threshold")
    before = page.inner_text("#threshold-value")
    page.keyboard.press("ArrowLeft")
    assert page.inner_text("#threshold-value") != before
    assert_layer(page, logits, 5)


def test_tokens_are_text_whatever_they_hold(opened):
    page, *_ = opened
    texts = page.eval_on_selector_all("#texts .token", "all => all.map(one => one.textContent)")
    assert texts[100:111] == [*NASTY[:7], "↵\n", "↵\n↵\n", "⇥", "⟨U+202E⟩"]
    assert all(re.fullmatch(r"⟨[0-9A-F ]+⟩", text) for text in texts[-5:])
    between = page.eval_on_selector(
        "#texts p", "one => Array.from(one.childNodes).filter(node => node.nodeType === 3).map(node => node.data)"
    )
    assert [text for text in between if text.strip()] == [f" {ATTACK}\n\n"] and between.count(" ") == 1
    assert page.locator("img").count() == page.locator("#texts b").count() == 0
    page.locator("#texts .token").nth(100).hover()
    assert ATTACK in page.inner_text("#card .name") and page.locator("#card img").count() == 0
    assert ATTACK in page.inner_text("#texts h2 >> nth=1") and ATTACK in page.inner_text(".about")
    assert [event for event in page.events if not event.startswith("request: file:")] == []


def test_what_a_policy_of_the_page_forbids_does_not_happen(opened):
    """The test's own control: the browser reports what is injected by force, so the silence above means something."""
    page, *_ = opened
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"alert(1)\">')")
    page.wait_for_timeout(200)
    assert not [event for event in page.events if event.startswith("dialog")]
    assert [event for event in page.events if "Content Security Policy" in event]


def test_a_narrow_window_has_no_sideways_scrolling(opened):
    page, *_ = opened
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator("#texts .token").nth(250).scroll_into_view_if_needed()
    page.locator("#texts .token").nth(250).hover()
    assert page.locator("#card td.probability").count() == 6
    slider = page.locator("#layer").bounding_box()
    assert 0 <= slider["y"] < 200  # the controls stay in sight
    page.set_viewport_size({"width": 1280, "height": 900})


# A label whose truth is known of some tokens, or of none

LABEL = {"target": f"a {ATTACK}", "token": None, "lag": 0, "task": "chains", "label_rule": "within 8"}


def test_tokens_of_unknown_truth_are_subdued_and_not_counted(chromium, tmp_path):
    path, logits, truth, thresholds = made(tmp_path, lambda the: np.where(np.arange(len(the)) % 3 == 1, -1, the), **LABEL)
    page = watched(chromium, path)
    known = truth >= 0
    assert 0 < (truth == 1).sum() < known.sum() < len(truth)
    for name, value in (("target", 1), ("unknown", -1)):
        marked = page.eval_on_selector_all("#texts .token", f"all => all.map(one => one.classList.contains('{name}'))")
        assert marked == (truth == value).tolist()
    for index in (5, 1):
        page.fill("#layer", str(index))
        assert shown_counts(page) == true_counts(logits[index, known], truth[known], thresholds[index])
        assert shown_counts(page) != true_counts(logits[index], truth == 1, thresholds[index])
    for token, said in ((np.flatnonzero(truth == 1)[1], "positive"), (4, "truth unknown"), (5, "negative")):
        page.locator("#texts .token").nth(int(token)).hover()
        assert f"token {token + 1}, {said};" in page.inner_text("#card .fact")
    assert f"Will “a {ATTACK}” begin within the next 8 tokens?" == page.inner_text("h1")
    assert page.locator("img").count() == 0
    assert [event for event in page.events if not event.startswith(f"request: {page.url}")] == []
    page.close()


def test_a_text_of_unknown_truth_has_no_counts_and_the_rest_works(chromium, tmp_path):
    path, logits, truth, _ = made(tmp_path, lambda the: np.full(len(the), -1), **LABEL)
    page = watched(chromium, path)
    assert page.locator("#counts").count() == page.locator(".token.unknown").count() == 0
    assert page.locator(".token.target").count() == 0
    for index in (3, 5):
        page.fill("#layer", str(index))
        assert_layer(page, logits, index)
    page.fill("#threshold", "0.5")
    marked = page.eval_on_selector_all("#texts .token", "all => all.map(one => one.classList.contains('said'))")
    assert marked == [bool(logit > 0) for logit in logits[5]]
    page.locator("#texts .token").nth(7).hover()
    assert "token 8, truth unknown;" in page.inner_text("#card .fact")
    assert [event for event in page.events if not event.startswith(f"request: {page.url}")] == []
    page.close()


def test_a_name_that_runs_from_right_to_left_turns_nothing_round(opened):
    page, *_ = opened
    ends = page.evaluate(
        """() => {
          const heading = document.querySelectorAll("section.text h2")[1], box = node => node.getBoundingClientRect();
          const note = heading.querySelector("small"), range = document.createRange();
          const letter = number => { range.setStart(note.firstChild, number); range.setEnd(note.firstChild, number + 1);
                                     return box(range).left; };
          range.selectNode(heading.firstChild);
          return [box(range).right, letter(0), letter(1), letter(2), letter(3)];
        }"""
    )
    assert ends == sorted(ends) and "⟨U+202E⟩ שלום 7" in page.locator("section.text h2").nth(1).inner_text()
