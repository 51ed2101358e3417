"""Labels of whole sequences: pooled states and attention probes find what the last token does not hold."""

import shutil

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from helpers import assert_one_line_error, assert_success, call, snapshot
from plain_sweep import attend, by_scikit_learn, load_model, probes_of, rows_of, weighted

pytestmark = pytest.mark.slow

SIZES = {"train": (260, 40), "val": (90, 30), "test": (90, 30)}  # negatives, positives: in train one in 7.5
L2 = 0.01
RUNS = {
    "mean": ("--probe", "linear,logistic,mass_mean_tilted", "--layer_sweep", "embed,1", "--control", "--pool", "mean"),
    "max": ("--probe", "linear,logistic", "--layer_sweep", "embed,1", "--pool", "max"),
    "last": ("--probe", "attention,logistic", "--layer_sweep", "embed,2", "--learning_rate", "0.02"),
}


@pytest.fixture(scope="module")
def data(tiny_model, tmp_path_factory):
    """Texts of 6 to 20 words and a full stop. One word of each, anywhere, is the label's: one token says 1, another 0."""
    from utils.base.files import fingerprint
    from utils.data.readers.document import text_hash
    from utils.data.sequences import Sequences, save_sequences
    from utils.data.tokenizer import load_tokenizer, special_frame, tokenizer_fingerprint

    tokenizer, random = load_tokenizer(str(tiny_model)), np.random.default_rng(0)
    words = [token for piece, token in sorted(tokenizer.get_vocab().items()) if piece[:1] == "Ġ" and piece[1:].isalpha()]
    stop, (no, yes) = tokenizer.convert_tokens_to_ids("."), words[:2]
    made, hashes, group = {}, [], 0
    for split, sizes in SIZES.items():
        truth = random.permutation(np.repeat([0, 1], sizes))
        texts = [random.choice(words[2:], random.integers(5, 20)).tolist() for _ in truth]
        for text, label in zip(texts, truth, strict=True):
            text.insert(random.integers(0, len(text) + 1), yes if label else no)
        lengths = np.array([1 + len(text) + 1 for text in texts], dtype=np.int32)
        ids, labels = np.zeros((len(texts), 22), dtype=np.int32), np.full((len(texts), 22), -1, dtype=np.int8)
        for row, (text, length) in enumerate(zip(texts, lengths, strict=True)):
            ids[row, :length] = [tokenizer.bos_token_id, *text, stop]
            labels[row, length - 1] = truth[row]
        numbers = np.arange(len(texts), dtype=np.int32)
        made[split] = Sequences(
            ids,
            lengths,
            labels,
            len(hashes) + numbers,
            group + numbers % 15,
            np.zeros_like(lengths),
            np.zeros(len(texts), dtype=np.int64),
        )
        hashes, group = hashes + [text_hash(tokenizer.decode([*text, stop])) for text in texts], group + 15
    before, after = special_frame(tokenizer)
    folder = tmp_path_factory.mktemp("sequences")
    metadata = {
        "task": "sequence",
        "source": {"dataset": str(folder), "text_column": "text", "language": "en", "max_texts": 1000},
        "model_name": str(tiny_model),
        "tokenizer": {
            "fingerprint": tokenizer_fingerprint(tokenizer),
            "before": before,
            "after": after,
            "vocabulary": len(tokenizer),
        },
        "targets": [{"name": "the word", "token": yes, "piece": tokenizer.convert_ids_to_tokens(yes)}],
        "default_lag": 0,
        "positions": "all",
        "context_length": 20,
        "min_context": 0,
        "prevalence": 0.15,
        "documents": [f"text {number}" for number in range(len(hashes))],
        "document_hashes": hashes,
        "groups": [f"group {number}" for number in range(group)],
        "dataset_fingerprint": fingerprint(*(sequences.content_hash() for sequences in made.values())),
    }
    for split, sequences in made.items():
        sequences.metadata = {**metadata, "split": split}
        with open(folder / f"{split}.pth", "wb") as file:
            save_sequences(file, sequences)
    return folder


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """{pool: folder of models and results}"""
    folders = {}
    for pool, arguments in RUNS.items():
        folders[pool] = folder = tmp_path_factory.mktemp(pool)
        assert_success(
            call(
                "train_probe",
                "--train_data",
                data / "train.pth",
                "--output_dir",
                folder / "models",
                "--results_dir",
                folder / "results",
                "--no_wandb",
                "--l2_grid",
                L2,
                *arguments,
            )
        )
    return folders


@pytest.fixture(scope="module")
def texts(data, tiny_model):
    """{split: (labels, [{layer: states of the text tokens, [tokens, hidden_size]}])}, each sequence read by itself."""
    model, found = load_model(tiny_model), {}
    for split in SIZES:
        payload = torch.load(data / f"{split}.pth", weights_only=True)
        read = []
        for ids, length in zip(payload["input_ids"].long(), payload["lengths"], strict=True):
            states = {"embed": model.model.embed_tokens(ids[:length])}
            hooks = [
                block.register_forward_hook(
                    lambda _module, _inputs, output, layer=layer, states=states: states.update({layer: output[0]})
                )
                for layer, block in enumerate(model.model.layers)
            ]
            with torch.no_grad():
                model.model(ids[None, :length])
            for hook in hooks:
                hook.remove()
            read.append({layer: values[1:].detach().double().numpy() for layer, values in states.items()})
        found[split] = (payload["labels"] == 1).any(1).numpy(), read
    return found


