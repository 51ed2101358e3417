"""Sparse autoencoders: dictionaries of directions that rebuild a layer's states from few active latents.

Each file and room imports only from those above it:

    autoencoder  the encoder, its thresholds and the decoder, on raw states
    goals        which sparse autoencoders are asked for, and how they are trained
    latents      what each latent reads: counts, tokens and examples from a stream of states
"""
