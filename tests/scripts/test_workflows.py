"""The workflows of docs/annotated_files.md, command by command as they stand there, small: local data and model, fewer
texts, two layers."""

import csv
import re
import shlex
import shutil
from pathlib import Path

import pytest

import chat_data
from helpers import ROOT, assert_success, call, part_of, write_jsonl
from utils.data.sequences import load_sequences

SMALL = {
    "prepare_data": ("--context_length", "96"),
    "train_probe": ("--layer_sweep", "0,4", "--epochs", "2", "--no_wandb", "--batch_size", "16"),
}
MODELS = ("google/gemma-3-4b-it", "meta-llama/Llama-3.1-8B", "gpt2-medium", "unsloth/gemma-3-270m")


def commands(heading):
    """The words after `python scripts/` of every command below the heading."""
    page = (ROOT / "docs/annotated_files.md").read_text(encoding="utf-8").replace("\\\n", " ")
    part = re.search(rf"^## {heading}$(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL).group(1)
    lines = [line for block in re.findall(r"```bash\n(.*?)```", part, re.DOTALL) for line in block.splitlines() if line]
    assert lines and all(line.startswith("python scripts/") for line in lines)
    return [shlex.split(line)[1:] for line in lines]


@pytest.fixture
def run_workflow(tmp_path, stories260K):
    def run(heading, most, model=stories260K):
        """`most`: texts that are prepared. Returns the folder in which it ran."""
        for path, *words in commands(heading):
            name = Path(path).stem
            words = [str(model) if word in MODELS else word for word in words]
            if name == "prepare_data" and "--model_name" not in words:
                words += ["--model_name", str(model)]
            words += [*SMALL.get(name, ()), *(("--max_texts", str(most)) if name == "prepare_data" else ())]
            words += ["--num_tokens", "200"] if name == "visualize_probe" else []
            assert_success(call(name, *words, cwd=tmp_path))
        return tmp_path

    return run


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_spans(run_workflow, shared_data, tmp_path):
    shutil.copy(part_of(shared_data, "corpora/needles") / "needles_v1.jsonl", tmp_path)
    folder = run_workflow("Spans", 40)
    rows = rows_of(folder / "results/needles/probe_results.csv")
    assert {(row["layer"], row["seed"], row["target"]) for row in rows} == {
        (layer, seed, "needle") for layer in "04" for seed in "012"
    }
    documents = rows_of(folder / "results/needles/document_scores.csv")
    chosen = [row for row in documents if row["chosen"] == "1" and row["probe"] and row["bucket"] == "all"]
    assert {row["split"] for row in chosen} == {"val", "test"} and len({row["aggregate"] for row in documents}) > 10
    tried = [row for row in documents if row["probe"] and row["bucket"] == "all" and row["split"] == "val"]
    assert float(chosen[0]["auc"]) == max(float(row["auc"]) for row in tried), "not chosen on validation"
    assert "needle" in (folder / "results/needles/visualization.html").read_text(encoding="utf-8")


def test_reasoning_chains(run_workflow, shared_data, tmp_path):
    shutil.copy(
        part_of(shared_data, "corpora/reasoning_chains") / "annotated_chains.json", tmp_path / "all_annotated_chains.json"
    )
    folder = run_workflow("Reasoning chains", 25)
    rows = rows_of(folder / "results/backtracking/probe_results.csv")
    assert len(rows) == 2 * 7 and {row["lag"] for row in rows} == {"-16", "-12", "-8", "-4", "0", "4", "8"}
    assert {"train_acc", "train_f1", "val_acc", "val_f1", "val_auc", "pos_ratio_train"} <= set(rows[0])
    for page in ("heatmap_f1", "heatmap_accuracy", "lineplot_f1", "comparison_metrics", "class_balance"):
        assert (folder / f"results/backtracking/{page}.html").is_file()
    assert all((folder / "data" / name / "test.pth").is_file() for name in ("all_labels", "onsets", "within8"))


def test_documents(run_workflow, shared_data, tmp_path):
    shutil.copytree(part_of(shared_data, "corpora/documents"), tmp_path / "dataset")
    lines = (tmp_path / "dataset/main.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if re.search(r"source|spam_is|cities_true", line)]
    (tmp_path / "dataset/main.csv").write_text("".join(kept), encoding="utf-8")
    with open(tmp_path / "reviews.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(
            [
                ("review", "stars", "product"),
                *(
                    (f"Number {number} was {'good' if number % 5 > 3 else 'bad'} .", number % 5 + 1, number // 4)
                    for number in range(200)
                ),
            ]
        )
    folder = run_workflow("Documents", 300)
    rows = rows_of(folder / "results/documents/probe_results.csv")
    kinds = {"logistic", "mass_mean", "mass_mean_tilted", "attention", "attention_features"}
    assert {row["target"] for row in rows} == {"spam_is", "cities_true"} and {row["probe"] for row in rows} == kinds
    beside = rows_of(folder / "results/documents_mean/baselines.csv")
    assert {"length", "tf-idf words", "tf-idf characters"} <= {row["baseline"] for row in beside}
    cleaned = rows_of(next((folder / "data/documents/cleaned").glob("*spam_is.csv")))
    assert list(cleaned[0]) == ["prompt", "prompt_len", "target"] and {row["target"] for row in cleaned} == {"0", "1"}
    lengths = load_sequences(folder / "data/documents/train.pth").lengths
    assert (lengths[1:] >= lengths[:-1]).all() and lengths[0] < lengths[-1], "batches are padded more than they need be"
    assert (folder / "data/reviews/test.pth").is_file()


def test_conversations(run_workflow, stories260K, tmp_path):
    from transformers import AutoTokenizer

    model = tmp_path / "model"
    shutil.copytree(stories260K, model, copy_function=shutil.copyfile)
    tokenizer = AutoTokenizer.from_pretrained(stories260K)
    tokenizer.chat_template = chat_data.TRIMS_ANSWERS
    tokenizer.save_pretrained(model)
    write_jsonl(tmp_path / "chats.jsonl", [{**row, "topic": row["id"]} for row in chat_data.conversations(60)])
    folder = run_workflow("Conversations", 60, model)
    assert {row["target"] for row in rows_of(folder / "results/chat_spans/probe_results.csv")} == {"living", "dead", "said"}
    assert len(rows_of(folder / "results/chat_spans/document_scores.csv"))
    assert {row["target"] for row in rows_of(folder / "results/chats/transfer.csv")} == {"label"}
