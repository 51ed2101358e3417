"""Tables of a sweep -> charts: what the pages show is what the tables hold, in a real browser, from file://."""

import csv
import json
import re
import resource
import statistics

import pytest

from helpers import assert_one_line_error, assert_success, call, run_script, snapshot
from made_tables import ATTACK, KINDS, LAGS, LAYERS, SEEDS, make_results, write_csv
from watched_page import watched

pytestmark = pytest.mark.slow

PAGES = ["heatmap_accuracy", "lineplot_balanced_accuracy", "heatmap_f1", "lineplot_f1"]
PAGES += ["comparison_metrics", "class_balance", "learning_curve"]


def change(folder, edit, name="probe_results"):
    """The rows of a table through edit(row) -> row or None."""
    path = folder / f"{name}.csv"
    with open(path, encoding="utf-8", newline="") as file:
        rows = [edited for row in csv.DictReader(file) if (edited := edit(row))]
    write_csv(path, rows)


def draw_pages(folder, *more):
    return assert_success(call("visualize_results", "--results_dir", folder, "--output_dir", folder, *more))


# In a browser


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    rows = make_results(folder, (" the", ATTACK), LAGS)
    return folder, rows, draw_pages(folder)


@pytest.fixture(scope="module")
def browser(chromium):
    """A page; every error, dialog and request is an entry of page.events."""
    page = watched(chromium, width=1400)
    yield page
    page.close()


@pytest.fixture
def open_page(browser, written):
    def opened(name):
        browser.events.clear()
        browser.goto((written[0] / f"{name}.html").as_uri())
        if name == "index":  # its previews are drawn when they come near
            browser.locator(".picture").first.scroll_into_view_if_needed()
        browser.wait_for_selector(".main-svg")
        return browser

    yield opened
    browser.set_viewport_size({"width": 1400, "height": 900})


def pick(page, **wanted):
    """Choose by the label of a select and the text of its option."""
    for label, text in wanted.items():
        page.locator(".choices label", has_text=label).locator("select").select_option(label=text)


def heat(page):
    return page.evaluate("(({x, y, z, hovertext}) => ({x, y, z, hovertext}))(document.getElementById('chart').data[0])")


def expected(rows, target, kind, column, seeds):
    """[layer][lag] of the mean over the seeds, None where there is none."""
    found = {}
    for row in rows:
        if (row["target"], row["probe"]) == (target, kind) and row["seed"] in seeds and row[column] != "nan":
            found.setdefault((row["layer"], row["lag"]), []).append(row[column])
    layers = [layer for layer in LAYERS if any(layer == one for one, _ in found)]
    return [[statistics.fmean(found[layer, lag]) if (layer, lag) in found else None for lag in LAGS] for layer in layers]


def assert_same(found, wanted):
    assert [[value is None for value in row] for row in found] == [[value is None for value in row] for row in wanted]
    assert [value for row in found for value in row if value is not None] == pytest.approx(
        [value for row in wanted for value in row if value is not None], abs=1e-12
    )


@pytest.mark.parametrize("name", [*PAGES, "index"])
def test_a_page_opens_without_an_error_and_asks_for_nothing_but_plotly_beside_it(name, open_page, written):
    page = open_page(name)
    assert page.events == [f"request: {(written[0] / one).as_uri()}" for one in (f"{name}.html", "plotly.min.js")]
    assert page.locator("img").count() == 0
    page.set_viewport_size({"width": 390, "height": 844})
    for _ in range(50):  # the chart follows the window a moment later
        if page.evaluate("document.documentElement.scrollWidth") > 390:
            page.wait_for_timeout(100)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_what_the_policy_forbids_is_reported(open_page):
    """The control of the test above: its silence means something."""
    page = open_page("heatmap_f1")
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"alert(1)\">')")
    page.wait_for_timeout(200)
    assert [event for event in page.events if "Content Security Policy" in event]
    assert not [event for event in page.events if event.startswith("dialog")]


