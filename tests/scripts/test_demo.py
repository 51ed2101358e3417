"""Test the demo: text that every machine has, a model that has not seen it, seven steps, and three pages."""

import csv
import json
import os
import shutil
import subprocess
import sys

import pytest

from docstrings import docstrings_of, paragraphs, shingles
from helpers import ROOT, assert_one_line_error, assert_success, environment
from report_figures import assert_figures
from watched_page import watched

pytestmark = pytest.mark.slow  # most of it runs the whole demo
DEMO = ROOT / "demo"
MODEL = DEMO / "model"


def run_here(folder, *command):
    """Run a command of the Makefile in a folder with the files of the demo and the experiment, and none of their output."""
    return subprocess.run(
        [sys.executable, *map(str, command)], cwd=folder, env=environment(), text=True, capture_output=True, timeout=600
    )


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "python_docs.jsonl"
    assert_success(run_here(path.parent, DEMO / "make_corpus.py", "--output", path))
    return path


@pytest.fixture(scope="module")
def demo(tmp_path_factory, corpus):
    """The folder in which the whole demo ran, as in `make demo`, and what it printed."""
    folder = tmp_path_factory.mktemp("demo")
    for name in ("demo", "configs", "scripts"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "data" / "demo").mkdir(parents=True)
    shutil.copy(corpus, folder / "data" / "demo")
    return folder, assert_success(run_here(folder, "scripts/run_experiment.py", "configs/demo.yaml"))


def test_docstrings_are_read_without_running_the_code(tmp_path):
    code = tmp_path / "code.py"
    code.write_text(
        '"""First."""\nraise SystemExit("imported")\nclass A:\n    """Second\n\n    third."""\n'
        '    async def f(self):\n        """Fourth."""\n'
        'def g():\n    "fifth"\ndef h():\n    x = "no docstring"\n'
    )
    assert sorted(docstrings_of(code)) == ["First.", "Fourth.", "Second\n\nthird.", "fifth"]
    code.write_text("print 'another version'")
    assert docstrings_of(code) == []


def test_wrapped_lines_are_joined_and_sessions_and_tables_left_out():
    text = (
        "The first line of a paragraph that is wrapped\nhere and ends.\n\n>>> f()\n1\n\nshort\nlines\n\n"
        "====  ====\na b\n\nA heading\n---------\n\n"
        "  code = 1  # which is long enough to be wrapped, were it\n    indented = 2"
    )
    assert paragraphs(text) == [
        "The first line of a paragraph that is wrapped here and ends.",
        "short\nlines",
        "  code = 1  # which is long enough to be wrapped, were it\n    indented = 2",
    ]


def test_the_corpus_is_the_standard_librarys_own_words_and_no_phrase_stands_in_two_texts(corpus):
    rows = [json.loads(line) for line in corpus.read_text(encoding="utf-8").splitlines()]
    texts = {row["id"]: row["text"] for row in rows}
    assert len(texts) == len(rows) > 100 and sum(map(len, texts.values())) > 1_000_000
    assert "Lightweight XML support" in texts["xml"] and "help for" not in texts["xml"]
    assert any(name.startswith("help ") for name in texts)
    owner = {}
    for name, text in texts.items():
        for block in text.split("\n\n"):
            for phrase in shingles(block):
                assert owner.setdefault(phrase, name) == name


def test_a_corpus_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    assert_one_line_error(run_here(tmp_path, DEMO / "make_corpus.py", "--output", "file/x.jsonl"), "file/x.jsonl")
    assert_one_line_error(run_here(tmp_path, DEMO / "make_corpus.py", "--min_characters", "999999999"), "no docstrings")
    assert os.listdir(tmp_path) == ["file"]


