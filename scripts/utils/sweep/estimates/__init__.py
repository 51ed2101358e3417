"""Estimate what a run will take, before it is started.

Each file imports only from those above it:

    run        states, bytes, seconds and memory of the pass, the training and the scores
    baselines  the seconds of the baselines
"""
