"""Compute the baselines that a probe must beat; each learns from train's labels only, and validation chooses what is chosen.

Each file imports only from those above it:

    lesson    what they learn from: the question, not the probes' sample; logistic regression on it
    tokens    the majority class, the token that is read, that token and those before it, length
    context   the tokens around the one that is read, sentence ends and the place
    texts     bags of words and of characters
    compared  all of them together, the best of them, and those that rank the wrong way round
"""
