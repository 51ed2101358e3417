"""Fit the exact kinds again, to parts or resamples of the training examples, all at once as columns of row weights.

Each file imports only from those above it:

    flags           the flags of all these, and of other comparisons
    learning_curve  scores with fewer and fewer training examples
    codelength      the bits that it takes to send the training labels, layer by layer
    bootstrap       how much scores depend on which groups were trained on
    latents         probes on few and many latents of sparse autoencoders
"""
