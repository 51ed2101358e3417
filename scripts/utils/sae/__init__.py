"""Sparse autoencoders: dictionaries of directions that rebuild a layer's states from few active latents.

Each file and room imports only from those above it:

    autoencoder  the encoder, its thresholds and the decoder, on raw states
    goals        which sparse autoencoders are asked for, and how they are trained
    supply       what they train on: texts, states in a seeded order, checkpoints
    files        on disk: folders that other tools read too, and whether one fits a model
    evaluation   measures them on held-out text
    flags        the flags of train_sae.py
"""
