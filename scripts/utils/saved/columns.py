"""Define the file names and the columns of every table, once; docs/tables.md says what each column means."""

from utils.scores.documents.scoring import DOCUMENT_COLUMNS
from utils.scores.search.searched import SEARCH

PROBE = ("target", "layer_idx", "lag", "probe", "seed")
KEY = (*PROBE, "l2", "split")
SCORES = (
    "balanced_accuracy",
    "balanced_accuracy_low",
    "balanced_accuracy_high",
    "pos_accuracy",
    "neg_accuracy",
    "auc",
    "auc_low",
    "auc_high",
    "acc",
    "precision",
    "recall",
    "f1",
    "auprc",
    "brier",
    "ece",
    "tpr_at_1_fpr",
    "fpr_at_95_tpr",
    "tp",
    "fp",
    "tn",
    "fn",
    "threshold",
    "balanced_accuracy_at_0",
    "n",
    "pos_ratio",
    "groups",
)
COMPARED = (
    "control",
    "selectivity",
    "best_baseline",
    "minus_baseline",
    "minus_baseline_low",
    "minus_baseline_high",
    "minus_baseline_detectable",
    "minus_random_weights",
    "minus_random_weights_low",
    "minus_random_weights_high",
    "minus_random_weights_detectable",
)
REFITTED = (  # with --refit_bootstrap
    *(f"{name}_refit_{what}" for name in ("auc", "balanced_accuracy") for what in ("deviation", "low", "high")),
    "minus_baseline_refit_low",
    "minus_baseline_refit_high",
)
SOLVED = ("gradient", "converged", "separable")  # of exact fits
OWNERS = ("model", "model_fingerprint", "dataset_fingerprint", "settings")
BASELINE_KEY = ("target", "baseline", "layer_idx", "lag", "probe", "seed", "split")
METRICS, SUMMARY, BASELINES, RECORD = "probe_metrics.csv", "probe_results.csv", "baselines.csv", "run_record.json"
DOCUMENTS = "document_scores.csv"
COLUMNS = {
    METRICS: (*KEY, "chosen", *SCORES, *COMPARED, *SEARCH, *REFITTED, *SOLVED, *OWNERS),
    BASELINES: (*BASELINE_KEY, *SCORES, *OWNERS),
    DOCUMENTS: (*DOCUMENT_COLUMNS, *OWNERS),
}
SUMMARY_SCORES = tuple(
    name for name in (*SCORES, *COMPARED, *SEARCH, *REFITTED) if name not in ("n", "pos_ratio", "threshold", "groups")
)

TEXT_COLUMNS = {  # all others but WHOLE_COLUMNS hold numbers, or nothing
    "target",
    "layer",
    "layer_idx",
    "probe",
    "baseline",
    "aggregate",
    "bucket",
    "split",
    "best_baseline",
    "converged",
    "separable",
    "unit",
    "probe_file",
    "probe_target",
    "data_file",
    "probe_dir",
    "probe_chosen_by",
    "probe_pool",
    "probe_fingerprint",
    "probe_dataset_fingerprint",
    "features",
    "sae",
    "sae_fingerprint",
    "reads",
    "promotes",
    "suppresses",
    *OWNERS,
}
WHOLE_COLUMNS = {"lag", "seed"}

# An evaluation of saved probes

