"""What every room needs; it knows nothing of models or data: errors, files, the Hub, progress, the command line.

Each file imports only from those above it:

    errors        the errors that a user can fix, and their exit status
    paths         what can be neither read nor written, refused before anything is loaded
    processes     a run among others: signals, kills, locks
    formulas      cells of a table that a spreadsheet would run
    files         files that are whole or absent: writing, checked reading, hashes
    tensor_files  the format of every .pth: plain values and tensors, read without trusting a byte
    hub           models, tokenizers and datasets by name or folder, and why one cannot be loaded
    tracking      Weights & Biases, or an object that does nothing
    progress      progress lines and bars in words, durations in words
    stopwatch     the seconds of named steps
    text_table    plain-text tables, and how scores, numbers of things and sizes are written
    checks        one check: what was compared, the figure, the remedy
    cli           the command line and flags from YAML files
"""
