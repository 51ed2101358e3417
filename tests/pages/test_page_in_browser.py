"""The page in a real browser, from file://: what a reader sees and does."""

import csv
import io
import math
import re
from dataclasses import replace

import numpy as np
import pytest

from helpers import make_tokenizer, prose
from made_probe_page import ATTACK, NAMES, NASTY, made_page
from shown_page import probe_set
from utils.pages.html.page import write_page
from utils.pages.probe_page import page_values
from utils.pages.texts.shown import ShownText
from utils.scores.metrics import at_threshold
from utils.scores.ranking import auroc
from watched_page import watched


@pytest.fixture(scope="module")
def opened(tmp_path_factory, chromium):
    """The page, open; (page, logits, truth, thresholds)."""
    path, *facts = made_page(tmp_path_factory.mktemp("page"))
    page = open_page(chromium, path)
    yield page, *facts
    page.close()


def open_page(chromium, path):
    """The page, open and watched."""
    page = watched(chromium)
    page.goto(path.as_uri())
    return page


@pytest.fixture(autouse=True)
def fresh(opened):
    page = opened[0]
    page.goto(f"{page.url.partition('#')[0]}#")
    page.reload()
    page.events.clear()


def probability(logit):
    return 1 / (1 + math.exp(-float(logit)))


PIXELS = """() => {
  const found = [];
  for (const block of document.querySelectorAll(".block")) {
    const context = block.querySelector("canvas")?.getContext("2d"), ratio = window.devicePixelRatio;
    const place = block.getBoundingClientRect();
    for (const token of block.querySelectorAll(".token")) {
      const box = token.getClientRects()[0];
      const at = (x, y) => [Math.floor((x - place.left) * ratio), Math.floor((y - place.top) * ratio)];
      const pixel = (x, y) => Array.from(context.getImageData(...at(x, y), 1, 1).data), across = box.left + box.width / 2;
      found.push(context && box.width >= 4 ? {middle: pixel(across, box.top + 5), below: pixel(across, box.bottom)} : null);
    }
  }
  return found;
}"""
BLUE = [11, 87, 208, 255]  # of the line below positives


def pixels(page):
    """What the canvases hold at each token that is wide enough: colours in its middle, on its edge and below it."""
    page.wait_for_timeout(50)
    found = page.evaluate(PIXELS)
    assert sum(one is not None for one in found) > 0.9 * len(found) > 100
    return found


def expected_colour(logit):
    other = 255 - math.floor(255 * probability(logit) + 0.5)
    return [255, other, other, 255]


def assert_colours(page, logits):
    """Each token has the colour of its probability, to what rounding of the logit may do; none where nothing was read."""
    for pixel, logit in zip(pixels(page), logits, strict=True):
        if pixel is None:
            continue
        if np.isnan(logit):
            assert pixel["middle"] != expected_colour(0), "hatched"
        else:
            assert np.abs(np.subtract(pixel["middle"], expected_colour(logit))).max() <= 1


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


def close(text, logit):
    """Whether a probability that is shown is that of a logit, to half a level."""
    return abs(math.log(float(text) / (1 - min(float(text), 0.99999)) + 1e-30) - float(logit)) < 0.01 or text == exact(logit)


def assert_layer(page, logits, index):
    assert page.inner_text("#layer-name").split()[0] == NAMES[index]
    assert page.input_value("#layer") == str(index)
    assert_colours(page, logits[index])


def own_events(page):
    """What the page did, but for loading itself, and for the browser's advice on how these tests read its canvases."""
    own = f"request: {page.url.partition('#')[0]}"
    return [event for event in page.events if not event.startswith(own) and "willReadFrequently" not in event]


def test_the_page_opens_without_an_error_or_a_request_on_what_validation_chose(opened):
    page, logits, *_ = opened
    page.reload()
    page.mouse.wheel(0, 500)
    assert_layer(page, logits, 3)
    assert (
        page.inner_text("#layer-name") == "layer2 ★"
        and page.locator("#sweep .point.chosen").get_attribute("data-layer") == "3"
    )
    assert page.locator("#text .token").count() == logits.shape[1]
    assert own_events(page) == []


