"""Shared tiny models whose blocks, last norm or numbering were once mistaken are read as a fresh one gives them."""

import pytest

from small_architectures import distance, read_everything, token_ids, transformers_states
from utils.model.language_model import find_body, load_language_model

CLOSE = 1e-4
CASES = {  # name -> what transformers' hidden_states are; E: the embeddings, N: after the last norm
    "switching_attention": "E 0 1 2",
    "parallel_lists": "E 0 1 2",
    "norm_called_twice": "E 0 1 N",
    "mamba": "0 1 2 N",
    "norm_outside": "E 0 1 N",
    "padding_to_windows": "E 0 1 2",
    "tokens_first": "E 0 1 2",
    "four_streams": "E 0 1 2 3",
    "count_of_the_other_half": "E 0 1",
}


@pytest.mark.parametrize("name", CASES)
def test_states_of_a_folder_are_those_of_a_model_that_is_loaded_afresh(name, case_model):
    import transformers

    folder = case_model(name)
    layers = [{"E": "embed", "N": "final_norm"}.get(word) or int(word) for word in CASES[name].split()]
    sequences = token_ids(500)
    (architecture,) = transformers.AutoConfig.from_pretrained(folder).architectures
    ours = read_everything(load_language_model(str(folder), device="cpu"), sequences)
    for row, ids in enumerate(sequences):
        fresh = getattr(transformers, architecture).from_pretrained(folder).eval()
        theirs = transformers_states(find_body(fresh), ids)
        assert len(theirs) == len(layers)
        for layer, state in zip(layers, theirs, strict=True):
            assert distance(ours[layer][row], state) <= CLOSE, layer
        for state, following in zip(theirs, theirs[1:], strict=False):
            assert distance(state, following) > 10 * CLOSE, "a layer mistaken for its neighbour would pass"
