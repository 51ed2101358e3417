"""The page of whole texts in a real browser: the list, a text that is opened, and what is counted."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from made_probe_page import ATTACK, NAMES, made_whole_page
from shown_page import Page
from utils.scores.metrics import at_threshold
from utils.scores.ranking import auroc
from watched_page import watched

CHOSEN = 2  # the layer that validation chose


@pytest.fixture(scope="module")
def opened(tmp_path_factory, chromium):
    """The page, open; (page, logits [layers, texts + tokens], truth [texts], thresholds, texts)."""
    path, *facts = made_whole_page(tmp_path_factory.mktemp("whole"))
    page = watched(chromium)
    page.goto(path.as_uri())
    yield page, *facts
    page.close()


@pytest.fixture(autouse=True)
def fresh(opened):
    page = opened[0]
    page.goto(f"{page.url.partition('#')[0]}#")
    page.reload()
    page.wait_for_timeout(200)
    yield
    own = [event for event in page.events if not event.startswith("request: file://")]
    page.events.clear()
    assert not own


def rows(page):
    """The list, row by row, as it is read down to its end: rows are built as their end comes near."""
    wanted = int(page.inner_text("#texts-more").split()[0])
    for _ in range(50):
        if page.locator("#texts-rows tr").count() == wanted:
            break
        page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
        page.wait_for_timeout(50)
    page.evaluate("window.scrollTo(0, 0)")
    return [
        [cell.strip() for cell in row]
        for row in page.eval_on_selector_all(
            "#texts-rows tr", "all => all.map(row => Array.from(row.cells, cell => cell.innerText))"
        )
    ]


def numbers(page):
    return [int(row[0]) for row in rows(page)]


def order_by(page, name):
    page.click(f"#texts-table button[data-order={name}]")
    return numbers(page)


def probability(logit):
    return 1 / (1 + np.exp(-float(logit)))


def verdict(logit, truth, threshold):
    if truth < 0 or np.isnan(logit):
        return ""
    return {(True, 1): "found", (True, 0): "false alarm", (False, 1): "miss", (False, 0): "right"}[logit > threshold, truth]


def truth_of(text, facts):
    """What a row must say of a text: probability, truth, verdict, tokens."""
    logits, truth, thresholds, texts = facts
    logit = logits[CHOSEN, text]
    return [
        f"{probability(logit):.3f}",
        ["unknown", "negative", "positive"][truth[text] + 1],
        verdict(logit, truth[text], thresholds[CHOSEN]),
        str(len(texts[text].ids)),
    ]


def test_the_list_holds_every_text_with_score_truth_verdict_and_length(opened):
    page, *facts = opened
    found = rows(page)
    assert len(found) == len(facts[3]) == 60
    for row in found:
        said, expected = row[1:5], truth_of(int(row[0]) - 1, facts)
        assert abs(float(said[0]) - float(expected[0])) <= 0.001 and said[1:] == expected[1:]
    assert {row[2] for row in found} == {"positive", "negative", "unknown"}
    assert {row[3] for row in found} == {"found", "right", "false alarm", "miss", ""}
    assert page.inner_text("#heading") == f"Is this text positive for “{ATTACK}”?"
    assert page.locator("img").count() == 0


def test_rows_are_built_as_their_end_comes_near_and_a_text_leads_back_to_its_row(opened):
    page, *_ = opened
    assert page.locator("#texts-rows tr").count() == 40
    assert len(rows(page)) == 60
    page.locator("#texts-rows tr >> nth=55").scroll_into_view_if_needed()
    before = page.evaluate("window.scrollY")
    page.locator("#texts-rows tr >> nth=55").click()
    assert page.is_visible("#opened") and before > 500
    page.click("#back")
    assert page.evaluate("window.scrollY") == before


def test_every_head_sorts_and_what_is_unknown_comes_last(opened):
    page, logits, truth, thresholds, texts = opened
    known = [text for text in range(60) if truth[text] >= 0]
    scores = logits[CHOSEN]

    def top(found, key):
        listed = [text - 1 for text in found][: len(known)]
        values = [key(text) for text in listed]
        assert sorted(listed) == known
        return values

    assert (np.diff(top(numbers(page), lambda text: scores[text])) < 1e-3).all()
    assert (np.diff(top(order_by(page, "score"), lambda text: scores[text])) > -1e-3).all()
    assert (np.diff(top(order_by(page, "length"), lambda text: len(texts[text].ids))) <= 0).all()
    assert (np.diff(top(order_by(page, "length"), lambda text: len(texts[text].ids))) >= 0).all()
    assert (np.diff(top(order_by(page, "truth"), lambda text: int(truth[text]))) <= 0).all()
    assert top(order_by(page, "place"), lambda text: text) == known

    def wrong(text):
        far = abs(scores[text] - thresholds[CHOSEN])
        return far if verdict(scores[text], truth[text], thresholds[CHOSEN]) in ("miss", "false alarm") else -1

    assert (np.diff(top(order_by(page, "error"), wrong)) < 1e-3).all()
    assert page.get_attribute("#texts-table th:nth-child(5)", "aria-sort") == "descending"


def test_texts_are_counted_and_not_their_tokens(opened):
    page, logits, truth, thresholds, _ = opened
    known = truth >= 0

    def counts():
        return {name: int(page.inner_text(f"#{name}")) for name in ("tp", "fp", "tn", "fn")}

    def true_counts(layer, threshold):
        kept = known & np.isfinite(logits[layer, :60])
        found = at_threshold(logits[layer, :60][kept], truth[kept] == 1, threshold)
        return {name: found[name] for name in ("tp", "fp", "tn", "fn")}

    assert counts() == true_counts(CHOSEN, thresholds[CHOSEN]) and sum(counts().values()) == known.sum() == 54
    page.keyboard.press("ArrowRight")  # layer 3, in which one text was not read
    assert counts() == true_counts(3, thresholds[3]) and sum(counts().values()) == 53
    assert next(row for row in rows(page) if row[0] == "5")[1:4] == ["–", "positive" if truth[4] == 1 else "negative", ""]
    page.evaluate("location.hash = 'layer=layer1&threshold=0.5&text=4'")
    page.wait_for_timeout(200)
    assert counts() == true_counts(CHOSEN, 0.0), "of all texts, whichever is open"
    page.click("#tab-curves")
    page.wait_for_timeout(200)
    assert page.inner_text("#auroc") == f"{auroc(logits[CHOSEN, :60][known], truth[known] == 1):.3f}"
    assert page.inner_text("#curve-tokens") == "54", "those of known truth"


def test_a_text_opens_and_each_of_its_tokens_has_its_own_value(opened):
    page, logits, truth, thresholds, texts = opened
    number = numbers(page)[2]
    page.click("#texts-rows tr:nth-child(3)")
    page.wait_for_timeout(200)
    assert page.is_hidden("#texts")
    assert f"text={number}" in page.evaluate("location.hash")
    said, text = truth_of(number - 1, (logits, truth, thresholds, texts)), texts[number - 1]
    shown = page.inner_text("#opened-said")
    assert shown.startswith("probability 0.9") and said[1] in shown and (not said[2] or shown.endswith(said[2]))
    assert page.locator("#text .token").count() == len(text.ids)
    first = 60 + sum(len(one.ids) for one in texts[: number - 1])
    page.hover("#text .token >> nth=3")
    card = page.inner_text("#card")
    assert f"token 4, id {text.ids[3]}, its own part of the mean" in card
    assert abs(float(page.inner_text("#card .value")) - probability(logits[CHOSEN, first + 3])) < 1e-3
    for at, dot in enumerate(page.query_selector_all("#card .dot")):
        assert abs(float(dot.get_attribute("data-p")) - probability(logits[at, first + 3])) < 2e-3
    page.mouse.move(5, 5)
    page.keyboard.press("Escape")
    assert page.is_visible("#texts") and len(rows(page)) == 60


def test_the_keys_lead_to_the_next_wrong_text(opened):
    page, logits, truth, thresholds, _ = opened
    wrong = [
        text
        for text in range(60)
        if verdict(logits[CHOSEN, text], truth[text], thresholds[CHOSEN]) in ("miss", "false alarm")
    ]
    wrong.sort(key=lambda text: -logits[CHOSEN, text])  # in the order of the list
    for expected in wrong[:3]:
        page.keyboard.press("n")
        page.wait_for_timeout(200)
        assert f"text={expected + 1}" in page.evaluate("location.hash")
    page.keyboard.press("p")
    page.wait_for_timeout(200)
    assert f"text={wrong[1] + 1}" in page.evaluate("location.hash")
    page.click("#back")
    assert page.is_visible("#texts")
    page.keyboard.press("t")
    page.wait_for_timeout(200)
    positives = sorted(np.flatnonzero(truth == 1), key=lambda text: -logits[CHOSEN, text])
    assert f"text={positives[0] + 1}" in page.evaluate("location.hash")


def test_errors_lead_to_their_texts_and_the_table_of_scores_is_of_texts(opened):
    page, logits, truth, thresholds, texts = opened
    page.click("#tab-errors")
    page.wait_for_timeout(200)
    counts = page.inner_text("#errors-found")
    found = [verdict(logits[CHOSEN, text], truth[text], thresholds[CHOSEN]) for text in range(60)]
    assert counts.startswith(f"{found.count('false alarm')} false alarms and {found.count('miss')} misses among")
    with page.expect_download() as download:
        page.click("#csv")
    table = list(csv.reader(io.StringIO(download.value.path().read_text(encoding="utf-8-sig"))))
    assert table[0] == ["text", "tokens", "truth", "logit", "probability", "predicted"] and len(table) == 61
    for text, line in enumerate(table[1:]):
        assert line[0] == texts[text].name or text == 5  # whose control character is shown as a sign
        assert int(line[1]) == len(texts[text].ids) and line[2] == ("" if truth[text] < 0 else str(truth[text]))
        assert abs(float(line[3]) - logits[CHOSEN, text]) < 1e-3
        assert line[5] == str(int(logits[CHOSEN, text] > thresholds[CHOSEN]))
    first = page.inner_text("#errors-rows tr:first-child .place")
    page.click("#errors-rows tr:first-child")
    page.wait_for_timeout(200)
    assert f"text={first}" in page.evaluate("location.hash") and page.is_visible("#opened")


def test_a_search_narrows_the_list(opened):
    page, *_ = opened
    page.fill("#find", "<B>bold")
    page.wait_for_timeout(100)
    assert sorted(numbers(page)) == [text + 1 for text in range(60) if text % 7 == 3]
    assert page.inner_text("#texts-more") == "9 of 60 texts hold “<B>bold”."
    page.fill("#find", "")
    assert len(rows(page)) == 60


def test_two_layers_are_compared_text_by_text(opened):
    page, logits, truth, thresholds, _ = opened
    page.evaluate("location.hash = 'mode=difference&with_layer=final_norm&order=place'")
    page.wait_for_timeout(200)
    for row in rows(page):
        text = int(row[0]) - 1
        assert abs(float(row[2]) - probability(logits[5, text])) <= 0.001
    flipped = {
        int(number)
        for number in page.eval_on_selector_all("td.flipped", "all => all.map(one => one.parentElement.dataset.text)")
    }
    expected = (logits[CHOSEN, :60] > thresholds[CHOSEN]) != (logits[5, :60] > thresholds[5])
    assert flipped == set(np.flatnonzero(expected).tolist()) and 5 < len(flipped) < 55


def test_the_address_of_a_view_opens_it_again(opened):
    page, *_ = opened
    page.click(f"#sweep .point[data-layer='{NAMES.index('layer2')}']", force=True)
    order_by(page, "length")
    order_by(page, "length")
    page.fill("#find", "bold")
    page.wait_for_timeout(300)
    address, before = page.evaluate("location.hash"), rows(page)
    page.goto(f"{page.url.partition('#')[0]}#")
    page.wait_for_timeout(300)
    assert rows(page) != before
    page.goto(f"{page.url.partition('#')[0]}{address}")
    page.wait_for_timeout(300)
    assert "order=-length" in address and rows(page) == before and page.inner_text("#layer-name").startswith("layer2")
    page.evaluate("location.hash = 'text=7&token=3&order=nonsense&mode=errors'")  # a token of another text, and no such mode
    page.wait_for_timeout(200)
    assert page.is_visible("#opened") and page.is_hidden("#card") and page.input_value("#mode") == "probability"


def test_texts_have_a_scale_of_their_own(opened):
    """Token logits may be far wider than the texts' means of them: that must not coarsen the texts' scores."""
    page = Page(opened_path(opened))
    view = page.views[0]
    assert view["step"] < view["tokenStep"]
    np.testing.assert_allclose(page.logits[:, :60], opened[1][:, :60], atol=view["step"] / 2 * 1.001)
    np.testing.assert_allclose(page.logits[:, 60:], opened[1][:, 60:], atol=view["tokenStep"] / 2 * 1.001)


def opened_path(opened):
    return Path(opened[0].url.partition("#")[0].removeprefix("file://"))


def test_a_card_stays_with_its_token_and_a_link_fills_the_search(opened):
    page, *_ = opened
    page.evaluate("location.hash = 'text=60&find=bold'")
    page.wait_for_timeout(200)
    assert page.input_value("#find") == "bold", "who opens the link sees what it searches for"
    page.locator("#text .token >> nth=2").click()
    assert page.is_visible("#card")
    page.click("#tab-curves")
    assert page.is_hidden("#card")
    page.click("#tab-text")
    assert page.is_visible("#card")
    page.mouse.move(5, 5)
    page.set_viewport_size({"width": 1280, "height": 300})
    page.evaluate("window.scrollTo(0, 100000)")
    page.wait_for_timeout(200)
    assert page.is_hidden("#card"), "its token is out of sight"
    page.set_viewport_size({"width": 1280, "height": 900})


def test_difference_does_not_begin_with_a_comparison_of_a_layer_with_itself(opened):
    page, *_ = opened
    page.keyboard.press("Home")
    page.select_option("#mode", "difference")
    assert page.input_value("#with-layer") == "5" and page.locator("td.flipped").count() > 0
    page.locator("#texts-rows tr >> nth=1").click()
    page.fill("#find", "x")
    page.keyboard.press("Escape")
    assert page.is_visible("#opened"), "the key ends the search, not the look at a text"
