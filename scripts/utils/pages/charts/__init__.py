"""Chart a sweep: plain data first, a Plotly figure for every choice, then a page for each chart.

A new chart needs a file here, and its call in `draw` of scripts/visualize_results.py.

Each file imports only from those above it:

    cells           the numbers of one cell: means over seeds, intervals, the order of layers and kinds
    tables          the tables of a sweep read from their files, and refused where they are others
    results         the tables as the charts see them: scores by cell, the layers chosen on validation, the baselines
    words           a number of the tables in words, with its interval, examples and seeds
    figures         what every chart is made of: its choices, a figure for each, colours, marks, bands
    heatmap         scores by layer and lag
    lineplot        a score by lag, a line for each layer
    learning_curve  a score by the amount of training data
    comparison      metrics side by side, of the chosen layers and the baselines or of every layer
    class_balance   how many examples each split has, and the share of positives
    pages           the page around a chart
    transfer        the transfer matrix and its page
"""
