"""Checks on the tokenizer: what it puts around a text, and whether the model was trained with it."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from utils.base.checks import Check
from utils.data.tokenizer import encode_batch, special_frame
from utils.model.language_model import LanguageModel

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SENTENCES = (  # of different lengths, so that a batch of them is padded
    "He did not know.",
    "The old man walked slowly along the river until he came to a small wooden bridge.",
    "When she opened the door, the room was empty, and a cold wind came in through the broken window.",
    "Once upon a time there was a little girl who lived with her mother near the forest, and every day she went out to "
    "play with her friends.",
    "It was a long way to the town, but they had to be there before the night, because the shop would be closed in the "
    "morning.",
    "In the year 1815 the city had three schools, two churches and a market, which was held every Saturday.",
    "Many people believe that the best way to learn a language is to speak it every day with other people.",
    "There was nothing in the box but a letter, and on the letter was the name of her father.",
)
SHUFFLES = 2  # orders that each sentence's tokens are put into
KNOWS_ORDER = 0.5  # nats a token: stories260K gains 7.4 with its own tokenizer, at most 0.15 with seven others
EXPECTS_BEGINNING = 1.0  # nats: after the BOS it was trained with stories260K gains 3.5, after special tokens never seen 0.2
BOS_HELPS = 0.1  # nats a token: a tenth off the perplexity
LEAST_COVERED = 0.9  # of the embeddings have an id in the model's own tokenizer; the rest is padding of the matrix
ROWS = 8  # single tokens read together
LEAST_TOKENS = 4  # of each sentence: a tokenizer of other letters, such as those of DNA, drops nearly all of it
PIECES = 24  # of the vocabulary, in each text for such a tokenizer


def reads_english(tokenizer: "PreTrainedTokenizerBase") -> bool:
    """Tell whether the tokenizer has tokens for SENTENCES."""
    return all(len(ids) >= LEAST_TOKENS for ids in encode_batch(tokenizer, list(SENTENCES)))


def sentences_for(tokenizer: "PreTrainedTokenizerBase") -> list[str]:
    """SENTENCES, or as many texts of different lengths made of the vocabulary where it has no tokens for them."""
    if reads_english(tokenizer):
        return list(SENTENCES)
    special = set(tokenizer.all_special_ids)
    ordinary = [token for token in sorted(tokenizer.get_vocab().values()) if token not in special]
    random = np.random.default_rng(0)
    return [tokenizer.decode(random.choice(ordinary, PIECES + number).tolist()) for number in range(len(SENTENCES))]


def encoded_sentences(tokenizer: "PreTrainedTokenizerBase", limit: int | None = None) -> list[np.ndarray]:
    """`sentences_for` this tokenizer, without special tokens; limit: the model's positions, special tokens included."""
    before, after = special_frame(tokenizer)
    room = limit and max(1, limit - len(before) - len(after))
    return [ids[:room] for ids in encode_batch(tokenizer, sentences_for(tokenizer))]


def framed_sentences(tokenizer: "PreTrainedTokenizerBase", limit: int | None = None) -> list[list[int]]:
    """The same as prepare_data builds sequences."""
    before, after = special_frame(tokenizer)
    return [[*before, *ids.tolist(), *after] for ids in encoded_sentences(tokenizer, limit)]


def check_special_tokens(tokenizer: "PreTrainedTokenizerBase") -> Check:
    """In sequences as prepare_data builds them each special token stands once, also where a text spells its name; and
    the ids are those that the tokenizer's own call gives.
    """
    before, after = special_frame(tokenizer)
    frame = [*before, *after]
    names = tokenizer.convert_ids_to_tokens(frame)
    spelt = " ".join(["He wrote", *names, *tokenizer.all_special_tokens, "twice."])
    inside = [*before, *encode_batch(tokenizer, [spelt])[0].tolist(), *after]
    sequences = framed_sentences(tokenizer)
    once = zip(frame, names, strict=True)
    counts = [(name, [ids.count(token) for ids in sequences], inside.count(token)) for token, name in once]
    twice = [name for name, found, _ in counts if set(found) != {1}]
    spelt_out = [name for name, _, found in counts if found != 1]
    own = tokenizer(sentences_for(tokenizer))["input_ids"]
    different = sum(ours != theirs for ours, theirs in zip(sequences, own, strict=True))
    detail = (
        f"{' '.join(tokenizer.convert_ids_to_tokens(before)) or 'nothing'} before and "
        f"{' '.join(tokenizer.convert_ids_to_tokens(after)) or 'nothing'} after a text"
    )
    if twice:
        return Check(
            "special tokens",
            False,
            f"{detail}; not exactly once in {len(sequences)} sequences: {', '.join(dict.fromkeys(twice))}",
            "mend the post_processor in tokenizer.json",
        )
    if different:
        return Check(
            "special tokens",
            False,
            f"{detail}; the tokenizer's own call gives other ids for {different} of {len(own)} sentences",
            "mend add_bos_token and the post_processor of the tokenizer",
        )
    detail = f"{detail}, each once in {len(sequences)} sequences; the tokenizer's own call gives the same ids"
    if spelt_out:
        spelt = ", ".join(dict.fromkeys(spelt_out))
        return Check(
            "special tokens", None, f"{detail}. A text that spells {spelt} out yields the token itself: leave out such texts"
        )
    return Check("special tokens", True, f"{detail}; spelt out in a text they are text")


