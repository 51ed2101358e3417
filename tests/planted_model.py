"""A hand-made Llama that forms the exclusive or of two bits of a word in one block, and takes it away in the next.

A word has two signs, a and b, and a number; its embedding is [a, b, 1, 1, the Walsh functions of its number]. The block
PLANTED_LAYER turns the third dimension into a * b, the block after it turns it back. As functions of a word drawn evenly,
a * b is uncorrelated with every other dimension, so no linear probe finds it in another layer. Attention writes nothing:
a state is its own token's alone. All values are 1 or -1, so that RMSNorm changes nothing (its epsilon is 0) and every sum is
exact: what the later block takes away leaves no rounding error, which a standardising probe would find.
"""

from itertools import product

import numpy as np
import torch
from scipy.linalg import hadamard

BLOCKS, PLANTED_LAYER = 5, 2
LAYERS = ["embed", *map(str, range(BLOCKS)), "final_norm"]
A, B, XOR, ONE = range(4)  # dimensions
NUMBERS, HIDDEN = 8, 12
GAIN = 128.0  # SiLU is 0 at -128 and 128 at 128, both exactly
SPECIAL = ["<unk>", "<s>", "</s>"]
SIGNS = np.array([(a, b) for a, b in product((1, -1), repeat=2) for _ in range(NUMBERS)])
WORDS = np.array([f"{consonant}{vowel}n" for vowel in "aeio" for consonant in "bdfghklm"])
PLANTED = (SIGNS.prod(1) == -1).astype(int)  # of each word: the label that it carries in PLANTED_LAYER


def make(folder):
    """Save model and tokenizer into the folder; a word is a token, number len(SPECIAL) + its place in WORDS."""
    make_tokenizer().save_pretrained(folder)
    make_model().save_pretrained(folder)
    return folder


def make_tokenizer():
    """One token a word, with BOS before every text."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.WordLevel({word: number for number, word in enumerate([*SPECIAL, *WORDS])}, "<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


def make_model():
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(SPECIAL) + len(WORDS),
            hidden_size=HIDDEN,
            intermediate_size=4,
            num_hidden_layers=BLOCKS,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=128,
            rms_norm_eps=0.0,
            bos_token_id=1,
            eos_token_id=2,
        )
    ).eval()
    embedding = torch.ones(len(SPECIAL) + len(WORDS), HIDDEN)
    embedding[len(SPECIAL) :, [A, B]] = torch.tensor(SIGNS, dtype=torch.float32)
    embedding[len(SPECIAL) :, ONE + 1 :] = torch.tensor(hadamard(NUMBERS), dtype=torch.float32).repeat(4, 1)
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(embedding)
        for layer, block in enumerate(model.model.layers):
            block.self_attn.o_proj.weight.zero_()
            write(block.mlp, {PLANTED_LAYER: 1, PLANTED_LAYER + 1: -1}.get(layer, 0))
    return model


def write(mlp, sign):
    """Add sign * (a * b - 1) to the dimension XOR: silu(G a) b - silu(-G a) b = G a b, and silu(G) 1 = G."""
    for part in (mlp.gate_proj, mlp.up_proj, mlp.down_proj):
        part.weight.zero_()
    for unit, (of_gate, of_up, out) in enumerate(((A, B, 1), (A, B, -1), (ONE, ONE, -1))):
        mlp.gate_proj.weight[unit, of_gate] = GAIN * (out if of_gate == A else 1)
        mlp.up_proj.weight[unit, of_up] = 1
        mlp.down_proj.weight[XOR, unit] = sign * out / GAIN
