"""Measure sparse autoencoders on held-out text: how well they rebuild states, what they cost the model, what is chance.

Each file imports only from those above it:

    moments         the mean and covariance of states, and what PCA leaves unexplained
    reconstruction  how sparsely and how well states are rebuilt
    splicing        what it costs the model to go on from the rebuilt states
    results         all that was measured of one sparse autoencoder: its files, its tables, the published targets
    seeds           how much of a figure is chance, and which latents another seed has found too
"""
