"""The model's own probability of the target against the causal model's softmax, and against the plain head."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import tiny_models
from utils.model.language_model import wrap
from utils.states.forward_pass import OWN_LOGITS, Pass, read_batches

TARGET = 23
SPECIAL = {
    "gemma2": {"final_logit_softcapping": 2.0},
    "cohere": {"logit_scale": 0.3},
    "granite": {"logits_scaling": 5.0},
    "opt": {},
    "gpt2": {},
    "gemma3": {},
    "gptj": {},
    "llama": {},
}


def probabilities(language_model, sequences):
    plan = tiny_models.every_position(sequences)
    targets = np.full(len(plan), TARGET)
    found = [
        values
        for reading, _, values in read_batches(
            Pass(language_model, sequences, replace(plan, layers=(0,), own_targets=targets), 2)
        )
        if reading == OWN_LOGITS
    ]
    return torch.sigmoid(torch.cat(found).double())


@pytest.mark.parametrize("name", SPECIAL)
def test_own_probability_is_the_causal_models_softmax(name):
    model = tiny_models.make(name, **SPECIAL[name])
    language_model = wrap(model)
    sequences = tiny_models.sequences_of([12, 9, 12])
    ours = probabilities(language_model, sequences)
    theirs, plain = [], []
    with torch.no_grad():
        for ids, length in zip(sequences.input_ids, sequences.lengths, strict=True):
            ids = torch.from_numpy(ids[:length]).long()[None]
            theirs.append(model(ids).logits[0].double().softmax(-1)[:, TARGET])
            states = language_model.body(ids).last_hidden_state[0]
            plain.append(model.get_output_embeddings()(states).double().softmax(-1)[:, TARGET])
    torch.testing.assert_close(ours, torch.cat(theirs), rtol=0, atol=1e-5)
    assert ours.max() > 0.01
    if SPECIAL[name]:
        assert (ours - torch.cat(plain)).abs().max() > 1e-3, "without the cap or scale the figure must be another"


def test_the_stand_in_for_the_blocks_is_gone_afterwards():
    model = tiny_models.make("llama")
    language_model = wrap(model)
    ids = torch.arange(5, 14)[None]
    with torch.no_grad():
        before = model(ids).logits
        probabilities(language_model, tiny_models.sequences_of([12]))
        assert torch.equal(model(ids).logits, before)


def test_log_odds_stay_exact_where_the_probability_rounds_to_one():
    from utils.model.language_model import own_logits

    model = tiny_models.make("llama")
    language_model = wrap(model)
    with torch.no_grad():
        model.get_output_embeddings().weight[TARGET] = 100.0
    odds = own_logits(language_model, torch.ones(1, 32), torch.tensor([TARGET]))
    assert torch.isfinite(odds).all() and float(odds) > 1000
