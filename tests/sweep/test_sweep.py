"""One sweep over all kinds of probe, lags, seeds and penalties: what it saves and reports, against transformers' own states
and attentions, scikit-learn, and scores computed anew.
"""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors import safe_open
from scipy.stats import t
from sklearn.metrics import balanced_accuracy_score, roc_auc_score, roc_curve

from helpers import assert_one_line_error, assert_success, call, make_model, sign, snapshot
from plain_sweep import attend, by_scikit_learn, load_model, probes_of, rows_of, weighted

pytestmark = pytest.mark.slow

KINDS = ("linear", "logistic", "mass_mean", "mass_mean_tilted", "mlp", "attention", "attention_features")
LAYERS, LAGS, SEGMENTS = [0, 2, "final_norm"], (-2, -1), 4  # 2 is the last block, which hidden_states do not show
PENALTIES = (0.1, 0.01, 0.0001)
OF_SEEDS = {"linear", "mlp", "attention"}  # kinds that begin with random weights
INTERVALS = ("auc_low", "auc_high", "balanced_accuracy_low", "balanced_accuracy_high")


@pytest.fixture(scope="module")
def data(prepared, tmp_path_factory):
    """Half of train's positives lose their label, and the one text of val, and that of test, become five groups."""
    folder = shutil.copytree(prepared, tmp_path_factory.mktemp("unbalanced") / "data")
    for name in ("train", "val", "test"):
        payload = torch.load(folder / f"{name}.pth", weights_only=True)
        if name == "train":
            payload["labels"][torch.nonzero((payload["labels"] == 1).any(1))[::2, 0]] = -1
        else:
            payload["groups"] += torch.arange(len(payload["groups"])) % 5 * 100
            payload["metadata"]["groups"] = [f"group {number}" for number in range(500)]
        torch.save(payload, folder / f"{name}.pth")
    sign(folder)
    return folder


@pytest.fixture(scope="module")
def model(tiny_model, tmp_path_factory):
    """The tiny model with other weights: those of tiny_model itself are what training would start from."""
    folder = shutil.copytree(tiny_model, tmp_path_factory.mktemp("model") / "model")
    changed = make_model(folder, 420)
    torch.manual_seed(7)
    with torch.no_grad():
        for parameter in changed.parameters():
            parameter.mul_(1 + 0.5 * torch.randn_like(parameter)).add_(0.1 * torch.randn_like(parameter))
    changed.save_pretrained(folder)
    return folder


def train(data, model, folder, *arguments):
    return call(
        "train_probe",
        "--train_data",
        data / "train.pth",
        "--model_name",
        model,
        "--output_dir",
        folder / "models",
        "--results_dir",
        folder / "results",
        "--no_wandb",
        *arguments,
    )


