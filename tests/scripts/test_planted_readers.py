"""Labels planted in one layer at one lag are found there and nowhere else, through every reader, from file to table."""

import csv
import json

import numpy as np
import pytest
import torch

import planted_model
from helpers import assert_success, call, write_jsonl
from planted_model import LAYERS, PLANTED, PLANTED_LAYER, WORDS
from utils.data.sequences import SPLITS, load_sequences

WINDOW, OVERLAP = 40, 8  # text tokens
FEW_TO_TRAIN = ("--train_ratio", 0.4)  # so that chance moves the scores on test little
TARGET_WORD = int(np.flatnonzero(PLANTED)[5])  # an ordinary word, which carries the label 1


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return planted_model.make(tmp_path_factory.mktemp("planted_model"))


def drawn(seed, number, shortest, longest):
    """Draw documents of evenly distributed words: int arrays of places in WORDS."""
    random = np.random.default_rng(seed)
    return [random.integers(len(WORDS), size=random.integers(shortest, longest + 1)) for _ in range(number)], random


def planted_at(words, lag, random):
    """Return, for each word, what the word at distance `lag` carries, or a fair coin where there is none: int [n]."""
    carried = PLANTED[words]
    place = np.arange(len(words)) + lag
    inside = (place >= 0) & (place < len(words))
    return np.where(inside, carried[np.where(inside, place, 0)], random.integers(2, size=len(words)))


def text_of(words):
    return " ".join(WORDS[words])


def write_spans(folder, lags, shuffled):
    """Write texts with one span per positive word. The spans of the two labels overlap."""
    documents, random = drawn(1, 84, 100, 200)
    rows = []
    for words in documents:
        width, spans = len(WORDS[0]) + 1, []
        for label, lag in lags.items():
            marked = planted_at(words, lag, random)
            marked = random.permutation(marked) if shuffled else marked
            spans += [[width * place, width * place + width - 1, label] for place in np.flatnonzero(marked).tolist()]
        rows.append({"text": text_of(words), "spans": spans})
    return write_jsonl(folder / "spans.jsonl", rows)


def write_chains(folder, lags, shuffled):
    """Write problems, each with a chain in which every word is marked: runs of positive words alternate with others."""
    ((label, lag),) = lags.items()
    documents, random = drawn(2, 84, 100, 200)
    rows = []
    for words in documents:
        chain, problem = words[10:], words[:10]
        marked = planted_at(words, lag, random)[10:]
        marked = random.permutation(marked) if shuffled else marked
        runs = np.split(np.arange(len(chain)), np.flatnonzero(np.diff(marked)) + 1)
        annotated = "".join(
            f'["{label if marked[run[0]] else "deduction"}"]{text_of(chain[run])}["end-section"]' for run in runs
        )
        rows.append({"problem": text_of(problem), "reasoning_chain": text_of(chain), "annotated_chain": annotated})
    path = folder / "chains.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def write_documents(folder, lags, shuffled):
    """Write texts of up to three times the length of a window, whose last words alone tell the label."""
    ((label, lag),) = lags.items()
    documents, random = drawn(3, 7000, 9, 24)
    labels = np.array([PLANTED[words[lag - 1]] for words in documents])
    labels = random.permutation(labels) if shuffled else labels
    path = folder / "documents.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", label), *zip(map(text_of, documents), labels, strict=True)])
    return path


def write_texts(folder, lags, shuffled):
    """Write texts in which the target stands exactly where the word at distance `lag` carries a 0, which is rare.

    The chance of a word that carries a 0 makes the target as frequent as each of the words that carry a 1: the target
    is one of them in every layer but the planted one.
    """
    (lag,) = lags.values()
    random = np.random.default_rng(4)
    seldom, often = np.flatnonzero(PLANTED == 0), np.setdiff1d(np.flatnonzero(PLANTED), TARGET_WORD)
    for number in range(50):
        words = random.choice(often, 900)
        zeros = random.random(len(words)) < 1 / (1 + len(often))
        words[zeros] = random.choice(seldom, int(zeros.sum()))
        for place in range(-lag, len(words)):
            target_here = random.random() < 1 / (2 + len(often)) if shuffled else PLANTED[words[place + lag]] == 0
            words[place] = TARGET_WORD if target_here else words[place]
        (folder / f"text{number}.txt").write_text(text_of(words), encoding="utf-8")
    return folder


MARKED_TEXT = ("--context_length", WINDOW - 1, "--overlap", OVERLAP)
READERS = {  # how the file is made, {target: its lag}, lags that are read, the flags of prepare_data
    "spans": (write_spans, {"north": 2, "south": -3}, range(-3, 4), MARKED_TEXT),
    "chains": (write_chains, {"backtracking": -4}, (-8, -4, -2, -1, 0, 1, 4), (*MARKED_TEXT, "--label", "backtracking")),
    "documents": (
        write_documents,
        {"truth": -1},
        range(-4, 1),
        ("--context_length", 7, "--truncation_side", "left", "--label_column", "truth"),
    ),
    "token": (
        write_texts,
        {WORDS[TARGET_WORD]: -2},
        (-5, -3, -2, -1, 1),
        ("--context_length", WINDOW - 1, "--positions", "all", "--min_context", 4, "--target_token", WORDS[TARGET_WORD]),
    ),
}