POOLS = {"mean": lambda states: states.mean(0), "max": lambda states: states.max(0), "last": lambda states: states[-1]}


def logits_of(probe, read) -> np.ndarray:
    state = {name: tensor.double().numpy() for name, tensor in probe["state_dict"].items()}
    states = [tokens[probe["metadata"]["layer"]] for tokens in read]
    if probe["metadata"]["kind"] == "attention":
        return np.array([attend(state, tokens) for tokens in states])
    return np.stack([POOLS[probe["metadata"]["pool"]](tokens) for tokens in states]) @ state["weight"] + state["bias"]


@pytest.mark.parametrize("pool", RUNS)
def test_reported_scores_follow_from_the_pooled_states_of_single_sequences(trained, texts, pool):
    probes = probes_of(trained[pool])
    assert len(probes) == {"mean": 6, "max": 4, "last": 4}[pool]
    for path, probe in probes.items():
        assert probe["metadata"]["pool"] == pool and "_current" in path.name
        for split in ("val", "test"):
            labels, read = texts[split]
            logits, reported = logits_of(probe, read), probe["metadata"]["metrics"][split]
            assert reported["auc"] == pytest.approx(roc_auc_score(labels, logits), abs=1e-9)
            assert reported["balanced_accuracy"] == pytest.approx(
                balanced_accuracy_score(labels, logits > probe["metadata"]["threshold"]), abs=1e-9
            )


def test_the_label_is_found_where_tokens_are_pooled_and_not_in_the_last(trained):
    """The last token is the same full stop in every text: before the first block nothing can be read there."""
    auc = {
        (pool, probe["metadata"]["kind"]): probe["metadata"]["metrics"]["test"]["auc"]
        for pool, folder in trained.items()
        for probe in probes_of(folder).values()
        if probe["metadata"]["layer"] == "embed"
    }
    assert auc.pop(("last", "logistic")) == 0.5
    assert min(auc.values()) > 0.85 and auc["last", "attention"] > 0.95, auc


def test_a_positive_counts_as_much_as_all_its_negatives_beyond_the_cap_of_token_tasks(trained, texts):
    labels, read = texts["train"]
    weights = weighted(labels)
    assert weights.max() == 6.5
    states = np.stack([tokens["embed"].mean(0) for tokens in read])
    saved = torch.load(trained["mean"] / "models" / "probe_embed_current_logistic.pth", weights_only=True)
    found = saved["state_dict"]["weight"].numpy()
    for cap, same in ((6.5, True), (5.0, False)):
        expected, _ = by_scikit_learn(states, labels, np.minimum(weights, cap), L2, states.mean(0), states.std(0))
        assert np.allclose(found, expected, atol=1e-3 * np.abs(expected).max()) == same
    for folder in trained.values():
        assert {row["n"] for row in rows_of(folder, "probe_metrics.csv") if row["split"] == "train"} == {"300"}


def test_baselines_read_the_text(trained):
    for folder in trained.values():
        rows = {row["baseline"]: row for row in rows_of(folder, "baselines.csv") if row["split"] == "test"}
        of_tokens = ["majority", "read token", "neighbours", "context", "length"]
        assert list(rows) == [*of_tokens, "tf-idf words", "tf-idf characters"]
        assert float(rows["tf-idf words"]["auc"]) > 0.9 and float(rows["read token"]["auc"]) == 0.5
        assert all(row["best_baseline"].startswith("tf-idf") for row in rows_of(folder, "probe_metrics.csv"))


def test_control_labels_are_dealt_out_among_the_texts(trained):
    """All texts are read at the same token: labels of its type could not be of both classes."""
    for probe in probes_of(trained["mean"]).values():
        of_test = probe["metadata"]["metrics"]["test"]
        assert abs(of_test["control"] - 0.5) < 0.1
        assert of_test["selectivity"] == pytest.approx(of_test["balanced_accuracy"] - of_test["control"])
        assert of_test["selectivity"] > 0.2 or probe["metadata"]["layer"] == 1


def test_another_pool_is_not_mixed_in(trained, data, tmp_path):
    folder = shutil.copytree(trained["mean"], tmp_path / "mean")
    before = snapshot(folder)
    assert_one_line_error(
        call(
            "train_probe",
            "--train_data",
            data / "train.pth",
            "--output_dir",
            folder / "models",
            "--results_dir",
            folder / "results",
            "--layer",
            1,
            "--no_wandb",
        ),
        "pool mean",
        "--output_dir and --results_dir",
        "--overwrite",
    )
    assert snapshot(folder) == before


def test_the_page_leaves_out_what_it_cannot_show_and_says_why(trained, tmp_path):
    (tmp_path / "text.txt").write_text("The old captain opened the door, and the river rose.")

    def visualize(folder):
        return call(
            "visualize_probe",
            "--probe_dir",
            folder,
            "--text_file",
            tmp_path / "text.txt",
            "--output",
            tmp_path / "page.html",
        )

    both = shutil.copytree(trained["last"] / "models", tmp_path / "both")
    shutil.copy(trained["max"] / "models" / "probe_layer1_current_logistic.pth", both)
    shown = assert_success(visualize(both)).stdout
    assert f"'the word', lag 0, logistic, seed 0: 2 probes, {both}/probe_embed_current_logistic.pth" in shown
    assert ("probe_layer1_current_logistic.pth, of --pool max" in shown) != (
        "2_current_logistic.pth, of --pool last" in shown
    )
    assert "probe_layer2_current_attention.pth, of kind 'attention', which has no page yet" in shown
    assert (tmp_path / "page.html").exists()
