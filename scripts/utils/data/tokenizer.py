"""The tokenizer: what it puts around a text, which token the target is in running text, how tokens are shown."""

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy as np

from utils.base.errors import UserError
from utils.base.files import fingerprint
from utils.base.hub import loading
from utils.data.pieces import pieces

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Tokenizer: TypeAlias = "PreTrainedTokenizerFast"
Frame: TypeAlias = tuple[list[int], list[int]]  # the ids that stand before and after every text
Item = TypeVar("Item")

BEFORE = ("in", "He said", "(", "\n", "7", "one,")
AFTER = (" end", ".", "\n", " 7", ", and", "")
SIGNS = {"\n": "↵", "\r": "␍", "\t": "⇥"}
CHARACTERS_AT_ONCE = 2_000_000  # of encode_batch: some 250 MB in the library
CHARACTERS_A_TOKEN = 8  # more than most texts have
SPOILT_BY_A_CUT = 32  # tokens before a cut that may not be those of the whole text
JOINERS = "\u200c\u200d"  # zero-width: what stands on both sides is one character to the eye, as in families of emoji
FINGERPRINT_TEXT = "In 1815, M. Charles-François-Bienvenu Myriel said:\n\t“the end”"


def load_tokenizer(name: str) -> Tokenizer:
    """Load the fast tokenizer of a model, by Hub name or folder."""
    with loading("tokenizer", name, "--model_name"):
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(name)
    if not getattr(tokenizer, "is_fast", False):
        raise UserError(
            f"--model_name {name}: its tokenizer has no fast version; convert it (tokenizer.json) or "
            "choose a model that has one"
        )
    tokenizer.backend_tokenizer.no_padding()  # some files ask for it, and for texts cut at 128 tokens
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.encode_special_tokens = True  # "<s>" inside a text is text, no second BOS
    return tokenizer


def special_frame(tokenizer: Tokenizer) -> Frame:
    """Return the ids that the tokenizer puts before and after a text: ([BOS], []), ([CLS], [SEP]), ([], []), ..."""
    plain = tokenizer.backend_tokenizer.encode("a", add_special_tokens=False).ids
    framed = tokenizer.backend_tokenizer.encode("a", add_special_tokens=True).ids
    for start in range(len(framed) - len(plain) + 1):
        if framed[start : start + len(plain)] == plain:
            return framed[:start], framed[start + len(plain) :]
    raise UserError("the tokenizer changes a text when it adds its special tokens; choose another model")


def encode_batch(tokenizer: Tokenizer, texts: Sequence[str]) -> list[np.ndarray]:
    """Encode whole texts without special tokens: int32 ids. The library spreads a batch over the processor's cores.

    Long texts are encoded in pieces, some at a time, and give the same ids.
    """
    backend = tokenizer.backend_tokenizer

    def encode(text: str) -> list[int]:
        return backend.encode(text, add_special_tokens=False).ids

    found: list[list[np.ndarray]] = [[] for _ in texts]
    everything = ((number, piece) for number, text in enumerate(texts) for piece in pieces(encode, text))
    for batch in batches_by_size(everything, CHARACTERS_AT_ONCE, lambda item: len(item[1].text)):
        encodings = backend.encode_batch_fast([piece.text for _, piece in batch], add_special_tokens=False)
        for (number, piece), encoding in zip(batch, encodings, strict=True):
            found[number].append(np.array(encoding.ids[piece.dropped :], dtype=np.int32))
    return [ids[0] if len(ids) == 1 else np.concatenate(ids) for ids in found]


def batches_by_size(items: Iterable[Item], most: int, size: Callable[[Item], int]) -> Iterator[list[Item]]:
    """Yield the items in batches, each full as soon as the sizes of its items reach `most` together."""
    batch, total = [], 0
    for item in items:
        batch.append(item)
        total += size(item)
        if total >= most:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch


def first_tokens(tokenizer: Tokenizer, text: str, count: int) -> tuple[np.ndarray, list[str]]:
    """Return the first `count` token ids of a text without special tokens (all, if it has fewer), without encoding a whole
    book; and for each of them what of the text lies before it and in no token: the spaces that WordPiece drops.
    """
    length = CHARACTERS_A_TOKEN * count
    while True:
        encoding = tokenizer.backend_tokenizer.encode(text[:length], add_special_tokens=False)
        if length >= len(text) or len(encoding.ids) >= count + SPOILT_BY_A_CUT:
            break
        length *= 4
    offsets = encoding.offsets[:count]
    ends = [0, *(end for _, end in offsets)]
    return np.array(encoding.ids[:count], dtype=np.int32), [
        text[end:start] for end, (start, _) in zip(ends, offsets, strict=False)
    ]


