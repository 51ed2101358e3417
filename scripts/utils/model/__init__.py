"""The language model: loading it, finding its parts, and whether model, tokenizer and machine are fit for a run.

Each file imports only from those above it:

    streams           where the states lie in what a module takes and gives
    unchanged         a model is put back after it was watched
    watched           what every module took and gave while the model read a few tokens
    anatomy           where the blocks and the last norm are, and whether the model is causal
    fingerprint       a hash of the configuration and of the weights that the pass reads
    weights           which weights the pass reads
    checkpoint        weights and adapters as they are loaded, and whether all that the pass reads were in the file
    language_model    loading, precision, device, the model's own probability of a token
    random_weights    the same architecture with untrained weights
    unembedding       a direction through the model's own head: the tokens that it promotes
    belonging         proofs that model, tokenizer, data and probes belong together
    machine_checks    versions, the device, the precision, the weights
    tokenizer_checks  special tokens, BOS, and whether the model was trained with this tokenizer
"""
