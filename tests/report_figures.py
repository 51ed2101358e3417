"""Compare every figure of a report in a browser with the tables it is of, read and averaged anew by the csv module alone."""

import csv
import json
import statistics
from pathlib import Path


def rows_of(path) -> list[dict]:
    if not Path(path).exists():
        return []
    with open(path, encoding="utf-8", newline="") as file:
        return [{name: text.removeprefix("'") for name, text in row.items()} for row in csv.DictReader(file)]


def number(text) -> float | None:
    return None if text in ("", "nan", None) else float(text)


def average(rows, column) -> float | None:
    found = [value for row in rows if (value := number(row.get(column))) is not None]
    return statistics.fmean(found) if found else None


def written(value, form=".3f") -> str:
    return "–" if value is None else format(value, form).replace("-", "−")


def between(rows, column, form=".3f") -> str:
    ends = [[value for row in rows if (value := number(row.get(f"{column}_{end}"))) is not None] for end in ("low", "high")]
    return f"{written(min(ends[0]), form)} to {written(max(ends[1]), form)}" if all(ends) else ""


def quoted(target) -> str:
    return f"“{target.replace(' ', '␣')}”"


def label(lag) -> str:
    return format(int(lag), "+d").replace("-", "−") if int(lag) else "0"


def words(kind) -> str:
    return kind.replace("_", " ")


READ = """table => ({heads: [...table.tHead.rows[0].cells].map(cell => cell.querySelector("button").textContent),
  rows: [...table.tBodies[0].rows].map(row => [...row.cells].map(cell => ({
    small: [...cell.querySelectorAll("small")].map(one => one.textContent),
    text: [...cell.childNodes].filter(one => one.nodeName !== "SMALL").map(one => one.textContent).join("").trim()})))})"""


def table(page, name) -> list[dict]:
    """A row as {head: {"text", "small"}}; [] where there is no such table."""
    found = page.locator(f"table#{name}")
    if not found.count():
        return []
    read = found.evaluate(READ)
    return [dict(zip(read["heads"], row, strict=True)) for row in read["rows"]]


