"""The pages say how a probe stands as one of a sweep, and what its labels cost; older tables lack the words."""

from utils.base.files import csv_text
from utils.pages.charts.pages import index_values
from utils.pages.charts.results import read_results
from utils.pages.charts.words import cell_text
from utils.pages.html.page import WITH_PLOTLY, render
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


def shown(folder, row):
    (folder / "probe_results.csv").write_text(csv_text(list(row), [row]), encoding="utf-8")
    results = read_results(folder, metric="auc")
    page = render("results", "charts", WITH_PLOTLY, plotly="plotly.min.js", **index_values(results, []))
    return cell_text(results, " the", "logistic", -1, "3", results.rows(" the", "logistic", -1, "3")), page


def test_what_a_search_means_is_shown_where_it_is_known(tmp_path):
    costs = dict.fromkeys(CODELENGTH_COLUMNS, "") | {"target": " the", "layer": "3", "lag": -1, "n": 900, "bits": 411.4}
    costs |= {"bits_by_share": 880.0}
    (tmp_path / CODELENGTH).write_text(csv_text(CODELENGTH_COLUMNS, [costs]), encoding="utf-8")
    cell, page = shown(tmp_path, PLAIN | SCORES | SEARCH)
    assert "AUROC with all probes at once 0.660 to 0.840; permutation p 0.004, as the best of the sweep 0.031" in cell
    assert "AUROC with other training samples too 0.680 to 0.820" in cell
    for words in ("+0.043 would show", "0.660 to 0.840", "0.031", "reads the p beneath it and the band"):
        assert words in page
    for words in ("refits: 0.680 to 0.820", "refits: −0.033 to +0.057", "what another training sample would change"):
        assert words in page
    assert "<strong>411</strong>" in page and "880" in page and "says nothing of the label" in page
    assert "ontrol labels" not in page and "huffled" not in page
    for name, words in (("shuffled", "dealt among all examples"), ("control", "each type of the token that is read")):
        (tmp_path / CODELENGTH).write_text(csv_text(CODELENGTH_COLUMNS, [costs | {f"{name}_bits": 877}]), encoding="utf-8")
        _, page = shown(tmp_path, PLAIN | SCORES | SEARCH)
        assert "877" in page and words in page
        assert ("of whole texts are shuffled too" in page) == (name == "control")


def test_tables_from_before_lack_the_words(tmp_path):
    cell, page = shown(tmp_path, PLAIN | SCORES)
    for words in ("at once", "permutation", "would show", "codelength", "other training samples", "refits"):
        assert words not in cell and words not in page
