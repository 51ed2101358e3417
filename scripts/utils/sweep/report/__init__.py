"""Make the plain-text tables and lines that are printed at the end of a run.

Each file imports only from those above it:

    one         one sweep: its scores, what validation chose, what is known of it as a search
    several     many sweeps in one table
    documents   the scores of whole documents
    whole       all of a run
    afterwards  directions and codelengths of finished sweeps
    latents     probes on latents beside the dense probe and the baselines
"""
