"""From texts to labelled token sequences: reading, tokenizing, labelling, windows, splits, and what is checked of a dataset.

Each file imports only from those above it:

    label_rule      which tokens are positive: the rules and their names in the metadata
    position_limit  how many tokens a model can read at once
    tokenizer       special tokens around a text, which token the target is in running text, how tokens are shown
    special_tokens  which texts spell out special tokens
    chat_template   conversations as the model reads them, and where each message stands
    readers         files and Hub datasets -> documents: texts and what is known of them, in characters
    token_labels    the label of each token of an annotated document, by a rule
    soundness       do the arrays and metadata of a file hold together?
    sequences       the data file: labelled token sequences, what their metadata say, one target at a time
    splits          which documents belong together, to which split each group goes, a cap spread evenly over them
    windows         windows of a document's tokens: at drawn tokens, side by side, or overlapping
    preparation     the steps of prepare_data, from its flags to the files of a dataset
    checks          does a file hold what it claims, and do two splits share groups or texts?
"""
