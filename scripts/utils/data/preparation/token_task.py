"""--task token: texts -> windows that find one token of running text."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from os import cpu_count

import numpy as np

from utils.base.errors import UserError
from utils.base.progress import Progress
from utils.data.preparation.dataset_files import (
    about_tokenizer,
    assemble,
    check_length,
    count,
    dataset_fingerprint,
    report_files,
    versions,
    write_dataset,
)
from utils.data.readers.document import text_hash
from utils.data.readers.plain import read_texts
from utils.data.splits import EvenCap, assign_splits, group_near_duplicates, sketch
from utils.data.tokenizer import encode_batch, load_tokenizer, special_frame, target_in_running_text
from utils.data.windows import label_by_token, windows_at_drawn_tokens, windows_side_by_side

CHARACTERS_A_BATCH = 1_000_000  # for each core: enough to keep it busy, little enough that memory stays small


def prepare(arguments):
    tokenizer = load_tokenizer(arguments.model_name)
    frame = special_frame(tokenizer)
    check_length(arguments, tokenizer, frame)
    target = target_in_running_text(tokenizer, arguments.target_token)
    print(
        f"target {arguments.target_token!r} is token {target} ({tokenizer.convert_ids_to_tokens(target)!r}); "
        f"a sequence is {describe(tokenizer, frame)}",
        flush=True,
    )

    documents, dropped, prevalence = collect_windows(arguments, tokenizer, target)
    splits = make_splits(arguments, documents, frame)
    write(arguments, tokenizer, frame, target, splits, dropped, prevalence)


def describe(tokenizer, frame) -> str:
    before, after = (" ".join(tokenizer.convert_ids_to_tokens(ids)) for ids in frame)
    return " + ".join(part for part in (before, "context", "labelled token", after) if part)


class Kept:
    """What is remembered of the documents read: windows of a bounded number, a sketch and a name each."""

    def __init__(self):
        self.names, self.hashes, self.groups, self.sketches, self.windows = [], [], [], [], []

    def forget_empty(self) -> int:
        """Drop the documents that the cap has left no window; returns how many."""
        full = [index for index, windows in enumerate(self.windows) if windows]
        empty = len(self.windows) - len(full)
        for name in vars(self):
            setattr(self, name, [getattr(self, name)[index] for index in full])
        return empty


def collect_windows(arguments, tokenizer, target):
    """Read, tokenize and cut every text. Returns what is kept, what was dropped, and the target's share of tokens."""
    kept = Kept()
    cap = EvenCap(arguments.max_chunks_per_class * (2 if arguments.positions == "all" else 1), arguments.seed)
    dropped, counted, seen = Counter(), Counter(), set()
    with Progress("tokenize and cut", "token") as progress:
        for index, (document, tokens) in enumerate(tokenized(arguments, tokenizer)):
            progress.update(len(tokens), note=f"{index + 1} texts")
            counted.update(texts=1, tokens=len(tokens), targets=int((tokens == target).sum()))
            digest = hash(tokens.tobytes())
            windows = [] if digest in seen else cut(arguments, tokens, target, index)
            if not windows:
                dropped["duplicate_texts" if digest in seen else "texts_too_short_or_without_target"] += 1
                continue
            seen.add(digest)
            cap.add(windows)
            kept.names.append(document.name)
            kept.hashes.append(text_hash(document.text))
            kept.groups.append(document.group)
            kept.sketches.append(sketch(tokens))
    explain_emptiness(arguments, counted, kept)
    kept.windows = cap.kept()
    dropped["texts_beyond_the_cap"] = kept.forget_empty()
    groups = group_near_duplicates(kept.groups, kept.sketches)
    dropped["texts_grouped_as_near_duplicates"] = sum(a != b for a, b in zip(groups, kept.groups, strict=True))
    kept.groups = groups
    return kept, {"texts_read": counted["texts"], **dropped}, counted["targets"] / counted["tokens"]


