"""The report of a sweep: what was found, and what would make one doubt it.

Each file imports only from those above it:

    doubts     what would make one doubt a result, each check by itself
    findings   what was asked, and what was found for each target
    documents  the scores of whole documents
    overview   all that the report shows, as plain data
    markdown   the same as report.md
    writing    the report, the pages of the charts and Plotly's script, all of them or none
"""
