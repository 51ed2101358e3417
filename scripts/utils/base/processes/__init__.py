"""A run among others: it is stopped, it is killed, its parent has gone, another writes into the same folder.

Each file imports only from those above it:

    signals      signals that end a run: cleaned up, one line, the exit status
    parent       a step ends with the experiment that started it
    temporaries  temporary files, and which of them killed runs have left
    locks        one writer at a time in a folder
"""
