"""What the scripts share. Imports run one way, in this order, each file from those before it:

base, data, model, states, scores, probes, saved, document_scores, sampling, probe_flags, probe_task, learning_curve,
kinds, sweep, tracked_runs, run_estimate, report, sweep_files, after_sweep, pages, charts, shown_texts, probe_words,
probe_page
"""
