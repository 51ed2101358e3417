"""Every page in light and dark, wide and narrow: axe-core finds nothing serious; letters, cells and lines stand out."""

from itertools import pairwise

import pytest

from accessibility import NARROW, SCHEMES, WIDE, contrast, findings, opened, rgb
from helpers import assert_success, call
from made_latents import interpreted
from made_probe_page import made_page, made_whole_page
from made_tables import ATTACK, LAGS, make_results
from utils.pages.charts.transfer import transfer_pages
from utils.pages.latent_page import write_latent_page
from utils.saved.columns import NUMBERS, TRANSFER_COLUMNS
from utils.saved.transfer import matrix_of

pytestmark = pytest.mark.slow


def charts(folder):
    make_results(folder, (" the", ATTACK), LAGS)
    assert_success(call("visualize_results", "--results_dir", folder, "--output_dir", folder))


def transfer(folder):
    common = dict.fromkeys(TRANSFER_COLUMNS, "x") | dict.fromkeys(NUMBERS, 0.5)
    common |= {"probe": "linear", "layer_idx": "3", "lag": -1, "seed": "0", "model": "a/model"}
    targets = (" the", "often", ATTACK)
    rows = [
        common | {"probe_file": f"{probe}.pth", "probe_target": probe, "target": target, "auc": 0.03 + 0.11 * (3 * at + to)}
        for at, probe in enumerate(targets)
        for to, target in enumerate(targets)
    ]
    for name, text in transfer_pages(matrix_of(rows)).items():
        (folder / name).write_text(text, encoding="utf-8")


def latents(folder):
    write_latent_page(folder / "latents.html", interpreted(folder), f"a/{ATTACK}")


def page(folder):
    made_page(folder)


def whole(folder):
    made_whole_page(folder)


PAGES = {  # name: what writes NAME.html into a folder
    "index": charts,
    "heatmap_accuracy": charts,
    "heatmap_f1": charts,
    "lineplot_f1": charts,
    "comparison_metrics": charts,
    "class_balance": charts,
    "learning_curve": charts,
    "transfer": transfer,
    "latents": latents,
    "page": page,
    "whole": whole,
}
VIEWS = (
    "mode=errors&token=4",
    "mode=difference",
    "mode=threshold&colours=blue",
    "tab=errors",
    "tab=curves",
    "tab=about",
)
VIEWS_OF_TEXTS = ("mode=difference&order=error", "text=12&token=500", "text=12&mode=difference", "tab=errors", "tab=curves")
HEATMAPS = ("heatmap_accuracy", "transfer")
LINES = ("lineplot_f1", "comparison_metrics", "class_balance", "learning_curve")


@pytest.fixture(scope="module")
def path_of(tmp_path_factory):
    """Give the path of a page by its name; what writes it runs once."""
    folders = {}

    def path(name):
        make = PAGES[name]
        if make not in folders:
            folders[make] = tmp_path_factory.mktemp(make.__name__)
            make(folders[make])
        return folders[make] / f"{name}.html"

    return path


@pytest.fixture
def page_of(chromium, path_of):
    """Open a page by its name and colours."""
    pages = []

    def page(name, scheme, size=WIDE):
        pages.append(opened(chromium, path_of(name), scheme, size))
        return pages[-1]

    yield page
    for one in pages:
        one.context.close()


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", PAGES)
def test_nothing_serious_is_found(name, scheme, page_of, axe):
    found = findings(page_of(name, scheme), axe)
    assert not found, "\n".join(found)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name, view", [("page", view) for view in VIEWS] + [("whole", view) for view in VIEWS_OF_TEXTS])
def test_nothing_serious_is_found_in_any_view_of_probes(name, view, scheme, page_of, axe):
    page = page_of(name, scheme)
    page.evaluate("view => { location.hash = view; }", view)
    page.wait_for_timeout(300)
    found = findings(page, axe)
    assert not found, "\n".join(found)


