"""The pages of charts: tables read, words put to numbers, figures, lines, comparisons, and the pages they stand on."""
