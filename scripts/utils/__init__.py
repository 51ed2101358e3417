"""What the scripts share. Imports run one way, in this order, each file from those before it:

errors, checks, files, command_line, experiments, hub, tracking, tokenizer, readers, sequences, cuts, splits, data_checks,
anatomy, language_model, machine_checks, tokenizer_checks, readings, probe_flags, probe_task, hidden_states,
state_checks, state_store, extraction, intervals, metrics, probes, baselines, shortcuts, sweep, run_estimate, results,
report, pages, probe_sets, running_text, probe_page
"""
