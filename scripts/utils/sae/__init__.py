"""Sparse autoencoders: dictionaries of directions that rebuild a layer's states from few active latents.

Each file and room imports only from those above it:

    autoencoder  the encoder, its thresholds and the decoder, on raw states
    goals        which sparse autoencoders are asked for, and how they are trained
    steps        one exact training step: gradients by hand, the optimiser
    training     train on states that come in batches: the recipe
    supply       what they train on: texts, states in a seeded order, checkpoints
    files        files that SAELens and dictionary_learning read too, and whether one fits a model
    chosen       the autoencoder of each layer below a path
    evaluation   what is measured of them on held-out text, and what they cost the model
    latents      what each latent reads: counts, tokens and examples from a stream of states
    flags        the flags of train_sae.py
"""
