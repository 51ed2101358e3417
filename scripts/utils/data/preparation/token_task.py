"""--task token: texts -> windows that find one token of running text."""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from os import cpu_count

import numpy as np

from utils.base.errors import UserError
from utils.base.progress import Progress
from utils.data.preparation.dataset_files import (
    about_content,
    about_tokenizer,
    count,
    fitting_length,
    in_words,
    report_files,
    sequences_of_windows,
    versions,
    write_dataset,
)
from utils.data.preparation.pieces import encode_long
from utils.data.preparation.settings import PlainTexts, TokenPreparation, TokenWindows
from utils.data.readers.annotated import ALL_TARGETS
from utils.data.readers.document import Document, text_hash
from utils.data.readers.plain import read_texts
from utils.data.readers.published import SplitChoice, use_splits
from utils.data.sequences import SPLITS, Sequences
from utils.data.special_tokens import SpeltOut, spelt_out_in_words
from utils.data.splits import EvenCap, assign_splits, group_near_duplicates, published_splits_of_groups, sketch
from utils.data.tokenizer import (
    PROVED_TEXTS,
    Frame,
    Tokenizer,
    batches_by_size,
    load_tokenizer,
    require_own_ids,
    special_frame,
    target_in_running_text,
)
from utils.data.windows import Window, label_by_token, windows_at_drawn_tokens, windows_side_by_side

CHARACTERS_A_CORE = 1_000_000  # of a batch, for each core: enough to keep it busy, little enough that memory stays small


def prepare_token_task(preparation: TokenPreparation) -> None:
    """Read, cut, split and write, and print what was made."""
    tokenizer = load_tokenizer(preparation.model_name, preparation.texts.special_tokens, preparation.trust_remote_code)
    frame = special_frame(tokenizer)
    fitting_length(preparation.windows.context_length, preparation.model_name, frame, preparation.trust_remote_code)
    target = target_in_running_text(tokenizer, preparation.target_token)
    print(
        f"target {preparation.target_token!r} is token {target} ({tokenizer.convert_ids_to_tokens(target)!r}); "
        f"a sequence is {layout(tokenizer, frame)}",
        flush=True,
    )

    kept, counted = collect_windows(preparation, tokenizer, frame, target)
    made = split_windows(kept, frame, preparation.train_ratio, preparation.seed)
    write_token_dataset(preparation, tokenizer, frame, target, made, counted)


def layout(tokenizer: Tokenizer, frame: Frame) -> str:
    """Say what a sequence holds, in order: "<s> + context + labelled token"."""
    before, after = (" ".join(tokenizer.convert_ids_to_tokens(ids)) for ids in frame)
    return " + ".join(part for part in (before, "context", "labelled token", after) if part)


class Kept:
    """What is remembered of the documents: a name, hash, group and sketch each, and windows of a bounded number."""

    def __init__(self):
        self.names: list[str] = []
        self.hashes: list[str] = []
        self.groups: list[str] = []
        self.published: list[str | None] = []  # the name of each document's split
        self.sketches: list[np.ndarray] = []
        self.windows: list[list[tuple[Window, ...]]] = []
        self.sizes: list[tuple[int, int]] = []  # of each document: its tokens, and those that are the target

    def keep(self, wanted: Sequence[bool]) -> int:
        """Drop the documents that are not wanted. Returns how many."""
        full = [index for index, good in enumerate(wanted) if good]
        dropped = len(wanted) - len(full)
        for name in vars(self):
            setattr(self, name, [getattr(self, name)[index] for index in full])
        return dropped


@dataclass(frozen=True)
class Counted:
    """What was read and dropped, and the record of special tokens that texts spell out.

    size: tokens that were read, and those that are the target.
    """

    dropped: dict[str, int]
    size: tuple[int, int]
    special_tokens: dict


