"""The tokenizer: what it puts around a text, which token the target is in running text, how tokens are shown."""

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

import numpy as np

from utils.base.errors import UserError
from utils.base.files import fingerprint
from utils.base.hub import loading, place_of_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Tokenizer: TypeAlias = "PreTrainedTokenizerFast"
Frame: TypeAlias = tuple[list[int], list[int]]  # the ids that stand before and after every text
SpecialTokens: TypeAlias = Literal["text", "encode"]  # what a special token is that a text spells out: see `load_tokenizer`
Item = TypeVar("Item")

BEFORE = ("in", "He said", "(", "\n", "7", "one,")
AFTER = (" end", ".", "\n", " 7", ", and", "")
SIGNS = {"\n": "↵", "\r": "␍", "\t": "⇥"}
FRAMED_TEXTS = 3  # that show what stands around a text: with one alone, a token of the text may pass for one of the frame
PROVED_TEXTS, PROVED_CHARACTERS = 30, 2000  # on which framed ids are compared with the tokenizer's own call
CHARACTERS_A_TOKEN = 8  # more than most texts have
SPOILT_BY_A_CUT = 32  # tokens before a cut that may not be those of the whole text
JOINERS = "\u200c\u200d"  # zero-width: what stands on both sides is one character to the eye, as in families of emoji
FULL_STOPS = (".", "!", "?", "…", "。", "！", "？", "।", "؟")  # that end a sentence, as may what closes behind them:
CLOSING = " \"')]}”’»」』"
FINGERPRINT_TEXT = "In 1815, M. Charles-François-Bienvenu Myriel said:\n\t“the end”"


def load_tokenizer(name: str, special_tokens: SpecialTokens = "text", trust_remote_code: bool = False) -> Tokenizer:
    """Load the fast tokenizer of a model, by Hub name or folder.

    special_tokens: "text": "<s>" inside a text is text, no second BOS; "encode": it is the token, as in the model's own call
    trust_remote_code: run Python code that comes with it
    """
    with loading("tokenizer", name, "--model_name"):
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(place_of_tokenizer(name), trust_remote_code=trust_remote_code)
    if not getattr(tokenizer, "is_fast", False):
        raise UserError(
            f"--model_name {name}: its tokenizer has no fast version; convert it (tokenizer.json) or "
            "choose a model that has one"
        )
    tokenizer.backend_tokenizer.no_padding()  # some files ask for it, and for texts cut at 128 tokens
    tokenizer.backend_tokenizer.no_truncation()
    read_special_tokens_as(tokenizer, special_tokens)
    return tokenizer


def read_special_tokens_as(tokenizer: Tokenizer, special_tokens: SpecialTokens) -> None:
    """Choose what a special token is that a text spells out; see `load_tokenizer`."""
    as_text = special_tokens == "text"
    tokenizer.backend_tokenizer.encode_special_tokens = as_text
    tokenizer.split_special_tokens = as_text  # else the tokenizer's own call would set the backend back


def special_frame(tokenizer: Tokenizer) -> Frame:
    """Return the ids that the tokenizer's own call puts before and after a text: ([BOS], []), ([CLS], [SEP]), ([], []), ...

    They are found around texts that yield tokens, and must be the same around each of them.
    """
    frames = None
    for text, plain in islice(texts_with_tokens(tokenizer), FRAMED_TEXTS):
        around = frames_around(tokenizer(text)["input_ids"], plain)
        frames = around if frames is None else [frame for frame in frames if frame in around]
    if frames is None:
        raise UserError(f"the tokenizer of {tokenizer.name_or_path} gives no token for any text; choose another model")
    if not frames:
        raise UserError(
            f"the tokenizer of {tokenizer.name_or_path} changes a text when it adds its special tokens; choose another model"
        )
    return frames[0]


