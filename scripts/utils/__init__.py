"""What the scripts share. Imports run one way, in this order, each file from those before it:

errors, files, command_line, tracking, hub, tokenizer, readers, sequences, cuts, splits, data_checks, shortcuts,
language_model, anatomy, readings, hidden_states, state_store, metrics, intervals, probes, baselines, results, report
"""