def test_shades_are_the_probabilities_of_every_layer_and_the_slider_and_keys_move_through_them(opened):
    page, logits, *_ = opened
    page.keyboard.press("End")
    assert_layer(page, logits, 5)
    page.keyboard.press("ArrowRight")  # there is no layer beyond
    assert_layer(page, logits, 5)
    page.keyboard.press("ArrowLeft")
    assert_layer(page, logits, 4)
    page.focus("#layer")  # the slider's own keys: one step each, not two
    page.keyboard.press("ArrowLeft")
    assert_layer(page, logits, 3)
    page.fill("#layer", "0")
    assert_layer(page, logits, 0)
    page.locator("#sweep .point").nth(1).click()
    assert_layer(page, logits, 1)
    page.locator("h1").click()
    page.keyboard.press("Home")
    assert_layer(page, logits, 0)


def test_hovering_shows_the_exact_values_of_every_layer(opened):
    page, logits, truth, _ = opened
    for token in (5, 6, 40, 104, 300):
        page.locator("#text .token").nth(token).hover()
        assert page.locator("#card").is_visible()
        dots = page.locator("#card .dot")
        shown = {int(dot.get_attribute("data-layer")): dot.get_attribute("data-p") for dot in dots.all()}
        assert list(shown) == list(range(6)) and all(close(text, logits[at, token]) for at, text in shown.items())
        fact = page.inner_text("#card .fact")
        assert f"token {token + 1}," in fact and (("not the target" in fact) != truth[token])
        assert close(page.inner_text("#card .value"), logits[3, token])
        assert close(page.inner_text("#card .own").split()[-1], logits[0, token] - 1)
        box = page.locator("#card").bounding_box()
        assert box["x"] >= 0 and box["y"] >= 0 and box["x"] + box["width"] <= 1280 and box["y"] + box["height"] <= 900
    page.locator("#text .token").nth(0).hover()
    assert page.locator("#card .dot").count() == 0 and "nothing was read" in page.inner_text("#card")
    page.locator("h1").hover()
    assert page.locator("#card").is_hidden()


def test_the_truth_is_underlined_and_nothing_else(opened):
    page, _, truth, _ = opened
    for pixel, positive in zip(pixels(page), truth, strict=True):
        if pixel:
            assert (pixel["below"] == BLUE) == positive
    assert 3 < truth.sum() < len(truth) / 2


def test_a_click_pins_a_token_and_the_keys_walk_from_it(opened):
    page, *_ = opened
    page.locator("#text .token").nth(40).click()
    page.locator("h1").hover()
    assert "token 41," in page.inner_text("#card .fact") and "pinned" in page.inner_text("#card .fact")
    page.keyboard.press("Shift+ArrowRight")
    assert "token 42," in page.inner_text("#card .fact")
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("Shift+ArrowLeft")
    assert "token 40," in page.inner_text("#card .fact")
    assert page.input_value("#layer") == "3"
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


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_a_moved_threshold_counts_anew_and_frames_what_is_above(p, opened):
    page, logits, truth, _ = opened
    page.fill("#threshold", str(p))
    assert page.get_attribute("#own", "aria-pressed") == "false"
    limit = math.log(p / (1 - p))
    for index in (5, 1):
        page.fill("#layer", str(index))
        expected = true_counts(logits[index], truth, limit)
        assert shown_counts(page) == expected
        assert page.inner_text("#recall") == f"{expected['tp'] / (expected['tp'] + expected['fn']):.3f}"
        page.select_option("#mode", "threshold")
        for pixel, logit in zip(pixels(page), logits[index], strict=True):
            if pixel and not np.isnan(logit):
                assert (pixel["middle"][3] > 0) == (logit > limit)
        page.select_option("#mode", "probability")
    page.click("#own")
    assert page.inner_text("#threshold-value") == f"{probability(0.0):.3f}"


