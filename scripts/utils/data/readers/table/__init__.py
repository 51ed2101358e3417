"""From a file, a folder or a dataset to the usable rows of a table: texts, and labels by expressions over a column.

Each file imports only from those above it:

    literals      the methods that an expression may call, and their literal values
    expressions   expressions over a column, such as col == 1, evaluated without running any code
    label_values  the values of a label column: which are missing, numbers written as text, what may count as 1
    csv_tables    the text of a CSV file -> a table: delimiter, header, broken quotation marks
    table_files   a file, a folder or a Hub dataset -> one table
    table_rows    one table -> its usable rows
"""
