"""What sparse autoencoders train on: texts, their states in a seeded order, and what a run keeps so that it can go on.

Each file imports only from those above it:

    records      tensors and plain values in one checked file
    windows      token ids of texts -> windows from all over each text
    dealing      which texts are asked for, and which of their groups are held out
    texts        texts -> sequences to train on, and held-out ones of other groups
    left_out     which states are left out: special tokens, position 0, massive norms, what is not finite
    order        a permutation by blocks that is known from the seed and the step alone
    states       the states of one pass, stored or streamed, as batches of a seed and a step
    gathered     the pass over all texts, and its states in batches
    cache        which texts and states a folder holds, and whether they are those that are asked for
    history      what is noted of a training at its checkpoints, and which of them is the best
    folders      the folders of trainings: what lies in them, whose it is, who writes there
    checkpoints  the training of one architecture, target and seed: its folder, its files, its last good state
    runs         all trainings side by side on the same batches
"""