def test_a_threshold_keeps_what_it_promises_on_validation(opened):
    page, *_ = opened
    page.fill("#layer", "5")
    for control, share in (("#false", 10), ("#false", 0), ("#found", 80), ("#found", 100)):
        page.fill(control, str(share))
        page.keyboard.press("Enter")
        counts = shown_counts(page)  # the curve is of these very tokens
        alarms, found = counts["fp"] / (counts["fp"] + counts["tn"]), counts["tp"] / (counts["tp"] + counts["fn"])
        assert alarms <= share / 100 if control == "#false" else found >= share / 100
        assert (alarms > 0.05 or share == 0) if control == "#false" else found < share / 100 + 0.1  # and no more than that
        assert page.input_value("#found" if control == "#false" else "#false") == ""


def test_a_promise_that_is_emptied_gives_back_each_layers_own_threshold(opened):
    page, *_ = opened
    own = page.inner_text("#threshold-value")
    page.fill("#false", "5")
    page.keyboard.press("Enter")
    assert page.inner_text("#threshold-value") != own
    page.fill("#false", "")
    page.keyboard.press("Enter")
    page.wait_for_function("own => document.querySelector('#threshold-value').innerText === own", arg=own)
    page.wait_for_function("!location.hash.includes('false=')")


def test_errors_are_marked_listed_and_led_to(opened):
    page, logits, truth, thresholds = opened
    page.select_option("#mode", "errors")
    read = ~np.isnan(logits[3])
    said = logits[3] > thresholds[3]
    wrong = read & (said != truth)
    fills = {(True, True): (183, 228, 192), (True, False): (255, 217, 160), (False, True): (185, 212, 255)}
    for token, pixel in enumerate(pixels(page)):
        if pixel and read[token]:
            assert tuple(pixel["middle"][:3]) == fills.get((bool(said[token]), bool(truth[token])), (0, 0, 0))
    page.click("#tab-errors")
    assert f"{(wrong & said).sum()} false alarms and {(wrong & ~said).sum()} misses" in page.inner_text("#errors-found")
    size = np.where(wrong, np.abs(logits[3] - thresholds[3]), -1)
    listed = [int(text) - 1 for text in page.locator("#errors-rows .place").all_inner_texts()]
    assert sorted(size[listed], reverse=True) == pytest.approx(size[listed].tolist(), abs=0.01)
    assert min(size[listed]) >= np.sort(size)[-len(listed)] - 0.01 and len(listed) == min(100, wrong.sum())
    page.locator("#errors-rows tr").nth(2).click()
    assert page.locator("#panel-text").is_visible() and f"token {listed[2] + 1}," in page.inner_text("#card .fact")
    page.keyboard.press("n")
    after = [token for token in np.flatnonzero(wrong) if token > listed[2]] or np.flatnonzero(wrong).tolist()
    assert f"token {after[0] + 1}," in page.inner_text("#card .fact")
    page.keyboard.press("Escape")
    page.evaluate("window.scrollTo(0, 0)")
    page.keyboard.press("t")
    assert f"token {np.flatnonzero(truth)[0] + 1}," in page.inner_text("#card .fact")
    page.keyboard.press("Shift+T")
    assert f"token {np.flatnonzero(truth)[-1] + 1}," in page.inner_text("#card .fact")


def test_the_saved_scores_are_a_table_that_no_spreadsheet_computes(opened):
    page, logits, truth, _ = opened
    page.click("#tab-errors")
    with page.expect_download() as download:
        page.click("#csv")
    with open(download.value.path(), encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(io.StringIO(file.read())))
    assert len(rows) == logits.shape[1]
    for row, logit, positive in zip(rows, logits[3], truth, strict=True):
        assert (row["logit"] == "") == np.isnan(logit) and row["truth"] == str(int(positive))
        assert row["logit"] == "" or abs(float(row["logit"]) - logit) < 0.002
        assert row["word"][:1] not in "=+-@\t" or not row["word"]
    assert rows[100]["word"] == ATTACK


