"""Train or solve each kind of probe on matrices of hidden states, without knowing models or texts.

Each file imports only from those above it:

    kinds         the registry: one row per kind
    labels        examples with label columns and row weights, checked; the weight of each row in the loss
    affine        logits of probes that are a weight and a bias
    standardised  the mean and scale of each feature, and folding them into a probe's weights
    descent       the kinds that AdamW trains: linear, mlp, attention
    class_means   the mean of each class, over blocks of states
    shrinkage     how far a covariance is shrunk, and the solution from few rows
    tilted        their difference, divided by the covariance within the classes
    mass_mean     the difference of the classes' means, as it is or tilted by the covariance
    logistic      logistic regression, solved exactly for many labels and penalties at once
    estimators    one probe on one matrix, with scikit-learn's method names
    directions    interpret a linear probe's direction: promoted tokens, patterns, cosines
"""
