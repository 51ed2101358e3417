"""Sparse autoencoders: dictionaries of directions that rebuild a layer's states from few active latents.

Each file and room imports only from those above it:

    autoencoder  the encoder, its thresholds and the decoder, on raw states
    goals        which sparse autoencoders are asked for, and how they are trained
    steps        one exact training step, sparse or dense
    training     how sparse autoencoders are trained: scale, thresholds, schedule, silent latents
    supply       what they train on: texts, states in a seeded order, checkpoints
    files        files that SAELens and dictionary_learning read too, and whether one fits a model
    chosen       the autoencoder of each layer below a path
    latents      what each latent reads: counts, tokens and examples from a stream of states
    flags        the flags of train_sae.py
"""
