"""Account for a sweep being a search: the best of many probes looks good by chance.

Each file imports only from those above it:

    choice        which score picks the best layer and kind
    places        rows of logits ranked, with one sort each
    simultaneous  bands that hold for all probes of a sweep together
    nulls         how labels are dealt anew where they have nothing to do with the states
    permutation   p-values of one probe and of the best of a sweep
    detectable    the smallest difference that the data could have shown
    account       all of it for one sweep
    searched      the same for the scores of several probes, a mapping each
"""