def collect_windows(preparation: TokenPreparation, tokenizer: Tokenizer, frame: Frame, target: int) -> tuple[Kept, Counted]:
    """Read, tokenize and cut every text. Returns what is kept, and what was counted."""
    spelt_out = SpeltOut(tokenizer)
    kept, windows_by = Kept(), preparation.windows
    cap = EvenCap(windows_by.max_chunks_per_class * (2 if windows_by.positions == "all" else 1), preparation.seed)
    dropped: Counter[str] = Counter()
    counted: Counter[str] = Counter()
    seen = set()
    with Progress("tokenize and cut", "token") as progress:
        for index, (document, tokens) in enumerate(tokenized(preparation.texts, tokenizer)):
            progress.update(len(tokens), note=f"{index + 1} texts")
            size = len(tokens), int((tokens == target).sum())
            counted.update(texts=1, tokens=size[0], targets=size[1])
            spelt_out.read(document.text)
            if index < PROVED_TEXTS:
                require_own_ids(tokenizer, frame, [document.text])
            digest = hash(tokens.tobytes())
            windows = [] if digest in seen else cut(windows_by, preparation.seed, tokens, target, index)
            if not windows:
                dropped["duplicate_texts" if digest in seen else "texts_too_short_or_without_target"] += 1
                continue
            seen.add(digest)
            cap.add(windows)
            kept.names.append(document.name)
            kept.hashes.append(text_hash(document.text))
            kept.groups.append(document.group)
            kept.published.append(document.split)
            kept.sketches.append(sketch(tokens))
            kept.sizes.append(size)
    explain_emptiness(preparation, counted, kept)
    kept.windows = cap.kept()
    if others := keep_used_splits(preparation.texts, kept):
        dropped["texts_of_other_splits"] = others
    dropped["texts_beyond_the_cap"] = kept.keep([bool(windows) for windows in kept.windows])
    groups = group_near_duplicates(kept.groups, kept.sketches)
    dropped["texts_grouped_as_near_duplicates"] = sum(a != b for a, b in zip(groups, kept.groups, strict=True))
    kept.groups = groups
    return kept, Counted(
        {"texts_read": counted["texts"], **dropped},
        (counted["tokens"], counted["targets"]),
        spelt_out.record(preparation.texts.special_tokens),
    )


def tokenized(texts: PlainTexts, tokenizer: Tokenizer) -> Iterator[tuple[Document, np.ndarray]]:
    """Yield (document, int32 ids) of each text; the next batch is tokenized while the last one is cut."""
    documents = read_texts(
        texts.dataset, texts.text_column, texts.language, texts.max_texts, texts.split_column, texts.dataset_config
    )
    with ThreadPoolExecutor(1) as tokenizing:
        waiting = None
        most = CHARACTERS_A_CORE * max(2, cpu_count() or 1)
        for batch in batches_by_size(documents, most, lambda document: len(document.text)):
            started = batch, tokenizing.submit(encode_long, tokenizer, [item.text for item in batch])
            if waiting:
                yield from zip(waiting[0], waiting[1].result(), strict=True)
            waiting = started
        if waiting:
            yield from zip(waiting[0], waiting[1].result(), strict=True)


def cut(windows_by: TokenWindows, seed: int, tokens: np.ndarray, target: int, index: int) -> Sequence[tuple[Window, ...]]:
    """Cut document number `index` into windows in random order (sampled: pairs of one of each class)."""
    random = np.random.default_rng([seed, index])
    labels = label_by_token(tokens, target)
    if windows_by.positions == "sampled":
        return windows_at_drawn_tokens(tokens, labels, windows_by.width, random)
    windows = windows_side_by_side(tokens, labels, windows_by.width, windows_by.min_context)
    return [(windows[i],) for i in random.permutation(len(windows))] if labels.any() else []


def keep_used_splits(texts: PlainTexts, kept: Kept) -> int:
    """Leave out the documents of published splits that are not used, and name the splits of the others train, val or test.

    Returns how many are left out.
    """
    choice = SplitChoice(texts.split_column, ALL_TARGETS if texts.splits == ALL_TARGETS else tuple(texts.splits))
    used = use_splits([None if choice.ignored else name for name in kept.published], choice, texts.dataset)
    print("".join(f"{note}\n" for note in used.notes), end="", flush=True)
    others = kept.keep([used.keeps(name) for name in kept.published])
    kept.published = [used.split(name) for name in kept.published]
    return others


