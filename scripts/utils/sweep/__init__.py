"""What train_probe does: from labelled sequences to probes, tables and a report.

Each file imports only from those above it:

    sampling         what a seed trains on
    questions        files, targets, lags, and the examples of each question
    fits             every kind of probe fitted to one question
    flags            the flags of train_probe, and what they come to
    outcome          what a sweep found
    judging          chosen on validation, scored beside what a probe must beat; whole documents
    tracked_runs     what Weights & Biases sees
    sweep            one question, from its states to its winner
    saving           probe files, tables and the record of the run: all or none of them
    report           the tables printed at the end
    learning_curve   how many labels are enough
    after_sweep      directions, learning curve and export of a finished sweep
    estimate         what a run will take, before it is started
"""
