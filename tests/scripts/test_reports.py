"""The report of every kind of run, by the scripts, on a real model and real texts, small: every figure is the table's."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from accessibility import NARROW, SCHEMES, WIDE, findings, opened
from helpers import assert_success, call, part_of, snapshot
from report_figures import assert_figures, rows_of, table
from watched_page import watched

pytestmark = pytest.mark.slow

SIX = "backtracking,uncertainty-estimation,initializing,example-testing,adding-knowledge,deduction"
LAGS = "-16,-12,-8,-4,0,4,8"
ALL_KINDS = "linear,logistic,mass_mean,mass_mean_tilted,mlp,attention,attention_features"


@dataclass(frozen=True)
class Recipe:
    """How a run is made. source: within the shared corpora; shown: which tables of its report have rows."""

    source: str
    prepare: tuple[str, ...]
    train: tuple[str, ...]
    shown: tuple[str, ...] = ()


RECIPES = {
    "needles": Recipe(
        "needles/needles_v1.jsonl",
        ("--task", "spans", "--context_length", "96", "--max_texts", "60"),
        ("--probe", "logistic", "--negatives_per_doc", "16", "--train_seeds", "0,1"),
        ("documents",),
    ),
    "chains": Recipe(
        "reasoning_chains/annotated_chains.json",
        ("--task", "chains", "--label", SIX, "--context_length", "96", "--max_texts", "24"),
        ("--probe", "logistic", "--negatives_per_doc", "8", "--lags", LAGS),
    ),
    "documents": Recipe(
        "documents/main.csv",
        ("--task", "documents", "--datasets", "all", "--max_texts", "1200"),
        ("--probe", "logistic,mass_mean", "--pool", "mean"),
    ),
    "documents_last": Recipe("documents/main.csv", (), ("--probe", "logistic,mass_mean")),
    "kinds": Recipe(
        "gutenberg",
        ("--language", "en", "--context_length", "64", "--max_chunks_per_class", "150"),
        ("--probe", ALL_KINDS, "--control", "5", "--random_weights", "--train_seeds", "0,1", "--codelength"),
        ("codelength", "promoted"),
    ),
    "latents": Recipe("gutenberg", (), ("--probe", "logistic", "--sae"), ("latents", "promoted")),
}
SAME_DATA = {"documents_last": "documents", "latents": "kinds"}


@dataclass
class Runs:
    """Runs that are made when they are first asked for."""

    folder: Path
    shared: Path
    model: Path

    def results(self, name) -> Path:
        folder = self.folder / "results" / name
        if not folder.exists():
            self.make(name, RECIPES[name], folder)
        return folder

    def data(self, name) -> Path:
        folder, recipe = self.folder / "data" / name, RECIPES[name]
        if not folder.exists():
            source = part_of(self.shared, "corpora") / recipe.source
            given = ("--input" if source.is_file() else "--dataset", source)
            flags = (*given, "--model_name", self.model, "--output_dir", folder, *recipe.prepare)
            assert_success(call("prepare_data", *flags))
        return folder

    def make(self, name, recipe, folder):
        data, flags = self.data(SAME_DATA.get(name, name)), recipe.train
        if name == "latents":
            saes = self.folder / "saes"
            given = ("--model_name", self.model, "--dataset", self.shared / "corpora/gutenberg", "--language", "en")
            small = ("--layers", "0,4", "--num_tokens", "6000", "--d_hidden", "64", "--target_l0", "4", "--epochs", "1")
            assert_success(call("train_sae", *given, *small, "--save_dir", saes, "--no_wandb"))
            flags = (*flags, saes)
        given = ("--train_data", data / "train.pth", "--output_dir", self.folder / "models" / name, "--results_dir", folder)
        fast = ("--layer_sweep", "0,4", "--epochs", "2", "--l2_grid", "0.1,0.001", "--no_wandb", "--batch_size", "16")
        assert_success(call("train_probe", *given, *fast, *flags))
        assert_success(call("visualize_results", "--results_dir", folder, "--output_dir", folder))


@pytest.fixture(scope="module")
def runs(tmp_path_factory, shared_data, stories260K):
    return Runs(tmp_path_factory.mktemp("runs"), shared_data, stories260K)


@pytest.fixture(scope="module")
def page(chromium):
    found = watched(chromium)
    yield found
    found.close()


def allowed(events) -> bool:
    return all(event.startswith("request: file:") for event in events)


KINDS_OF_RUNS = ("needles", "chains", "documents", "kinds", "latents")


@pytest.mark.parametrize("name", KINDS_OF_RUNS)
def test_every_figure_of_a_report_is_that_of_its_table(name, runs, page):
    folder = runs.results(name)
    page.events.clear()
    page.goto((folder / "index.html").as_uri())
    counted = assert_figures(page, folder)
    assert all(counted[one] for one in ("found", "chosen", "calibration", "baselines", *RECIPES[name].shown))
    assert allowed(page.events) and page.locator("#doubts p, #doubts details").count()
    text = (folder / "report.md").read_text(encoding="utf-8").replace("\\", "")
    shown = page.eval_on_selector_all("tbody td, tbody th", "cells => cells.map(cell => cell.innerText)")
    figures = {figure for cell in shown for figure in re.findall(r"[+−]?\d\.\d{3}\b", cell)}
    assert len(figures) > 10 and all(figure in text for figure in figures)
    for written in (text, page.content()):
        assert str(runs.folder) not in written and str(runs.shared) not in written and "/home/" not in written


def falling(texts) -> bool:
    """Say whether numbers fall, those that are none at the end."""
    numbers = [float(text.replace("−", "-").replace(",", "").rstrip("%")) for text in texts if text != "–"]
    return texts[len(numbers) :] == ["–"] * (len(texts) - len(numbers)) and numbers == sorted(numbers, reverse=True)


@pytest.mark.parametrize("name", KINDS_OF_RUNS)
def test_tables_are_sorted_and_filtered_links_lead_somewhere_and_the_page_turns_dark(name, runs, page):
    folder = runs.results(name)
    page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})
    page.events.clear()
    page.goto((folder / "index.html").as_uri())
    for column in ("test AUROC", "test balanced accuracy", "AUROC minus baseline’s"):
        if column in table(page, "chosen")[0]:
            page.locator("#chosen button.sort", has_text=re.compile(f"^{column}$")).click()
            assert falling([row[column]["text"] for row in table(page, "chosen")])
    for box in page.locator("input[data-filters]").all():
        rows = page.locator(f"#{box.get_attribute('data-filters')} tbody tr")
        box.fill("no such row")
        assert not [row for row in rows.all() if row.is_visible()]
        box.fill("")
        assert rows.first.is_visible()
    links = page.eval_on_selector_all("main a", "all => all.map(one => one.getAttribute('href'))")
    assert len(links) > 10 and all((folder / link).is_file() for link in links)
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("#theme")
    if page.evaluate("getComputedStyle(document.body).backgroundColor") == light:
        page.click("#theme")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    page.locator("#files").scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    assert allowed(page.events)


def test_a_figure_that_is_not_the_tables_is_found(runs, page):
    """The control of the test above."""
    folder = runs.results("needles")
    page.goto((folder / "index.html").as_uri())
    page.evaluate("document.querySelector('#chosen strong').textContent = '0.123'")
    with pytest.raises(AssertionError):
        assert_figures(page, folder)


@pytest.mark.parametrize("name", KINDS_OF_RUNS)
def test_the_first_screen_says_which_layer_how_good_against_what_and_what_speaks_against_it(name, runs, page):
    page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})
    page.goto((runs.results(name) / "index.html").as_uri())
    seen = page.evaluate(
        """height => [...document.querySelectorAll("#asked, #answer, .latents, #doubts p, #found tbody td, #found tbody th")]
        .filter(one => one.getBoundingClientRect().bottom <= height && one.getBoundingClientRect().height)
        .map(one => one.innerText).join(" | ")""",
        WIDE[1],
    )
    assert "layer" in seen and re.search(r"0\.\d{3}", seen) and re.search(r"AUROC [+−]0|[+−]0\.\d{3}", seen)
    assert any(name in seen for name in ("context", "read token", "neighbours", "own probability", "tf-idf", "length"))
    assert any(one in seen for one in ("baseline", "no interval", "few groups", "chance", "nothing found"))
    page.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
    page.wait_for_timeout(200)
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW[0]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", KINDS_OF_RUNS)
def test_nothing_keeps_people_from_using_a_report(name, scheme, runs, chromium, axe):
    for size in (WIDE, NARROW):
        page = opened(chromium, runs.results(name) / "index.html", scheme, size)
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        assert findings(page, axe) == []
        page.context.close()


def test_two_runs_on_the_same_documents_are_compared_pair_by_pair(runs, page, tmp_path):
    ours, theirs = runs.results("documents"), runs.results("documents_last")
    result = call("visualize_results", "--results_dir", ours, "--compare", theirs, "--output_dir", tmp_path)
    assert_success(result)
    page.events.clear()
    page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})
    page.goto((tmp_path / "index.html").as_uri())
    scores = [
        {(row["target"], row["probe"], row["layer"]): float(row["test_auc"]) for row in rows_of(one / "probe_results.csv")}
        for one in (ours, theirs)
    ]
    page.locator(".folded summary").first.click()
    shown = [*table(page, "two_choices"), *table(page, "two_runs")]
    assert len(shown) >= len(scores[0])
    intervals = 0
    for row in shown:
        target, kind = row["target"]["text"].strip("“”").replace("␣", " "), row["probe"]["text"].replace(" ", "_")
        layers = [layer.removeprefix("layer ") for layer in row["probe"]["small"][0].split(" against ")]
        one, other = (run[target, kind, layer] for run, layer in zip(scores, (layers[0], layers[-1]), strict=True))
        said = row["difference"]["text"].replace("−", "-")
        assert abs(float(said) - (one - other)) <= 0.0005001
        if " to " in row["difference"]["small"][0]:
            low, high = (float(end.replace("−", "-")) for end in row["difference"]["small"][0].split(" to "))
            assert low - 0.001 <= one - other <= high + 0.001
            intervals += 1
    assert intervals > len(shown) / 2 and "pairs of probes on the same examples" in page.inner_text("main")
    assert "--pool" in page.text_content("main") and "mean here, last there" in page.text_content("main")
    assert allowed(page.events)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "What each run chose" in text and "mean here, last there" in text


def test_runs_that_share_no_question_are_not_compared(runs, page, tmp_path):
    assert_success(
        call(
            "visualize_results",
            *("--results_dir", runs.results("documents"), "--compare", runs.results("needles"), "--output_dir", tmp_path),
        )
    )
    page.goto((tmp_path / "index.html").as_uri())
    assert "Not comparable, because no target, lag and kind of probe is in both runs." in page.inner_text("main")
    assert not page.locator("#two_choices").count()


def test_a_report_is_the_same_when_it_is_made_again(runs):
    folder = runs.results("kinds")
    before = snapshot(folder)
    assert_success(call("visualize_results", "--results_dir", folder, "--output_dir", folder))
    assert snapshot(folder) == before
