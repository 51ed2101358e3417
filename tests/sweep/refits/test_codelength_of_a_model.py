"""On stories260K the codelength orders the layers as AUROC does, where their intervals part. Labels that mean nothing cost
more than real ones: shuffled labels in every layer, control labels from layer 1 on.

Control labels (Hewitt and Liang) follow from the token that is read, of which the model has 512. The embedding and layer 0
show the token plainly, so a probe learns its label from a few examples, and most of the codelength is saved. That is no
fault of the code: it is what the control task asks.
"""

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
    assert len(bits) == 7
    for layer, row in bits.items():
        cost, share, shuffled, control = (float(row[n]) for n in ("bits", "bits_by_share", "shuffled_bits", "control_bits"))
        assert cost < 0.95 * share and cost < 0.95 * shuffled
        assert 0.98 * share < shuffled < 1.05 * share, "nothing to learn"
        assert layer in ("embed", "0") or cost < control
