"""Write the words on the page of probes, by the rule of the labels: the question, what is counted, notes."""

from pathlib import PurePath

from utils.base.paths import short_path
from utils.base.text_table import how_many
from utils.data.label_rule import LabelRule
from utils.data.tokenizer import isolated, shown_text
from utils.saved.probe_sets import pool_of, rule_of

OF_A_TOKEN = {
    "positive": "is the target",
    "negative": "is not",
    "mark": "where the target is",
    "card": {"1": "the target", "0": "not the target", "-1": "truth unknown"},
}
OF_A_LABEL = {
    "positive": "positive",
    "negative": "negative",
    "mark": "where the label is positive",
    "card": {"1": "positive", "0": "negative", "-1": "truth unknown"},
}


def class_words(metadata) -> dict:
    """Name the classes: positive and negative in the table of counts, mark in the legend, card by a token's truth."""
    return OF_A_TOKEN if rule_of(metadata) == "target" else OF_A_LABEL


def question(metadata) -> str:
    """Ask the question from where the state lies: at a lag of -4 it is about the token 4 tokens on."""
    target, lag, rule = metadata["target"], metadata["lag"], rule_of(metadata)
    if rule == "target":
        return question_of_place(quoted_label(target).replace(" ", "␣"), lag)
    quoted = quoted_label(target)
    if rule == "whole":
        return question_of_text(quoted, lag)
    if rule == "tokens":
        return question_of_place(f"inside {quoted}", lag)
    within = LabelRule.parse(rule).count
    return question_of_onset(quoted, lag) if within is None else question_of_stretch(quoted, lag, within)


def quoted_label(target) -> str:
    return isolated(f"“{shown_text(target)}”")


def question_of_text(quoted, lag) -> str:
    """Ask about a whole text; its label stands on the last token."""
    where = "" if lag == 0 else f" (read {-lag} token{'s' if lag < -1 else ''} before its end)"
    return f"Is this text positive for {quoted}?{where}"


def question_of_place(what, lag) -> str:
    if lag == -1:
        return f"Will the next token be {what}?"
    if lag == 0:
        return f"Is this token {what}?"
    if lag < 0:
        return f"Will the token {-lag} tokens on be {what}?"
    return f"Was the token {lag} token{'s' if lag > 1 else ''} back {what}?"


def question_of_onset(quoted, lag) -> str:
    if lag == 0:
        return f"Does {quoted} begin at this token?"
    if lag > 0:
        return f"Did {quoted} begin {lag} token{'s' if lag > 1 else ''} back?"
    return f"Will {quoted} begin {'at the next token' if lag == -1 else f'{-lag} tokens on'}?"


def question_of_stretch(quoted, lag, count) -> str:
    """Ask whether a span begins in the `count` tokens after the labelled one, seen from the state `lag` tokens away."""
    if lag > 0:
        return f"Does {quoted} begin within the {count} token{'s' if count > 1 else ''} after the one {lag} back?"
    if count == 1:
        return question_of_onset(quoted, lag - 1)
    return f"Will {quoted} begin " + (
        f"within the next {count} tokens?" if lag == 0 else f"{1 - lag} to {count - lag} tokens on?"
    )


def counts_line(sets, tokens, truth) -> str:
    """Say which probes are shown, and on how much text.

    tokens: how many are shown; truth: of each of them, or of each whole text, for the first set. It is counted where there
    is one target.
    """
    metadata, probes = sets[0].common, sum(len(one.layers) for one in sets)
    known, targets = int((truth >= 0).sum()), int((truth == 1).sum())
    count = f", {targets:,} of them " + ("the target" if rule_of(metadata) == "target" else "positive")
    if known < len(truth):
        count = f", {known:,} of known truth{count}" if known else ", their truth unknown"
    if len({one.common["target"] for one in sets}) > 1:
        count = ""  # of each target it is another
    amount = f"{tokens:,} tokens"
    if sets[0].whole:
        amount = f"{how_many(len(truth), 'text')} with {amount}"
    kinds = " and ".join(dict.fromkeys(one.common["kind"].replace("_", "-") for one in sets))
    shown = f"{probes} {kinds} probe{'s' if probes > 1 else ''} on the hidden states of {model_name(metadata)}"
    return f"{shown}; {amount}{count}"


def model_name(metadata) -> str:
    """Name the model, without telling where its folder lies."""
    return shown_text(short_path(metadata["model"]))


