"""Read the texts that the page of probes shows, and the truth of each token; print what is known of them."""

from utils.base.errors import UserError
from utils.base.text_table import how_many
from utils.pages.texts.annotated import annotated_texts
from utils.pages.texts.plain import plain_texts
from utils.pages.texts.shown import KNOWN, Amount, ShownText
from utils.pages.texts.source import TextSource
from utils.pages.texts.whole import whole_texts_of


def read_shown(source: TextSource, amount: Amount, probes, tokenizer) -> list[ShownText]:
    """Read the texts that are shown, at least one, first those with most positives of the first target. Print what is known.

    probes: any set of those that are shown: of their data, model and rule of the labels
    """
    of_tokens = annotated_texts if source.kind == "annotated" else plain_texts
    texts = (whole_texts_of if probes.whole else of_tokens)(source, amount, probes, tokenizer)
    if not texts:
        raise UserError(
            f"{source.place} holds "
            + (
                "none of the texts that were kept from training, has it changed?; give another text with --text_file"
                if source.only_test
                else "no text; give another"
            )
        )
    count = sum(len(text.ids) for text in texts)
    if not probes.whole and count < amount.tokens:
        more = "; show more texts with --num_texts" if len(texts) == amount.texts else ""
        there = f"{how_many(len(texts), 'text')} with {count:,} tokens"
        print(f"note: {source.place}: {there}, fewer than --num_tokens {amount.tokens:,}{more}", flush=True)
    for note in dict.fromkeys(text.note for text in texts if text.note != KNOWN["test"]):
        print(f"note: {sum(note == text.note for text in texts)} of {len(texts)} texts: {note}", flush=True)
    for number, target in enumerate(amount.targets):
        if source.kind == "annotated" and not any((text.truth[number] == 1).any() for text in texts):
            more = "--num_texts" if probes.whole else "--num_tokens"
            print(f"note: {target!r} is nowhere in what is shown; show more with {more}", flush=True)
    return sorted(texts, key=lambda text: (-int((text.truth[0] == 1).sum()), -int((text.truth == 1).sum())))
