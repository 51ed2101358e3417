"""Sparse autoencoders on disk: folders that SAELens and dictionary_learning read too, and whether one fits a model.

Each file imports only from those above it:

    checked              JSON and tensors of a file that others may have written, refused in one line where they are unsound
    described            what a file says of its autoencoder: ours under a key of its own
    hook_names           TransformerLens' names of hooks, as layers
    sae_lens             folders of SAELens: ours are such, and theirs are read
    dictionary_learning  folders of dictionary_learning, written and read
    loading              finds out which of them a path is
    fitting              does an autoencoder belong to this model and layer?
"""
