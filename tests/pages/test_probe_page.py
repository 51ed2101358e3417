"""The values of the page of probes: tokens are text whatever they hold, and the chart of the sweep is that of the files."""

from dataclasses import replace

import numpy as np

from helpers import make_tokenizer
from shown_page import Page, probe_set
from utils.pages.html.page import write_page
from utils.pages.probe_page import BLANK, between, fitting, page_values, quantised, view_of
from utils.pages.probe_words import model_name, provenance
from utils.pages.texts.shown import ShownText


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
    texts = [ShownText(attack, attack, ids, [""] * len(ids), np.zeros((1, len(ids)), dtype=np.int8))]
    write_page(tmp_path / "page.html", "probes", **page_values([probes], tokenizer, texts, [logits], 64))
    page = Page(tmp_path / "page.html")
    assert page.tokens[:12] == [*plain, "⟨U+202E⟩", "⟨U+001B⟩[2J", "◌\u0301", "⇥", "↵\n↵\n"]
    assert page.tokens[12:18] == ["⟨C3⟩", "⟨A9⟩", "⟨F0⟩", "⟨9F⟩", "⟨99⟩", "⟨82⟩"]
    assert "".join(page.tokens[18:]) == " the end"
    assert "img" not in page.tags and "<img" not in page.source


def test_what_lies_between_tokens_keeps_its_line_breaks():
    assert between(" a\n\n\n\n b") == " a\n\n b" and between("\t") == "⇥"


SCORES = {"balanced_accuracy": 0.8, "balanced_accuracy_low": 0.7, "balanced_accuracy_high": np.nan}
SCORES |= {"auc": 0.9, "minus_random_weights": 0.25, "control": 0.55}


def view(probes, logits=None, truths=None):
    count = len(probes.layers)
    logits = np.zeros((count, 3), np.float32) if logits is None else logits
    return view_of(probes, 0, logits, 64, np.zeros((1, 3)) if truths is None else truths)


def test_the_chart_has_the_scores_of_the_files_and_none_where_they_lack_some():
    baselines = {"majority": {"test": SCORES}, "read token": {"test": {**SCORES, "balanced_accuracy": 0.3}}, "own": None}
    found = view(probe_set([0, 1], metrics={"val": SCORES, "test": SCORES}, baselines=baselines))
    assert found["split"] == "test" and found["baselines"] == [{"name": "read token", "auc": 0.9, "balanced_accuracy": 0.3}]
    assert found["layers"][1]["scores"] == {  # a browser's JSON knows no NaN
        "auc": {"value": 0.9, "low": None, "high": None, "control": 0.65},
        "balanced_accuracy": {"value": 0.8, "low": 0.7, "high": None, "control": 0.55},
    }
    assert view(probe_set([0], metrics={"test": {"auc": 0.9}, "val": SCORES}))["split"] == "val"
    assert view(probe_set([0], metrics={"test": {"auc": 0.9}}))["split"] is None


def test_a_view_opens_on_the_layer_that_validation_chose():
    def scored(*values, **more):
        return replace(
            probe_set(range(len(values)), **more),
            metadata=[
                {**probe_set([0]).common, "metrics": {"val": {"balanced_accuracy": one, "auc": -one}}} for one in values
            ],
        )

    assert view(scored(0.6, 0.8, 0.7))["chosen"] == 1
    assert view(scored(0.8, 0.8))["chosen"] == 0  # the first of equals
    assert view(scored(np.nan, 0.6, np.nan))["chosen"] == 1
    assert view(scored(np.nan, np.nan))["chosen"] == view(probe_set([0, 1, 2]))["chosen"] == -1, "nothing was chosen"
    assert probe_set([0, 1, 2]).chosen == 2, "the last is shown"
    by_rank = scored(0.6, 0.8)
    by_rank.metadata[:] = [{**one, "chosen_by": "auc"} for one in by_rank.metadata]
    assert view(by_rank)["chosen"] == 0


def test_logits_come_back_to_half_a_step():
    random = np.random.default_rng(0)
    logits = (10 * random.standard_normal((3, 500))).astype(np.float32)
    logits[0, 7], logits[1, 3] = np.nan, 60
    levels, low, step = quantised(logits)
    back = np.where(levels == BLANK, np.nan, low + step * levels)
    assert np.isnan(back[0, 7]) and np.isnan(back).sum() == 1
    assert np.nanmax(np.abs(back - logits)) <= step / 2 * 1.001 and step < 0.002
    for all_alike in (np.full((1, 4), 2.5, np.float32), np.full((1, 4), np.nan, np.float32)):
        levels, low, step = quantised(all_alike)
        assert step > 0 and (np.isnan(all_alike).all() or low == 2.5 and not levels.any())


def test_what_does_not_fit_is_counted():
    sets = [probe_set(range(10)), probe_set(range(10)), probe_set(range(30))]
    assert fitting(sets, 10_000, 20) == 3 and fitting(sets, 10_000, 0.6) == 2 and fitting(sets, 10_000, 0.01) == 1


def test_no_folder_of_the_machine_is_named():
    probes = probe_set([0], model="/home/me/secret/org/model", source={"dataset": "/home/me/texts.jsonl"})
    assert "/home" not in str(provenance([probes])) and model_name(probes.common) == "org/model"
