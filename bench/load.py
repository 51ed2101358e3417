"""Measure what texts, documents, targets, rows of a table and probes in a folder cost, at three sizes each.

    python bench/load.py            # small sizes, minutes
    python bench/load.py --full     # 1 GB of text, 200,000 documents, 2,000 targets, a million rows, 5,000 probes

Seconds are the processor's. Each size is twice the one before. Every step is a process of its own, with a peak
of its own. The tokenizer splits at spaces, so most of what is measured is the suite's own.
"""

import argparse
import csv
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]
FULL = {"text": 1000, "documents": 200_000, "targets": 2000, "rows": 1_000_000, "probes": 5000}  # MB of text
SMALL = {"text": 40, "documents": 4000, "targets": 200, "rows": 40_000, "probes": 200}


def measured(script, *arguments) -> tuple[float, float]:
    """Run a script. Return the processor's seconds, which others on the machine change little, and its peak memory in MB."""
    command = [sys.executable, ROOT / "bench" / "used.py", ROOT / "scripts" / f"{script}.py", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "scripts"), "HF_HUB_OFFLINE": "1"}
    result = subprocess.run(command, text=True, capture_output=True, env=environment)
    if result.returncode:
        raise SystemExit(f"{script}: {result.stderr[-2000:]}")
    seconds, peak = map(float, result.stdout.rsplit("used ", 1)[1].split())
    return seconds, peak


def words(seed, count) -> str:
    draw = random.Random(seed)
    return " ".join(draw.choices(VOCABULARY, k=count))


VOCABULARY = [f"w{number}" for number in range(2000)] + ["the"] * 100


def make_model(folder):
    """A random model of one layer, and a tokenizer that knows the words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from helpers import make_model as make

    numbers = {word: number for number, word in enumerate(dict.fromkeys(["<unk>", *VOCABULARY]))}
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>").save_pretrained(folder)
    make(folder, len(numbers), num_hidden_layers=1)
    return folder


def of_text(size, folder, model):
    """One .txt of `size` MB beside four short ones."""
    texts = folder / "texts"
    texts.mkdir()
    for number in range(4):
        (texts / f"short{number}.txt").write_text(words(number, 20_000))
    block = "\n\n".join(words(number, 100) for number in range(10, 2000)) + "\n\n"
    with open(texts / "long.txt", "w") as file:
        for _ in range(max(1, round(size * 1e6 / len(block)))):
            file.write(block)
    few = ("--context_length", 32, "--max_chunks_per_class", 1000)
    return measured("prepare_data", "--dataset", texts, "--model_name", model, "--target_token", "the", *few, *out(folder))


def out(folder):
    return "--output_dir", folder / "data"


def of_documents(size, folder, model):
    """A CSV file of `size` short texts with a label each."""
    with open(folder / "texts.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label"))
        writer.writerows((words(number, 20), number % 2) for number in range(size))
    asked = ("--task", "documents", "--input", folder / "texts.csv", "--model_name", model, "--context_length", 32)
    return measured("prepare_data", *asked, *out(folder))


def of_targets(size, folder, model):
    """300 texts with spans of `size` labels, each label in 30 of them."""
    draw, labels = random.Random(0), [f"label {number}" for number in range(size)]
    with open(folder / "spans.jsonl", "w") as file:
        for number in range(300):
            text = words(number, 400)
            spans = [
                {"start": 5 * place, "end": 5 * place + 4, "label": label}
                for label in draw.sample(labels, size // 10)
                for place in [draw.randrange(300)]
            ]
            file.write(json.dumps({"text": text, "spans": spans}) + "\n")
    asked = ("--task", "spans", "--input", folder / "spans.jsonl", "--model_name", model, "--context_length", 64)
    return measured("prepare_data", *asked, *out(folder))


def of_rows(size, folder, _model):
    """probe_metrics.csv of `size` rows: 10 targets, 5 penalties, 3 splits; what is chosen of them in probe_results.csv."""
    from utils.saved.columns import COLUMNS, METRICS
    from utils.saved.tables import summary

    rows = []
    for number in range(size // 15):
        place = {"target": f"t{number % 10}", "layer_idx": number // 10 % 50, "lag": -(number // 500 % 8), "probe": "linear"}
        for penalty in range(5):
            for split in ("train", "val", "test"):
                own = {"seed": number // 4000, "l2": penalty, "split": split, "chosen": int(penalty == 0)}
                rows.append({**place, **own, "auc": 0.7, "balanced_accuracy": 0.6, "f1": 0.5, "n": 100, "pos_ratio": 0.5})
    columns, chosen = summary(row | dict.fromkeys(set(COLUMNS[METRICS]) - set(row), "") for row in rows)
    for name, names, written in ((METRICS, COLUMNS[METRICS], rows), ("probe_results.csv", columns, chosen)):
        with open(folder / name, "w", newline="") as file:
            writer = csv.DictWriter(file, names, restval="")
            writer.writeheader()
            writer.writerows(written)
    return measured("visualize_results", "--results_dir", folder, "--output_dir", folder / "pages")


def of_probes(size, folder, model):
    """A folder of `size` probes, evaluated on one small dataset."""
    import torch

    texts = folder / "texts"
    texts.mkdir()
    for number in range(8):
        (texts / f"{number}.txt").write_text(words(number, 5000))
    few = ("--context_length", 32, "--max_chunks_per_class", 100, "--target_token", "the")
    measured("prepare_data", "--dataset", texts, "--model_name", model, *few, *out(folder))
    asked = ("--train_data", folder / "data" / "train.pth", "--layer", 0, "--epochs", 1, "--no_wandb")
    models = folder / "models"
    measured("train_probe", *asked, "--output_dir", models, "--results_dir", folder / "results")
    (path,) = models.glob("probe_*.pth")
    probe = torch.load(path, weights_only=True)
    for seed in range(1, size):
        torch.save({**probe, "metadata": {**probe["metadata"], "seed": seed}}, models / f"{path.stem}_seed{seed}.pth")
    data = ("--data", folder / "data" / "test.pth", "--results_dir", folder / "transfer")
    return measured("evaluate_probe", "--probe_dir", models, *data)


LINES = {"text": of_text, "documents": of_documents, "targets": of_targets, "rows": of_rows, "probes": of_probes}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="the sizes of docs/measured.md")
    parser.add_argument("--lines", nargs="+", choices=tuple(LINES), default=tuple(LINES), help="which lines of the table")
    arguments = parser.parse_args()
    largest = FULL if arguments.full else SMALL
    print("| what | size | seconds | times | peak MB | times |\n| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as place:
        model = make_model(Path(place) / "model")
        for line in arguments.lines:
            before = None
            for size in (largest[line] // 4, largest[line] // 2, largest[line]):
                with tempfile.TemporaryDirectory(dir=place) as folder:
                    found = LINES[line](size, Path(folder), model)
                times = [f"{now / then:.2f}" for now, then in zip(found, before, strict=True)] if before else ["", ""]
                print(f"| {line} | {size:,} | {found[0]:.1f} | {times[0]} | {found[1]:.0f} | {times[1]} |", flush=True)
                before = found


if __name__ == "__main__":
    main()
