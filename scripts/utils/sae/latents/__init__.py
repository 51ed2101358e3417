"""Find out what each latent reads: how often and how strongly it is active, at which tokens, in which texts.

Everything is kept from one stream of states, however long it is: memory follows the latents and the examples kept of each.

Each file imports only from those above it:

    text_rows        the tokens at and around the states that are read
    codes            the active latents of a batch, as sparse columns
    activity         how often and how strongly latents are active: counts, sums, histograms
    token_counts     which tokens are read while a latent is active, beside all tokens that are read
    examples         the examples that are kept of each latent, with the activations around them
    study            all of this for one sparse autoencoder, and the one pass that feeds several
    decoder          what decoder rows say: promoted tokens, neighbours
    labels           the tokens that speak for each latent, and a label of them
    own_labels       the user's labels
    interpretations  what is known of each latent as plain data, and the file that holds it
"""
