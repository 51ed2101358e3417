"""The position limit is what the model itself can run: so many tokens, and not one more."""

import pytest
import torch

from utils.data.position_limit import position_limit

ROWS = 40
SMALL = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": ROWS,
    "pad_token_id": 3,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LIMITS = {  # rows that hold no position: RoBERTa and its kin count from the row after padding
    "roberta": ROWS - 4,
    "camembert": ROWS - 4,
    "xlm-roberta": ROWS - 4,
    "esm": ROWS - 4,
    "ibert": ROWS - 4,
    "data2vec-text": ROWS - 4,
    "roberta-prelayernorm": ROWS - 4,
    "mpnet": ROWS - 2,
    "bert": ROWS,
    "albert": ROWS,
    "distilbert": ROWS,
    "electra": ROWS,
    "gpt2": ROWS,
    "opt": ROWS,
    "bart": ROWS,
    "biogpt": ROWS,
}


@pytest.mark.parametrize("name", LIMITS)
def test_as_many_tokens_as_are_said_can_be_read_and_no_more(name, tmp_path):
    from transformers import AutoConfig, AutoModel

    model = AutoModel.from_config(AutoConfig.for_model(name, **SMALL)).eval()
    model.config.save_pretrained(tmp_path)
    limit = position_limit(str(tmp_path))
    assert limit == LIMITS[name]
    body = model.get_encoder() if model.config.is_encoder_decoder else model

    def read(tokens):
        with torch.no_grad():
            body(input_ids=torch.full((1, tokens), 7), attention_mask=torch.ones(1, tokens, dtype=torch.long))

    read(limit)
    with pytest.raises((IndexError, RuntimeError)):
        read(limit + 1)


@pytest.mark.parametrize("case, limit", [("positions_after_padding", 62), ("positions_unnamed", 64), ("no_pooler", 127)])
def test_the_cases_of_positions(case, limit, case_model):
    from utils.model.language_model import load_language_model

    assert position_limit(str(case_model(case))) == limit
    body, ids = load_language_model(str(case_model(case)), device="cpu").body, torch.full((1, limit + 1), 7)
    with torch.no_grad():
        body(input_ids=ids[:, 1:], attention_mask=torch.ones_like(ids[:, 1:]))
        with pytest.raises((IndexError, RuntimeError)):
            body(input_ids=ids, attention_mask=torch.ones_like(ids))


def test_rotary_models_have_what_their_configuration_says_and_some_models_have_no_limit(tmp_path):
    from transformers import AutoConfig

    AutoConfig.for_model("llama", **SMALL).save_pretrained(tmp_path / "llama")
    AutoConfig.for_model("t5", vocab_size=97).save_pretrained(tmp_path / "t5")
    assert position_limit(str(tmp_path / "llama")) == ROWS and position_limit(str(tmp_path / "t5")) is None
