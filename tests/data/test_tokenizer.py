"""The first tokens of a text are those of the whole, and nothing of the text is lost between them."""

import pytest

from helpers import prose
from utils.data.tokenizer import encode_batch, first_tokens, load_tokenizer


@pytest.mark.parametrize("count", [1, 7, 150])
def test_the_first_tokens_of_a_long_text_are_those_of_the_whole(tiny_model, count):
    tokenizer, text = load_tokenizer(str(tiny_model)), prose(9, 3000)
    for start in range(40):
        whole = encode_batch(tokenizer, [text[start:]])[0]
        assert first_tokens(tokenizer, text[start:], count)[0].tolist() == whole[:count].tolist()
    assert first_tokens(tokenizer, "short", 100)[0].tolist() == encode_batch(tokenizer, ["short"])[0].tolist()


def test_spaces_that_are_in_no_token_stay_in_the_text():
    """WordPiece drops them: without them words would run together."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["[UNK]", "the", "old", "house", "##s", ".", "stood"]
    backend = Tokenizer(models.WordPiece({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")
    ids, gaps = first_tokens(tokenizer, "  the old\nhouses stood.", 50)
    assert [words[token] for token in ids] == ["the", "old", "house", "##s", "stood", "."]
    assert gaps == ["  ", " ", "\n", "", " ", ""]
    assert first_tokens(tokenizer, "the old", 1)[1] == [""]
