"""Special tokens that texts spell out, such as "<|im_start|>" in a page about chat models: which, and in how many texts."""

import re
from collections import Counter

from utils.data.tokenizer import SpecialTokens, Tokenizer


def special_ids(tokenizer: Tokenizer) -> set[int]:
    """Return the ids of all special tokens."""
    return {token for token, added in tokenizer.added_tokens_decoder.items() if added.special} | set(
        tokenizer.all_special_ids
    )


class SpeltOut:
    """Counts the texts that spell out special tokens.

    texts, with_some  how many texts were looked at, and how many of them spell out any
    by_token          {special token: how many texts spell it out}
    """

    def __init__(self, tokenizer: Tokenizer):
        self.names = {name for name in tokenizer.convert_ids_to_tokens(sorted(special_ids(tokenizer))) if name}
        self.sizes = sorted({len(name) for name in self.names})
        first = "".join(sorted({re.escape(name[0]) for name in self.names}))
        self.begins = re.compile(f"[{first}]") if first else None
        self.texts = self.with_some = 0
        self.by_token: Counter[str] = Counter()

    def read(self, text: str) -> None:
        """Look at one text."""
        found = self.found_in(text)
        self.texts += 1
        self.with_some += bool(found)
        self.by_token.update(found)

    def found_in(self, text: str) -> set[str]:
        """Return the special tokens that the text spells out."""
        places = [match.start() for match in self.begins.finditer(text)] if self.begins else []
        return {name for place in places for size in self.sizes if (name := text[place : place + size]) in self.names}

    def record(self, read_as: SpecialTokens) -> dict:
        """Say for the metadata how special tokens were read and how many texts spell which out."""
        return {
            "read_as": read_as,
            "texts": self.texts,
            "texts_that_spell_some_out": self.with_some,
            "spelt_out": dict(self.by_token.most_common()),
        }


def spelt_out_in_words(record: dict) -> str:
    """Say what a record of special tokens holds: "12 of 30 texts spell some out (<s> 12, </s> 3), read as text"."""
    if not record["texts_that_spell_some_out"]:
        return f"none of {record['texts']:,} texts spells one out"
    shown = list(record["spelt_out"].items())
    names = ", ".join(f"{name} {texts:,}" for name, texts in shown[:8]) + (", ..." if len(shown) > 8 else "")
    how = "read as text" if record["read_as"] == "text" else "encoded as the tokens that they name"
    return f"{record['texts_that_spell_some_out']:,} of {record['texts']:,} texts spell some out ({names}), {how}"
