"""The report of a sweep: what was found, and what would make one doubt it.

Each file imports only from those above it:

    overview   the tables: what validation chose, baselines, codelengths
    writing    the report, the pages of the charts and Plotly's script, all of them or none
"""
