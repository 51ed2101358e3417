"""Hold the templates, styles and scripts of the pages, and the one boundary between data and HTML.

Each file imports only from those above it:

    frame    what all pages have in common: the template around them, the style, elements, light and dark
    probes   the page of probes on a text
    latents  the page of the latents of a layer
    charts   the charts of a sweep, and the overview of what was chosen
    modules  JavaScript modules -> the one script of a page
    page     one HTML page from a template, its style, its script and plain data
"""