def test_the_colours_of_a_heatmap_are_the_numbers_of_the_table(open_page, written):
    _, rows, _ = written
    page = open_page("heatmap_accuracy")
    for target, shown in ((" the", "“␣the”"), (ATTACK, f"“{ATTACK.replace(' ', '␣')}”")):
        pick(page, target=shown)
        for kind, column, score, seed in (
            ("linear", "test_balanced_accuracy", "balanced accuracy", None),
            ("mass mean", "test_acc", "accuracy", 2),
            ("linear", "test_minus_baseline", "AUROC minus best baseline", 0),
        ):
            pick(page, probe=kind, score=score, seed="mean of 3" if seed is None else str(seed))
            found = heat(page)
            assert found["y"] == LAYERS[: len(found["y"])] and len(found["y"]) == 7 - (kind == "mass mean")
            assert found["x"] == ["−8", "−4", "−2", "−1", "0", "+1", "+2", "+4", "+8"]
            seeds = SEEDS if seed is None else [seed]
            assert_same(found["z"], expected(rows, target, kind.replace(" ", "_"), column, seeds))
    limits = "(({zmin, zmax}) => [zmin, zmax])(document.getElementById('chart').data[0])"
    low, high = page.evaluate(limits)
    most = max(abs(row["test_minus_baseline"]) for row in rows if row["test_minus_baseline"] != "nan")
    assert -low == high and most <= high < most + 0.1
    pick(page, score="AUROC")
    assert page.evaluate(limits) == [0.5, 1]


def test_the_frames_are_around_what_validation_chose_not_around_the_best_on_test(open_page, written):
    _, rows, _ = written
    page = open_page("heatmap_f1")
    pick(page, target="“␣the”", probe="linear")
    best, by_test = (
        [max(range(7), key=lambda at, lag=lag: grid[at][lag] or 0) for lag in range(9)]
        for grid in (expected(rows, " the", "linear", f"{split}_balanced_accuracy", SEEDS) for split in ("val", "test"))
    )
    frames = page.evaluate("document.getElementById('chart').layout.shapes.map(one => [one.x0 + 0.5, one.y0 + 0.5])")
    assert frames == [[lag, layer] for lag, layer in enumerate(best)]
    assert best != by_test, "the made-up tables cannot tell the two apart"


def test_hovering_shows_n_the_interval_seeds_and_penalty(open_page, written):
    _, rows, _ = written
    page = open_page("heatmap_accuracy")
    pick(page, target="“␣the”", probe="linear")
    box = page.locator("#chart .nsewdrag").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 3.4 / 9, box["y"] + box["height"] * 2.5 / 7)  # layer 3, lag -1
    page.wait_for_selector("#chart .hovertext")
    text = "\n".join(page.locator("#chart .hovertext tspan").all_text_contents())
    cell = [row for row in rows if (row["target"], row["layer"], row["lag"], row["probe"]) == (" the", "3", -1, "linear")]
    low = min(row["test_balanced_accuracy_low"] for row in cell)
    high = max(row["test_balanced_accuracy_high"] for row in cell)
    assert f"({low:.3f} to {high:.3f})" in text and "n 1,233, positives 308 (25.0%)" in text
    assert all(f"seed {row['seed']}: {row['test_balanced_accuracy']:.3f}, l2 0.001" in text for row in cell)


def test_the_arrow_keys_walk_through_the_cells_and_say_them(open_page):
    page = open_page("heatmap_accuracy")
    pick(page, target="“␣the”", probe="linear")
    page.focus("#chart")
    for key, start in (
        ("ArrowLeft", "embed, lag −8,"),
        ("ArrowUp", "layer 0, lag −8,"),
        ("ArrowRight", "layer 0, lag −4,"),
        ("ArrowUp", "layer 1, lag −4,"),
        ("ArrowDown", "layer 0, lag −4,"),
    ):
        page.keyboard.press(key)
        assert page.text_content("#readout").startswith(start)
    page.wait_for_selector("#chart .hovertext")
    page.goto(page.url.replace("heatmap_accuracy", "lineplot_f1"))
    page.focus("#chart")
    page.keyboard.press("ArrowRight")
    assert page.text_content("#readout").startswith("embed, lag −8,")


