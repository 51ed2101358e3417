"""The pages say how a probe stands as one of a sweep, and what its labels cost; older tables lack the words."""

from utils.base.files import csv_text
from utils.pages.charts.results import read_results
from utils.pages.charts.words import cell_text
from utils.pages.html.page import WITH_PLOTLY, render
from utils.pages.report.overview import index_values
from utils.saved.columns import CODELENGTH, CODELENGTH_COLUMNS

PLAIN = {"target": " the", "layer": "3", "lag": -1, "probe": "logistic", "seed": 0, "l2": 0.01}
SCORES = {"val_auc": 0.8, "test_auc": 0.75, "test_auc_low": 0.7, "test_auc_high": 0.8}
SEARCH = {
    "test_auc_band_low": 0.66,
    "test_auc_band_high": 0.84,
    "test_permutation_p": 0.004,
    "test_permutation_p_in_sweep": 0.031,
    "test_auc_refit_low": 0.68,
    "test_auc_refit_high": 0.82,
    "test_minus_baseline_refit_low": -0.033,
    "test_minus_baseline_refit_high": 0.057,
    "test_minus_baseline": 0.01,
    "test_minus_baseline_low": -0.02,
    "test_minus_baseline_high": 0.04,
    "test_minus_baseline_detectable": 0.043,
}


def shown(folder, row, *more, metric="auc", baselines=()):
    (folder / "probe_results.csv").write_text(csv_text(list(row), [row, *more]), encoding="utf-8")
    if baselines:
        (folder / "baselines.csv").write_text(csv_text(list(baselines[0]), baselines), encoding="utf-8")
    results = read_results(folder, metric=metric)
    page = render("charts/results", WITH_PLOTLY, **index_values(results, []))
    return cell_text(results, " the", "logistic", -1, "3", results.rows(" the", "logistic", -1, "3")), page


def test_what_a_search_means_is_shown_where_it_is_known(tmp_path):
    costs = dict.fromkeys(CODELENGTH_COLUMNS, "") | {"target": " the", "layer": "3", "lag": -1, "n": 900, "bits": 411.4}
    costs |= {"bits_by_share": 880.0}
    (tmp_path / CODELENGTH).write_text(csv_text(CODELENGTH_COLUMNS, [costs]), encoding="utf-8")
    cell, page = shown(tmp_path, PLAIN | SCORES | SEARCH)
    assert (
        "AUROC with all probes at once 0.660 to 0.840; permutation p 0.004, as the best of this target and lag 0.031" in cell
    )
    assert "AUROC with other training samples too 0.680 to 0.820" in cell
    for words in ("+0.043 would show", "0.660 to 0.840", "0.031", "who picks a layer or kind reads these"):
        assert words in page
    for words in ("refits: 0.680 to 0.820", "refits: −0.033 to +0.057", "what another training sample would change"):
        assert words in page
    assert "<strong>411</strong>" in page and "880" in page and "says nothing of the label" in page
    assert "ontrol labels are" not in page and "Control labels of" not in page and "huffled labels are" not in page
    for name, words in (("shuffled", "dealt among all examples"), ("control", "each type of the token that is read")):
        (tmp_path / CODELENGTH).write_text(csv_text(CODELENGTH_COLUMNS, [costs | {f"{name}_bits": 877}]), encoding="utf-8")
        _, page = shown(tmp_path, PLAIN | SCORES | SEARCH)
        assert "877" in page and words in page
        assert ("of whole texts are shuffled too" in page) == (name == "control")


def test_tables_from_before_lack_the_words(tmp_path):
    cell, page = shown(tmp_path, PLAIN | SCORES)
    for words in ("at once", "permutation", "would show", "codelength", "other training samples", "refits"):
        assert words not in cell and words not in page


def test_a_pick_among_questions_is_not_covered_and_its_p_is_as_many_times_as_large(tmp_path):
    others = [PLAIN | SCORES | SEARCH | {"lag": lag} for lag in (-8, -4, -2, 0)]
    page = shown(tmp_path, PLAIN | SCORES | SEARCH, *others)[1]
    assert "no pick among the 5 questions" in page and "0.155" in page and "as the best of 5 such" in page
    page = shown(tmp_path, PLAIN | SCORES | SEARCH, PLAIN | SCORES | SEARCH | {"layer": "2"})[1]
    assert "no pick among" not in page and "0.062" not in page, "layers of one question are covered"