def test_what_is_wrong_is_found(page_of, axe):
    """The control of the test above."""
    page = page_of("latents", "dark")
    page.evaluate("document.querySelector('.about').style.color = '#555'")
    page.evaluate("document.querySelector('main').append(document.createElement('select'))")
    assert {one.split(":")[0] for one in findings(page, axe)} == {"color-contrast", "select-name"}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_tokens_can_be_read_on_every_shade(scheme, page_of):
    page = page_of("latents", scheme)
    found = page.eval_on_selector_all(
        "#latent .token",
        "all => all.map(one => getComputedStyle(one)).map(style => [style.color, style.backgroundColor])",
    )
    shaded = [(rgb(ink), rgb(back)) for ink, back in found if back != "rgba(0, 0, 0, 0)"]
    red = (255, 0, 0) if scheme == "light" else (204, 0, 0)
    assert len(set(shaded)) > 5 and red in {back for _, back in shaded}
    assert min(contrast(*pair) for pair in shaded) >= 4.5


def colour_at(scale, place):
    """The colour of a place between 0 and 1 on a scale of Plotly's."""
    place = min(1, max(0, place))
    for (start, low), (end, high) in pairwise(scale):
        if place <= end:
            share = (place - start) / (end - start)
            return tuple(a + (b - a) * share for a, b in zip(rgb(low), rgb(high), strict=True))
    raise AssertionError(place)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", HEATMAPS)
def test_numbers_can_be_read_in_every_cell_of_a_heatmap(name, scheme, page_of):
    page = page_of(name, scheme)
    trace = page.evaluate(
        "(({zmin, zmax, colorscale}) => ({zmin, zmax, colorscale}))(document.getElementById('chart').data[0])"
    )
    labels = page.eval_on_selector_all(
        ".heatmap-label text", "all => all.map(one => [one.textContent, getComputedStyle(one).fill])"
    )
    assert len(labels) >= 9
    for text, fill in labels:
        place = (float(text.replace("−", "-")) - trace["zmin"]) / (trace["zmax"] - trace["zmin"])
        assert contrast(rgb(fill), colour_at(trace["colorscale"], place)) >= 4.4, f"{text} in {fill}"  # rounded to 3 digits


@pytest.mark.parametrize("name", LINES)
def test_lines_and_bars_stand_out_on_dark_paper(name, page_of):
    page = page_of(name, "dark")
    paper = rgb(page.eval_on_selector("body", "one => getComputedStyle(one).backgroundColor"))
    colours = page.evaluate(
        "document.getElementById('chart').data.flatMap(one => [one.line?.color, one.marker?.color]).filter(Boolean)"
    )
    assert len(colours) >= 2 and min(contrast(rgb(colour), paper) for colour in colours) >= 3


@pytest.mark.parametrize("name", PAGES)
def test_a_narrow_window_shows_all_and_leaves_a_chart_room(name, page_of):
    page = page_of(name, "light", NARROW)
    for _ in range(50):  # a chart follows the window a moment later
        if page.evaluate("document.documentElement.scrollWidth") > NARROW[0]:
            page.wait_for_timeout(100)
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW[0]
    if page.locator("#chart").count():
        room = page.locator("#chart").bounding_box()["width"]
        assert page.locator("#chart .nsewdrag").first.bounding_box()["width"] > 0.45 * room


def test_the_button_goes_round_and_what_is_drawn_follows(page_of):
    """System, dark, light, and the system's again: the page, and the chart that it redraws."""
    page = page_of("lineplot_f1", "light")

    def papers():
        return [
            page.eval_on_selector("body", "one => getComputedStyle(one).backgroundColor"),
            page.eval_on_selector(".main-svg", "one => getComputedStyle(one).backgroundColor"),
        ]

    white, black = "rgb(255, 255, 255)", "rgb(23, 24, 28)"
    assert papers() == [white, white]
    for wanted in (black, white, white):
        page.click("#theme")
        page.wait_for_timeout(100)
        assert papers() == [wanted, wanted]
    page.emulate_media(color_scheme="dark")
    page.wait_for_timeout(100)
    assert papers() == [black, black]
