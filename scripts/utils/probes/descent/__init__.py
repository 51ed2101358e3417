"""Probes that AdamW trains for some epochs, all layers and label columns together.

Each file imports only from those above it:

    training   the loop of AdamW, and the best epoch on validation
    linear     probes that are one weight and one bias
    mlp        probes with one hidden layer
    ranges     examples of many tokens, each a range of rows of the table; softmaxes over such ranges
    attention  probes that attend over a whole sequence
"""
