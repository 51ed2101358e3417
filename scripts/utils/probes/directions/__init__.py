"""Interpret the direction of a linear probe.

Each file imports only from those above it:

    files      directions.json, written and read
    described  the tokens that a direction promotes, its pattern, its cosines with others
"""
