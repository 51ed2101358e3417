"""--task spans, chains, documents: an annotated file -> windows in which every token whose truth is known has a label."""

from collections import Counter

import numpy as np

from utils.base.errors import UserError
from utils.data.preparation.annotated_report import cleaned_files, make_metadata, report, report_reading
from utils.data.preparation.annotated_splits import draw, make_splits, targets_in_every_split
from utils.data.preparation.annotated_tokens import chat_prompt, tokenize, tokenize_chains
from utils.data.preparation.annotated_windows import Labelled, cut_rows, label_function, sequences_of
from utils.data.preparation.dataset_files import check_length, report_files, write_dataset
from utils.data.preparation.flags import OF_AN_INDEX, OF_ONE_TABLE, refuse
from utils.data.readers.annotated import ALL, choose_targets
from utils.data.readers.chains import read_chains
from utils.data.readers.spans import read_spans
from utils.data.readers.tables import is_index, read_index, read_table
from utils.data.sequences import SPLITS
from utils.data.tokenizer import load_tokenizer, special_frame
from utils.data.windows import default_overlap


def prepare(arguments):
    tokenizer = load_tokenizer(arguments.model_name)
    frame = special_frame(tokenizer)
    check_length(arguments, tokenizer, frame)
    check_overlap(arguments)
    collection, wanted = read(arguments, tokenizer)
    report_reading(arguments, collection.counts)
    collection, not_drawn = draw(collection, arguments.max_texts, arguments.seed)
    targets = choose_targets(collection, wanted)
    split_of = make_splits(collection, arguments.train_ratio, arguments.seed)
    labelled = label(arguments, tokenizer, frame, collection, targets)
    alone = arguments.onset_only and arguments.onset_negatives == "others"
    chosen, problems = targets_in_every_split(labelled, split_of, targets, wanted, alone)
    if wanted == ALL:
        problems += [f"{name!r} is positive in too few groups" for name in collection.targets if name not in targets]
        print("".join(f"left out: target {problem}\n" for problem in problems), end="")
    dropped = Counter(texts_not_drawn=not_drawn)
    labelled, split_of = keep_labelled(labelled, split_of, [targets.index(name) for name in chosen], dropped)
    write(arguments, tokenizer, frame, collection, labelled, split_of, chosen, problems, dropped)


def check_overlap(arguments):
    """Set --overlap where it was not given and texts are cut into windows; refuse one that leaves no window a middle."""
    if arguments.task == "documents":
        arguments.overlap = None
        return
    width = arguments.context_length + 1
    if arguments.overlap is None:
        arguments.overlap = default_overlap(width)
    if 2 * arguments.overlap >= width:
        raise UserError(
            f"--overlap {arguments.overlap} before and after leaves nothing of windows of {width} tokens; use "
            f"at most {(width - 1) // 2}, or a larger --context_length"
        )


def read(arguments, tokenizer):
    """The collection of --input, and the names of the targets that were asked for, or "all"."""
    if arguments.task == "spans":
        return read_spans(arguments.input, arguments.text_column, arguments.group_by), arguments.label
    if arguments.task == "chains":
        return read_chains(arguments.input, chat_prompt(tokenizer)), arguments.label
    if is_index(arguments.input):
        refuse(
            arguments,
            [name for name in OF_ONE_TABLE if name in arguments.given],
            f"the index {arguments.input}",
            "the index says it of each of its sets",
        )
        return read_index(
            arguments.input, arguments.datasets, arguments.group_column, arguments.as_published
        ), arguments.datasets
    refuse(
        arguments,
        [name for name in OF_AN_INDEX if name in arguments.given],
        f"{arguments.input}, which is no index,",
        "leave it out",
    )
    collection = read_table(
        arguments.input,
        arguments.text_column,
        arguments.label_column,
        arguments.group_column,
        arguments.label_expression,
        as_published=arguments.as_published,
    )
    return collection, collection.targets


def label(arguments, tokenizer, frame, collection, targets) -> list[Labelled]:
    """Every document with its tokens, those that fit where it is run as one sequence, and their labels for every target."""
    if arguments.task == "chains":
        found = tokenize_chains(tokenizer, collection.documents, frame[0])
    else:
        found = tokenize(tokenizer, [document.text for document in collection.documents])
    labels_of = label_function(arguments)
    whole = arguments.task == "documents"
    labelled = []
    for document, tokens in zip(collection.documents, found, strict=True):
        excess = max(len(tokens) - arguments.context_length - 1, 0) if whole else 0
        first = excess if whole and arguments.truncation_side == "left" else 0
        shown = tokens.part(first, first + len(tokens) - excess)
        labels = [labels_of(document, shown, target) for target in targets]
        labelled.append(Labelled(document, shown, np.stack(labels), first, len(tokens)))
    return labelled


def keep_labelled(labelled, split_of, rows, dropped):
    """The documents that have a label of a chosen target, and their splits; rows: of the chosen targets' labels."""
    kept = []
    for item, split in zip(labelled, split_of, strict=True):
        item = item.of_targets(rows)
        if (item.labels >= 0).any():
            kept.append((item, split))
        else:
            dropped["texts_without_tokens" if not len(item.tokens) else "texts_without_labels"] += 1
    return [item for item, _ in kept], [split for _, split in kept]


def write(arguments, tokenizer, frame, collection, labelled, split_of, targets, problems, dropped):
    """Everything, short texts first: batches of one length are hardly padded."""
    cleaned = cleaned_files(collection, labelled, targets) if arguments.task == "documents" else {}
    by_length = sorted(zip(labelled, split_of, strict=True), key=lambda pair: len(pair[0].tokens))
    labelled, split_of = zip(*by_length, strict=True)
    group_names = list(dict.fromkeys(item.document.group for item in labelled))
    rows, dropped["windows_without_labels"] = cut_rows(labelled, group_names, arguments)
    in_split = {name: [index for index, split in enumerate(split_of) if split == name] for name in SPLITS}
    splits = {name: sequences_of(labelled, rows, chosen, frame, arguments.task) for name, chosen in in_split.items()}
    metadata = make_metadata(arguments, tokenizer, frame, collection, labelled, splits, targets)
    metadata |= {"groups": group_names, "targets_left_out": problems, "dropped": dict(dropped)}
    write_dataset(arguments.output_dir, splits, metadata, cleaned)
    report(metadata)
    report_files(arguments.output_dir, metadata["splits"], cleaned)
