"""Do the work of train_probe: from labelled sequences to probes, tables and a report.

A question is one target at one lag; a sweep is everything that is fitted to it.

Each file imports only from those above it:

    sampling      draw what a seed trains on
    questions     files, targets, lags, and the examples of each question
    fits          every kind of probe fitted to one question
    flags         the flags of train_probe, turned into what a run is made of
    outcome       the results as data: Probe and Sweep
    judging       choose on validation, score, compare with the baselines; whole documents
    refits        exact kinds fitted again: learning curve, codelength, resamples of the training groups, latents
    tracked_runs  what is logged to Weights & Biases
    sweep         one question, from its states to its winner
    saving        probe files, tables and the record of the run: all or none of them
    report        the tables printed at the end
    after_sweep   export, directions, learning curve, codelength and latents of finished sweeps
    estimate      estimate what a run will take, before it is started
"""