def ids_beyond(language_model: LanguageModel, tokenizer: "PreTrainedTokenizerBase") -> int:
    """How many of the ids that a text can yield have no embedding."""
    special = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
    ordinary = {token for token in tokenizer.get_vocab().values() if token not in special}
    return sum(token >= language_model.vocabulary for token in ordinary.union(*special_frame(tokenizer)))


def check_tokenizer(language_model: LanguageModel, tokenizer: "PreTrainedTokenizerBase", limit: int | None = None) -> Check:
    """Is this the tokenizer that the model was trained with? A causal model knows: with its own tokenizer real text is
    far more probable than the same tokens in random order, with another one hardly. limit: the model's positions.
    """
    remedy = "give the model's own tokenizer: its folder must hold the files that it was published with"
    rows = language_model.vocabulary
    count, beyond = len(tokenizer), ids_beyond(language_model, tokenizer)
    if beyond:
        return Check(
            "tokenizer",
            False,
            f"{beyond:,} of its {count:,} ids are out of range: the model has embeddings for ids 0 to {rows - 1}",
            remedy,
        )
    differing = special_ids_that_differ(language_model.model.config, tokenizer)
    detail = f"{count:,} ids for {rows:,} embeddings; special ids "
    detail += f"differ ({', '.join(differing)})" if differing else "agree with the configuration"
    if not (language_model.anatomy.causal and language_model.has_head):
        few = count < LEAST_COVERED * rows
        if few:
            detail += f"; a tokenizer of this model would use at least {LEAST_COVERED:.0%} of the embeddings"
        return Check(
            "tokenizer",
            False if differing or few else None,
            f"{detail}; whether it is this model's own is NOT "
            "checked: without a causal model's head there is no loss to tell",
            remedy if differing or few else "",
        )
    if not reads_english(tokenizer):
        return Check("tokenizer", None, f"{detail}; whether it is the model's own is NOT checked: it has no English tokens")
    real, shuffled = order_losses(language_model, tokenizer, limit)
    detail += f"; real text {real:.2f} nats a token, its tokens in random order {shuffled:.2f}"
    if not math.isfinite(real + shuffled):
        return Check("tokenizer", None, f"{detail}: the loss is not finite and cannot tell")
    if shuffled - real >= KNOWS_ORDER:
        return Check("tokenizer", True, detail)
    if untrained(language_model.model):
        return Check(
            "tokenizer",
            False if differing else None,
            f"{detail}: the model looks untrained (every norm is constant), so the loss cannot tell",
            remedy if differing else "",
        )
    return Check(
        "tokenizer",
        False,
        f"{detail}: the model reads no English in it (at least {KNOWS_ORDER} apart)",
        f"{remedy}; a model that never saw English cannot be told from one with a wrong tokenizer",
    )


def special_ids_that_differ(config: Any, tokenizer: "PreTrainedTokenizerBase") -> list[str]:
    """['bos 1 in the configuration, 0 in the tokenizer', ...] where both have one; padding is never read."""
    config, differing = config.get_text_config(), []
    for name in ("bos", "eos"):
        theirs, ours = getattr(config, f"{name}_token_id", None), getattr(tokenizer, f"{name}_token_id")
        if theirs is not None and ours is not None and ours not in as_list(theirs):
            differing.append(f"{name} {theirs} in the configuration, {ours} in the tokenizer")
    return differing


def as_list(value: Any) -> list:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def untrained(model: nn.Module) -> bool:
    """Is every norm's weight and bias the same number throughout, as before the first step of training?

    Norms are the modules that have nothing but vectors.
    """
    norms = [own for module in model.modules() if (own := list(module.parameters())) and all(one.ndim == 1 for one in own)]
    vectors = [parameter for own in norms for parameter in own]
    return bool(vectors) and all(bool((vector == vector[0]).all()) for vector in vectors)


