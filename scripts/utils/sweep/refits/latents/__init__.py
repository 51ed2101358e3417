"""Fit logistic probes to the latents of sparse autoencoders that tell the classes apart best, few and many.

Each file imports only from those above it:

    screening  how far the classes lie apart in each latent, and in each dimension of the states
    sparse     logistic regression on thousands of latents
    counts     probes on 1, 2, 4, ... of the best; how many is chosen on validation
    compared   the chosen ones on test, beside the dense probe, the baselines and the whole search
    named      the latents that were chosen: how often they are active, the tokens they read and promote
"""
