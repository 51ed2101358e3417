"""The first tokens of a text are those of the whole, and nothing of the text is lost between them."""

import numpy as np
import pytest

from helpers import make_tokenizer, prose
from utils.base.errors import UserError
from utils.data.tokenizer import (
    encode_batch,
    first_tokens,
    load_tokenizer,
    require_own_ids,
    sentence_ends,
    special_frame,
    token_text,
)


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


# What stands around a text


def letters_only(letters="ACGT", single="[CLS] $A [SEP]"):
    """A tokenizer that has tokens for these letters alone: "a" yields none."""
    from tokenizers import Tokenizer, models, processors
    from transformers import PreTrainedTokenizerFast

    ids = {name: index for index, name in enumerate(["[CLS]", "[SEP]", *letters])}
    backend = Tokenizer(models.BPE(ids, []))
    backend.post_processor = processors.TemplateProcessing(single=single, special_tokens=[("[CLS]", 0), ("[SEP]", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, cls_token="[CLS]", sep_token="[SEP]")


@pytest.mark.parametrize("single", ["[CLS] $A [SEP]", "[CLS] $A", "$A [SEP]", "[CLS] [CLS] $A"])
def test_the_frame_is_found_around_texts_that_yield_tokens(single):
    """Around "a", which has no token here, nothing tells what stands before a text and what after it."""
    tokenizer = letters_only(single=single)
    before, after = special_frame(tokenizer)
    assert [*before, 2, 3, 5, *after] == tokenizer("ACT")["input_ids"]
    assert len(before) == single.split().index("$A")


def test_a_token_of_the_text_does_not_pass_for_one_of_the_frame():
    """[A] A could be "before" or "A and after"; a second text tells."""
    from tokenizers import processors

    tokenizer = letters_only("aA")
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A a", special_tokens=[("a", 2)])
    assert special_frame(tokenizer) == ([], [2])


def test_without_any_text_that_yields_tokens_there_is_no_frame():
    with pytest.raises(UserError, match="no token for any text"):
        special_frame(letters_only(""))


def test_ids_that_the_tokenizers_own_call_does_not_give_are_refused():
    tokenizer, texts = letters_only(), ["ACGT", "TTAG"]
    require_own_ids(tokenizer, special_frame(tokenizer), texts)
    with pytest.raises(UserError, match=r"gives other ids for 'ACGT'.*post_processor"):
        require_own_ids(tokenizer, ([], [0, 1]), texts)


def test_the_tokenizers_own_call_leaves_special_tokens_as_they_were_asked_for(tiny_model):
    """Its call sets the library's switch anew: "<s>" in every later text would be a second BOS."""
    for asked, encoded in (("text", False), ("encode", True)):
        tokenizer = load_tokenizer(str(tiny_model), asked)
        tokenizer("one text")
        ids = encode_batch(tokenizer, ["He wrote <s> here."])[0].tolist()
        assert (tokenizer.bos_token_id in ids) == encoded
        assert [*special_frame(tokenizer)[0], *ids] == tokenizer("He wrote <s> here.")["input_ids"]


def test_tokens_that_end_a_sentence_or_a_line_are_known_by_their_text():
    from tokenizers import Tokenizer, decoders, models
    from transformers import PreTrainedTokenizerFast

    pieces = {
        "end": False,
        ".": True,
        "?\u201d": True,
        ' !")': True,
        "\n\n": True,
        " \n x": True,
        "。": True,
        ".5": False,
        ",": False,
    }
    backend = Tokenizer(models.WordLevel({piece: index for index, piece in enumerate(pieces)}, unk_token="end"))
    backend.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    assert sentence_ends(tokenizer, np.arange(len(pieces))).tolist() == list(pieces.values())
    assert sentence_ends(tokenizer, np.array([0, 4])).tolist() == [False, False, False, False, True], "of these ids alone"


def test_in_stories260K_only_line_breaks_and_full_stops_end_a_sentence(stories260K):
    tokenizer = load_tokenizer(str(stories260K))
    names = tokenizer.convert_ids_to_tokens(np.flatnonzero(sentence_ends(tokenizer, np.arange(len(tokenizer)))).tolist())
    assert sorted(names) == ["!", ".", "<0x0A>", "<0x21>", "<0x2E>", "<0x3F>", "?", "…"]


def test_a_space_of_any_tokenizer_is_a_space(stories260K, tmp_path):
    pieces = load_tokenizer(str(stories260K))
    assert [token_text(pieces, pieces.convert_tokens_to_ids(name)) for name in ("▁", "▁the")] == [" ", " the"]
    words = make_tokenizer(tmp_path)
    assert token_text(words, words.convert_tokens_to_ids("Ġthe")) == " the"
