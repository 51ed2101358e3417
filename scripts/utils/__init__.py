"""What the scripts share. Imports run one way, in this order, each file from those before it:

errors, checks, files, command_line, experiments, hub, tracking, tokenizer, readers, sequences, cuts, splits, data_checks,
anatomy, language_model, random_weights, machine_checks, tokenizer_checks, readings, attention_rows, hidden_states,
state_checks, intervals, calibration, metrics, differences, baselines, controls, sampling, probe_flags, probe_task,
state_store, extraction, probes, directions, learning_curve, kinds, shortcuts, sweep, tracked_runs, run_estimate, results,
probe_export, report, sweep_files, after_sweep, pages, charts,
probe_sets, running_text, probe_page
"""
