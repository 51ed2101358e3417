"""Turn logits and labels into scores, their intervals, and the baselines that a probe must beat: numbers in, numbers out.

Each file imports only from those above it:

    rows               brings logits and labels into the shape [probes, n]
    ranking            rows in rising order: AUROC, average precision, true positive rate at 1 % false positives
    thresholds         where a threshold is chosen: on validation, or on the scored examples at 1 % false positives
    calibration        Brier score and calibration error at the natural prevalence
    intervals          95 % intervals over groups, of balanced accuracy and AUROC
    metrics            all scores of a probe, or of many at once
    average_precision  average precision with its interval, also at another prevalence
    differences        paired differences of two probes, with their intervals, also from how far each group moves a score
    search             a sweep as a search: what is chosen by, bands for all probes together, permutation p-values
    baselines          what a probe must beat: majority, read token, neighbours, context, length, words
    controls           control tasks with random labels, and selectivity
    shortcuts          how well the label can be guessed without any model
    documents          from scores of tokens to scores of documents
"""