TRANSFER, TRANSFER_MATRIX = "transfer.csv", "transfer_matrix.csv"
TRANSFER_KEY = (
    "probe_file",
    "probe_target",
    "layer_idx",
    "lag",
    "probe",
    "seed",
    "data_file",
    "dataset_fingerprint",
    "target",
    "split",
)
TRANSFER_SCORES = (
    "auc",
    "auc_low",
    "auc_high",
    "auprc",
    "auprc_low",
    "auprc_high",
    "balanced_accuracy",
    "balanced_accuracy_low",
    "balanced_accuracy_high",
    "pos_accuracy",
    "neg_accuracy",
    "acc",
    "precision",
    "recall",
    "f1",
    "tp",
    "fp",
    "tn",
    "fn",
    "threshold",
    "balanced_accuracy_at_0",
    "tpr_at_1_fpr",
    "fpr_at_95_tpr",
    "threshold_at_1_fpr_fitted_here",
    "precision_at_1_fpr_fitted_here",
    "prevalence",
    "auprc_at_prevalence",
    "auprc_at_prevalence_low",
    "auprc_at_prevalence_high",
    "precision_at_prevalence",
    "acc_at_prevalence",
    "brier",
    "ece",
    *SEARCH,
)
TRANSFER_COUNTS = (
    "probes_together",
    "n",
    "pos_ratio",
    "groups",
    "n_no_state",
    "n_not_finite",
    "n_seen_left_out",
    "n_seen_kept",
)
TRANSFER_PROBE = (
    "probe_dir",
    "probe_val_auc",
    "probe_chosen_by",
    "probe_val_score",
    "probe_pool",
    "probe_fingerprint",
    "probe_dataset_fingerprint",
)
TRANSFER_COLUMNS = (*TRANSFER_KEY, *TRANSFER_SCORES, *TRANSFER_COUNTS, *TRANSFER_PROBE, *OWNERS[:2])
NUMBERS = {*TRANSFER_SCORES, *TRANSFER_COUNTS, "probe_val_auc", "probe_val_score", "lag"}
OF_ROW = ("layer_idx", "seed", "probe_val_auc", "probe_chosen_by", "probe_val_score")  # of the probe of a row
TOGETHER = ("data_file", "target", "lag", "probe_pool", "n", "pos_ratio", "groups", "probes_together")  # of one band
MATRIX_ROW = ("probe_dir", "probe_target", "probe", "lag")  # a row of the matrix
CONTENTS = {"probe_file": "probe_fingerprint", "data_file": "dataset_fingerprint"}  # what a file held when it was read

# What follows a sweep

DIRECTIONS = "directions.json"
CURVE = "learning_curve.csv"
CURVE_SCORES = (
    "balanced_accuracy",
    "balanced_accuracy_low",
    "balanced_accuracy_high",
    "auc",
    "auc_low",
    "auc_high",
    "n",
    "groups",
)
# One row a share and draw. share: of the training examples; draw: which random order; unit: what was drawn, "group" or
# "example"; n_train, positives, groups: examples trained on, those of label 1, the groups they come from; l2: chosen on
# validation; converged: whether the solver says so; then the scores of each split with their intervals over groups.
CURVE_COLUMNS = (
    "target",
    "layer",
    "lag",
    "probe",
    "seed",
    "share",
    "draw",
    "unit",
    "n_train",
    "positives",
    "groups",
    "l2",
    "converged",
    *(f"{split}_{name}" for split in ("val", "test") for name in CURVE_SCORES),
    *OWNERS,
)

CODELENGTH = "codelength.csv"
CODELENGTH_COLUMNS = (
    "target",
    "layer",
    "lag",
    "seed",
    "n",
    "bits",
    "bits_by_share",
    "compression",
    "shuffled_bits",
    "shuffled_bits_by_share",
    "control_bits",
    "control_bits_by_share",
    *OWNERS,
)

# Probes on the latents of sparse autoencoders

SAE_PROBES, SAE_LATENTS = "sae_probes.csv", "sae_latents.csv"
SAE_PROBES_COLUMNS = (
    "target",
    "layer_idx",
    "lag",
    "features",
    "count",
    "seed",
    "l2",
    "split",
    "chosen",
    *SCORES,
    *(f"minus_dense{end}" for end in ("", "_low", "_high", "_detectable")),
    "best_baseline",
    *(f"minus_baseline{end}" for end in ("", "_low", "_high", "_detectable")),
    *SEARCH,
    "probes_together",
    "bias",
    *SOLVED,
    "sae",
    "sae_fingerprint",
    *OWNERS,
)
SAE_LATENTS_COLUMNS = (
    "target",
    "layer_idx",
    "lag",
    "rank",
    "latent",
    "mean_difference",
    "density_all",
    "density_positives",
    "density_negatives",
    "weight",
    "reads",
    "promotes",
    "suppresses",
    "sae",
    "sae_fingerprint",
    *OWNERS,
)
