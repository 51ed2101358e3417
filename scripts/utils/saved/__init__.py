"""Keep probes and tables on disk, and use saved probes again.

Each file imports only from those above it:

    probe_files   probe files: their names, what they hold
    seen_texts    the texts of a run by their hashes, once beside its probes
    columns       the file names and columns of every table
    tables        the tables of a run, written together
    group_scores  how far each group moves each probe's scores, beside the tables
    owners        model, dataset and settings of a file; results of different ones are never mixed
    export        all probes in one file that other tools read
    probe_sets    the probes of a folder that belong together
    saved_probes  load probes of any kind, select among them, compute their logits
    evaluation    saved probes on other data: one pass, their scores
    transfer      the tables of an evaluation: every probe on every dataset
    running_text  saved probes on whole texts: a logit for every token
"""
