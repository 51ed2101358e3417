"""Make HTML pages from plain data: they load only files next to them, and every string is escaped on its way in.

Each file imports only from those above it:

    html         templates, styles and scripts, and the one place where data become HTML
    charts       the charts of a sweep, one file each, and their pages
    report       the report of a sweep, which leads to them
    texts        the texts that the page of probes shows, and the truth of each of their tokens
    probe_words  the words on the page of probes: the question, what is counted, notes
    probe_page   what the page of probes on a text shows, as plain data
    latent_page  what the page of the latents of a layer shows, as plain data
"""