def order_losses(
    language_model: LanguageModel, tokenizer: "PreTrainedTokenizerBase", limit: int | None = None
) -> tuple[float, float]:
    """Nats a token of SENTENCES, and of the same tokens in random order. Each sentence is read by itself: in one long
    text a model could learn from repetitions, whatever the tokenizer.
    """
    before, _ = special_frame(tokenizer)
    random = np.random.default_rng(0)
    real, shuffled = [], []
    for ids in encoded_sentences(tokenizer, limit):
        real.append(losses(language_model, before, ids))
        shuffled += [losses(language_model, before, random.permutation(ids)) for _ in range(SHUFFLES)]
    return float(torch.cat(real).mean()), float(torch.cat(shuffled).mean())


@torch.inference_mode()
def losses(language_model: LanguageModel, before: Sequence[int], ids: Sequence[int] | np.ndarray) -> torch.Tensor:
    """Nats of each text token given those before it, float32; the first has no loss where nothing stands before it."""
    sequence = torch.tensor([[*before, *map(int, ids)]], device=language_model.device)
    logits = language_model.model(input_ids=sequence).logits[0, :-1].float()
    return -logits.log_softmax(-1).gather(1, sequence[0, 1:, None])[max(len(before) - 1, 0) :, 0].cpu()


def check_bos(language_model: LanguageModel, tokenizer: "PreTrainedTokenizerBase", limit: int | None = None) -> Check:
    """A model trained with a BOS before every text must be given it: it then expects the beginning of a text after it."""
    bos = getattr(language_model.model.config.get_text_config(), "bos_token_id", None)
    bos = tokenizer.bos_token_id if bos is None else bos
    before, _ = special_frame(tokenizer)
    shown = tokenizer.convert_ids_to_tokens(bos) if bos is not None else None
    if bos is None or bos in before:
        return Check("BOS", True, "the model has none" if bos is None else f"{shown} (id {bos}) stands before every text")
    detail = f"the BOS is {shown} (id {bos}), the tokenizer does not put it before a text"
    if not (language_model.anatomy.causal and language_model.has_head):
        return Check("BOS", None, f"{detail}; without a causal model's head nothing tells whether it needs it")
    if untrained(language_model.model) or bos >= language_model.vocabulary:
        return Check("BOS", None, f"{detail}; an untrained model cannot tell whether it needs it")
    if not reads_english(tokenizer):
        return Check("BOS", None, f"{detail}; with a tokenizer without English nothing tells whether it needs it")
    sentences = encoded_sentences(tokenizer, limit and limit - 1)
    beginning, gain = beginning_expected(language_model, sentences, bos), bos_gain(language_model, sentences, bos)
    detail += (
        f"; after it the first tokens of texts gain {beginning:.2f} nats over their place after other tokens, and "
        f"later tokens {gain:.2f}"
    )
    if not math.isfinite(beginning + gain):
        return Check("BOS", None, f"{detail}: the loss is not finite and cannot tell")
    if bos in separators(language_model.model.config, tokenizer):
        return Check(
            "BOS",
            None if gain > BOS_HELPS else True,
            f"{detail}; it ends or pads texts too, as in models that are trained without one",
        )
    return Check(
        "BOS",
        beginning < EXPECTS_BEGINNING and gain <= BOS_HELPS,
        f"{detail} (a model that was not trained with it gains less than {EXPECTS_BEGINNING} and {BOS_HELPS})",
        "let the tokenizer put it there: add_bos_token in tokenizer_config.json and the post_processor in "
        "tokenizer.json, and prepare the data again",
    )


def separators(config: Any, tokenizer: "PreTrainedTokenizerBase") -> set[int]:
    """Ids that end or pad texts."""
    config = config.get_text_config()
    values = [getattr(config, name, None) for name in ("eos_token_id", "pad_token_id")]
    return {token for value in (*values, tokenizer.eos_token_id, tokenizer.pad_token_id) for token in as_list(value)}


@torch.inference_mode()
def beginning_expected(language_model: LanguageModel, sentences: Sequence[np.ndarray], bos: int) -> float:
    """Nats that the first tokens of SENTENCES gain when they follow the BOS alone instead of one ordinary token alone."""
    first = torch.tensor([int(ids[0]) for ids in sentences], device=language_model.device)
    alone = torch.tensor([bos, *sorted({int(token) for ids in sentences for token in ids[1:]})], device=first.device)
    after = [
        -language_model.model(input_ids=part[:, None]).logits[:, 0].float().log_softmax(-1)[:, first].mean(1)
        for part in alone.split(ROWS)
    ]
    after = torch.cat(after)
    return float(after[1:].median() - after[0])


def bos_gain(language_model: LanguageModel, sentences: Sequence[np.ndarray], bos: int) -> float:
    """Nats a token by which SENTENCES are more probable with the BOS before them, first tokens left out."""
    without = torch.cat([losses(language_model, [], ids) for ids in sentences])
    given = torch.cat([losses(language_model, [bos], ids)[1:] for ids in sentences])
    return float(without.mean() - given.mean())