def test_of_several_seeds_the_p_is_of_the_one_that_did_best_on_validation(tmp_path):
    """A mean of p-values is no p-value."""
    more = {"val_auc": 0.9, "test_permutation_p": 0.5, "test_permutation_p_in_sweep": 0.9, "seed": 1}
    detectable = {"test_minus_baseline_detectable": 0.07}
    cell, page = shown(tmp_path, PLAIN | SCORES | SEARCH, PLAIN | SCORES | SEARCH | more | detectable)
    assert "permutation p 0.500 of seed 1, the best on validation, as the best of this target and lag 0.900" in cell
    assert ">0.500<small>0.900</small>" in page and "p for the seed that did best there" in page
    assert "0.252" not in page + cell and "0.466" not in page + cell, "the means"
    assert "+0.070 would show" in page and "+0.056" not in page


def test_what_could_not_be_shown_and_what_counts_as_chance_are_said(tmp_path):
    baseline = {"target": " the", "baseline": "read token", "lag": -1, "layer_idx": "", "probe": "", "seed": 0}
    for auc, counted in ((0.453, True), (0.857, False)):
        rows = [baseline | {"split": split, "auc": auc, "groups": 1} for split in ("val", "test")]
        none = {"test_minus_baseline_detectable": "inf", "test_auc": 0.86, "test_minus_baseline": 0.86 - max(auc, 0.5)}
        page = shown(tmp_path, PLAIN | SCORES | SEARCH | none, baselines=rows)[1]
        assert ("its AUROC 0.453 counts as 0.5" in page) == counted
        assert f"none could be shown, {'0.500' if counted else '0.143'} is left" in page and "would show</small>" not in page


def test_a_cell_without_an_interval_says_so_and_why(tmp_path):
    nothing = dict.fromkeys(("test_auc_low", "test_auc_high"), "")
    rows = [{"target": " the", "baseline": "majority", "lag": -1, "split": "test", "auc": 0.5, "groups": 1}]
    page = shown(tmp_path, PLAIN | SCORES | nothing, baselines=rows)[1]
    assert "no interval: 1 group</small>" in page and "needs 3 groups that hold each class" in page
    assert "no interval" not in shown(tmp_path, PLAIN | SCORES, baselines=rows)[1]


def test_the_widest_table_fits_a_window_of_1500_pixels(tmp_path, chromium):
    wide = SCORES | {
        f"{split}_{name}": value
        for split in ("val", "test")
        for name, value in (("balanced_accuracy", 0.7), ("balanced_accuracy_low", 0.6), ("balanced_accuracy_high", 0.8))
    }
    wide |= SEARCH | {
        "test_selectivity": 0.123,
        "test_best_baseline": "own probability",
        "n_test": 123456,
        "pos_ratio_test": 0.2,
    }
    wide |= {
        "test_minus_baseline_detectable": "inf",
        "lag": -32,
        "target": "uncertainty-estimation",
        "probe": "mass_mean_tilted",
    }
    rows = [PLAIN | wide | {"seed": seed, "lag": lag} for seed in (0, 1) for lag in (-32, 0)]
    (tmp_path / "probe_results.csv").write_text(csv_text(list(rows[0]), rows), encoding="utf-8")
    values = index_values(read_results(tmp_path, metric="balanced_accuracy"), [])
    path = tmp_path / "index.html"
    path.write_text(render("charts/results", WITH_PLOTLY, **values), encoding="utf-8")
    page = chromium.new_page(viewport={"width": 1500, "height": 900})
    page.goto(path.as_uri())
    table, room = page.evaluate(
        "() => { const t = document.querySelector('#chosen'); return [t.offsetWidth, t.parentNode.clientWidth]; }"
    )
    page.close()
    assert 1000 < table <= room <= 1500
