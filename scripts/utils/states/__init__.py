"""Read the hidden states of a model in one forward pass: which layers, at which positions, kept where.

Each file imports only from those above it:

    sites           which places of a model can be read, by name: embed, every layer, final_norm; their order
    positions       where the lag is applied: examples, questions, the plan of a pass
    attention_rows  where each head looks, as features that do not carry the length of the text
    gathering       the rows of a batch that are read, and their way to main memory
    forward_pass    the one pass: hooks, batches, the early stop
    comparison      our states beside those that transformers returns, before every pass
    matrices        what probes train on: a matrix [examples, hidden_size] for each layer
    shards          states on disk, and their index: written with checksums, compared when read
    store           where the rows go: memory, or shards on disk that a killed run finds again
    source          the stored states of one question's examples
    extraction      runs the pass over all splits: in memory or on disk, with an estimate of time; drops rows that overflowed
    flags           the flags of everything that reads states
    checks          what check_setup asks of the states: overflow, hooks, batches, padding, causality
"""