@pytest.fixture(scope="module")
def trained(data, model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    assert_success(
        train(
            data,
            model,
            folder,
            "--probe",
            ",".join(KINDS),
            "--lags",
            ",".join(map(str, LAGS)),
            "--layer_sweep",
            ",".join(map(str, LAYERS)),
            "--train_seeds",
            "0,1",
            "--epochs",
            2,
            "--l2_grid",
            ",".join(map(str, PENALTIES)),
            "--control",
            "--random_weights",
            "--learning_curve",
            "--codelength",
            "--refit_bootstrap",
            20,
            "--export",
            folder / "export",
        )
    )
    return folder


class Outputs:
    """What transformers gives for the labelled sequences of one file: states {layer: [n, tokens, hidden_size]}, attentions,
    a [n, heads, tokens, tokens] for each layer; labels, groups, and the position of the label.
    """

    def __init__(self, path, model):
        payload = torch.load(path, weights_only=True)
        kept, self.position = (part.numpy() for part in torch.nonzero(payload["labels"] >= 0, as_tuple=True))
        self.labels, self.groups = payload["labels"].numpy()[kept, self.position], payload["groups"].numpy()[kept]
        states = {}
        hooks = [
            block.register_forward_hook(lambda _module, _inputs, output, layer=layer: states.update({layer: output}))
            for layer, block in enumerate(model.model.layers)
        ]
        with torch.no_grad():
            output = model.model(payload["input_ids"][kept].long(), output_attentions=True)
        for hook in hooks:
            hook.remove()
        states["final_norm"] = output.last_hidden_state
        self.states = {layer: values.double().numpy() for layer, values in states.items()}
        self.attentions = [weights.double().numpy() for weights in output.attentions]

    def at(self, layer, lag):
        return self.states[layer][np.arange(len(self.labels)), self.position + lag]


@pytest.fixture(scope="module")
def outputs(data, model):
    loaded = load_model(model)
    return {name: Outputs(data / f"{name}.pth", loaded) for name in ("train", "val", "test")}


def logits_of(probe, found, lag) -> np.ndarray:
    """A saved probe by its formula, on the states or attentions of the token that the lag names."""
    state = {name: tensor.double().numpy() for name, tensor in probe["state_dict"].items()}
    kind, layer = probe["metadata"]["kind"], probe["metadata"]["layer"]
    if kind == "attention_features":
        features = [
            attention_features([weights[row, :, read] for weights in found.attentions], read)
            for row, read in enumerate(found.position + lag)
        ]
        return np.stack(features) @ state["weight"] + state["bias"]
    if kind == "mlp":
        hidden = np.maximum(found.at(layer, lag) @ state["hidden.weight"].T + state["hidden.bias"], 0)
        return hidden @ state["out.weight"] + state["out.bias"]
    if kind == "attention":
        return np.array(
            [
                attend(state, states[1 : read + 1])
                for states, read in zip(found.states[layer], found.position + lag, strict=True)
            ]
        )
    return found.at(layer, lag) @ state["weight"] + state["bias"]


def attention_features(weights, read):
    """[layers * heads * SEGMENTS] from a [heads, tokens] for each layer: of all that is looked at up to the token, the part
    that comes before a cut, read off its straight-line sum; the first token is BOS.
    """
    result, cuts = [], np.arange(SEGMENTS + 1) * read / SEGMENTS
    for head in np.concatenate(weights)[:, 1 : read + 1]:
        before = np.concatenate([[0], np.cumsum(head + 1e-6 / read)])
        result.append(SEGMENTS * np.diff(np.interp(cuts, np.arange(read + 1), before)) / before[-1])
    return np.concatenate(result)


@pytest.mark.parametrize("kind", KINDS)
def test_reported_scores_follow_from_the_saved_probe(trained, outputs, kind):
    probes = [probe for probe in probes_of(trained).values() if probe["metadata"]["kind"] == kind]
    layers, seeds = 1 if kind == "attention_features" else len(LAYERS), 2 if kind in OF_SEEDS else 1
    assert len(probes) == layers * seeds * len(LAGS)
    for probe in probes:
        metadata, found = probe["metadata"], [outputs[split] for split in ("val", "test")]

        def scores(lag, probe=probe, threshold=metadata["threshold"], found=found):
            logits = [logits_of(probe, one, lag) for one in found]
            return [
                score
                for one, values in zip(found, logits, strict=True)
                for score in (balanced_accuracy_score(one.labels, values > threshold), roc_auc_score(one.labels, values))
            ]

        reported = [metadata["metrics"][split][name] for split in ("val", "test") for name in ("balanced_accuracy", "auc")]
        assert scores(metadata["lag"]) == pytest.approx(reported, abs=1e-9)
        false_positive, true_positive, _ = roc_curve(found[0].labels, logits_of(probe, found[0], metadata["lag"]))
        assert reported[0] == pytest.approx((1 + (true_positive - false_positive).max()) / 2), "validation's threshold"
        assert scores(metadata["lag"] - 3) != pytest.approx(reported, abs=1e-9), "any state would do"


def test_one_penalty_is_chosen_of_each_fit_and_it_ranks_best_on_validation(trained):
    rows = rows_of(trained, "probe_metrics.csv")
    fits = {}
    for row in rows:
        fit = fits.setdefault(tuple(row[name] for name in ("target", "layer_idx", "lag", "probe", "seed")), {})
        fit.setdefault(row["l2"], {})[row["split"]] = row
    assert len(rows) == len({(key, l2, split) for key, fit in fits.items() for l2 in fit for split in fit[l2]})
    for (*_, kind, _), fit in fits.items():
        expected = {
            "mass_mean": {""},
            "logistic": set(map(str, PENALTIES)),
            "attention_features": set(map(str, PENALTIES)),
            "mass_mean_tilted": {""},
        }.get(kind, {"0.0001"})
        assert set(fit) == expected and all(set(splits) == {"train", "val", "test"} for splits in fit.values())
        chosen = [l2 for l2, splits in fit.items() if {row["chosen"] for row in splits.values()} == {"1"}]
        others = [l2 for l2, splits in fit.items() if {row["chosen"] for row in splits.values()} == {"0"}]
        assert len(chosen) == 1 and len(others) == len(fit) - 1
        assert float(fit[chosen[0]]["val"]["auc"]) == max(float(splits["val"]["auc"]) for splits in fit.values())
        for l2, splits in fit.items():
            for row in splits.values():
                names = ["control", "selectivity", "best_baseline", *INTERVALS]
                if sorted((row["pos_accuracy"], row["neg_accuracy"])) == ["0.0", "1.0"]:  # one answer for all: .5 always
                    names = [name for name in names if not name.startswith("balanced_accuracy")]
                there = {row[name] != "" for name in names}
                assert there == {l2 in chosen}, [row[name] for name in names]
    kept = {(*key, l2) for key, fit in fits.items() for l2, splits in fit.items() if splits["val"]["chosen"] == "1"}
    summary = {
        tuple(row[name] for name in ("target", "layer", "lag", "probe", "seed", "l2")): row
        for row in rows_of(trained, "probe_results.csv")
    }
    assert set(summary) == kept and len(probes_of(trained)) == len(kept)
    for row in rows:
        if row["chosen"] == "1":
            one = summary[tuple(row[name] for name in ("target", "layer_idx", "lag", "probe", "seed", "l2"))]
            assert all(one[f"{row['split']}_{name}"] == row[name] for name in (*INTERVALS, "auc", "selectivity", "brier"))


def test_logistic_probes_are_scikit_learns_at_every_penalty(trained, outputs):
    states, labels = outputs["train"].at(2, -1), outputs["train"].labels
    assert weighted(labels).max() == pytest.approx(2, abs=0.1)
    saved = torch.load(trained / "models" / "probe_layer2_next_logistic.pth", weights_only=True)
    rows = {
        (float(row["l2"]), row["split"]): row
        for row in rows_of(trained, "probe_metrics.csv")
        if (row["probe"], row["layer_idx"], row["lag"]) == ("logistic", "2", "-1")
    }
    assert len(rows) == 9
    for l2 in PENALTIES:
        weight, bias = by_scikit_learn(states, labels, weighted(labels), l2, states.mean(0), states.std(0))
        for split, found in outputs.items():
            expected = roc_auc_score(found.labels, found.at(2, -1) @ weight + bias)
            assert float(rows[l2, split]["auc"]) == pytest.approx(expected, abs=1e-3)
        if rows[l2, "val"]["chosen"] == "1":
            assert np.allclose(saved["state_dict"]["weight"], weight, rtol=1e-3, atol=1e-4 * np.abs(weight).max())
            assert float(saved["state_dict"]["bias"]) == pytest.approx(bias, rel=1e-3)
            assert saved["metadata"]["l2"] == l2 and saved["metadata"]["converged"]


def test_fits_that_a_seed_cannot_change_are_run_once(trained):
    seeds = {kind: {row["seed"] for row in rows_of(trained, "probe_metrics.csv") if row["probe"] == kind} for kind in KINDS}
    assert seeds == {kind: {"0", "1"} if kind in OF_SEEDS else {"0"} for kind in KINDS}


@pytest.mark.parametrize(
    "arguments, sizes",
    [
        (("--class_balance", "downsample"), None),
        (("--negatives_per_doc", 8), (48, None)),
        (("--max_train_docs", 3), None),
        (("--max_train_tokens", 60), (40, 20)),
        (("--token_matched_negatives", "--negatives_per_doc", 4), (24, None)),
    ],
)
def test_where_samples_differ_each_seed_has_the_fit_of_its_own(data, model, outputs, tmp_path, arguments, sizes):
    """Checked of a probe whose weight is a difference of means, so that every example that should not be there tells."""
    from train_probe import parse
    from utils.data.sequences import load_sequences
    from utils.states.positions import examples_at
    from utils.sweep.flags import sampling_of
    from utils.sweep.questions import DataFiles
    from utils.sweep.sampling import draw_sample

    assert_success(train(data, model, tmp_path, "--probe", "mass_mean", "--layer", 0, "--train_seeds", "3,4", *arguments))
    sequences, found = load_sequences(data / "train.pth"), outputs["train"]
    targets = DataFiles(str(data / "train.pth")).load_targets()
    settings = sampling_of(parse([str(argument) for argument in arguments]), targets)
    weights = []
    for seed in (3, 4):
        kept = draw_sample(examples_at(sequences, -1), sequences, settings, seed)
        states, labels = found.at(0, -1)[kept], found.labels[kept]
        expected = states[labels == 1].mean(0) - states[labels == 0].mean(0)
        probe = torch.load(tmp_path / "models" / f"probe_layer0_next_mass_mean_seed{seed}.pth", weights_only=True)
        weights.append(probe["state_dict"]["weight"].numpy())
        np.testing.assert_allclose(weights[-1], expected, rtol=1e-4, atol=1e-5)
        of_train = probe["metadata"]["metrics"]["train"]
        assert (of_train["n"], of_train["tp"] + of_train["fn"]) == (len(kept), (labels == 1).sum())
        assert sizes is None or all(size in (None, (labels == label).sum()) for label, size in enumerate(sizes))
    assert not np.allclose(*weights, rtol=1e-4, atol=1e-5)


def synthetic(split, contextual):
    """Tokens of 20 types, their vectors in layer embed, and a coin that fell at each token in layer 0. The label is the
    type's own, or the coin.
    """
    from utils.data.sequences import Sequences

    random = np.random.default_rng(["train", "val", "test"].index(split))
    types, coins = random.integers(0, 20, size=(60, 12)), random.integers(0, 2, size=(60, 12))
    labels = (coins if contextual else types % 2).astype(np.int8)
    vectors = np.random.default_rng(9).normal(size=(20, 24))
    context = random.normal(size=(60, 12, 24))
    context[..., 5] += 8.0 * coins
    number, first = np.zeros(60, dtype=np.int32), 10 * ["train", "val", "test"].index(split)
    sequences = Sequences(
        types.astype(np.int32),
        number + 12,
        labels,
        number,
        (first + np.arange(60) % 10).astype(np.int32),
        number,
        number.astype(np.int64),
        {"tokenizer": {"before": [], "after": []}, "targets": [{"name": "coin"}], "prevalence": 0.5, "of_several": False},
    )
    return sequences, torch.tensor(np.stack([vectors[types], context])).float().flatten(1, 2)


def synthetic_sweep(contextual):
    """{(kind, layer): metrics by split}"""
    from train_probe import parse
    from utils.base.tracking import NoTracking
    from utils.scores.baselines.compared import all_token_baselines
    from utils.scores.baselines.context import Surroundings
    from utils.states.positions import Question, ReadPlan, examples_at
    from utils.states.source import Source
    from utils.states.store import StateTable
    from utils.sweep.flags import fitting_of
    from utils.sweep.sampling import Sampling
    from utils.sweep.sweep import answer
    from utils.sweep.tracked_runs import Runs

    arguments = parse(["--probe", "mass_mean_tilted,linear", "--control", "5", "--epochs", "10", "--learning_rate", "0.01"])
    made = {split: synthetic(split, contextual) for split in ("train", "val", "test")}
    splits = {split: sequences for split, (sequences, _) in made.items()}
    examples = {split: examples_at(sequences, 0) for split, sequences in splits.items()}
    tables = {
        split: StateTable(["embed", 0], [{"states": states, "own": torch.full((720,), torch.nan)}])
        for split, (_, states) in made.items()
    }
    source = Source(tables, {split: ReadPlan.union([those]).rows(those) for split, those in examples.items()})
    fitting = fitting_of(arguments, Sampling())
    question = Question(0, 0, splits, examples, np.ones((720, 1), dtype=bool))
    sweep = answer(
        question,
        source,
        None,
        fitting,
        all_token_baselines(examples["train"], examples, splits, Surroundings(np.zeros(99, dtype=bool), causal=True)),
        lambda kind: Runs(NoTracking(), None, {}, kind, question, ["embed", 0], fitting),
    )
    return {(probe.kind, probe.layer): probe.metrics for probe in sweep.chosen}


def test_selectivity_tells_a_label_of_the_token_from_one_of_its_context():
    of_token, of_context = synthetic_sweep(False), synthetic_sweep(True)
    for kind in ("mass_mean_tilted", "linear"):
        known, found = of_token[kind, "embed"]["test"], of_context[kind, 0]["test"]
        assert known["balanced_accuracy"] > 0.95 and found["balanced_accuracy"] > 0.95
        assert abs(known["selectivity"]) < 0.05 and abs(found["selectivity"] - 0.5) < 0.1
        assert of_context[kind, "embed"]["test"]["selectivity"] < -0.35, "control labels are what the types tell"
        for metrics in (*of_token.values(), *of_context.values()):
            assert all(
                scores["selectivity"] == pytest.approx(scores["balanced_accuracy"] - scores["control"])
                for scores in metrics.values()
            )
        assert known["best_baseline"] == "read token" and known["minus_baseline"] == pytest.approx(0, abs=0.02)
        assert found["minus_baseline"] > 0.3


def test_every_probe_is_paired_with_the_baseline_that_is_best_on_validation(trained, data, outputs, tiny_model):
    from utils.data.sequences import load_sequences
    from utils.data.tokenizer import load_tokenizer, sentence_ends
    from utils.scores.baselines.compared import all_token_baselines
    from utils.scores.baselines.context import Surroundings
    from utils.states.positions import examples_at

    splits = {name: load_sequences(data / f"{name}.pth") for name in ("train", "val", "test")}
    ids = np.unique(np.concatenate([sequences.input_ids for sequences in splits.values()]))
    surroundings = Surroundings(sentence_ends(load_tokenizer(str(tiny_model)), ids), causal=True)
    for lag in LAGS:
        baselines = {
            (row["baseline"], row["split"]): row
            for row in rows_of(trained, "baselines.csv")
            if row["lag"] == str(lag) and row["baseline"] != "random weights"
        }
        assert ("own probability", "test") in baselines if lag == -1 else ("own probability", "test") not in baselines
        best = max((row for row in baselines.values() if row["split"] == "val"), key=lambda row: float(row["auc"]))
        best = best["baseline"]
        examples = {name: examples_at(sequences, lag) for name, sequences in splits.items()}
        logits = all_token_baselines(examples["train"], examples, splits, surroundings)[best]
        chosen = {
            (row["layer_idx"], row["probe"], row["seed"], row["split"]): row
            for row in rows_of(trained, "probe_metrics.csv")
            if row["lag"] == str(lag) and row["chosen"] == "1"
        }
        assert {row["best_baseline"] for row in chosen.values()} == {best}
        assert {row["minus_baseline"] for row in chosen.values() if row["split"] == "train"} == {""}
        for probe in probes_of(trained).values():
            metadata = probe["metadata"]
            if metadata["lag"] != lag or metadata["kind"] not in ("mass_mean", "mlp"):
                continue
            for split in ("val", "test"):
                found = outputs[split]
                ours, theirs = logits_of(probe, found, lag), logits[split]

                def difference(kept, ours=ours, theirs=theirs, labels=found.labels):
                    return roc_auc_score(labels[kept], ours[kept]) - roc_auc_score(labels[kept], theirs[kept])

                row = chosen[str(metadata["layer"]), metadata["kind"], str(metadata["seed"]), split]
                value, other = difference(found.groups >= 0), baselines[best, split]
                assert float(row["minus_baseline"]) == pytest.approx(value, abs=1e-9)
                low, high = float(row["minus_baseline_low"]), float(row["minus_baseline_high"])
                assert float(row["auc_low"]) - float(other["auc_high"]) <= low < value  # no wider than if all errors add
                assert value < high <= float(row["auc_high"]) - float(other["auc_low"])


def test_random_weights_are_those_that_training_would_start_from(trained, data, tiny_model):
    """tiny_model holds what transformers draws from seed 0; a difference of means on its states is known without a fit."""
    rows = {
        (row["probe"], row["layer_idx"], row["lag"], row["seed"], row["split"]): row
        for row in rows_of(trained, "baselines.csv")
        if row["baseline"] == "random weights"
    }
    loaded = load_model(tiny_model)
    found = {name: Outputs(data / f"{name}.pth", loaded) for name in ("train", "test")}
    for layer in LAYERS:
        for lag in LAGS:
            states, labels = found["train"].at(layer, lag), found["train"].labels
            weight = states[labels == 1].mean(0) - states[labels == 0].mean(0)
            expected = roc_auc_score(found["test"].labels, found["test"].at(layer, lag) @ weight)
            row = rows["mass_mean", str(layer), str(lag), "0", "test"]
            assert float(row["auc"]) == pytest.approx(expected, abs=1e-9)
    chosen = {
        (row["probe"], row["layer_idx"], row["lag"], row["seed"], row["split"]): row
        for row in rows_of(trained, "probe_metrics.csv")
        if row["chosen"] == "1"
    }
    assert set(rows) == set(chosen)
    beside = {key: max(0.5, float(row["auc"])) for key, row in rows.items()}  # below chance it counts from chance
    differences = {key: float(row["auc"]) - beside[key] for key, row in chosen.items() if key[-1] != "train"}
    assert all(float(chosen[key]["minus_random_weights"]) == pytest.approx(value) for key, value in differences.items())
    assert np.median(np.abs(list(differences.values()))) > 0.01


def test_later_runs_add_to_the_tables_and_replace_what_they_do_anew(trained, data, model, tiny_model, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "copy")
    key = ("layer_idx", "lag", "probe", "seed", "l2", "split")

    def table():
        return {tuple(row[name] for name in key): row for row in rows_of(folder, "probe_metrics.csv")}

    before, files = table(), snapshot(folder / "models")
    assert_success(train(data, model, folder, "--layer", 0, "--train_seeds", "2,3", "--probe", "linear,mass_mean"))
    after = table()
    assert {name: after[name] for name in before} == before
    assert {name[2:4] for name in set(after) - set(before)} == {("linear", "2"), ("linear", "3"), ("mass_mean", "2")}
    now = snapshot(folder / "models")
    assert {name: now[name] for name in files} == files and len(now) == len(files) + 3
    assert_success(train(data, model, folder, "--layer", 0, "--seed", 1, "--weight_decay", 0.5))
    again = table()
    assert {name[:5] for name in set(after) - set(again)} == {("0", "-1", "linear", "1", "0.0001")}
    assert {name[:5] for name in set(again) - set(after)} == {("0", "-1", "linear", "1", "0.5")}
    assert len(rows_of(folder, "probe_results.csv")) == len(list((folder / "models").glob("*.pth"))) == len(now) - 1
    files = snapshot(folder)
    assert_one_line_error(
        train(data, tiny_model, folder, "--layer", 0), f"model '{model}'", f"model '{tiny_model}'", "--overwrite"
    )
    assert snapshot(folder) == files


def test_a_sweep_is_a_search_on_test_and_only_there(trained, outputs):
    """Bands hold single intervals, by one growth for all; p-values are those of labels dealt by hand."""
    columns = ("auc_band_low", "balanced_accuracy_band_low", "permutation_p", "permutation_p_in_sweep")
    rows = [row for row in rows_of(trained, "probe_metrics.csv") if row["lag"] == str(LAGS[1])]
    for row in rows:
        searched = row["split"] == "test" and row["chosen"] == "1"
        assert all((row[name] != "") == searched for name in columns)
    chosen = [row for row in rows if row["split"] == "test" and row["chosen"] == "1"]
    logit = {name: np.array([float(row[name]) for row in chosen]) for name in ("auc", "auc_low", "auc_band_low")}
    inside = logit["auc"] < 1
    auc, low, band = (np.log(found[inside] / (1 - found[inside])) for found in logit.values())
    growth = (auc - band) / (auc - low)
    np.testing.assert_allclose(growth, growth[0], rtol=1e-6)
    degrees = int(chosen[0]["groups"]) - 1  # documents of two labels each
    bonferroni = t.isf(0.025 / len(chosen), degrees) / t.isf(0.025, degrees)
    assert 1.1 < growth[0] < bonferroni * (1 + 1e-9)
    p = np.array([[float(row[name]) for name in columns[2:]] for row in chosen])
    assert (p[:, 0] <= p[:, 1] + 1e-9).all() and p[:, 0].min() < 0.05, "six documents of two labels have 64 shifts"
    for row in chosen:
        assert (row["minus_baseline_detectable"] != "") == (
            float(row["minus_baseline_low"]) <= 0 <= float(row["minus_baseline_high"])
        )


def test_kinds_that_are_solved_are_refitted_and_others_are_not(trained):
    for row in rows_of(trained, "probe_metrics.csv"):
        refitted = row["split"] != "train" and row["chosen"] == "1" and row["probe"] not in ("linear", "mlp", "attention")
        assert (row["auc_refit_deviation"] != "") == refitted
        if refitted and row["auc_low"]:
            assert float(row["auc_refit_low"]) <= float(row["auc_low"]) + 1e-9
            assert float(row["auc_refit_high"]) >= float(row["auc_high"]) - 1e-9
            assert float(row["minus_baseline_refit_low"]) <= float(row["minus_baseline_low"]) + 1e-9


def test_codelength_of_every_layer_lies_below_that_of_control_labels_where_layers_know_something(trained, outputs):
    rows = rows_of(trained, "codelength.csv")
    assert [(row["lag"], row["layer"]) for row in rows] == [(str(lag), str(layer)) for lag in LAGS for layer in LAYERS]
    for row in rows:
        assert row["n"] == str(len(outputs["train"].labels))
        assert float(row["compression"]) == pytest.approx(float(row["n"]) / float(row["bits"]))
    best = min((row for row in rows if row["lag"] == "-1"), key=lambda row: float(row["bits"]))
    assert float(best["bits"]) < min(float(best["bits_by_share"]), float(best["control_bits"]))


def test_learning_curve_is_of_probes_on_that_part_of_the_examples_alone(trained, outputs):
    from utils.sweep.refits.learning_curve import learning_curve_weights

    found, labels = outputs["train"], outputs["train"].labels
    parts, columns = learning_curve_weights(found.groups, labels)
    for lag in LAGS:
        rows = [row for row in rows_of(trained, "learning_curve.csv") if row["lag"] == str(lag)]
        assert [(float(row["share"]), row["draw"]) for row in rows] == [(c["share"], str(c["draw"])) for c in columns]
        assert len(rows) == 13 and {row["layer"] for row in rows} <= set(map(str, LAYERS))
        layer = {str(layer): layer for layer in LAYERS}[rows[0]["layer"]]
        states = found.at(layer, lag)
        for index in (0, 2, 4):
            part = parts[:, index] > 0
            weight, bias = by_scikit_learn(
                states[part], labels[part], weighted(labels[part]), float(rows[index]["l2"]), states.mean(0), states.std(0)
            )
            for split in ("val", "test"):
                expected = roc_auc_score(outputs[split].labels, outputs[split].at(layer, lag) @ weight + bias)
                assert float(rows[index][f"{split}_auc"]) == pytest.approx(expected, abs=1e-3)
        whole = next(
            row
            for row in rows_of(trained, "probe_metrics.csv")
            if row["probe"] == "logistic"
            and [row["layer_idx"], row["lag"], row["split"], float(row["l2"])]
            == [str(layer), str(lag), "test", float(rows[4]["l2"])]
        )
        assert float(rows[4]["test_auc"]) == pytest.approx(float(whole["auc"]), abs=1e-3)


def strict(text):
    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_directions_are_those_of_the_saved_weights_through_the_models_own_head(trained, model):
    content = strict((trained / "results" / "directions.json").read_text(encoding="utf-8"))
    probes = {
        (m["layer"], m["lag"], m["kind"], m["seed"]): probe["state_dict"]["weight"].double().numpy()
        for probe in probes_of(trained).values()
        if "weight" in probe["state_dict"] and (m := probe["metadata"])["layer"] != "attention"
    }
    keys = [tuple(entry[name] for name in ("layer", "lag", "kind", "seed")) for entry in content["entries"]]
    assert sorted(map(str, keys)) == sorted(map(str, probes)) and len(keys) == 3 * 2 * (2 + 3)
    weights = np.stack([probes[key] for key in keys])
    lengths = np.linalg.norm(weights, axis=1)
    np.testing.assert_allclose(content["cosines"]["matrix"], weights @ weights.T / np.outer(lengths, lengths), atol=6e-4)
    assert content["cosines"]["names"][keys.index((2, -1, "linear", 1))] == "layer2_next_seed1"
    loaded = load_model(model)
    gain, head = (part.weight.detach().double().numpy() for part in (loaded.model.norm, loaded.lm_head))
    for entry, weight in zip(content["entries"], weights, strict=True):
        step = weight / np.sqrt((weight**2).mean())
        logits = head @ (step if entry["layer"] == "final_norm" else gain * step)
        shown = [logit for _, logit in entry["filter"]["promoted"]]
        np.testing.assert_allclose(shown, np.sort(logits)[::-1][: len(shown)], rtol=1e-4)
        assert 1 <= entry["pattern"]["target_rank"] <= 420


def test_the_export_holds_every_saved_probe_and_is_read_without_this_suite(trained):
    probes = {
        "/".join(str(m[name]).replace(" ", "%20") for name in ("target", "layer", "lag", "kind", "seed")): probe
        for probe in probes_of(trained).values()
        if (m := probe["metadata"])
    }
    with safe_open(trained / "export" / "probes.safetensors", "pt") as file:
        header = strict(file.metadata()["probes"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  a file is no dict
    assert set(header["probes"]) == set(probes) and {name.rpartition("/")[0] for name in tensors} == set(probes)
    for name, probe in probes.items():
        for key, tensor in probe["state_dict"].items():
            assert torch.equal(tensors[f"{name}/{key}"], tensor)
        metadata = {**header["common"], **header["probes"][name]["metadata"]}
        assert metadata["threshold"] == probe["metadata"]["threshold"] and metadata["kind"] == probe["metadata"]["kind"]


@pytest.mark.parametrize(
    "arguments, needles",
    [
        (("--probe", "linear,mas_mean"), ("'mas_mean'", "did you mean mass_mean?")),
        (("--probe", "linear,linear"), ("'linear,linear'", "twice")),
        (("--probe", "linear,mlp", "--l2_grid", "0.1"), ("--l2_grid is for attention_features and logistic", "linear,mlp")),
        (("--probe", "logistic", "--l2_grid", ""), ("--l2_grid", "''", "not a list such as 0.1,0.01")),
        (("--probe", "logistic", "--l2_grid", "0.1,-0.01"), ("--l2_grid", "'-0.01'", "at least 0")),
        (("--probe", "logistic", "--l2_grid", "0.1,1e-1"), ("--l2_grid", "'0.1,1e-1'", "twice")),
        (("--train_seeds", "0,1,0"), ("--train_seeds", "'0,1,0'", "twice")),
        (("--seed", 0, "--train_seeds", "0,1"), ("--seed and --train_seeds", "give one of them")),
        (("--predict_current", "--lags", "-1,0"), ("--predict_current is --lags 0", "give one of them")),
        (("--pool", "mean", "--probe", "attention"), ("--pool mean and --probe attention", "contradict")),
        (("--probe", "attention_features", "--learning_curve"), ("--learning_curve", "--probe attention_features")),
        (("--probe", "attention_features", "--codelength"), ("--codelength", "--probe attention_features")),
        (("--probe", "linear,mlp", "--refit_bootstrap", 20), ("--refit_bootstrap", "add logistic to --probe")),
        (("--control", 3), ("--control", "'3'", "at least 5")),
        (("--max_train_tokens", 1), ("--max_train_tokens", "'1'", "at least 2")),
        (("--attention_segments", 0, "--probe", "attention_features"), ("--attention_segments", "'0'", "at least 1")),
        (("--export", "{data}/train.pth"), ("--export", "is a file, not a folder")),
    ],
)
def test_wrong_usage_is_one_line_and_status_2_before_anything_is_loaded(data, model, tmp_path, arguments, needles):
    result = train(data, model, tmp_path, *(str(argument).format(data=data) for argument in arguments))
    assert_one_line_error(result, *needles, status=2)
    assert result.stdout == "" and snapshot(tmp_path) == {}


@pytest.mark.parametrize(
    "arguments, needles",
    [
        (("--lags", "-1,-99"), ("lag -99: 0 labelled tokens of train", "-context_length")),
        (("--layer_sweep", "0,3"), ("layer 3", "layers 0 to 2")),
    ],
)
def test_what_the_data_or_the_model_do_not_have_is_one_line_and_status_1(data, model, tmp_path, arguments, needles):
    result = train(data, model, tmp_path, *arguments)
    assert_one_line_error(result, *needles)
    assert "one pass over" not in result.stdout and snapshot(tmp_path) == {}


def test_the_charts_read_every_table_of_the_sweep(trained, tmp_path):
    result = assert_success(
        call("visualize_results", "--results_dir", trained / "results", "--output_dir", tmp_path / "pages")
    )
    pages = {path.stem for path in (tmp_path / "pages").glob("*.html")}
    assert pages == {
        "index",
        "heatmap_accuracy",
        "heatmap_f1",
        "lineplot_balanced_accuracy",
        "lineplot_f1",
        "comparison_metrics",
        "class_balance",
        "learning_curve",
    }
    index = (tmp_path / "pages" / "index.html").read_text(encoding="utf-8")
    assert "selectivity" in index and "random weights" in index and result.stderr == ""