def test_the_difference_of_two_layers_shows_which_tokens_flip(opened):
    page, logits, _, thresholds = opened
    page.select_option("#mode", "difference")
    page.select_option("#with-layer", "1")
    both = ~np.isnan(logits[3]) & ~np.isnan(logits[1])
    flips = (logits[3] > thresholds[3]) != (logits[1] > thresholds[1])
    page.keyboard.press("Escape")
    page.locator("h1").click()
    page.keyboard.press("n")
    first = np.flatnonzero(both & flips)[0]
    assert f"token {first + 1}," in page.inner_text("#card .fact")
    for token, pixel in enumerate(pixels(page)):
        if pixel and both[token]:
            more = probability(logits[3, token]) - probability(logits[1, token])
            red, _, blue = pixel["middle"][:3]
            assert abs(more) < 0.02 or (red > blue) == (more > 0)


def test_curves_are_those_of_the_shown_text(opened):
    page, logits, truth, thresholds = opened
    page.click("#tab-curves")
    read = ~np.isnan(logits[3])
    assert float(page.inner_text("#auroc")) == pytest.approx(auroc(logits[3, read], truth[read]), abs=0.0011)
    dot = page.locator("#roc .dot title").text_content()
    counts = true_counts(logits[3], truth, thresholds[3])
    assert f"{100 * counts['fp'] / (counts['fp'] + counts['tn']):.2f} % false alarms" in dot
    bars = page.locator("#histogram rect title").all_text_contents()
    assert sum(int(text.split()[0].replace(",", "")) for text in bars) == read.sum()


def test_other_probes_of_the_folder_are_a_choice_away(opened):
    page, logits, *_ = opened
    page.select_option("#lag", "1")
    assert page.input_value("#kind") == "mass-mean" and page.get_attribute("#layer", "max") == "1"
    assert page.inner_text("h1") == "Was the token 1 token back “␣the”?"
    page.fill("#layer", "1")
    assert_colours(page, -logits[1])
    page.locator("#text .token").nth(40).hover()
    assert page.locator("#card .lags").count() == 0  # of another kind: no heatmap of one question


def test_the_address_of_a_view_opens_it_again_and_a_hostile_one_does_nothing(opened):
    page, logits, *_ = opened
    page.fill("#layer", "1")
    page.select_option("#mode", "errors")
    page.fill("#threshold", "0.3")
    page.select_option("#palette", "blue")
    page.locator("#text .token").nth(40).click()
    page.wait_for_timeout(300)
    address = page.evaluate("location.href")
    before = (shown_counts(page), page.inner_text("#card .fact"))
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_timeout(100)
    assert (shown_counts(page), page.inner_text("#card .fact")) == before
    assert page.input_value("#mode") == "errors" and page.input_value("#palette") == "blue"
    for hostile in (
        f"#layer={ATTACK}&find={ATTACK}",
        "#layer=__proto__&mode=constructor&token=-1&text=9e9",
        "#%E0%A4%A",
        "#threshold=NaN",
    ):
        page.goto("about:blank")
        page.goto(address.partition("#")[0] + hostile)
        page.wait_for_timeout(50)
        assert page.locator("img").count() == 0 and page.inner_text("#layer-name") == "layer2 ★"
    assert [event for event in own_events(page) if not event.startswith("request: about")] == []


def test_what_is_searched_for_is_found(opened):
    page, *_ = opened
    tokens = [text.strip() for text in page.locator("#text .token").all_inner_texts()]
    word = next(text for text in tokens[150:] if len(text) > 4 and text.isalpha())
    page.keyboard.press("/")
    page.keyboard.type(word)
    page.keyboard.press("Enter")
    at = int(re.search(r"token ([\d,]+),", page.inner_text("#card .fact"))[1]) - 1
    assert tokens[at].startswith(word)
    page.fill("#find", "no such words at all")
    page.keyboard.press("Enter")
    assert "is not in the shown text" in page.inner_text("#announced")


