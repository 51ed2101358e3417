"""Measure sparse autoencoders on held-out text: how well they rebuild states, what they cost the model, what is chance.

Each file imports only from those above it:

    moments         the mean and covariance of states, and what PCA leaves unexplained
    reconstruction  how sparsely and how well states are rebuilt
    splicing        what it costs the model to go on from the rebuilt states
"""
