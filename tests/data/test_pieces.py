"""A long text in pieces gives the ids of the whole, whatever the tokenizer."""

import random

import pytest

from helpers import make_tokenizer, part_of, prose
from utils.data.preparation import pieces as module
from utils.data.preparation.pieces import AROUND, LEAD, encode_long, is_seam, pieces
from utils.data.tokenizer import load_tokenizer

ODD = "  two spaces\n\n\nthree lines\t\ttabs ... -- 12,345.67 don't won't\r\n naïve Ünïcödé é e\u0301 👨‍👩‍👧 <s> </s> [SEP] "


def unigram(folder):
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace("  ", " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=300, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator([prose(1), ODD], trainer)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>").save_pretrained(folder)
    return folder


def without_spaces(seed, length):
    """Text of a script without spaces."""
    draw = random.Random(seed)
    return "".join(draw.choice("的一是不了人我在有他这中大来上国，。") for _ in range(length))


def word_piece(folder):
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=["[UNK]", "[SEP]"], show_progress=False)
    tokenizer.train_from_iterator([prose(1), ODD], trainer)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", sep_token="[SEP]").save_pretrained(folder)
    return folder


TEXTS = {
    "prose": prose(3, 6000),
    "paragraphs": "\n\n".join(prose(seed, 80) for seed in range(60)),
    "odd characters": "".join(ODD + prose(seed, 40) for seed in range(80)),
    "no spaces": without_spaces(0, 20_000),
    "one letter": "a" * 20_000,
    "spaces only": " " * 20_000,
    "short": "a word",
    "empty": "",
}


@pytest.fixture(scope="session")
def tokenizers(shared_data, tmp_path_factory):
    """The kinds that there are: byte-level BPE, SentencePiece's BPE, WordPiece, Unigram."""
    make_tokenizer(byte_level := tmp_path_factory.mktemp("byte_level"))
    return {
        "byte-level BPE": load_tokenizer(str(byte_level)),
        "SentencePiece": load_tokenizer(str(part_of(shared_data, "models/stories260K"))),
        "WordPiece": load_tokenizer(str(word_piece(tmp_path_factory.mktemp("word_piece")))),
        "Unigram": load_tokenizer(str(unigram(tmp_path_factory.mktemp("unigram")))),
    }


def whole(tokenizer, text):
    return tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("kind", ("byte-level BPE", "SentencePiece", "WordPiece", "Unigram"))
@pytest.mark.parametrize("text", TEXTS)
def test_pieces_give_the_ids_of_the_whole(tokenizers, kind, text, monkeypatch):
    tokenizer, text = tokenizers[kind], TEXTS[text]
    expected = whole(tokenizer, text)
    monkeypatch.setattr(module, "pieces", lambda encode, text: pieces(encode, text, most=3000))
    monkeypatch.setattr(module, "CHARACTERS_AT_ONCE", 7000)
    assert [ids.tolist() for ids in encode_long(tokenizer, [text, "between", text])] == [
        expected,
        whole(tokenizer, "between"),
        expected,
    ]


@pytest.mark.parametrize("kind", ("byte-level BPE", "SentencePiece", "WordPiece", "Unigram"))
@pytest.mark.parametrize("text", ("prose", "odd characters"))
def test_ordinary_text_comes_apart(tokenizers, kind, text):
    found = list(pieces(lambda text: whole(tokenizers[kind], text), TEXTS[text], most=3000))
    assert max(len(piece.text) for piece in found) <= 3000 + LEAD
    assert len(found) >= len(TEXTS[text]) // 3000


def test_the_middle_of_a_word_is_no_seam(tokenizers):
    def encode(text):
        return whole(tokenizers["byte-level BPE"], text)

    text = prose(0)
    word = text.index(" the ", AROUND)
    for place, right in ((word, True), (word + 2, False)):
        assert is_seam(encode, text, place, encode(text[place - LEAD : place])) == right
