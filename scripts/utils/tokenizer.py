"""The tokenizer: what it puts around a text, which token the target is in running text, how tokens are shown."""

from collections import Counter

import numpy as np

from utils.errors import UserError
from utils.files import fingerprint
from utils.hub import loading

BEFORE = ("in", "He said", "(", "\n", "7", "one,")
AFTER = (" end", ".", "\n", " 7", ", and", "")
SAMPLE = "In 1815, M. Charles-François-Bienvenu Myriel said:\n\t“the end”"


def load_tokenizer(name):
    """The fast tokenizer of a model, by Hub name or folder."""
    with loading("tokenizer", name, "--model_name"):
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(name)
    if not getattr(tokenizer, "is_fast", False):
        raise UserError(f"--model_name {name}: its tokenizer has no fast version; convert it (tokenizer.json) or "
                        "choose a model that has one")
    tokenizer.backend_tokenizer.no_padding()  # some files ask for it, and for texts cut at 128 tokens
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.encode_special_tokens = True  # "<s>" inside a text is text, no second BOS
    return tokenizer


def special_frame(tokenizer) -> tuple[list[int], list[int]]:
    """The ids that the tokenizer puts before and after a text: ([BOS], []), ([CLS], [SEP]), ([], []), ..."""
    plain = tokenizer.backend_tokenizer.encode("a", add_special_tokens=False).ids
    framed = tokenizer.backend_tokenizer.encode("a", add_special_tokens=True).ids
    for start in range(len(framed) - len(plain) + 1):
        if framed[start:start + len(plain)] == plain:
            return framed[:start], framed[start + len(plain):]
    raise UserError("the tokenizer changes a text when it adds its special tokens; choose another model")


def encode_batch(tokenizer, texts) -> list[np.ndarray]:
    """Token ids of whole texts without special tokens, int32. The library spreads a batch over the processor's cores."""
    encodings = tokenizer.backend_tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    return [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]


def target_in_running_text(tokenizer, target) -> int:
    """The one token that `target` is inside a text.

    SentencePiece encodes " the" alone as two tokens ("▁", "▁the"), in running text as one: so the target is read where
    it stands between words, in many neighbourhoods, and the token that covers exactly its characters is taken.
    """
    if not target:
        raise UserError("--target_token is empty; give a token such as ' the'")
    votes, pieces = Counter(), None
    for before in BEFORE:
        for after in AFTER:
            covering = tokens_over(tokenizer, before, target, after)
            if len(covering) == 1 and covering[0][1].strip() == target.strip():
                votes[covering[0][0]] += 1
            elif pieces is None:
                pieces = [tokenizer.convert_ids_to_tokens(token) for token, _ in covering]
    if not votes:
        raise UserError(f"--target_token {target!r} is not one token in running text but {len(pieces)}: {pieces}; "
                        "choose one that is a single token")
    token, count = votes.most_common(1)[0]
    if token == tokenizer.unk_token_id:
        raise UserError(f"--target_token {target!r} is unknown to this tokenizer; choose a token of its vocabulary")
    if count < sum(votes.values()) * 2 / 3:
        names = [tokenizer.convert_ids_to_tokens(token) for token in votes]
        raise UserError(f"--target_token {target!r} is a different token in different places: {names}; be more exact "
                        "(a leading space?)")
    return token


def tokens_over(tokenizer, before, target, after) -> list[tuple[int, str]]:
    """The tokens of before + target + after that share characters with the target, each with the text it covers."""
    text = before + target + after
    encoding = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False)
    start, end = len(before), len(before) + len(target)
    return [(token, text[a:b]) for token, (a, b) in zip(encoding.ids, encoding.offsets, strict=True)
            if a < end and b > start]


def token_text(tokenizer, token) -> str:
    """How one token is shown: its own characters, line breaks as ↵, byte fragments as the tokenizer names them."""
    name = tokenizer.convert_ids_to_tokens(int(token))
    text = tokenizer.decode([int(token)], clean_up_tokenization_spaces=False)
    if not text or "\ufffd" in text:
        return str(name)
    if isinstance(name, str) and name.startswith("▁") and not text.startswith(" "):
        text = " " + text  # the decoder drops the space of a text's first token
    return text.replace("\n", "↵")


def tokenizer_fingerprint(tokenizer) -> str:
    """Of the vocabulary, the special tokens around a text, and how one text full of traps is cut."""
    sample = tokenizer.backend_tokenizer.encode(SAMPLE).ids
    return fingerprint(sorted(tokenizer.get_vocab().items()), special_frame(tokenizer), sample)


def position_limit(name, tokenizer) -> int | None:
    """The most tokens a sequence of this model may have, special tokens included; None where nothing limits it."""
    with loading("model's configuration", name, "--model_name"):
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(name).get_text_config()
    limits = [getattr(config, key, None) for key in ("max_position_embeddings", "n_positions", "max_seq_len")]
    limit = min((value for value in limits if isinstance(value, int) and value > 0), default=None)
    if limit and 0 < limit - tokenizer.model_max_length <= 4:  # RoBERTa's table has rows that hold no position
        limit = tokenizer.model_max_length
    return limit