def test_the_model_is_small_and_stock_and_reads_the_corpus_better_than_its_words_alone(corpus):
    import numpy as np
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert sum(file.stat().st_size for file in MODEL.iterdir()) < 5_000_000
    assert {file.suffix for file in MODEL.iterdir()} <= {".json", ".safetensors", ".md"}
    model, tokenizer = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32), AutoTokenizer.from_pretrained(MODEL)
    assert type(model).__name__ == "Gemma3ForCausalLM" and type(model).__module__.startswith("transformers.")
    rows = [json.loads(line)["text"] for line in corpus.read_text(encoding="utf-8").splitlines()]
    ids = np.concatenate([tokenizer(text, add_special_tokens=False)["input_ids"] for text in rows])
    share = np.bincount(ids, minlength=len(tokenizer)) / len(ids)
    unigram = -(share[share > 0] * np.log(share[share > 0])).sum()
    windows = torch.tensor(ids[: len(ids) // 255 * 255].reshape(-1, 255)[::40])
    input_ids = torch.cat([torch.full((len(windows), 1), tokenizer.bos_token_id), windows], dim=1)
    with torch.inference_mode():
        loss = model(input_ids=input_ids, labels=input_ids).loss.item()
    assert loss < unigram - 2, (loss, unigram)


def test_the_demo_ends_with_its_pages_and_tells_its_steps_as_commands(demo):
    folder, result = demo
    names = ("visualization.html", "latents/layer_5_interpretations.html", "index.html")
    pages = [folder / "results/demo" / name for name in names]
    assert all(page.is_file() and page.resolve().as_uri() in result.stdout for page in pages)
    assert pages[-1].resolve().as_uri() in result.stdout.splitlines()[-1]
    steps = (
        "prepare_data",
        "inspect_data",
        "train_probe",
        "visualize_probe",
        "train_sae",
        "interpret_sae",
        "visualize_results",
    )
    for script in steps:
        assert f"python scripts/{script}.py --" in result.stdout
    assert "all 11 checks passed" in result.stdout and result.stderr == ""


def test_the_answer_forms_through_the_layers(demo):
    folder, _ = demo
    with open(folder / "results" / "demo" / "probe_results.csv", encoding="utf-8") as file:
        test = {row["layer"]: float(row["test_balanced_accuracy"]) for row in csv.DictReader(file)}
    with open(folder / "results" / "demo" / "baselines.csv", encoding="utf-8") as file:
        read_token = next(
            float(row["balanced_accuracy"])
            for row in csv.DictReader(file)
            if row["baseline"] == "read token" and row["split"] == "test"
        )
    assert list(test) == ["embed", "0", "1", "2", "3", "4", "5", "final_norm"]
    assert test["5"] >= 0.80
    assert test["5"] > test["embed"] + 0.02 and test["5"] > read_token + 0.02


def test_the_page_shows_the_sweep_in_a_browser(demo, chromium):
    folder, _ = demo
    page = chromium.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text))
    page.goto((folder / "results" / "demo" / "visualization.html").as_uri())
    assert page.locator("#sweep .point").count() == 8 and page.locator("#text .token").count() > 200
    assert "; 2,000 tokens, " in page.inner_text(".about")
    assert page.inner_text("h1") == "Will the next token be “␣the”?"
    assert errors == []
    page.close()


def test_the_report_has_the_figures_of_the_tables_and_leads_to_the_pages(demo, chromium):
    results = demo[0] / "results" / "demo"
    page = watched(chromium)
    page.goto((results / "index.html").as_uri())
    assert assert_figures(page, results)["promoted"] == 2
    links = page.eval_on_selector_all("#files a", "all => all.map(one => one.getAttribute('href'))")
    assert {"visualization.html", "latents/layer_5_interpretations.html", "probe_results.csv", "report.md"} <= set(links)
    assert all((results / link).is_file() for link in links)
    assert "layer" in page.inner_text("#answer") and page.locator("#doubts p").count()
    assert all(event.startswith("request: file:") for event in page.events)
    page.close()


def test_the_latents_of_the_last_layer_are_alive_and_shown(demo, chromium):
    folder, _ = demo
    found = json.loads((folder / "results/demo/latents/layer_5_interpretations.json").read_text(encoding="utf-8"))
    assert len(found) == 1024 and sum(entry["active"] for entry in found.values()) > 1000
    assert 14 < sum(entry["density"] for entry in found.values()) < 18  # latents active at a token
    labelled = sum(bool(entry["label"]) for entry in found.values())
    assert labelled > 1000
    page = chromium.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text))
    page.goto(f"{(folder / 'results/demo/latents/layer_5_interpretations.html').as_uri()}#latent-3")
    assert page.inner_text("#latent h2 a") == "#3" and page.locator("#latent .example").count() > 5
    assert page.inner_text("#found").endswith("latents") and errors == []
    page.close()


def test_a_second_run_replaces_the_first(demo):
    folder, _ = demo
    again = assert_success(run_here(folder, "scripts/run_experiment.py", "configs/demo.yaml", "--from", "train_probe"))
    assert "left out by --from: prepare_data, inspect_data" in again.stdout
