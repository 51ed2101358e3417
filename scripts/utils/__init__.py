"""What the scripts share. Imports run one way, in this order, each file from those before it:

base, data, model, states, intervals, average_precision, calibration, metrics, differences, baselines,
document_scores, controls, sampling, probe_flags, probe_task, probes, directions, learning_curve, kinds, shortcuts,
sweep, tracked_runs, run_estimate, results, probe_export, report, sweep_files, after_sweep, transfer, pages, charts,
probe_sets, saved_probes, evaluation, running_text, shown_texts, probe_words, probe_page
"""