def test_tokens_are_text_whatever_they_hold(opened):
    page, *_ = opened
    texts = page.eval_on_selector_all("#text .token", "all => all.map(one => one.textContent)")
    assert texts[100:111] == [*NASTY[:7], "↵\n", "↵\n↵\n", "⇥", "⟨U+202E⟩"]
    assert all(re.fullmatch(r"⟨[0-9A-F ]+⟩", text) for text in texts[-5:])
    between = page.evaluate(
        "Array.from(document.querySelectorAll('#text .block')).flatMap(one => Array.from(one.childNodes))"
        ".filter(node => node.nodeType === 3).map(node => node.data)"
    )
    assert [text for text in between if text.strip()] == [f" {ATTACK}\n\n"] and between.count(" ") == 1
    assert page.locator("img").count() == page.locator("#text b").count() == 0
    page.click("#tab-about")
    facts = page.inner_text("#panel-about")
    assert facts.count('<img src=x onerror=alert(1)> & ⟨U+202E⟩"quoted"') == 2, "the names of dataset and precision"
    assert page.locator("img").count() == 0
    page.click("#tab-text")
    page.locator("#text .token").nth(100).hover()
    assert ATTACK in page.inner_text("#card .name") and page.locator("#card img").count() == 0
    assert (
        page.locator("#text h2").nth(1).inner_text().startswith("⟨U+202E⟩")
        or ATTACK in page.locator("#text h2").nth(1).inner_text()
    )
    assert own_events(page) == []


def test_what_a_policy_of_the_page_forbids_does_not_happen(opened):
    """The test's own control: the browser reports what is injected by force, so the silence above means something."""
    page, *_ = opened
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"alert(1)\">')")
    page.wait_for_timeout(200)
    assert not [event for event in page.events if event.startswith("dialog")]
    assert [event for event in page.events if "Content Security Policy" in event]


def test_a_narrow_window_has_folded_controls_and_no_sideways_scrolling(opened):
    page, *_ = opened
    page.set_viewport_size({"width": 390, "height": 800})
    page.reload()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("#layer").is_hidden()
    page.locator("#controls summary").click()
    assert page.locator("#layer").is_visible()
    page.locator("#controls summary").click()
    page.locator("#text .token").nth(150).click()
    assert page.locator("#card .dot").count() == 6
    assert page.locator("#controls summary").bounding_box()["y"] < 200  # stays in sight
    page.set_viewport_size({"width": 1280, "height": 900})


# A label whose truth is known of some tokens, or of none

LABEL = {"target": f"a {ATTACK}", "token": None, "lag": 0, "task": "chains", "label_rule": "within 8"}


def test_tokens_of_unknown_truth_are_not_counted(chromium, tmp_path):
    path, logits, truth, thresholds = made_page(
        tmp_path, lambda the: np.where(np.arange(len(the)) % 3 == 1, -1, the), **LABEL
    )
    page = open_page(chromium, path)
    page.goto(f"{path.as_uri()}#")
    page.reload()
    known = truth >= 0
    assert 0 < (truth == 1).sum() < known.sum() < len(truth)
    for index in (5, 1):
        page.fill("#layer", str(index))
        assert shown_counts(page) == true_counts(logits[index, known], truth[known], thresholds[index])
        assert shown_counts(page) != true_counts(logits[index], truth == 1, thresholds[index])
    for token, said in ((np.flatnonzero(truth == 1)[1], "positive"), (4, "truth unknown"), (5, "negative")):
        page.locator("#text .token").nth(int(token)).hover()
        assert re.search(rf"token {token + 1}, id \d+, {said}$", page.inner_text("#card .fact"))
    assert f"Will “a {ATTACK}” begin within the next 8 tokens?" == page.inner_text("h1")
    assert page.locator("img").count() == 0 and own_events(page) == []
    page.close()


