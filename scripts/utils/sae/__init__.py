"""Sparse autoencoders: dictionaries of directions that rebuild a layer's states from few active latents.

Each file and room imports only from those above it:

    autoencoder  the encoder, its thresholds and the decoder, on raw states
    encoded      the latents of many states, of which only the active ones are kept
    goals        which sparse autoencoders are asked for, and how they are trained
    steps        one exact training step: its gradients, and what the optimiser makes of them
    training     trains several on the same states: scale, thresholds, the hold on L0, latents that fell silent
    supply       what they train on: texts, states in a seeded order, checkpoints
    files        on disk: folders that other tools read too, and whether one fits a model
    chosen       the autoencoder of each layer below a path
    evaluation   how good they are, on held-out text
    latents      what each latent reads: counts, tokens and examples from a stream of states
    flags        the flags of train_sae.py
"""