def provenance(sets) -> list[tuple[str, str]]:
    """Say where the probes come from: (name, value) of each fact that their files know."""
    metadata = sets[0].common
    source = metadata.get("source") if isinstance(metadata.get("source"), dict) else {}
    found = {
        "model": model_name(metadata),
        "weights": metadata.get("model_fingerprint"),
        "precision": metadata.get("model_dtype"),
        "data": PurePath(str(source.get("dataset") or source.get("input") or "")).name,
        "data’s fingerprint": metadata.get("dataset_fingerprint"),
        "label rule": rule_of(metadata),
        "context": f"at most {metadata['context_length']:,} tokens before the labelled one"
        if metadata.get("context_length")
        else None,
    }
    return [(name, shown_text(str(value))) for name, value in found.items() if value]


def notes(metadata, window, known) -> list[str]:
    """Write the notes in the legend.

    window: the most tokens that the model read together
    known: whether the truth of any token is known
    """
    lag, rule = metadata["lag"], rule_of(metadata)
    if rule == "whole":
        return notes_on_texts(metadata)
    where = {0: "the state that is read is the token's own", -1: "the state that is read is that of the token before it"}
    away = f"the state that is read lies {abs(lag)} tokens {'before' if lag < 0 else 'after'} it"
    within = LabelRule.parse(rule).count
    after = f", whether a part begins after it, in {'a token' if within == 1 else f'{within} tokens'} at most"
    found = [f"The colour lies on the token that the answer is about{after if within else ''}; {where.get(lag, away)}."]
    if pool_of(metadata) != "last":
        what = {"mean": "the mean of the states", "max": "of each dimension the largest value"}[pool_of(metadata)]
        found.append(f"What is read there is {what} from the beginning of the window that the model reads up to it.")
    found += notes_on_a_token(metadata) if rule == "target" else notes_on_a_label(metadata, rule, known)
    trained = metadata.get("context_length")
    if trained and trained != (window if rule == "target" else window - 1):
        found.append(
            f"The probes were trained on states with at most {trained:,} tokens before them; here it may be {window - 1:,}."
        )
    if not metadata["causal"] and lag < (within or 0):
        seen = "the tokens that are" if within else "the token that is"
        found.append(f"This model is bidirectional: the state has seen {seen} asked for; this is no prediction.")
    return found


def notes_on_texts(metadata) -> list[str]:
    """Say what of a text is read, and what the colour of a token means."""
    pool, lag = pool_of(metadata), metadata["lag"]
    place = f"the token {-lag} before a text's last one" if lag < 0 else "a text's last token"
    read = {
        "last": f"The state that is read is that of {place}.",
        "mean": f"What is read is the mean of the states of a text's tokens, up to {place}.",
        "max": f"What is read is, of each dimension, the largest value among the states of a text's tokens, up to {place}.",
    }[pool]
    if pool == "mean":
        whose = f"the state {-lag} tokens before it" if lag < 0 else "its state"
        colour = f"what the probe makes of {whose} alone: the text's logit is the mean of its tokens' logits."
    else:
        ended = "if it ended there" if metadata["causal"] else "if it were read there"
        colour = f"what the probe would say of the text {ended}; that of the last token is the text's score."
    colour = f"A token's colour is {colour}"
    return [read, colour, *notes_on_a_label(metadata, "whole", known=False)]


def notes_on_a_token(metadata) -> list[str]:
    share = metadata["prevalence"]
    return [
        "Probabilities are those of the training sample, where the classes weigh the same"
        + (f"; in running text the target is {share:.2%} of the tokens." if share == share else ".")
    ]


def notes_on_a_label(metadata, rule, known) -> list[str]:
    """Say which tokens are positive, and what the probabilities mean."""
    quoted = quoted_label(metadata["target"])
    truth = {
        "tokens": f"Every token that shares a character with a part marked {quoted} is positive.",
        "onsets": f"The first token of each part marked {quoted} is positive, that of each part marked otherwise is "
        "negative; no other token was asked about.",
        "onsets_all": f"The first token of each part marked {quoted} is positive.",
    }
    ahead = f"Every token shortly before the first one of a part marked {quoted} is positive."
    weights = (metadata.get("sampling") or {}).get("class_balance", "weighted") != "none"
    counted = "texts" if rule == "whole" else "labelled tokens"
    share = metadata["prevalence"]
    return [
        *([truth.get(rule, ahead)] if known else []),
        "Probabilities are those of the training sample"
        + (", where the classes weigh the same" if weights else "")
        + (f"; of the {counted} {share:.2%} are positive." if share == share else "."),
    ]
