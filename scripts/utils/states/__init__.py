"""Read the hidden states of a model in one forward pass: which layers, at which positions, kept where.

Each file imports only from those above it:

    sites           layers by name, and their order
    positions       where the lag is applied: examples, questions, the plan of a pass
    attention_rows  where each head looks, as features that do not carry the length of the text
    forward_pass    the one pass: hooks, batches, the early stop
    matrices        examples by rows, which probes train on
    store           where the rows go: memory, or shards on disk that a killed run finds again
    source          the states of one question
    extraction      all splits together: where states are kept, how long it takes, what is not finite
    flags           the flags of everything that reads states
    checks          our states compared with those that transformers returns
"""
