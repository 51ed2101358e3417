"""Texts that spell out special tokens are found, whichever tokens a vocabulary has."""

import random

from utils.data.special_tokens import SpeltOut, special_ids, spelt_out_in_words
from utils.data.tokenizer import load_tokenizer


def test_the_special_tokens_of_a_text_are_those_that_a_plain_search_finds(tiny_model):
    tokenizer = load_tokenizer(str(tiny_model))
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>", "[X]", "<s", "▁pad"]})
    names = tokenizer.convert_ids_to_tokens(sorted(special_ids(tokenizer)))
    assert len(names) == 7
    counted, draw = SpeltOut(tokenizer), random.Random(0)
    pieces = [*names, "<", "|", "im_start", ">", "[", "x", " ", "</", "s>"]
    for _ in range(300):
        text = "".join(draw.choices(pieces, k=draw.randrange(6)))
        assert counted.found_in(text) == {name for name in names if name in text}


def test_texts_are_counted_once_for_each_token(tiny_model):
    counted = SpeltOut(load_tokenizer(str(tiny_model)))
    for text in ("no such thing", "<s> and <s> and </s>", "only </s>", "< s>"):
        counted.read(text)
    record = counted.record("text")
    assert record == {
        "read_as": "text",
        "texts": 4,
        "texts_that_spell_some_out": 2,
        "spelt_out": {"</s>": 2, "<s>": 1},
    }
    assert spelt_out_in_words(record) == "2 of 4 texts spell some out (</s> 2, <s> 1), read as text"
    assert "none of 0 texts" in spelt_out_in_words(SpeltOut(load_tokenizer(str(tiny_model))).record("encode"))
