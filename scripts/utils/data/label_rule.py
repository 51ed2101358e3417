"""The rules by which a token is positive, and their names in the metadata."""

import re
from dataclasses import dataclass

NAMES = re.compile(r"(target|tokens|onsets|onsets_all|whole)|within ([1-9]\d*)")


@dataclass(frozen=True)
class LabelRule:
    """What makes a token positive. `str` gives the rule's name in the metadata, `LabelRule.parse` reads it.

    target      it is the target token
    tokens      it overlaps a span of the target
    onsets      it begins a span of the target; only the tokens that begin spans of other labels are negative
    onsets_all  it begins a span of the target; every other token of known truth is negative
    within      a span of the target begins in the `count` tokens after it: "within 8"
    whole       the label belongs to the whole text and stands on its last token
    """

    kind: str = "tokens"
    count: int | None = None

    @classmethod
    def parse(cls, name: str) -> "LabelRule":
        """Read a rule's name. Raises ValueError where it names no rule.

        LabelRule.parse("within 8") -> LabelRule("within", 8)
        """
        found = NAMES.fullmatch(name)
        if not found:
            raise ValueError(f"there is no label rule {name!r}")
        return cls(found[1]) if found[1] else cls("within", int(found[2]))

    def __str__(self) -> str:
        return self.kind if self.count is None else f"{self.kind} {self.count}"