class Tables:
    """The tables of a run. split: test where there are such scores; metric: how the run chose."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.probes = rows_of(self.folder / "probe_results.csv")
        self.baselines = rows_of(self.folder / "baselines.csv")
        self.split = "test" if any(number(row.get("test_auc")) is not None for row in self.probes) else "val"
        record = json.loads((self.folder / "run_record.json").read_text(encoding="utf-8"))
        questions = [one for lags in record["selected_on_validation"].values() for one in lags.values()]
        (self.metric,) = {one["chosen_by"] for one in questions}

    def cell(self, probe, target, lag, layer) -> list[dict]:
        found = [
            row
            for row in self.probes
            if (words(row["probe"]), quoted(row["target"]), label(row["lag"]), row["layer"]) == (probe, target, lag, layer)
        ]
        assert found, f"the page shows {probe, target, lag, layer}, which the table has not"
        return found

    def baseline(self, name, target, lag) -> list[dict]:
        return [
            row
            for row in self.baselines
            if (row["baseline"], quoted(row["target"]), label(row["lag"]), row["split"]) == (name, target, lag, self.split)
        ]

    def best_layer(self, probe, target, lag) -> str:
        """The layer with the best mean on validation; the first of equal ones, in the order of the table."""
        by_layer: dict[str, list] = {}
        for row in self.probes:
            if (words(row["probe"]), quoted(row["target"]), label(row["lag"])) == (probe, target, lag):
                by_layer.setdefault(row["layer"], []).append(row)
        return max(by_layer, key=lambda layer: average(by_layer[layer], f"val_{self.metric}") or -1)


LABELS = {"balanced_accuracy": "balanced accuracy", "auc": "AUROC"}


def assert_chosen(page, tables) -> int:
    split, name = tables.split, LABELS[tables.metric]
    shown = table(page, "chosen")
    keys = {(words(row["probe"]), row["target"], row["lag"]) for row in tables.probes}
    assert len(shown) == len(keys)
    for row in shown:
        at = [row[one]["text"] for one in ("probe", "target", "lag", "layer")]
        rows = tables.cell(*at)
        assert at[3] == tables.best_layer(*at[:3])
        score, minus = row[f"{split} {name}"], row["AUROC minus baseline’s"]
        assert score["text"] == written(average(rows, f"{split}_{tables.metric}"))
        assert between(rows, f"{split}_{tables.metric}") in (score["small"][0] if score["small"] else "", "")
        assert row[f"validation {name}"]["text"] == written(average(rows, f"val_{tables.metric}"))
        assert minus["text"] == written(average(rows, f"{split}_minus_baseline"), "+.3f")
        assert between(rows, f"{split}_minus_baseline", "+.3f") in (minus["small"][0] if minus["small"] else "", "")
        best = row["best baseline"]
        assert best["text"] == rows[0][f"{split}_best_baseline"]
        beside = tables.baseline(best["text"], *at[1:3])
        assert best["small"][0] == written(average(beside, tables.metric))
        if "selectivity" in row:
            assert row["selectivity"]["text"] == written(average(rows, f"{split}_selectivity"), "+.3f")
        if "permutation p" in row:
            seed = max(rows, key=lambda one: number(one[f"val_{tables.metric}"]) or -1)
            assert row["permutation p"]["text"] == written(number(seed[f"{split}_permutation_p"]))
        assert row["n"]["text"].split(" to ")[0].replace(",", "") == str(min(int(float(one[f"n_{split}"])) for one in rows))
    return len(shown)


def assert_found(page, tables) -> int:
    """What is said first: of each target its best kind, layer and lag on validation, with the table's figures."""
    shown = table(page, "found")
    answer = page.locator("#answer").text_content() if page.locator("#answer").count() else ""
    targets = list(dict.fromkeys(row["target"] for row in tables.probes))
    assert len(shown) == (0 if answer else len(targets))
    for target in targets:
        of_target = [row for row in tables.probes if row["target"] == target]
        cells: dict[tuple, list] = {}
        for row in of_target:
            cells.setdefault((row["probe"], row["layer"], row["lag"]), []).append(row)
        best = max(average(rows, f"val_{tables.metric}") or -1 for rows in cells.values())
        rows = [rows for rows in cells.values() if average(rows, f"val_{tables.metric}") == best]
        scores = {written(average(one, f"{tables.split}_{tables.metric}")) for one in rows}
        differences = {written(average(one, f"{tables.split}_minus_baseline"), "+.3f") for one in rows}
        if answer:
            assert any(one in answer for one in scores) and any(one in answer for one in differences)
            continue
        (row,) = [one for one in shown if one["target"]["text"] == quoted(target)]
        assert row[f"{tables.split} {LABELS[tables.metric]}"]["text"] in scores
        assert row["AUROC minus baseline’s"]["text"] in differences
    return len(targets)


def assert_documents(page, tables) -> int:
    wanted = [
        row
        for row in rows_of(tables.folder / "document_scores.csv")
        if row["chosen"] == "1" and row["split"] == tables.split
    ]
    shown = table(page, "documents")
    key = ("AUROC", "AUROC minus baseline’s", "calibration error", "n", "found at 1 % false alarms")
    found = [tuple(row[name]["text"] for name in key) for row in shown]
    expected = [
        (
            written(number(row["auc"])),
            written(number(row["minus_baseline"]), "+.3f"),
            written(number(row["ece"])),
            written(number(row["n"]), ".0f"),
            written(number(row["tpr_at_1_fpr"])),
        )
        for row in wanted
    ]
    assert sorted(found) == sorted(expected)
    return len(found)


