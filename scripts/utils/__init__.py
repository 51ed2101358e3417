"""What the scripts share. Imports run one way, in this order, each file from those before it:

base, data, model, states, scores, probes, document_scores, sampling, probe_flags, probe_task, learning_curve, kinds,
sweep, tracked_runs, run_estimate, results, probe_export, report, sweep_files, after_sweep, transfer, pages, charts,
probe_sets, saved_probes, evaluation, running_text, shown_texts, probe_words, probe_page
"""