def texts_with_tokens(tokenizer: Tokenizer) -> Iterator[tuple[str, list[int]]]:
    """Yield (text, its ids) of short texts that yield tokens: a few that most tokenizers know, then from the vocabulary."""
    special = set(tokenizer.all_special_ids)
    ordinary = (tokenizer.decode([token]) for token in sorted(tokenizer.get_vocab().values()) if token not in special)
    for text in map(str, chain(("a", "The end.", "1815"), ordinary)):
        if ids := tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids:
            yield text, ids


def frames_around(framed: Sequence[int], plain: Sequence[int]) -> list[Frame]:
    """List what may stand before and after `plain` in `framed`.

    frames_around([1, 5, 5, 2], [5]) -> [([1], [5, 2]), ([1, 5], [2])]
    """
    size, framed = len(plain), list(framed)
    starts = range(len(framed) - size + 1)
    return [(framed[:start], framed[start + size :]) for start in starts if framed[start : start + size] == list(plain)]


def require_own_ids(tokenizer: Tokenizer, frame: Frame, texts: Sequence[str]) -> None:
    """Raise UserError where the tokenizer's own call gives other ids for a text than `encode_batch` inside `frame`.

    Of many texts some are tried, and the beginning of each.
    """
    texts = [text[:PROVED_CHARACTERS] for text in texts[:: max(1, len(texts) // PROVED_TEXTS)]]
    for text, ids in zip(texts, encode_batch(tokenizer, texts), strict=True):
        ours, own = [*frame[0], *ids.tolist(), *frame[1]], list(tokenizer(text)["input_ids"])
        if ours != own:
            place = next((index for index, pair in enumerate(zip(ours, own, strict=False)) if pair[0] != pair[1]), None)
            place = min(len(ours), len(own)) if place is None else place
            raise UserError(
                f"the tokenizer of {tokenizer.name_or_path} itself gives other ids for {text[:40]!r}: "
                f"{own[place : place + 3]} from position {place} on, not {ours[place : place + 3]}; mend its tokenizer.json "
                "(post_processor), or choose another model"
            )


def encode_batch(tokenizer: Tokenizer, texts: Sequence[str]) -> list[np.ndarray]:
    """Encode whole texts without special tokens: int32 ids. The library spreads a batch over the processor's cores."""
    encodings = tokenizer.backend_tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    return [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]


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


def sentence_ends(tokenizer: Tokenizer, ids: np.ndarray) -> np.ndarray:
    """Say which of these tokens end a sentence or a line: bool [largest id + 1]. ids: int, distinct."""
    texts = tokenizer.batch_decode(ids[:, None].tolist(), clean_up_tokenization_spaces=False)
    result = np.zeros(int(ids.max()) + 1, dtype=bool)
    result[ids] = ["\n" in text or text.rstrip(CLOSING).endswith(FULL_STOPS) for text in texts]
    return result


def token_text(tokenizer: Tokenizer, token: int) -> str:
    """Show one token: its own characters, or its name where it has none.

    Line breaks are ↵ (␍ a carriage return) and tabs ⇥; fragments of a character are their bytes, ⟨E2 80⟩; control and
    direction marks, which would move other text about, are their code points, ⟨U+202E⟩; a mark that sits on another
    character gets a circle.
    """
    name = tokenizer.convert_ids_to_tokens(int(token))
    text = str(tokenizer.decode([int(token)], clean_up_tokenization_spaces=False))
    if isinstance(name, str) and name.startswith("▁"):
        text = " " * (len(name) - len(name.lstrip("▁"))) + text.lstrip(" ")  # the decoder drops a text's first space
    if not text or "\ufffd" in text:
        return fragment(str(name))
    shown = shown_text(text)
    return "◌" + shown if unicodedata.category(text[0]).startswith("M") else shown


def shown_text(text: str) -> str:
    """Make the control characters of a text visible; see `token_text`."""
    return "".join(SIGNS.get(character) or visible(character, len(text) == 1) for character in text)


def isolated(text: str) -> str:
    """Keep a name with letters from right to left from turning the words around it round (Unicode's isolates)."""
    turns = any(unicodedata.bidirectional(character) in ("R", "AL", "AN") for character in text)
    return f"\u2068{text}\u2069" if turns else text


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