def assert_latents(page, tables) -> int:
    wanted = [
        row for row in rows_of(tables.folder / "sae_probes.csv") if row["chosen"] == "1" and row["split"] == tables.split
    ]
    shown = table(page, "latents")
    keys = ("layer", "how many", f"{tables.split} AUROC", "minus the dense probe", "AUROC minus baseline’s")
    found = [tuple(row[name]["text"] for name in keys) for row in shown]
    assert sorted(found) == sorted(
        (
            row["layer_idx"],
            row["count"],
            written(number(row["auc"])),
            written(number(row["minus_dense"]), "+.3f"),
            written(number(row["minus_baseline"]), "+.3f"),
        )
        for row in wanted
    )
    read = table(page, "read_latents")
    latents = rows_of(tables.folder / "sae_latents.csv")
    assert {(row["layer"]["text"], row["latent"]["text"], row["difference"]["text"]) for row in read} <= {
        (row["layer_idx"], row["latent"], written(number(row["mean_difference"]), "+.3f")) for row in latents
    }
    return len(found)


CALIBRATION = {
    "Brier score": "brier",
    "calibration error": "ece",
    "positives found": "pos_accuracy",
    "negatives left alone": "neg_accuracy",
    "precision": "precision",
    "found at 1 % false alarms": "tpr_at_1_fpr",
    "false alarms at 95 % found": "fpr_at_95_tpr",
}


def assert_calibration(page, tables) -> int:
    shown = table(page, "calibration")
    for row in shown:
        rows = tables.cell(*(row[one]["text"] for one in ("probe", "target", "lag", "layer")))
        for head, name in CALIBRATION.items():
            assert row[head]["text"] == written(average(rows, f"{tables.split}_{name}")), (head, row)
    return len(shown)


def assert_baselines(page, tables) -> int:
    shown = table(page, "baselines")
    for row in shown:
        target, lag = row.pop("target")["text"], row.pop("lag")["text"]
        for name, cell in row.items():
            kind = name.partition(" (")[2].rstrip(")")
            rows = tables.baseline(name.partition(" (")[0], target, lag)
            if kind:
                layer = cell["small"][-1].removeprefix("layer ") if cell["small"] else ""
                rows = [one for one in rows if words(one["probe"]) in ("", kind) and one["layer_idx"] == layer]
            assert cell["text"] == written(average(rows, tables.metric)), (name, target, lag)
    return len(shown)


def assert_promoted(page, tables) -> int:
    path = tables.folder / "directions.json"
    entries = json.loads(path.read_text(encoding="utf-8"))["entries"] if path.exists() else []
    shown = table(page, "promoted")
    for row in shown:
        entry = next(
            one
            for one in entries
            if (quoted(one["target"]), label(one["lag"]), str(one["layer"]))
            == tuple(row[name]["text"] for name in ("target", "lag", "layer"))
            and one.get(row["direction"]["text"], {}).get("promoted", [[""]])[0][0].strip() in row["promotes"]["text"]
        )
        lists = entry[row["direction"]["text"]]
        assert row["rank of the target"]["text"] == written(lists["target_rank"], ".0f")
    return len(shown)


def assert_codelength(page, tables) -> int:
    wanted = {
        (row["layer"], written(number(row["bits"]), ".0f"), written(number(row["bits_by_share"]), ".0f"))
        for row in rows_of(tables.folder / "codelength.csv")
    }
    shown = table(page, "codelength")
    names = ("layer", "given its states", "given the share of positives")
    assert {tuple(row[name]["text"] for name in names) for row in shown} == wanted
    return len(shown)


CHECKS = (assert_found, assert_chosen, assert_documents, assert_latents, assert_calibration, assert_baselines)
CHECKS += (assert_promoted, assert_codelength)


def assert_figures(page, folder) -> dict[str, int]:
    """Compare them all. Returns how many rows each table of the page has, so that a test can say that there were some."""
    tables = Tables(folder)
    return {check.__name__.removeprefix("assert_"): check(page, tables) for check in CHECKS}
