"""Train or solve each kind of probe on matrices of hidden states, without knowing models or texts.

Each file imports only from those above it:

    kinds         the registry: one row per kind
    labels        examples with label columns and row weights, checked; what each row counts in the loss
    affine        logits of probes that are a weight and a bias
    standardised  the mean and scale of each feature, and folding them into a probe's weights
    training      the one loop of AdamW, and the best epoch on validation
    linear        linear probes, trained by that loop
    mlp           probes with one hidden layer, likewise
    ranges        examples that are ranges of rows, one sequence each, and softmaxes over them
    attention     attention probes on whole sequences, trained by the same loop
    mass_mean     the difference of the classes' means, as it is or tilted by the covariance
    logistic      logistic regression, solved exactly for many labels and penalties at once
    estimators    one probe on one matrix, with scikit-learn's method names
    directions    interpret a linear probe's direction: promoted tokens, patterns, cosines
"""
