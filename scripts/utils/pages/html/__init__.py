"""Hold the templates, styles and scripts of the pages, and the one boundary between data and HTML.

Each file imports only from those above it:

    shared  the frame, style and script that self-contained pages have in common
    page    one HTML page from a template, its style, its script and plain data
"""
