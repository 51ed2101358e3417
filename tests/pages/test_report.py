"""The report of a sweep: what was found, and every reason for doubt, planted one at a time in a run that has none."""

import csv
import json
import re

import numpy as np
import pytest

from made_report import CLEAN, made
from made_tables import ATTACK
from utils.base.files import WriteTogether, csv_text
from utils.pages.charts.results import read_results
from utils.pages.html.page import WITH_PLOTLY, render
from utils.pages.report.chosen import chosen_table
from utils.pages.report.documents import documents_table
from utils.pages.report.findings import best_results, findings_of
from utils.pages.report.markdown import report_text
from utils.pages.report.overview import index_values
from utils.pages.report.writing import write_pages
from utils.probes.directions.files import write_directions
from utils.saved.group_scores import GROUP_SCORES, Block, write_group_scores
from utils.scores.differences import DIFFERENCES_OF


def found_in(results):
    return findings_of(results, best_results(results))


def doubts(results):
    return [doubt["name"] for doubt in found_in(results)["doubts"]]


def test_a_clean_run_raises_no_doubt_and_says_what_was_found(tmp_path):
    found = found_in(made(tmp_path))
    assert found["doubts"] == [] and found["not_checked"] == []
    asked = found["asked"].replace("\u2068", "").replace("\u2069", "")
    assert asked.startswith("Can logistic probes on layer 3 of models/tiny tell “␣the”, at lag −1?")
    assert asked.endswith("Scores are of 900 test examples from 40 groups.")
    (one,) = found["found"]
    assert one["text"] == (
        "Logistic probe at layer 3, lag −1: test AUROC 0.890 (0.860 to 0.920). The best baseline, “context”, has 0.750; "
        "the probe ranks better: AUROC +0.140 (+0.100 to +0.180). Random labels cost it 0.300 of balanced accuracy. "
        "Random weights of the model cost it 0.200 of AUROC (0.150 to 0.250)."
    )
    assert (one["verdict"], one["layer"], one["score"], one["ahead"]) == ("better", "layer 3", "0.890", "+0.140")