def tokenized(arguments, tokenizer):
    """(document, int32 ids) of each text; the next batch is tokenized while the last one is cut."""
    documents = read_texts(arguments.dataset, arguments.text_column, arguments.language, arguments.max_texts)
    with ThreadPoolExecutor(1) as tokenizing:
        waiting = None
        for batch in chain(batches(documents, CHARACTERS_A_BATCH * max(2, cpu_count() or 1)), [None]):
            started = batch and (batch, tokenizing.submit(encode_batch, tokenizer, [item.text for item in batch]))
            if waiting:
                yield from zip(waiting[0], waiting[1].result(), strict=True)
            waiting = started


def batches(documents, characters):
    batch, size = [], 0
    for document in documents:
        batch.append(document)
        size += len(document.text)
        if size >= characters:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def cut(arguments, tokens, target, index):
    """The windows of one document in random order (sampled: pairs of one of each class)."""
    random = np.random.default_rng([arguments.seed, index])
    labels, width = label_by_token(tokens, target), arguments.context_length + 1
    if arguments.positions == "sampled":
        return windows_at_drawn_tokens(tokens, labels, width, random)
    windows = windows_side_by_side(tokens, labels, width, arguments.min_context)
    return [(windows[i],) for i in random.permutation(len(windows))] if labels.any() else []


def explain_emptiness(arguments, counted, kept):
    if counted["texts"] == 0:
        raise UserError(f"--dataset {arguments.dataset} holds no texts; choose another")
    if counted["targets"] == 0:
        raise UserError(
            f"--target_token {arguments.target_token!r} does not occur in the {counted['texts']} text(s) of "
            f"{arguments.dataset}; choose another token or other texts"
        )
    if not kept.names:
        raise UserError(
            f"every text of {arguments.dataset} is too short: a window is {arguments.context_length + 1} "
            "tokens; use a smaller --context_length or longer texts"
        )


def make_splits(arguments, kept, frame):
    """{split: its windows with their documents and groups}, whole groups together."""
    random = np.random.default_rng([arguments.seed, 2**32 - 1])
    split_of = assign_splits(kept.groups, arguments.train_ratio, random)
    group_names = list(dict.fromkeys(kept.groups))
    number_of = {name: number for number, name in enumerate(group_names)}
    splits = {"train": [], "val": [], "test": []}
    for document, (items, group) in enumerate(zip(kept.windows, kept.groups, strict=True)):
        windows = sorted(chain.from_iterable(items), key=lambda window: window.start)
        splits[split_of[group]] += [(window, document, number_of[group], 0) for window in windows]
    return {
        "splits": {name: assemble(rows, frame) for name, rows in splits.items()},
        "documents": kept.names,
        "document_hashes": kept.hashes,
        "groups": group_names,
    }


def write(arguments, tokenizer, frame, target, made, dropped, prevalence):
    counts = {name: count(sequences) for name, sequences in made["splits"].items()}
    metadata = {
        "task": "token",
        "source": {key: getattr(arguments, key) for key in ("dataset", "text_column", "language", "max_texts")},
        "model_name": arguments.model_name,
        "tokenizer": about_tokenizer(tokenizer, frame),
        "targets": [
            {
                "name": arguments.target_token,
                "token": target,
                "piece": tokenizer.convert_ids_to_tokens(target),
                "prevalence": prevalence,
            }
        ],
        "label_rule": "target",
        "default_lag": -1,
        "positions": arguments.positions,
        "context_length": arguments.context_length,
        "min_context": arguments.min_context if arguments.positions == "all" else arguments.context_length,
        "overlap": None,
        "prevalence": prevalence,
        "max_chunks_per_class": arguments.max_chunks_per_class,
        "train_ratio": arguments.train_ratio,
        "seed": arguments.seed,
        "splits": counts,
        "dropped": dropped,
        "versions": versions(),
        "documents": made["documents"],
        "document_hashes": made["document_hashes"],
        "length_buckets": None,
        "groups": made["groups"],
        "dataset_fingerprint": dataset_fingerprint(made["splits"]),
    }
    write_dataset(arguments.output_dir, made["splits"], metadata)
    print(
        f"{arguments.target_token!r} is {prevalence:.2%} of the tokens; dropped: "
        + (
            ", ".join(
                f"{number} {what.replace('_', ' ')}" for what, number in dropped.items() if what != "texts_read" and number
            )
            or "nothing"
        )
    )
    report_files(arguments.output_dir, counts)
