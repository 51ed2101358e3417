"""From a file, a folder or a Hub dataset to documents: texts, and what is known of them in characters.

A new format needs a file here, and its call in preparation/annotated_task.py.

Each file imports only from those above it:

    document   one text, and the hash by which it is known again
    annotated  what readers of annotated files share: documents with spans and labels, copies, groups, JSON
    forms      the form of a file, by its first bytes; the rows of JSON and parquet
    published  the splits that an input publishes: their names, and which are used as what
    plain      plain texts: Hub datasets, .txt, .jsonl and .parquet files
    marks      the marked spans of a row, in the forms in which annotation tools write them
    spans      texts with marked spans
    chains     reasoning chains with marked segments, found again in the original chain
    table      one table -> its usable rows, as expressions take texts and labels from its columns
    tables     whole texts with labels: an index of sets, one table, or a Hub dataset
    chats      conversations -> texts by the chat template, their spans and answers found in them
"""