def test_lines_are_means_and_bands_run_from_seed_to_seed(open_page, written):
    _, rows, _ = written
    page = open_page("lineplot_f1")
    pick(page, target="“␣the”", probe="mass mean")
    lines = page.evaluate("document.getElementById('chart').data.map(({name, x, y, fill}) => ({name, x, y, fill}))")
    mean = expected(rows, " the", "mass_mean", "test_f1", SEEDS)
    line = next(one for one in lines if one["name"] == "layer 3")
    assert line["y"] == pytest.approx(mean[4], abs=1e-12)
    assert len(next(one for one in lines if one["name"] == "layer 2")["x"]) == 8
    band = lines[lines.index(line) - 1]
    by_seed = [expected(rows, " the", "mass_mean", "test_f1", [seed])[4] for seed in SEEDS]
    assert band["y"] == [max(at) for at in zip(*by_seed, strict=True)] + [min(at) for at in zip(*by_seed, strict=True)][::-1]
    assert {"majority", "read token", "random weights", "chosen on validation"} <= {one["name"] for one in lines}


@pytest.mark.slow
def test_hostile_names_are_text_wherever_they_stand(open_page):
    name = f"“{ATTACK.replace(' ', '␣')}”"
    for page_name in PAGES:
        page = open_page(page_name)
        pick(page, target=name)
        assert name in page.inner_text("#title")
        assert ATTACK in page.inner_text("#title")
        assert page.locator("img").count() == 0
        assert [event for event in page.events if not event.startswith("request: file:")] == []
    page = open_page("index")
    assert name in page.inner_text("#chosen") and ATTACK in page.inner_text(".about") and page.locator("img").count() == 0


def test_plotlys_own_markup_in_a_name_is_text(tmp_path, browser):
    make_results(tmp_path)
    change(tmp_path, lambda row: row | {"layer": "<b>x</b>&lt;%{z}"} if row["layer"] == "2" else row)
    change(tmp_path, lambda row: row | {"layer": "<b>x</b>&lt;%{z}"}, "learning_curve")
    draw_pages(tmp_path)
    browser.goto((tmp_path / "heatmap_f1.html").as_uri())
    browser.wait_for_selector(".ytick text")
    assert "<b>x</b>&lt;%{z}" in browser.locator(".ytick text").all_text_contents()
    browser.goto((tmp_path / "learning_curve.html").as_uri())
    browser.wait_for_selector(".legendtext")
    legend = browser.locator(".legendtext").all_text_contents()
    assert legend and all(name.endswith(", <b>x</b>&lt;%{z}") for name in legend)


def test_charts_show_the_score_that_the_run_chose_by_first(tmp_path):
    folder = tmp_path / "results"
    make_results(folder)
    record = {"selected_on_validation": {" the": {"-1": {"chosen_by": "auc"}}}}
    (folder / "run_record.json").write_text(json.dumps(record), encoding="utf-8")
    draw_pages(folder)
    assert (folder / "lineplot_auc.html").exists() and (folder / "lineplot_f1.html").exists()
    page = (folder / "heatmap_accuracy.html").read_text(encoding="utf-8")
    names = re.findall(r'<option value="(\d)">([\w ]+)</option>', page.partition(">score")[2].partition("</select>")[0])
    shown = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])["first"].split("/")[2]
    assert dict(names)[shown] == "AUROC"


