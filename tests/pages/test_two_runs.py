"""Two runs side by side: paired where the examples are the same, and a plain reason where they are not."""

import json

import numpy as np
import pytest

from made_report import CLEAN, made
from utils.base.files import WriteTogether
from utils.pages.charts.results import read_results
from utils.pages.html.page import WITH_PLOTLY, render
from utils.pages.report.markdown import report_text
from utils.pages.report.overview import index_values
from utils.pages.report.two_runs import flag_text, two_runs
from utils.saved.group_scores import GROUP_SCORES, Block, write_group_scores
from utils.scores.differences import DIFFERENCES_OF, ByGroup, paired_differences

GROUPS = np.repeat(np.arange(15), 20)
DRAW = np.random.default_rng(0)
LABELS = (DRAW.random(len(GROUPS)) < 0.4).astype(np.int8)
LOGITS = {name: DRAW.normal(size=(2, len(GROUPS))) + strength * LABELS for name, strength in (("ours", 2), ("theirs", 1))}
AT = np.zeros(2)


def run_in(folder, name, seeds=(0, 1), examples="abc", n=len(GROUPS), keep=True, **changes):
    """A run whose tables and group scores are those of LOGITS[name], two seeds of one layer."""
    folder.mkdir()
    made(folder, seeds=seeds, **changes)
    if keep:
        arrays = {}
        for metric in DIFFERENCES_OF:
            found = ByGroup.of(metric, LOGITS[name], LABELS, GROUPS, AT)
            arrays |= {metric: found.influences, f"{metric}_values": found.values}
            arrays |= {"positives": found.positives, "negatives": found.negatives}
        about = {"target": " the", "lag": -1, "split": "test", "n": n, "examples": examples}
        probes = [["3", "logistic", seed] for seed in seeds]
        with WriteTogether() as files:
            write_group_scores(files, folder / GROUP_SCORES, [Block({**about, "probes": probes}, arrays)], ())
    return folder


def compared(tmp_path, ours=None, theirs=None, metric=None):
    folders = [run_in(tmp_path / name, name, **(changes or {})) for name, changes in (("ours", ours), ("theirs", theirs))]
    return two_runs(read_results(folders[0], metric=metric), str(folders[1]))


def difference_in(beside):
    (table,) = beside["tables"]
    (row,) = table.rows
    return row[2]


def signed(value):
    return f"{value:+.3f}".replace("-", "−")


@pytest.mark.parametrize("theirs", [(0, 1), (7, 8)])
def test_the_difference_is_the_paired_one_over_the_groups(tmp_path, theirs):
    """Where the seeds are others, they are paired in their order."""
    cell = difference_in(compared(tmp_path, theirs={"seeds": theirs}))
    differences, lows, highs = paired_differences(LOGITS["ours"], LOGITS["theirs"], LABELS, GROUPS, AT, AT, "auc")
    assert cell.text == signed(differences.mean())
    assert cell.small == (f"{signed(lows.min())} to {signed(highs.max())}",) and cell.look == "above"


def test_of_several_seeds_those_are_paired_that_both_have(tmp_path):
    """The scores beside the difference are of these seeds too."""
    changes = {0: {"test_auc": 0.7}, 1: {"test_auc": 0.88}, 2: {"test_auc": 0.6}}
    beside = compared(tmp_path, *({"seeds": seeds, "changes": changes} for seeds in ((0, 1), (1, 2))))
    (row,) = beside["tables"][0].rows
    assert row[1].small[-1] == "seed 1" and [cell.text for cell in row[3:]] == ["0.880", "0.880"]
    cell = row[2]
    one, *_ = paired_differences(LOGITS["ours"][1:], LOGITS["theirs"][:1], LABELS, GROUPS, AT[:1], AT[:1], "auc")
    assert cell.text == signed(one[0])


@pytest.mark.parametrize(
    "changes, why",
    [
        ({"theirs": {"examples": "xyz"}}, "they are scored on other examples: texts, labels or groups differ"),
        ({"theirs": {"examples": "xyz", "n": 280}}, "they are scored on other examples: 300 here, 280 there"),
        ({"theirs": {"keep": False}}, "theirs keeps no group_scores.safetensors of it: run its train_probe.py again"),
        ({"ours": {"keep": False}}, "this run keeps no group_scores.safetensors of it: run its train_probe.py again"),
        ({"metric": "acc"}, "there is no paired interval of accuracy: give --metric balanced_accuracy or --metric auc"),
    ],
)
def test_what_cannot_be_compared_says_why(tmp_path, changes, why):
    if "metric" in changes:
        scores = {"all": {"test_acc": 0.8, "val_acc": 0.8}}
        changes = changes | {"ours": {"changes": scores}, "theirs": {"changes": scores}}
    beside = compared(tmp_path, **changes)
    assert beside["text"].startswith("Not comparable, because ") and why in beside["text"]
    cell = difference_in(beside)
    assert cell.text == "–" and why in cell.small[0] and cell.small[0].startswith("not comparable, because ")


