"""The texts that the page of probes shows, and the truth of each of their tokens.

Each file imports only from those above it:

    source     where the texts come from
    shown      a text that is shown, and what the probes know of it
    plain      plain texts, from where their prose begins
    annotated  the annotated texts that the probes were made from
    whole      whole texts, for probes that judge texts
    reading    whichever of these is asked for
"""