def test_the_overview_lists_the_chosen_best_on_validation_first(open_page, written):
    _, rows, _ = written
    page = open_page("index")
    cells = [row.locator("th, td").all_inner_texts() for row in page.locator("#chosen tbody tr").all()]
    assert len(cells) == 2 * len(KINDS) * len(LAGS)
    validation = [float(row[4]) for row in cells]
    assert validation == sorted(validation, reverse=True)
    for target in (" the", ATTACK):
        shown = next(row for row in cells if row[:3] == ["linear", f"“{target.replace(' ', '␣')}”", "−1"])
        best = max(LAYERS, key=lambda layer: mean_of(rows, target, layer, "val_balanced_accuracy"))
        assert shown[3] == best
        assert shown[5].startswith(f"{mean_of(rows, target, best, 'test_balanced_accuracy'):.3f}")
        assert shown[7].startswith("read token")
        assert shown[8].startswith(f"{mean_of(rows, target, best, 'test_minus_baseline'):+.3f}")
        validation, test = (mean_of(rows, target, best, f"{split}_balanced_accuracy") for split in ("val", "test"))
        assert float(shown[10].replace("−", "-")) == pytest.approx(validation - test, abs=0.0006)
        assert shown[11].startswith("1,233")
    links = page.eval_on_selector_all("a.preview", "all => all.map(one => one.getAttribute('href'))")
    assert links == [f"{name}.html" for name in PAGES]


def mean_of(rows, target, layer, column):
    """Over the seeds of the linear probe at lag -1."""
    return statistics.fmean(
        row[column]
        for row in rows
        if (row["target"], row["layer"], row["lag"], row["probe"]) == (target, layer, -1, "linear")
    )


# Without one


def test_the_last_lines_say_what_was_written_and_what_to_open(written):
    folder, _, result = written
    assert f"wrote {folder}" in result.stdout and "36 probes chosen on validation, scores of test" in result.stdout
    assert result.stdout.splitlines()[-1] == f"next: open {(folder / 'index.html').as_uri()} in a browser"
    before = snapshot(folder)
    draw_pages(folder)
    assert snapshot(folder) == before, "the same tables give other bytes"


def test_the_split_and_the_metric_are_those_asked_for(tmp_path):
    make_results(tmp_path)
    assert "scores of val" in draw_pages(tmp_path, "--split", "val", "--metric", "auc").stdout
    assert "by mean AUROC over the seeds" in (tmp_path / "heatmap_f1.html").read_text(encoding="utf-8")
    change(tmp_path, lambda row: {name: value for name, value in row.items() if "test" not in name})
    assert "scores of val" in draw_pages(tmp_path).stdout
    assert_one_line_error(
        call("visualize_results", "--results_dir", tmp_path, "--output_dir", tmp_path, "--split", "test"),
        "--split test",
        "give --split val",
    )


def test_tables_of_few_columns_give_the_charts_that_they_have_the_numbers_for(tmp_path):
    make_results(tmp_path)
    for name in ("baselines.csv", "learning_curve.csv", "run_record.json"):
        (tmp_path / name).unlink()
    kept = ("target", "layer", "lag", "probe", "seed", "l2", "val_acc", "test_acc")
    change(tmp_path, lambda row: {name: row[name] for name in kept})
    draw_pages(tmp_path)
    assert {path.stem for path in tmp_path.glob("*.html")} == {
        *("index", "heatmap_accuracy", "lineplot_acc", "comparison_metrics")
    }


def test_without_validation_nothing_is_chosen(tmp_path):
    make_results(tmp_path)
    change(tmp_path, lambda row: {name: value for name, value in row.items() if not name.startswith("val_")})
    assert "0 probes chosen" in draw_pages(tmp_path).stdout
    assert "no probe was chosen" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_of_several_penalties_the_one_of_the_best_validation_is_shown(tmp_path):
    rows = make_results(tmp_path)
    write_csv(tmp_path / "probe_results.csv", [*rows, *({**row, "l2": 1.0, "val_balanced_accuracy": 0.99} for row in rows)])
    draw_pages(tmp_path)
    page = (tmp_path / "heatmap_f1.html").read_text(encoding="utf-8")
    assert "l2 1" in page and "l2 0.001" not in page


# What is wrong is one line


