"""Check a prepared dataset: does it hold what it claims? Each check returns a Check; none changes anything.

Each file imports only from those above it:

    one_file        does one file hold what it claims?
    between_splits  do two splits share groups or texts?
"""