def target_in_running_text(tokenizer: Tokenizer, target: str) -> int:
    """Find the one token that `target` is inside a text.

    SentencePiece encodes " the" alone as two tokens ("▁", "▁the"), in running text as one: so the target is read where
    it stands between words, in many neighbourhoods, and the token that covers exactly its characters is taken.
    """
    if not target:
        raise UserError("--target_token is empty; give a token such as ' the'")
    votes: Counter[int] = Counter()
    pieces = []
    for before in BEFORE:
        for after in AFTER:
            covering = tokens_over(tokenizer, before, target, after)
            if len(covering) == 1 and covering[0][1].strip() == target.strip():
                votes[covering[0][0]] += 1
            elif not pieces:
                pieces = [tokenizer.convert_ids_to_tokens(token) for token, _ in covering]
    if not votes:
        raise UserError(
            f"--target_token {target!r} is not one token in running text but {len(pieces)}: {pieces}; "
            "choose one that is a single token"
        )
    token, count = votes.most_common(1)[0]
    if token == tokenizer.unk_token_id:
        raise UserError(f"--target_token {target!r} is unknown to this tokenizer; choose a token of its vocabulary")
    if count < sum(votes.values()) * 2 / 3:
        names = [tokenizer.convert_ids_to_tokens(token) for token in votes]
        raise UserError(
            f"--target_token {target!r} is a different token in different places: {names}; be more exact (a leading space?)"
        )
    return token


def tokens_over(tokenizer: Tokenizer, before: str, target: str, after: str) -> list[tuple[int, str]]:
    """Return the tokens of before + target + after that share characters with the target, each with the text it covers."""
    text = before + target + after
    encoding = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False)
    start, end = len(before), len(before) + len(target)
    return [
        (token, text[a:b]) for token, (a, b) in zip(encoding.ids, encoding.offsets, strict=True) if a < end and b > start
    ]


def token_text(tokenizer: Tokenizer, token: int) -> str:
    """Show one token: its own characters, or its name where it has none.

    Line breaks are ↵ (␍ a carriage return) and tabs ⇥; fragments of a character are their bytes, ⟨E2 80⟩; control and
    direction marks, which would move other text about, are their code points, ⟨U+202E⟩; a mark that sits on another
    character gets a circle.
    """
    name = tokenizer.convert_ids_to_tokens(int(token))
    text = str(tokenizer.decode([int(token)], clean_up_tokenization_spaces=False))
    if not text or "\ufffd" in text:
        return fragment(str(name))
    if isinstance(name, str) and name.startswith("▁") and not text.startswith(" "):
        text = " " + text  # the decoder drops the space of a text's first token
    shown = shown_text(text)
    return "◌" + shown if unicodedata.category(text[0]).startswith("M") else shown


def shown_text(text: str) -> str:
    """Make the control characters of a text visible; see `token_text`."""
    return "".join(SIGNS.get(character) or visible(character, len(text) == 1) for character in text)


def visible(character: str, alone: bool) -> str:
    """Show a character that would not be seen by its code point. alone: it is the whole token."""
    if character in JOINERS and not alone or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return character
    return f"⟨U+{ord(character):04X}⟩"


def fragment(name: str) -> str:
    """Show the bytes of a token that is part of a character: 'âĢ' -> '⟨E2 80⟩'.

    Byte-level vocabularies write each byte as some character. Any other name stays, such as '<0xE2>'.
    """
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    byte_of = {character: byte for byte, character in bytes_to_unicode().items()}
    if not name or any(character not in byte_of for character in name) or name.startswith("<"):
        return name
    return f"⟨{' '.join(f'{byte_of[character]:02X}' for character in name)}⟩"


def tokenizer_fingerprint(tokenizer: Tokenizer) -> str:
    """Hash the vocabulary, the special tokens around a text, and the tokens of one text full of traps."""
    sample = tokenizer.backend_tokenizer.encode(FINGERPRINT_TEXT).ids
    return fingerprint(sorted(tokenizer.get_vocab().items()), special_frame(tokenizer), sample)


def position_limit(name: str, tokenizer: Tokenizer) -> int | None:
    """Return the most tokens a sequence of this model may have, special tokens included; None where nothing limits it."""
    with loading("model's configuration", name, "--model_name"):
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(name).get_text_config()
    limits = [getattr(config, key, None) for key in ("max_position_embeddings", "n_positions", "max_seq_len")]
    limit = min((value for value in limits if isinstance(value, int) and value > 0), default=None)
    if limit and 0 < limit - tokenizer.model_max_length <= 4:  # RoBERTa's table has rows that hold no position
        limit = tokenizer.model_max_length
    return limit
