"""The steps of prepare_data: its flags, the two ways to a dataset (--task token, and annotated files), and what is written.

Each file imports only from those above it:

    settings           what one run is asked to do: the texts, the label rule, the windows
    flags              the flags of prepare_data.py, and the settings that they ask for
    dataset_files      padded sequences, what is counted of them, and all files written together
    in_memory          texts that are at hand -> labelled sequences, without a file
    annotated_tokens   annotated texts -> tokens with character offsets; chains after their prompt
    conversations      what is different where the texts are conversations
    annotated_windows  labelled documents -> the rows of a dataset
    near_copies        texts that are nearly the same, joined into one group
    annotated_splits   which texts are used, their splits, and the targets that have both classes in each
    annotated_report   what metadata, screen and cleaned files say of an annotated dataset
    annotated_task     --task spans, chains, documents, from start to end
    pieces             a long text in pieces that give the tokens of the whole
    token_task         --task token, from start to end
"""
