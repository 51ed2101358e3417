"""The values of the page of probes: tokens are text whatever they hold, and the chart of the sweep is that of the files."""

import numpy as np

from helpers import make_tokenizer
from shown_page import Page, probe_set
from utils.pages.html.page import write_page
from utils.pages.probe_page import between, page_values, sweep_chart
from utils.pages.shown_texts import ShownText


def test_tokens_that_are_html_newlines_marks_and_fragments_are_text(tmp_path):
    attack = "</script><img src=x onerror=alert(1)>"
    tokenizer = make_tokenizer(tmp_path / "tokenizer")
    plain = [attack, "{{ 7 * 7 }}", "&amp;", '"quoted"', "שלום", "مرحبا", "👩‍👩‍👧"]
    nasty = [*plain, "\u202e", "\x1b[2J", "\u0301", "\t", "\n\n"]
    tokenizer.add_tokens(nasty)
    more = tokenizer("é🙂 the end", add_special_tokens=False)["input_ids"]
    ids = np.array([*tokenizer.convert_tokens_to_ids(nasty), *more])
    probes = probe_set(["embed", 0, "final_norm"], target=attack)
    logits = np.zeros((len(probes.layers), len(ids)), dtype=np.float32)
    texts = [ShownText(attack, attack, ids, [""] * len(ids), np.zeros(len(ids), dtype=np.int8))]
    write_page(tmp_path / "page.html", "probes", **page_values(probes, tokenizer, texts, [logits], 64))
    page = Page(tmp_path / "page.html")
    assert page.tokens[:12] == [*plain, "⟨U+202E⟩", "⟨U+001B⟩[2J", "◌\u0301", "⇥", "↵\n↵\n"]
    assert page.tokens[12:18] == ["⟨C3⟩", "⟨A9⟩", "⟨F0⟩", "⟨9F⟩", "⟨99⟩", "⟨82⟩"]
    assert "".join(page.tokens[18:]) == " the end"
    assert "img" not in page.tags and "<img" not in page.source


def test_what_lies_between_tokens_keeps_its_line_breaks():
    assert between(" a\n\n\n\n b") == " a\n\n b" and between("\t") == "⇥"


def test_the_chart_has_the_scores_of_the_files_and_none_where_they_lack_some():
    scores = {
        "balanced_accuracy": 0.8,
        "balanced_accuracy_low": 0.7,
        "balanced_accuracy_high": 0.9,
        "auc": 0.9,
        "n": 500,
        "groups": 12,
    }
    baselines = {"majority": {"test": scores}, "read token": {"test": {**scores, "balanced_accuracy": 0.3}}}
    chart = sweep_chart(probe_set([0, 1], metrics={"val": scores, "test": scores}, baselines=baselines))
    assert chart["split"] == "test" and [line["name"] for line in chart["baselines"]] == ["read token"]
    assert chart["grid"][0]["label"] == "0.3", "the axis does not reach what is below chance"
    assert chart["points"][0]["title"] == "layer0: balanced accuracy 0.800 (0.700 to 0.900), AUROC 0.900"
    assert sweep_chart(probe_set([0], metrics={"test": {**scores, "n": 1}, "val": None}))["note"].startswith("1 examples")
    assert sweep_chart(probe_set([0], metrics={"test": {"auc": 0.9}})) is None


def test_the_note_says_bars_where_there_are_some_and_else_why_there_are_none():
    scores = {"balanced_accuracy": 0.8, "auc": 0.9, "n": 500, "groups": 1}
    for end, words in (
        (0.7, "1 group; bars: 95 %"),
        (np.nan, "1 group; no intervals, which need 3 groups that hold each class"),
    ):
        found = scores | {"balanced_accuracy_low": end, "balanced_accuracy_high": end}
        note = sweep_chart(probe_set([0, 1], metrics={"val": found, "test": found}))["note"]
        assert words in note and ("bars" in note) == (end == 0.7)