PLANTED = {  # what is changed in the clean run: the one doubt that it raises, with its figures
    "few groups": ({"groups": 6}, "its score rests on 6 groups"),
    "no interval": ({"changes": {"all": {"test_auc_low": "", "test_auc_high": ""}}, "groups": 2}, "no interval: it needs 3"),
    "no better than a baseline": (
        {"changes": {"all": {"test_minus_baseline": 0.01, "test_minus_baseline_low": -0.02}}},
        "“context” may do as well: AUROC 0.890 against 0.750, difference +0.010 (−0.020 to +0.180)",
    ),
    "worse than a baseline": (
        {
            "changes": {
                "all": {
                    "test_minus_baseline": -0.05,
                    "test_minus_baseline_low": -0.08,
                    "test_minus_baseline_high": -0.02,
                }
            }
        },
        "“context” does better",
    ),
    "baseline below chance": ({"beside": {"context": 0.31}}, "has AUROC 0.310; it counts as 0.5"),
    "difference without an interval": (
        {"changes": {"all": {"test_minus_baseline": 0.01, "test_minus_baseline_low": "", "test_minus_baseline_high": ""}}},
        "it is above “context” by AUROC +0.010",
    ),
    "at chance": ({"changes": {"all": {"test_auc_low": 0.49}}}, "the interval of its score, 0.490 to 0.920, holds 0.5"),
    "shortcut": ({"beside": {"length": 0.74}}, "the length of the text alone reaches AUROC 0.740, the probe 0.890"),
    "optimism": ({"changes": {"all": {"val_auc": 0.95}}}, "validation AUROC 0.950 was picked as the best, test has 0.890"),
    "control as good": (
        {"changes": {"all": {"test_selectivity": 0.02}}},
        "on random labels the same probe reaches balanced accuracy 0.800; selectivity +0.020",
    ),
    "random weights as good": (
        {"changes": {"all": {"test_minus_random_weights": 0.01, "test_minus_random_weights_low": -0.01}}},
        "the same model with random weights: difference +0.010 (−0.010 to +0.250)",
    ),
    "too many questions": (
        {"more": [CLEAN | {"target": f"t{number}", "val_auc": ""} for number in range(60)]},
        "permutation p 0.001, the least there is, cannot rule out chance among 61 questions",
    ),
    "perhaps chance": ({"changes": {"all": {"test_permutation_p_in_sweep": 0.2}}}, "permutation p 0.200"),
    "seeds disagree": (
        {"changes": {1: {"test_auc": 0.79, "test_auc_low": 0.76, "test_auc_high": 0.82}}},
        "2 seeds range from 0.790 to 0.890",
    ),
    "not converged": ({"converged": False}, "2 of its 2 logistic fits stopped before the optimum"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_every_reason_for_doubt_is_found_where_it_is_planted(name, tmp_path):
    changes, said = PLANTED[name]
    if name == "seeds disagree":  # their mean falls, and so does what is above validation
        changes = changes | {"changes": changes["changes"] | {"all": {"val_auc": 0.84}}}
    if name == "too many questions":
        changes = changes | {"changes": {"all": {"test_permutation_p_in_sweep": 0.001}}}
    results = made(tmp_path, **changes)
    assert doubts(results) == [name]
    assert said in found_in(results)["doubts"][0]["of"][0]["text"]


def test_a_shortcut_that_is_the_baseline_to_beat_is_doubted_too(tmp_path):
    results = made(tmp_path, {"all": {"test_best_baseline": "read token"}}, beside={"read token": 0.75})
    assert doubts(results) == ["shortcut"]


def test_a_baseline_at_chance_is_not_below_it(tmp_path):
    assert doubts(made(tmp_path, beside={"context": 0.499})) == []


def test_former_tables_whose_baseline_is_below_chance_are_held_to_a_half(tmp_path):
    """They have the plain difference, with its interval."""
    plain = {"test_minus_baseline": 0.52 - 0.33, "test_minus_baseline_low": 0.1, "test_minus_baseline_high": 0.3}
    results = made(tmp_path, {"all": {"test_auc": 0.52, "val_auc": 0.52} | plain}, beside={"context": 0.33})
    (one,) = found_in(results)["found"]
    assert (one["ahead"], one["ahead_interval"], one["verdict"]) == ("+0.020", "", "not shown")
    worse = {"test_auc": 0.48, "val_auc": 0.52, **plain, "test_minus_baseline": 0.15}
    found = found_in(made(tmp_path, {"all": worse}, beside={"context": 0.33}))
    assert "AUROC 0.480 against 0.330 (which counts as 0.5), difference −0.020" in str(found["doubts"])
    (one,) = found_in(made(tmp_path, {"all": {"test_auc": 0.52, "val_auc": 0.52} | plain}))["found"]
    assert one["ahead"] == "+0.190", "the difference from a baseline above chance stays"


def test_without_a_baseline_there_is_no_difference_from_one(tmp_path):
    gone = dict.fromkeys(
        ("test_best_baseline", "test_minus_baseline", "test_minus_baseline_low", "test_minus_baseline_high"), ""
    )
    made(tmp_path, {"all": gone})
    (tmp_path / "baselines.csv").unlink()
    found = found_in(read_results(tmp_path))
    assert (found["found"][0]["ahead"], found["found"][0]["baseline"]) == ("–", "") and "a baseline" in found["not_checked"]
    assert found["found"][0]["text"].split(". Random")[0].endswith("there is no baseline beside it.")


def test_the_seed_that_has_a_score_is_named(tmp_path):
    results = made(tmp_path, {0: {"test_auc": "", "test_auc_low": "", "test_auc_high": ""}})
    table = chosen_table(results)
    cells = dict(zip((head.name for head in table.heads), table.rows[0], strict=True))
    assert cells["seeds"].text == "seed 1, 1 without a score"


ODD_RECORDS = (
    "[1]",
    '{"arguments": [1], "selected_on_validation": "x"}',
    '{"selected_on_validation": {"a": {"b": {"chosen_by": []}, "c": 3}, "d": []}}',
)


@pytest.mark.parametrize("record", ODD_RECORDS)
def test_a_record_of_another_form_counts_as_absent(tmp_path, record):
    made(tmp_path)
    (tmp_path / "run_record.json").write_text(record)
    values = index_values(read_results(tmp_path, metric="auc"), [])
    assert values["found"] and "0.890" in report_text(values)


def test_latents_that_dimensions_match_are_doubted(tmp_path):
    rows = [
        {"target": " the", "layer_idx": "3", "lag": -1, "features": features, "count": count, "seed": 0, "split": split}
        | {"chosen": 1, "auc": auc, "minus_dense": -0.01, "minus_dense_low": -0.02, "minus_dense_high": 0.01}
        for features, count, auc in (("latents", 64, 0.85), ("dimensions", 8, 0.86), ("states", 64, 0.86))
        for split in ("val", "test")
    ]
    (tmp_path / "sae_probes.csv").write_text(csv_text(list(rows[0]), rows))
    found = found_in(made(tmp_path))
    assert [one["name"] for one in found["doubts"]] == ["dimensions as good"]
    assert found["doubts"][0]["of"][0]["text"] == "8 of its dimensions reach AUROC 0.860, 64 latents 0.850"
    assert found["found"][0]["latents"] == (
        "64 latents at layer 3, lag −1: test AUROC 0.850, minus the dense probe there −0.010 (−0.020 to +0.010)."
    )
    rows = [row | {"auc": 0.7} if row["features"] == "dimensions" else row for row in rows]
    (tmp_path / "sae_probes.csv").write_text(csv_text(list(rows[0]), rows))
    assert doubts(made(tmp_path)) == []
    worse = {"best_baseline": "context", "minus_baseline": -0.01, "minus_baseline_low": -0.02, "minus_baseline_high": -0.005}
    rows = [row | worse for row in rows]
    (tmp_path / "sae_probes.csv").write_text(csv_text(list(rows[0]), rows))
    (doubt,) = found_in(made(tmp_path))["doubts"]
    assert doubt["name"] == "latents no better than a baseline"
    assert doubt["of"][0]["text"] == "64 latents against “context”: AUROC −0.010 (−0.020 to −0.005)"


def keep_groups(folder, positives, negatives):
    counts = {"positives": np.array(positives, dtype=float), "negatives": np.array(negatives, dtype=float)}
    sizes = (("", len(positives)), ("_values", 3))
    arrays = {f"{name}{what}": np.zeros((1, n)) for name in DIFFERENCES_OF for what, n in sizes}
    about = {"target": " the", "lag": -1, "split": "test", "n": 48, "examples": "a", "probes": [["3", "logistic", 0]]}
    with WriteTogether() as files:
        write_group_scores(files, folder / GROUP_SCORES, [Block(about, {**counts, **arrays})], ())


def test_groups_that_hold_the_rarer_class_are_counted(tmp_path):
    keep_groups(tmp_path, [3] * 4 + [0] * 36, [9] * 40)
    results = made(tmp_path)
    assert doubts(results) == ["few groups"]
    assert "40 groups, of which 4 hold the rarer class" in found_in(results)["doubts"][0]["of"][0]["text"]


def test_a_missing_interval_is_explained_by_the_groups_that_the_run_kept(tmp_path):
    keep_groups(tmp_path, [9, 3, 0, 0], [9, 9, 9, 9])
    results = made(tmp_path, {"all": {"test_auc_low": "", "test_auc_high": ""}}, groups=4)
    text = found_in(results)["doubts"][0]["of"][0]["text"]
    assert text == "its score has no interval: of 4 groups, 2 groups hold the rarer class, an interval needs 3"


def test_what_was_not_computed_is_said_and_is_no_doubt(tmp_path):
    nothing = dict.fromkeys(("test_selectivity", "test_minus_random_weights", "test_minus_random_weights_low"), "")
    results = made(tmp_path, {"all": nothing}, seeds=(0,))
    assert doubts(results) == []
    assert found_in(results)["not_checked"] == [
        "control labels (--control 5)",
        "a model with random weights (--random_weights)",
        "other seeds (--train_seeds 0,1,2)",
    ]


def test_of_each_target_the_kind_and_lag_is_shown_that_did_best_on_validation(tmp_path):
    more = [
        CLEAN | {"lag": 0, "val_auc": 0.95, "test_auc": 0.5},
        CLEAN | {"target": "x", "val_auc": 0.7},
        CLEAN | {"target": "x", "layer": "5", "val_auc": 0.6, "test_auc": 0.99},
    ]
    found = found_in(made(tmp_path, more=more))["found"]
    assert [(one["target"], one["lag"], one["layer"]) for one in found] == [
        ("“␣the”", "0", "layer 3"),
        ("“x”", "−1", "layer 3"),
    ]
    assert found[0]["score"] == "0.500", "the best of many test scores is no finding"


def test_the_markdown_has_the_figures_of_the_page_and_no_markup_of_a_name(tmp_path):
    target = "a|b *c* <img src=x> [d](e)"
    results = made(tmp_path, more=[CLEAN | {"target": target, "val_auc": 0.8}])
    text = report_text(index_values(results, []))
    assert "0.890 (0.860 to 0.920)".replace("(", "\\(").replace(")", "\\)") in text
    assert "## What was asked" in text and "## What speaks against it" in text and "No check found anything." in text
    row = next(line for line in text.splitlines() if line.startswith("| logistic |") and "a\\|b" in line)
    assert row.count("|") - row.count("\\|") == 14 and "<img" not in text.replace("\\<img", "") and "0.890" in row
    assert "somebody" not in text and "/home" not in text


def test_scores_of_whole_documents_that_validation_chose_are_shown(tmp_path):
    results = made(tmp_path)
    rows = [
        {
            "probe": "logistic",
            "layer_idx": "3",
            "baseline": "",
            "aggregate": "max",
            "chosen": 1,
            "auc": 0.8,
            "minus_baseline": 0.1,
        },
        {"probe": "logistic", "layer_idx": "4", "baseline": "", "aggregate": "mean", "chosen": 0, "auc": 0.95},
        {"probe": "", "layer_idx": "", "baseline": "length", "aggregate": "", "chosen": 1, "auc": 0.7},
    ]
    common = {"target": " the", "lag": -1, "seed": 0, "bucket": "all", "n": 50}
    rows = [common | row | {"split": split} for row in rows for split in ("val", "test")]
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = csv_text(names, [{name: row.get(name, "") for name in names} for row in rows])
    (tmp_path / "document_scores.csv").write_text(table)
    found = documents_table(read_results(tmp_path))
    assert [[cell.text for cell in row[2:6]] for row in found.rows] == [
        ["logistic, layer 3", "max", "all", "0.800"],
        ["length", "–", "all", "0.700"],
    ]
    assert documents_table(results) is None
    with (tmp_path / "document_scores.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 6


def planted_names(folder):
    """A run in which every name that a file can hold is an attack. Returns what the files say of it."""
    of_probe = {"test_brier": 0.1, "target": ATTACK, "layer": ATTACK, "probe": ATTACK, "test_best_baseline": ATTACK}
    made(folder, {"all": of_probe}, beside={ATTACK: 0.7})
    for name, keys in (
        ("document_scores.csv", ("target", "probe", "layer_idx", "aggregate", "bucket")),
        ("sae_probes.csv", ("target", "layer_idx")),
        ("sae_latents.csv", ("target", "layer_idx")),
        ("codelength.csv", ("target", "layer")),
    ):
        row = dict.fromkeys(keys, ATTACK) | {
            "lag": -1,
            "split": "test",
            "chosen": 1,
            "auc": 0.8,
            "seed": 0,
            "bits": 1,
            "n": 9,
        }
        row |= {"baseline": "", "features": "latents", "count": 3, "rank": 1, "latent": 5, "mean_difference": 0.4}
        row |= {"density_positives": 0.5, "density_negatives": 0.1}
        row |= dict.fromkeys(("reads", "promotes", "suppresses"), json.dumps([[ATTACK, 3]]))
        (folder / name).write_text(csv_text(list(row), [row]))
    tokens = {"promoted": [[ATTACK, 1.0]], "suppressed": [[ATTACK, -1.0]], "target_rank": 1}
    entry = {"target": ATTACK, "layer": ATTACK, "lag": -1, "kind": ATTACK, "seed": 0, "filter": tokens, "pattern": tokens}
    with WriteTogether() as files:
        write_directions(files, folder / "directions.json", {"model": ATTACK}, [entry], {"names": [], "matrix": []})
    record = json.loads((folder / "run_record.json").read_text())
    question = {"chosen_by": "auc", "chosen": [{"probe": ATTACK, "layer": ATTACK, "converged": False}]}
    record |= {"model": f"/home/somebody/{ATTACK}", "selected_on_validation": {ATTACK: {"-1": question}}}
    (folder / "run_record.json").write_text(json.dumps(record))
    return read_results(folder)


def test_hostile_names_are_text_in_every_table_and_in_the_markdown(tmp_path):
    values = index_values(planted_names(tmp_path), [])
    page, text = render("charts/results", WITH_PLOTLY, **values), report_text(values)
    names = {"found", "chosen", "documents", "latents", "calibration", "promoted", "read_latents", "baselines", "codelength"}
    assert {"found", *(table.name for table in values["tables"])} == names
    assert "<img" not in page and page.count("&lt;img") > 20 and page.count("</script>") == 2
    assert "<img" not in text.replace("\\<img", "") and text.count("\\<img") > 15
    assert "somebody" not in page and "somebody" not in text and str(tmp_path) not in page + text


def test_a_way_to_the_tables_that_would_tell_of_the_machine_is_not_written(tmp_path):
    for results, output, linked in (
        ("r", "r", ""),
        ("a/r", "a/out", "../r/"),
        ("r", "r/pages", "../"),
        ("a/r", "b/c/d", None),
    ):
        folders = [tmp_path / name for name in (results, output)]
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        page = next(path for path in write_pages(folders[1], made(folders[0]), []) if path.name == "index.html").read_text()
        link = re.search(r'href="([^"]*)probe_results.csv"', page)
        assert (link and link[1]) == linked
        assert (folders[1] / f"{linked}probe_results.csv").exists() if link else "probe_results.csv" in page
        assert str(tmp_path) not in page and tmp_path.name not in page
