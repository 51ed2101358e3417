"""Fixtures for all tests: a tiny model and corpus that they make themselves, and the shared data where there are some."""

import os
import signal

import helpers

os.environ.update(helpers.QUIET)  # before any library reads them
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) == signal.SIG_IGN:  # nohup, or a job in the background: what tests start would ignore it too
        signal.signal(number, handler)

import pytest  # noqa: E402

SMALL = ("--context_length", "32", "--max_chunks_per_class", "300")
MARKED = {"chromium": "browser", "shared_data": "model", "stories260K": "model", "minilm": "model"}  # {fixture: marker}


def pytest_collection_modifyitems(items):
    """Mark each test by the costly fixtures that it asks for, itself or through others, or that a parameter names."""
    for item in items:
        parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
        named = {*item.fixturenames, *(value for value in parameters if isinstance(value, str))}
        for marker in sorted({MARKED[name] for name in MARKED if name in named}):
            item.add_marker(marker)


@pytest.fixture(scope="session")
def shared_data():
    """The folder of shared models and corpora: $PROBE_TEST_DATA, else `shared` beside the checkout."""
    from pathlib import Path

    folder = Path(os.environ.get("PROBE_TEST_DATA") or helpers.ROOT.parent / "shared")
    if not folder.is_dir():
        pytest.skip(f"no shared data: {folder} is not there; set PROBE_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def stories260K(shared_data):
    """A real language model of 260,000 parameters."""
    return helpers.part_of(shared_data, "models/stories260K")


@pytest.fixture(scope="session")
def case_model(shared_data, tmp_path_factory):
    """Give the folder of a tiny model that once went wrong, by its name; each is made once."""
    import runpy

    import torch

    cases = runpy.run_path(str(helpers.part_of(shared_data, "cases") / "models.py"))["CASES"]
    made = {}

    def folder_of(name):
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                cases[name](made[name])
        return made[name]

    return folder_of


@pytest.fixture(scope="session")
def gutenberg(shared_data):
    """Whole books in the layout of the Hub dataset."""
    return helpers.part_of(shared_data, "corpora/gutenberg")


@pytest.fixture(scope="session")
def tiny_tokenizer(tmp_path_factory):
    """Folder of a byte-level BPE tokenizer with BOS, ` the` one token; no model beside it."""
    folder = tmp_path_factory.mktemp("tiny_tokenizer")
    helpers.make_tokenizer(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """Folder of the same tokenizer and a random Llama: 3 layers, hidden size 32, 256 positions."""
    folder = tmp_path_factory.mktemp("tiny_model")
    helpers.make_model(folder, len(helpers.make_tokenizer(folder)))
    return folder


@pytest.fixture(scope="session")
def texts(tmp_path_factory):
    """Folder of 8 .txt files of made-up prose, about 4000 words each."""
    return helpers.write_texts(tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="session")
def prepared(tmp_path_factory, tiny_model, texts):
    """Folder of train.pth, val.pth, test.pth and metadata.json, made by prepare_data from `texts`. Not to be changed."""
    folder = tmp_path_factory.mktemp("prepared")
    helpers.assert_success(
        helpers.call("prepare_data", "--dataset", texts, "--model_name", tiny_model, "--output_dir", folder, *SMALL)
    )
    return folder


def missing(reason, required):
    """Skip a test, or let it fail where the environment requires what is missing."""
    if os.environ.get(required):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def javascript():
    """The folder of npm modules that check the pages' scripts."""
    folder = helpers.ROOT / "tests" / "pages" / "javascript" / "node_modules"
    if not folder.is_dir():
        missing(f"no {folder.relative_to(helpers.ROOT)}: make javascript installs them", "PROBE_REQUIRE_JAVASCRIPT")
    return folder


@pytest.fixture(scope="session")
def axe(javascript):
    """The script that finds what keeps people from using a page."""
    return (javascript / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def chromium():
    """A real browser, driven by Playwright."""
    import shutil

    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    path = os.environ.get("PROBE_CHROMIUM") or next((found for name in names if (found := shutil.which(name))), None)
    if path is None:
        missing("no Chromium: install it, or name its program in PROBE_CHROMIUM", "PROBE_REQUIRE_BROWSER")
    from playwright.sync_api import sync_playwright

    options = (
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=options)
        yield browser
        browser.close()
