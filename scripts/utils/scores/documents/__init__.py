"""Scores of documents from the logits of their tokens, chosen and calibrated on validation.

Each file imports only from those above it:

    layout      the documents of a split, and which columns of the logits are theirs
    aggregates  one score a document from its tokens' logits, in eleven ways
    buckets     documents by length
    platt       a score on any scale to log-odds
    baselines   length and words of the documents
    scoring     every probe and aggregate scored, one chosen on validation
"""
