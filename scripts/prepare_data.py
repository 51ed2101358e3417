#!/usr/bin/env python3
"""Texts -> labelled token sequences: data/train.pth, val.pth, test.pth and metadata.json."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from itertools import chain
from os import cpu_count
from os.path import expanduser
from pathlib import Path

from utils.command_line import Parser, Progress, number, quiet_libraries, run, whole_number
from utils.errors import UsageError, UserError
from utils.files import require_writable_folder

CHARACTERS_A_BATCH = 1_000_000  # for each core: enough to keep it busy, little enough that memory stays small


def parse(argv):
    parser = Parser(__doc__, epilog="next: python scripts/inspect_data.py")
    source = parser.add_argument_group("source")
    source.add_argument("--dataset", type=expanduser, default="manu/project_gutenberg",
                        help="a Hub dataset, a local folder in the same layout, or .txt, .jsonl, .parquet files "
                             "(a file, a folder of them, or a glob pattern)")
    source.add_argument("--text_column", default="text", help="the column or key that holds the text")
    source.add_argument("--language", default="en", help="the dataset's split: en, fr, de, es, it, nl, pl, pt, ...")
    source.add_argument("--max_texts", type=whole_number(1), default=1000, help="read at most this many texts")
    task = parser.add_argument_group("task")
    task.add_argument("--model_name", type=expanduser, default="unsloth/gemma-3-270m",
                      help="the model whose tokenizer is used: a Hub name or a folder")
    task.add_argument("--target_token", default=" the", help="the token to predict, as it stands in running text")
    task.add_argument("--context_length", type=whole_number(1), default=256,
                      help="text tokens before the labelled one")
    task.add_argument("--positions", choices=("sampled", "all"), default="sampled",
                      help="sampled: windows that end at drawn tokens, both classes equally often; all: texts tiled "
                           "with windows, every token labelled, classes as frequent as they are")
    task.add_argument("--min_context", type=whole_number(1), default=16,
                      help="with --positions all: text tokens before the first labelled one of a window")
    size = parser.add_argument_group("size and split")
    size.add_argument("--max_chunks_per_class", type=whole_number(1), default=50000,
                      help="windows of each class, all splits together (with --positions all: twice this many windows)")
    size.add_argument("--train_ratio", type=number(0, 1, exclusive=True), default=0.8,
                      help="share of the texts that go to train; the rest is halved into val and test")
    size.add_argument("--seed", type=whole_number(0), default=0, help="draws the windows and the split")
    size.add_argument("--output_dir", default="data", help="folder for train.pth, val.pth, test.pth, metadata.json")
    arguments = parser.parse_args(argv)
    if arguments.positions == "all" and arguments.min_context > arguments.context_length:
        raise UsageError(f"--min_context {arguments.min_context} leaves no token to label in windows of "
                         f"--context_length {arguments.context_length}; make it smaller")
    if not arguments.target_token:
        raise UsageError("--target_token is empty; give a token such as ' the'")
    return arguments


def main(argv=None):
    arguments = parse(argv)
    require_writable_folder(arguments.output_dir, "--output_dir")
    quiet_libraries()
    from utils.tokenizer import load_tokenizer, special_frame, target_in_running_text

    tokenizer = load_tokenizer(arguments.model_name)
    frame = special_frame(tokenizer)
    check_length(arguments, tokenizer, frame)
    target = target_in_running_text(tokenizer, arguments.target_token)
    print(f"target {arguments.target_token!r} is token {target} ({tokenizer.convert_ids_to_tokens(target)!r}); "
          f"a sequence is {describe(tokenizer, frame)}", flush=True)

    documents, dropped, prevalence = collect_windows(arguments, tokenizer, target)
    splits = make_splits(arguments, documents, frame)
    write(arguments, tokenizer, frame, target, splits, dropped, prevalence)
    return 0


def check_length(arguments, tokenizer, frame):
    from utils.tokenizer import position_limit

    limit = position_limit(arguments.model_name, tokenizer)
    needed = len(frame[0]) + arguments.context_length + 1 + len(frame[1])
    if limit and max(needed, arguments.context_length + 2) > limit:
        most = limit - max(len(frame[0]) + len(frame[1]), 1) - 1
        raise UserError(f"--context_length {arguments.context_length} makes sequences of {needed} tokens, "
                        f"{arguments.model_name} has {limit} positions; use at most {most}")


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
    from utils.readers import text_hash
    from utils.splits import EvenCap, group_near_duplicates, sketch

    kept = Kept()
    cap = EvenCap(arguments.max_chunks_per_class * (2 if arguments.positions == "all" else 1), arguments.seed)
    dropped, counted, seen = Counter(), Counter(), set()
    with Progress("tokenize and cut", "tok") as progress:
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
    from utils.readers.text import read_texts
    from utils.tokenizer import encode_batch

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
    import numpy as np

    from utils.cuts import label_by_token, windows_at_drawn_tokens, windows_side_by_side

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
        raise UserError(f"--target_token {arguments.target_token!r} does not occur in the {counted['texts']} text(s) of "
                        f"{arguments.dataset}; choose another token or other texts")
    if not kept.names:
        raise UserError(f"every text of {arguments.dataset} is too short: a window is {arguments.context_length + 1} "
                        "tokens; use a smaller --context_length or longer texts")


def make_splits(arguments, kept, frame):
    """{split: its windows with their documents and groups}, whole groups together."""
    import numpy as np

    from utils.splits import assign_splits

    random = np.random.default_rng([arguments.seed, 2**32 - 1])
    split_of = assign_splits(kept.groups, arguments.train_ratio, random)
    group_names = list(dict.fromkeys(kept.groups))
    number_of = {name: number for number, name in enumerate(group_names)}
    splits = {"train": [], "val": [], "test": []}
    for document, (items, group) in enumerate(zip(kept.windows, kept.groups, strict=True)):
        windows = sorted(chain.from_iterable(items), key=lambda window: window.start)
        splits[split_of[group]] += [(window, document, number_of[group]) for window in windows]
    return {"splits": {name: assemble(rows, frame) for name, rows in splits.items()},
            "documents": kept.names, "document_hashes": kept.hashes, "groups": group_names}


def assemble(rows, frame):
    """Rows (window, document, group) -> Sequences: each window inside its special tokens, padded on the right."""
    import numpy as np

    from utils.sequences import Sequences

    before, after = (np.array(ids, dtype=np.int32) for ids in frame)
    lengths = np.array([len(before) + len(window.ids) + len(after) for window, _, _ in rows], dtype=np.int32)
    shape = (len(rows), lengths.max())
    input_ids, labels = np.zeros(shape, dtype=np.int32), np.full(shape, -1, dtype=np.int8)
    for row, (window, _, _) in enumerate(rows):
        input_ids[row, :lengths[row]] = np.concatenate([before, window.ids, after])
        labels[row, len(before):len(before) + len(window.labels)] = window.labels
    return Sequences(input_ids, lengths, labels,
                     documents=np.array([document for _, document, _ in rows], dtype=np.int32),
                     groups=np.array([group for _, _, group in rows], dtype=np.int32),
                     tasks=np.zeros(len(rows), dtype=np.int32),
                     starts=np.array([window.start for window, _, _ in rows], dtype=np.int64))


def write(arguments, tokenizer, frame, target, made, dropped, prevalence):
    from utils.files import WriteTogether, fingerprint, json_text
    from utils.sequences import save_sequences
    from utils.tokenizer import tokenizer_fingerprint

    counts = {name: count(sequences) for name, sequences in made["splits"].items()}
    metadata = {
        "task": "token", "source": {key: getattr(arguments, key) for key in
                                    ("dataset", "text_column", "language", "max_texts")},
        "model_name": arguments.model_name,
        "tokenizer": {"fingerprint": tokenizer_fingerprint(tokenizer), "before": frame[0], "after": frame[1],
                      "vocabulary": len(tokenizer)},
        "targets": [{"name": arguments.target_token, "token": target,
                     "piece": tokenizer.convert_ids_to_tokens(target)}],
        "default_lag": -1, "positions": arguments.positions, "context_length": arguments.context_length,
        "min_context": arguments.min_context if arguments.positions == "all" else arguments.context_length,
        "prevalence": prevalence, "max_chunks_per_class": arguments.max_chunks_per_class,
        "train_ratio": arguments.train_ratio, "seed": arguments.seed, "splits": counts, "dropped": dropped,
        "versions": {name: version(name) for name in ("transformers", "tokenizers", "datasets", "numpy", "torch")},
        "documents": made["documents"], "document_hashes": made["document_hashes"], "groups": made["groups"],
        "dataset_fingerprint": fingerprint(*(made["splits"][name].content_hash() for name in counts)),
    }
    folder = Path(arguments.output_dir)
    with WriteTogether() as files:
        for name, sequences in made["splits"].items():
            sequences.metadata = {**metadata, "split": name}
            with files.open(folder / f"{name}.pth") as file:
                save_sequences(file, sequences)
        with files.open(folder / "metadata.json") as file:
            file.write(json_text(metadata).encode("utf-8"))
    report(arguments, folder, counts, dropped, prevalence)


def count(sequences) -> dict[str, int]:
    return {"sequences": len(sequences), "positives": int((sequences.labels == 1).sum()),
            "negatives": int((sequences.labels == 0).sum()), "documents": len(set(sequences.documents.tolist())),
            "groups": len(set(sequences.groups.tolist()))}


def report(arguments, folder, counts, dropped, prevalence):
    print(f"{arguments.target_token!r} is {prevalence:.2%} of the tokens; dropped: "
          + (", ".join(f"{number} {what.replace('_', ' ')}" for what, number in dropped.items()
                       if what != "texts_read" and number) or "nothing"))
    for name, numbers in counts.items():
        print(f"wrote {folder / name}.pth: " + ", ".join(f"{value:,} {key}" for key, value in numbers.items()))
    print(f"wrote {folder / 'metadata.json'}")
    print(f"next: python scripts/inspect_data.py --data_path {folder / 'train.pth'}")


if __name__ == "__main__":
    run(main)