def explain_emptiness(preparation: TokenPreparation, counted: Counter[str], kept: Kept) -> None:
    """Raise UserError where nothing is left, and say why."""
    dataset, width = preparation.texts.dataset, preparation.windows.width
    if counted["texts"] == 0:
        raise UserError(f"--dataset {dataset} holds no texts; choose another")
    if counted["targets"] == 0:
        raise UserError(
            f"--target_token {preparation.target_token!r} does not occur in the {counted['texts']} text(s) of "
            f"{dataset}; choose another token or other texts"
        )
    if not kept.names:
        raise UserError(
            f"every text of {dataset} is too short: a window is {width} "
            "tokens; use a smaller --context_length or longer texts"
        )


@dataclass(frozen=True)
class Made:
    """The sequences of each split; the names and hashes of their documents, and the names of their groups, by number.

    test_size: tokens of test's documents, and those that are the target.
    """

    splits: dict[str, Sequences]
    documents: list[str]
    document_hashes: list[str]
    groups: list[str]
    test_size: tuple[int, int]

    def prevalence(self, counted: Counted) -> float:
        """Give the target's share of all tokens but those of test, which moves no probability by which it is judged."""
        tokens, targets = (read - held for read, held in zip(counted.size, self.test_size, strict=True))
        return targets / tokens


def split_windows(kept: Kept, frame: Frame, train_ratio: float, seed: int) -> Made:
    """Deal out whole groups of documents to the splits, and pad their windows."""
    random = np.random.default_rng([seed, 2**32 - 1])
    split_of = published_splits_of_groups(kept.groups, kept.published, train_ratio, random)
    if split_of is None:
        split_of = assign_splits(kept.groups, train_ratio, random)
    group_names = list(dict.fromkeys(kept.groups))
    number_of = {name: number for number, name in enumerate(group_names)}
    rows: dict[str, list[tuple[Window, int, int]]] = {name: [] for name in SPLITS}
    for document, (items, group) in enumerate(zip(kept.windows, kept.groups, strict=True)):
        windows = sorted(chain.from_iterable(items), key=lambda window: window.start)
        rows[split_of[group]] += [(window, document, number_of[group]) for window in windows]
    splits = {name: sequences_of_windows(own, frame) for name, own in rows.items()}
    of_test = [size for size, group in zip(kept.sizes, kept.groups, strict=True) if split_of[group] == "test"]
    tokens, targets = map(sum, zip(*of_test, strict=True))
    return Made(splits, kept.names, kept.hashes, group_names, (tokens, targets))


def write_token_dataset(
    preparation: TokenPreparation,
    tokenizer: Tokenizer,
    frame: Frame,
    target: int,
    made: Made,
    counted: Counted,
) -> None:
    """Write the files of the dataset, and print what was dropped and written."""
    windows, prevalence = preparation.windows, made.prevalence(counted)
    counts = {name: count(sequences) for name, sequences in made.splits.items()}
    about_target = {
        "name": preparation.target_token,
        "token": target,
        "piece": tokenizer.convert_ids_to_tokens(target),
        "prevalence": prevalence,
    }
    metadata = {
        "task": "token",
        "source": preparation.texts.recorded,
        "model_name": preparation.model_name,
        "trust_remote_code": preparation.trust_remote_code,
        "tokenizer": about_tokenizer(tokenizer, frame),
        "targets": [about_target],
        "label_rule": "target",
        "default_lag": -1,
        "positions": windows.positions,
        "context_length": windows.context_length,
        "min_context": windows.min_context if windows.positions == "all" else windows.context_length,
        "overlap": None,
        "prevalence": prevalence,
        "max_chunks_per_class": windows.max_chunks_per_class,
        "train_ratio": preparation.train_ratio,
        "seed": preparation.seed,
        "splits": counts,
        "dropped": counted.dropped,
        "special_tokens": counted.special_tokens,
        "versions": versions(),
        "documents": made.documents,
        "document_hashes": made.document_hashes,
        "length_buckets": None,
        "groups": made.groups,
        **about_content(made.splits),
    }
    write_dataset(preparation.output_dir, made.splits, metadata)
    not_used = {what: number for what, number in counted.dropped.items() if what != "texts_read"}
    print(f"{preparation.target_token!r} is {prevalence:.2%} of the tokens; dropped: {in_words(not_used)}")
    print(f"special tokens: {spelt_out_in_words(counted.special_tokens)}")
    report_files(preparation.output_dir, counts)
