"""Train sparse autoencoders on batches of states: as many latents active as asked, none silent, at any scale of states.

Each file imports only from those above it:

    memory     what the weights need, refused before the pass where it is not there
    scaling    centre and scale states, so that one recipe fits all; fold that into an autoencoder on raw states
    beginning  first weights, and the first threshold
    schedule   how learning rate and pull change over a run
    steering   what follows the states from step to step: the kernel's width, the pull's aim, the threshold of BatchTopK
    revival    bring silent latents back
    stack      autoencoders of one architecture that take their steps together
    training   the one class that callers need
    calibration  thresholds by states that were not trained on
"""