def sweep(task, folder, model, shuffled):
    """Run the three scripts on a planted file; return {(target, layer, lag): AUROC on test} of all layers and lags."""
    make, lags, read, flags = READERS[task]
    (folder / "input").mkdir()
    path = make(folder / "input", lags, shuffled)
    assert_success(
        call(
            "prepare_data",
            "--task",
            task,
            "--dataset" if task == "token" else "--input",
            path,
            "--model_name",
            model,
            "--output_dir",
            folder / "data",
            *FEW_TO_TRAIN,
            *flags,
        )
    )
    assert_success(call("inspect_data", "--data_path", folder / "data" / "train.pth", "--num_samples", 1))
    assert_success(
        call(
            "train_probe",
            "--train_data",
            folder / "data" / "train.pth",
            "--lags",
            ",".join(map(str, read)),
            "--layer_sweep",
            "all",
            "--probe",
            "logistic",
            "--l2_grid",
            "0.001",
            "--batch_size",
            256,
            "--output_dir",
            folder / "models",
            "--results_dir",
            folder / "results",
            "--no_wandb",
        )
    )
    with open(folder / "results" / "probe_results.csv", newline="", encoding="utf-8") as file:
        found = {(row["target"], row["layer"], int(row["lag"])): float(row["test_auc"]) for row in csv.DictReader(file)}
    assert set(found) == {(target, layer, lag) for target in lags for layer in LAYERS for lag in read}
    return found


def windows_of_documents(folder):
    """Return the text tokens of the longest window, and the smallest number of windows that a document has."""
    splits = [load_sequences(folder / f"{name}.pth") for name in SPLITS]
    counts = [
        np.unique(np.unique(np.stack([split.documents, split.starts]), axis=1)[0], return_counts=True)[1] for split in splits
    ]
    return max(int(split.lengths.max()) for split in splits) - 1, min(int(found.min()) for found in counts)


def test_the_model_holds_the_label_in_one_block_and_in_no_other_state(model):
    """Ask transformers itself, with hooks on the blocks, because output_hidden_states does not show all of them."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    loaded, states = AutoModelForCausalLM.from_pretrained(model).eval(), []
    for block in loaded.model.layers:
        block.register_forward_hook(lambda _module, _inputs, output: states.append(output))
    words = np.random.default_rng(0).permuted(np.tile(np.arange(len(WORDS)), (4, 1)), axis=1)
    encoded = AutoTokenizer.from_pretrained(model)([text_of(row) for row in words], return_tensors="pt")
    with torch.no_grad():
        shown = loaded(**encoded, output_hidden_states=True).hidden_states
    carried = torch.tensor(1 - 2 * PLANTED[words], dtype=torch.float32)
    for layer, state in zip(LAYERS, (shown[0], *states, shown[-1]), strict=True):
        expected = shown[0][:, 1:].clone()  # behind BOS
        expected[..., planted_model.XOR] = carried if layer == str(PLANTED_LAYER) else 1
        assert torch.equal(state[:, 1:], expected), layer
        correlated = torch.nonzero(expected[0].T @ carried[0]).flatten().tolist()
        assert correlated == ([planted_model.XOR] if layer == str(PLANTED_LAYER) else []), layer


@pytest.mark.parametrize("task", READERS)
@pytest.mark.slow
def test_found_at_its_layer_and_lag_and_nowhere_else(task, model, tmp_path):
    lags = READERS[task][1]
    found = sweep(task, tmp_path, model, shuffled=False)
    there = {target: found.pop((target, str(PLANTED_LAYER), lag)) for target, lag in lags.items()}
    assert min(there.values()) > 0.99, there
    assert not told(found), told(found)
    width, windows = windows_of_documents(tmp_path / "data")
    if task == "documents":  # one window each, of a text that is longer
        metadata = json.loads((tmp_path / "data" / "metadata.json").read_text(encoding="utf-8"))
        assert (width, windows, metadata["truncated"]["texts"]) == (8, 1, len(metadata["documents"]))
    else:
        assert width == WINDOW and windows >= 4


@pytest.mark.parametrize("task", READERS)
@pytest.mark.slow
def test_nothing_is_found_once_the_labels_are_shuffled(task, model, tmp_path):
    found = sweep(task, tmp_path, model, shuffled=True)
    assert not told(found), told(found)


def told(found):
    """Return the cells whose scores differ from chance, undefined scores included."""
    return {cell: value for cell, value in found.items() if not abs(value - 0.5) < 0.05}