def test_a_text_of_unknown_truth_has_no_counts_and_the_rest_works(chromium, tmp_path):
    path, logits, truth, _ = made_page(tmp_path, lambda the: np.full(len(the), -1), **LABEL)
    page = open_page(chromium, path)
    page.goto(f"{path.as_uri()}#")
    page.reload()
    assert page.locator("#counted").is_hidden()
    for index in (3, 5):
        page.fill("#layer", str(index))
        assert_layer(page, logits, index)
    page.click("#tab-errors")
    assert "not known" in page.inner_text("#errors-found")
    page.click("#tab-curves")
    assert page.locator("#no-curves").is_visible() and page.locator("#curves").is_hidden()
    assert own_events(page) == []
    page.close()


def test_light_and_dark_follow_the_system_and_the_switch(opened):
    page, logits, *_ = opened
    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(100)
    strongest = int(np.nanargmax(logits[3]))
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(23, 24, 28)"
    assert pixels(page)[strongest]["middle"][0] < 200
    page.click("#theme")
    page.click("#theme")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    assert pixels(page)[strongest]["middle"][0] == 255
    page.emulate_media(color_scheme="light")


def test_a_name_that_runs_from_right_to_left_turns_nothing_round(opened):
    page, *_ = opened
    ends = page.evaluate(
        """() => {
          const heading = document.querySelectorAll("#text section h2")[1], box = node => node.getBoundingClientRect();
          const note = heading.querySelector("small"), range = document.createRange();
          const letter = number => { range.setStart(note.firstChild, number); range.setEnd(note.firstChild, number + 1);
                                     return box(range).left; };
          range.selectNode(heading.firstChild);
          return [box(range).right, letter(0), letter(1), letter(2), letter(3)];
        }"""
    )
    assert ends == sorted(ends) and "⟨U+202E⟩ שלום 7" in page.locator("#text section h2").nth(1).inner_text()


def test_layers_by_lags_lead_to_their_probes_and_a_layer_without_a_score_is_no_point(chromium, tmp_path):
    tokenizer = make_tokenizer(tmp_path / "tokenizer")
    ids = np.array(tokenizer(prose(3, 40), add_special_tokens=False)["input_ids"])
    random, sets = np.random.default_rng(0), []
    for lag, values in ((-4, [0.6, np.nan, 0.8]), (-1, [0.7, 0.9, 0.75])):
        probes = probe_set([0, 1, 2], lag=lag)
        metrics = [{split: {"auc": one, "balanced_accuracy": one} for split in ("val", "test")} for one in values]
        sets.append(replace(probes, metadata=[{**probes.common, "metrics": one} for one in metrics]))
    logits = [random.standard_normal((3, len(ids))).astype(np.float32) for _ in sets]
    text = ShownText("one", "", ids, [""] * len(ids), np.zeros((1, len(ids)), dtype=np.int8))
    write_page(tmp_path / "page.html", "probes", **page_values(sets, tokenizer, [text], logits, 64))
    page = open_page(chromium, tmp_path / "page.html")
    assert page.locator("#sweep .point").count() == 2 and page.inner_text("#layer-name") == "layer2 ★"
    assert page.locator("#sweep .point.now").get_attribute("data-layer") == "2"  # the second point, of the third layer
    cells = page.eval_on_selector_all(
        "#sweep-lags tr", "rows => rows.map(row => [...row.cells].map(cell => cell.innerText))"
    )
    assert cells == [["lag", "−4", "−1"], ["0", ".60", ".70"], ["1", "", ".90"], ["2", ".80", ".75"]]
    page.locator("#sweep-lags button", has_text=".90").click()
    assert page.inner_text("#layer-name") == "layer1 ★" and page.input_value("#lag") == "-1"
    page.locator("#text .token").nth(20).click()
    marks = page.eval_on_selector_all("#card .lags span", "all => all.map(one => one.title.split(': ')[1])")
    expected = [one[layer, 20] for layer in range(3) for one in logits]
    assert len(marks) == 6 and all(close(mark, logit) for mark, logit in zip(marks, expected, strict=True))
    assert page.locator("#card .lags .now").get_attribute("title").startswith("layer1, lag -1")
    assert own_events(page) == []
    page.close()
