"""What the scripts share. Imports run one way, in this order, each file from those before it:

errors, files, command_line, hub, tracking, tokenizer, readers, sequences, cuts, splits, data_checks, anatomy,
language_model, readings, hidden_states, state_store, extraction, intervals, metrics, probes, baselines, shortcuts,
sweep, results, report
"""