def test_each_runs_own_choice_is_compared_and_every_layer_that_both_have(tmp_path):
    more = [CLEAN | {"layer": "5", "val_auc": 0.95}, CLEAN | {"layer": "1", "val_auc": 0.5}]
    beside = compared(tmp_path, ours={"more": more}, theirs={"more": more[1:]})
    choices, same = beside["tables"]
    assert [row[1].small[0] for row in choices.rows] == ["layer 5 against layer 3"]
    assert [row[1].small[0] for row in same.rows] == ["layer 1", "layer 3"] and same.folded
    assert same.rows[1][2].text not in ("", "–") and choices.rows[0][2].text == "–"


def test_a_run_beside_itself_is_alike(tmp_path):
    folder = run_in(tmp_path / "ours", "ours")
    beside = two_runs(read_results(folder), str(folder))
    assert difference_in(beside).small == ("alike in every group",) and beside["name"] == "the other run"
    assert beside["text"] == "Of 1 pair of probes on the same examples, 1 score alike in every group."
    heads = [head.name for head in beside["tables"][0].heads]
    assert heads[-2:] == ["this run: test AUROC", "the other run: test AUROC"]


def test_equal_scores_without_an_interval_are_not_called_alike(tmp_path):
    """Two groups hold the rarer class, so there is no interval; the groups tell the probes apart."""
    groups, labels = np.repeat([0, 1], 4), np.array([1, 1, 0, 0] * 2)
    one = np.array([[2.0, 1, 0, 1.5, 3, 2, 1, 0]])
    found = (
        ByGroup.of("auc", one, labels, groups, np.zeros(1)),
        ByGroup.of("auc", one[:, ::-1], labels[::-1], groups, np.zeros(1)),
    )
    assert found[0].value == found[1].value and not found[0].is_like(found[1]) and found[0].is_like(found[0])


@pytest.mark.parametrize(
    "told, shown",
    [
        ("rel,/home/bob/s2/x", "rel,s2/x"),
        ("key=/home/dave/deep/er/z", "key=er/z"),
        ({"p": "/home/carol/z"}, "{'p': 'z'}"),
        ("../../home/alice/v.pth", "alice/v.pth"),
        ("C:\\Users\\eve\\a\\x.pth", "a/x.pth"),
        (["data/a/b/train.pth", 3], "b/train.pth, 3"),
        ("openai-community/gpt2", "openai-community/gpt2"),
        (None, "not given"),
    ],
)
def test_a_flag_is_shown_without_the_way_to_its_files(told, shown):
    assert flag_text(told) == shown


def test_questions_of_one_run_alone_are_counted(tmp_path):
    more = [CLEAN | {"lag": lag, "val_auc": 0.8} for lag in (0, 4)]
    beside = compared(tmp_path, ours={"more": more})
    assert "Only one run has these questions and kinds: 2 of " in beside["text"]
    none = two_runs(made_with(tmp_path / "a", {"target": "x"}), str(tmp_path / "theirs"))
    assert none["tables"] == [] and none["text"].startswith("Not comparable, because no target, lag and kind")


def made_with(folder, changes):
    folder.mkdir()
    return made(folder, {"all": changes})


def test_what_the_runs_were_told_differently_is_listed_without_a_path_of_the_machine(tmp_path):
    folders = [run_in(tmp_path / name, name) for name in ("ours", "theirs")]
    for folder, told in zip(folders, ({"pool": "mean", "lags": [0, 4]}, {"pool": "<b>last</b>"}), strict=True):
        path = folder / "run_record.json"
        record = json.loads(path.read_text(encoding="utf-8"))
        record["arguments"] |= told | {"output_dir": f"/home/somebody/{folder.name}", "val_data": f"/home/x/{folder.name}/a"}
        path.write_text(json.dumps(record), encoding="utf-8")
    results = read_results(folders[0])
    beside = two_runs(results, str(folders[1]))
    assert {tuple(one.values()) for one in beside["unlike"]} == {
        ("--val_data", "ours/a", "theirs/a"),
        ("--pool", "mean", "<b>last</b>"),
        ("--lags", "0, 4", "not given"),
    }
    values = index_values(results, [], beside)
    page, text = render("charts/results", WITH_PLOTLY, **values), report_text(values)
    for written in (page, text):
        assert "somebody" not in written and str(tmp_path) not in written
    assert "<b>last" not in page and "&lt;b&gt;last" in page and "<b>" not in text.replace("\\<b", "")
