"""Random models of many architectures, small enough to run by the dozen."""

import numpy as np
import torch

from utils.data.sequences import Sequences
from utils.states.positions import ReadPlan

COMMON = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
HEAD = {"head_dim": 8}
GPT = {"vocab_size": 97, "n_embd": 32, "n_layer": 4, "n_head": 4, "n_positions": 64, "bos_token_id": 1, "eos_token_id": 2}
# architecture -> what its configuration is made of; ONLY: COMMON does not fit it
ARCHITECTURES = {
    "llama": HEAD,
    "mistral": {**HEAD, "sliding_window": 6},
    "mixtral": {**HEAD, "num_local_experts": 4},
    "qwen2": {},
    "qwen3": HEAD,
    "qwen3_moe": {**HEAD, "moe_intermediate_size": 24, "num_experts": 4, "num_experts_per_tok": 2},
    "gemma": HEAD,
    "gemma2": {**HEAD, "sliding_window": 6},
    "gemma3_text": {**HEAD, "sliding_window": 6},
    "phi": {},
    "phi3": {},
    "falcon": {"num_kv_heads": 2},
    "olmo2": {},
    "cohere": {},
    "granite": {},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "gpt_neox": {},
    "starcoder2": {},
    "stablelm": {},
    "smollm3": {},
    "gpt2": {"ONLY": GPT},
    "gptj": {"ONLY": {**GPT, "rotary_dim": 8}},
    "bloom": {"ONLY": {"vocab_size": 97, "hidden_size": 32, "n_layer": 4, "n_head": 4}},
    "mpt": {"ONLY": {"vocab_size": 97, "d_model": 32, "n_layers": 4, "n_heads": 4, "max_seq_len": 64}},
    "bert": {},
    "roberta": {},
    "distilbert": {"dim": 32, "n_layers": 4, "n_heads": 4, "hidden_dim": 48},
    "albert": {"embedding_size": 16},
    "t5": {
        "ONLY": {
            "vocab_size": 97,
            "d_model": 32,
            "d_kv": 8,
            "d_ff": 48,
            "num_layers": 4,
            "num_heads": 4,
            "decoder_start_token_id": 0,
        }
    },
}
LENGTHS = (11, 17, 6, 14)  # of the sequences of `framed`, special tokens included
BEFORE, AFTER = [1, 3], [2]
BIDIRECTIONAL = {"bert", "roberta", "distilbert", "albert", "t5"}


def make(name, **changes):
    """A random model of this architecture in eval mode: with its head if it is causal, else without."""
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

    torch.manual_seed(0)
    if name == "gemma3":
        config = multimodal_gemma3()
    else:
        fields = {**ARCHITECTURES[name], **changes}
        only = fields.pop("ONLY", None)
        config = AutoConfig.for_model(name, **({**only, **fields} if only else {**COMMON, **fields}))
    loader = AutoModel if name in BIDIRECTIONAL else AutoModelForCausalLM
    model = loader.from_config(config).eval()
    with torch.no_grad():  # large enough weights that every token and layer matters
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.3)
    return model


def multimodal_gemma3():
    """Text and vision: the blocks to find are those that read text, though the vision tower has as many."""
    from transformers import Gemma3Config

    text = {**COMMON, **HEAD, "sliding_window": 6}
    vision = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "image_size": 28,
        "patch_size": 14,
    }
    return Gemma3Config(
        text_config=text,
        vision_config=vision,
        image_token_index=90,
        boi_token_index=91,
        eoi_token_index=92,
        mm_tokens_per_image=4,
    )


def sequences_of(lengths, vocabulary=90, seed=0):
    """Random sequences of these lengths as the pass reads them, without special tokens."""
    random = np.random.default_rng(seed)
    n, width = len(lengths), max(lengths)
    input_ids = random.integers(5, vocabulary, size=(n, width)).astype(np.int32)
    input_ids[np.arange(width) >= np.array(lengths)[:, None]] = 0
    zeros = np.zeros(n, dtype=np.int32)
    return Sequences(
        input_ids,
        np.array(lengths, dtype=np.int32),
        np.zeros((n, width), dtype=np.int8),
        zeros,
        zeros,
        zeros,
        zeros.astype(np.int64),
        {"tokenizer": {"before": [], "after": []}},
    )


def every_position(sequences):
    """A plan that reads every token of every sequence."""
    sequence, position = np.nonzero(np.arange(sequences.input_ids.shape[1]) < sequences.lengths[:, None])
    return ReadPlan(sequence, position)


def framed(lengths=LENGTHS):
    """Sequences with two special tokens before their text and one after it."""
    sequences = sequences_of(lengths)
    sequences.metadata["tokenizer"] = {"before": BEFORE, "after": AFTER}
    sequences.input_ids[:, :2] = BEFORE
    sequences.input_ids[np.arange(len(lengths)), np.array(lengths) - 1] = AFTER
    return sequences


def every_text_token(sequences, pool="last"):
    columns = np.arange(sequences.input_ids.shape[1])
    return ReadPlan(*np.nonzero((columns >= sequences.text_start) & (columns < sequences.text_ends[:, None])), pool=pool)


def close(ours, theirs):
    torch.testing.assert_close(ours, theirs, rtol=2e-4, atol=2e-4 * float(theirs.abs().max()))
