"""The report of a sweep: what was found, and what would make one doubt it.

Each file imports only from those above it:

    tables       tables as plain data, for the page and for report.md
    doubts       what would make one doubt a result, each check by itself
    chosen       the table of what validation chose, and how each number was computed
    documents    the scores of whole documents
    promoted     the tokens that directions promote
    latents      probes on the latents of sparse autoencoders
    calibration  how far the probabilities can be believed, and what thresholds cost
    beside       baselines and codelengths
    two_runs     another run beside this one, with paired differences
    findings     what was asked, and what was found for each target
    overview     all that the report shows, as plain data
    markdown     the same as report.md
    writing      the report, the pages of the charts and Plotly's script, all of them or none
"""
