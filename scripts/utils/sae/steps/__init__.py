"""Exact training steps of sparse autoencoders on scaled states (E||x||^2 = 1), without autograd.

Each file imports only from those above it:

    parameters   what is trained, what a step is asked for, what it gives
    selection    which pre-activations of a batch are the largest
    entries      the few entries of a [batch, latents] matrix that count, by rows and by columns
    sparse       steps that touch only active latents and those in the kernel's window (CPU)
    dense        the same steps by batched products over all latents (GPU, or few latents)
    optimiser    Adam, clipping, decoder rows of unit norm
"""
