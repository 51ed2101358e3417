"""On stories260K the codelength orders the layers as AUROC does, where their intervals part."""

from itertools import combinations

import pytest

from helpers import assert_success, call
from plain_sweep import rows_of

pytestmark = pytest.mark.slow


def test_layers_of_stories260k_are_ordered_as_by_auroc(stories260K, gutenberg, tmp_path):
    assert_success(
        call(
            "prepare_data",
            *("--model_name", stories260K, "--dataset", gutenberg, "--context_length", 32),
            *("--max_chunks_per_class", 1500, "--train_ratio", 0.4, "--output_dir", tmp_path / "data"),
        )
    )
    assert_success(
        call(
            "train_probe",
            *("--model_name", stories260K, "--train_data", tmp_path / "data/train.pth", "--layer_sweep", "all"),
            *("--lags", -1, "--probe", "logistic", "--control", "--codelength", "--no_wandb"),
            *("--output_dir", tmp_path / "models", "--results_dir", tmp_path / "results"),
        )
    )
    bits = {row["layer"]: row for row in rows_of(tmp_path, "codelength.csv")}
    scores = {row["layer"]: row for row in rows_of(tmp_path, "probe_results.csv")}
    parted = 0
    for one, other in combinations(bits, 2):
        low, high = sorted((one, other), key=lambda layer: float(scores[layer]["test_auc"]))
        if float(scores[low]["test_auc_high"]) < float(scores[high]["test_auc_low"]):
            parted += 1
            assert float(bits[low]["bits"]) > float(bits[high]["bits"])
    assert parted, "some intervals part"
    last = bits["final_norm"]
    assert float(last["bits"]) < float(last["control_bits"]) and float(last["bits"]) < float(last["bits_by_share"])
