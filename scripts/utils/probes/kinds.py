"""Every kind of probe, and what is true of it."""

KINDS = ("linear", "logistic", "mass_mean", "mass_mean_tilted", "mlp", "attention", "attention_features")

PAGE_KINDS = ("linear", "logistic", "mass_mean", "mass_mean_tilted")  # a weight and a bias: a page can show them

PENALISED = {"logistic", "attention_features"}  # those that --l2_grid is for