def spoil(folder, kind):
    path = folder / "probe_results.csv"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    if kind == "no table":
        path.unlink()
    elif kind == "repeated row":
        path.write_text("".join([*lines, lines[1]]), encoding="utf-8")
    elif kind == "bytes":
        path.write_bytes(b"\xff\xfe\x00")
    elif kind == "record":
        (folder / "run_record.json").write_text("{", encoding="utf-8")
    else:
        path.write_text(
            {
                "empty": "",
                "header only": lines[0],
                "other table": "a,b\n1,2\n",
                "no score": "".join(",".join(line.split(",")[:6]) + "\n" for line in lines),
                "short row": f"{lines[0]} the,embed\n",
                "word": lines[0] + lines[1].replace(",0.001,", ",much,"),
            }[kind],
            encoding="utf-8",
        )


@pytest.mark.parametrize(
    "kind, needles",
    [
        ("no table", ["holds no probe_results.csv"]),
        ("empty", ["has no row"]),
        ("header only", ["has no row"]),
        ("other table", ["is another table", "no column target"]),
        ("no score", ["has none of the columns"]),
        ("short row", ["line 2", "fewer cells"]),
        ("word", ["line 2: l2 is 'much', not a number"]),
        ("repeated row", ["line 80 repeats"]),
        ("bytes", ["cannot read", "probe_results.csv"]),
        ("record", ["cannot read", "run_record.json"]),
    ],
)
def test_a_bad_table_is_refused_in_one_line_and_nothing_is_written(tmp_path, kind, needles):
    make_results(tmp_path)
    spoil(tmp_path, kind)
    before = snapshot(tmp_path)
    assert_one_line_error(call("visualize_results", "--results_dir", tmp_path, "--output_dir", tmp_path), *needles)
    assert snapshot(tmp_path) == before


def test_wrong_usage_is_refused_in_one_line(tmp_path):
    make_results(tmp_path)
    assert_one_line_error(call("visualize_results", "--split", "holdout"), "holdout", "val", "test", status=2)
    assert_one_line_error(call("visualize_results", "--results_dir", tmp_path / "none"), "none", "holds no")
    assert_one_line_error(
        call("visualize_results", "--results_dir", tmp_path, "--output_dir", tmp_path / "baselines.csv"),
        "--output_dir",
        "is a file, not a folder",
        status=2,
    )


def test_a_disk_that_is_full_leaves_the_old_pages_whole(tmp_path):
    make_results(tmp_path)
    draw_pages(tmp_path)
    change(tmp_path, lambda row: row | {"test_f1": "0.5"})
    before = snapshot(tmp_path)
    result = run_script(
        "visualize_results",
        "--results_dir",
        tmp_path,
        "--output_dir",
        tmp_path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000)),
    )
    assert_one_line_error(result, "cannot write", "plotly.min.js")
    assert snapshot(tmp_path) == before


def test_the_report_sorts_filters_and_links_to_what_is_there(open_page, written):
    page = open_page("index")

    def column(table, number):
        return page.eval_on_selector_all(
            f"#{table} tbody tr:not([hidden])",
            "(rows, number) => rows.map(row => (row.cells[number].querySelector('strong') ?? row.cells[number]).innerText)",
            number,
        )

    validation = 4
    assert page.locator("#chosen thead th").nth(validation).inner_text().startswith("validation")
    before = [float(text) for text in column("chosen", validation)]
    assert before == sorted(before, reverse=True) and len(before) > 2
    page.locator("#chosen thead th").nth(validation).locator("button.sort").click()
    page.locator("#chosen thead th").nth(validation).locator("button.sort").click()
    assert [float(text) for text in column("chosen", validation)] == sorted(before)
    assert page.get_attribute(f"#chosen thead th:nth-child({validation + 1})", "aria-sort") == "ascending"
    page.fill("[data-filters=chosen]", "mass mean")
    assert set(column("chosen", 0)) == {"mass mean"} and 0 < len(column("chosen", 0)) < len(before)
    page.fill("[data-filters=chosen]", "")
    page.locator("#chosen .how summary").first.click()
    assert page.locator("#chosen .how[open] div").first.is_visible()
    names = page.eval_on_selector_all("#files a", "all => all.map(one => one.getAttribute('href'))")
    assert {"probe_results.csv", "report.md"} <= set(names) and all((written[0] / name).is_file() for name in names)
    assert [event for event in page.events if not event.startswith("request: file:")] == []
