"""--task spans, chains, documents: an annotated file -> windows in which every token whose truth is known has a label."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from utils.base.errors import UserError
from utils.data.label_rule import LabelRule
from utils.data.preparation.annotated_report import cleaned_files, make_metadata, report, report_reading
from utils.data.preparation.annotated_splits import draw, published_splits, split_documents, targets_in_every_split
from utils.data.preparation.annotated_tokens import Tokens, chat_prompt, tokenize, tokenize_chains
from utils.data.preparation.annotated_windows import LabelledDocument, cut_into_windows, sequences_of
from utils.data.preparation.conversations import (
    about_template,
    are_chats,
    chat_frame,
    require_chats,
    settled_for_chats,
    tokenize_chats,
)
from utils.data.preparation.dataset_files import fitting_length, report_files, write_dataset
from utils.data.preparation.flags import OF_AN_INDEX, OF_ONE_TABLE, refuse
from utils.data.preparation.near_copies import group_near_copies
from utils.data.preparation.settings import AnnotatedFile, AnnotatedPreparation, TextWindows
from utils.data.readers.annotated import ALL_TARGETS, Annotated, Collection, choose_targets
from utils.data.readers.chains import read_chains
from utils.data.readers.chats import Chats
from utils.data.readers.published import SplitChoice
from utils.data.readers.spans import read_spans
from utils.data.readers.table.table_files import load_table
from utils.data.readers.tables import is_index, read_indexed_sets, read_table
from utils.data.sequences import SPLITS
from utils.data.token_labels import labels_by_rule
from utils.data.tokenizer import Frame, Tokenizer, load_tokenizer, require_own_ids, special_frame
from utils.data.windows import default_overlap


def prepare_annotated(preparation: AnnotatedPreparation) -> None:
    """Read, split, label, cut and write, and print what was made."""
    file, rule, seed = preparation.file, preparation.rule, preparation.seed
    tokenizer = load_tokenizer(preparation.model_name, file.special_tokens or "text", preparation.trust_remote_code)
    frame = special_frame(tokenizer)
    preparation = replace(preparation, windows=settled_windows(preparation, frame))
    collection, wanted = read_file(file, tokenizer)
    preparation, frame = settled(preparation, tokenizer, frame, collection)
    file = preparation.file
    collection = collection if file.as_published else group_near_copies(collection)
    report_reading(file, collection)
    published = published_splits(collection)
    collection, not_drawn = draw(collection, file.max_texts, seed)
    targets = choose_targets(collection, wanted)
    split_of, taken = split_documents(collection, published, preparation.train_ratio, seed)
    print("".join(f"{line}\n" for line in taken), end="", flush=True)
    labelled = label_documents(collection.documents, targets, file.task, rule, tokenizer, preparation.windows, frame[0])
    chosen, problems = targets_in_every_split(labelled, split_of, targets, wanted, rule.kind == "onsets")
    if wanted == ALL_TARGETS:
        problems += [f"{name!r} is positive in too few groups" for name in collection.targets if name not in targets]
        print("".join(f"left out: target {problem}\n" for problem in problems), end="")
    dropped: Counter[str] = Counter(texts_not_drawn=not_drawn)
    labelled, split_of = keep_labelled(labelled, split_of, [targets.index(name) for name in chosen], dropped)

    cleaned = cleaned_files(collection, labelled, chosen) if file.task == "documents" else {}
    by_length = sorted(zip(labelled, split_of, strict=True), key=lambda pair: len(pair[0].tokens))  # hardly any padding
    labelled, split_of = [item for item, _ in by_length], [split for _, split in by_length]
    group_names = list(dict.fromkeys(item.document.group for item in labelled))
    windows = preparation.windows
    cuts, dropped["windows_without_labels"] = cut_into_windows(labelled, windows.width, windows.overlap)
    in_split = {name: [index for index, split in enumerate(split_of) if split == name] for name in SPLITS}
    splits = {
        name: sequences_of(labelled, cuts, own, frame, group_names, file.task != "chains") for name, own in in_split.items()
    }
    metadata = make_metadata(preparation, tokenizer, frame, collection, labelled, splits, chosen)
    metadata |= {"groups": group_names, "targets_left_out": problems, "dropped": dict(dropped)}
    metadata |= {"splits_taken": taken} if taken else {}
    write_dataset(preparation.output_dir, splits, metadata, cleaned)
    report(metadata)
    report_files(preparation.output_dir, metadata["splits"], cleaned)


def settled(
    preparation: AnnotatedPreparation, tokenizer: Tokenizer, frame: Frame, collection: Collection
) -> tuple[AnnotatedPreparation, Frame]:
    """Fill in what depends on whether the texts are conversations, and prove the frame of other texts."""
    if are_chats(collection.documents):
        print(about_template(tokenizer), end="", flush=True)
        return settled_for_chats(preparation), chat_frame(tokenizer, collection.documents)
    require_chats(preparation, collection)
    require_own_ids(tokenizer, frame, [document.own_text for document in collection.documents])
    file, windows = preparation.file, preparation.windows
    if file.task == "documents":
        windows = replace(windows, truncation_side=windows.truncation_side or "right")
    return replace(preparation, file=replace(file, special_tokens=file.special_tokens or "text"), windows=windows), frame


def settled_windows(preparation: AnnotatedPreparation, frame: Frame) -> TextWindows:
    """Fill in the context length and the overlap that were not given. Raises UserError for those that cannot be.

    Documents are truncated and have no overlap; an overlap that leaves no window a middle is refused.
    """
    windows = preparation.windows
    length = fitting_length(windows.context_length, preparation.model_name, frame, preparation.trust_remote_code)
    windows = replace(windows, context_length=length)
    if preparation.task == "documents":
        return windows
    overlap = default_overlap(windows.width) if windows.overlap is None else windows.overlap
    if 2 * overlap >= windows.width:
        raise UserError(
            f"--overlap {overlap} before and after leaves nothing of windows of {windows.width} tokens; use "
            f"at most {(windows.width - 1) // 2}, or a larger --context_length"
        )
    return replace(windows, overlap=overlap)


def read_file(file: AnnotatedFile, tokenizer: Tokenizer) -> tuple[Collection, str | list[str]]:
    """Read the file. Returns the names of the targets that were asked for too, or "all"."""
    choice = SplitChoice(file.split_column, ALL_TARGETS if file.splits == ALL_TARGETS else tuple(file.splits))
    if file.task == "spans":
        chats = Chats(tokenizer, file.add_generation_prompt, file.input)
        return chats.described(read_spans(file.input, file.text_column, file.group_by, choice, chats.in_rows)), file.label
    if file.task == "chains":
        return read_chains(file.input, chat_prompt(tokenizer), choice), file.label
    if is_index(file.input):
        refuse(
            [name for name in OF_ONE_TABLE if name in file.given],
            f"the index {file.input}",
            "the index says it of each of its sets",
        )
        return read_indexed_sets(file.input, file.datasets, file.group_column, file.as_published, choice), file.datasets
    refuse([name for name in OF_AN_INDEX if name in file.given], f"{file.input}, which is no index,", "leave it out")
    chats = Chats(tokenizer, file.add_generation_prompt, file.input)
    columns = file.text_column, file.label_column
    table = load_table(file.input, columns, (file.text_column, file.group_column), choice)
    collection = read_table(
        (file.input, chats.in_table(table, file.text_column)),
        file.text_column,
        file.label_column,
        file.group_column,
        file.label_expression,
        file.as_published,
        choice,
    )
    return chats.described(collection), collection.targets


def label_documents(
    documents: Sequence[Annotated],
    targets: Sequence[str],
    task: str,
    rule: LabelRule,
    tokenizer: Tokenizer,
    windows: TextWindows | None = None,
    before: Sequence[int] = (),
) -> list[LabelledDocument]:
    """Tokenize every document and label its tokens for every target.

    before: the ids that every sequence begins with; a chat template that writes them too does not double them.
    windows: where the rule is "whole", only the tokens that fit into one such window are kept; None keeps all.
    """
    if task == "chains":
        found = tokenize_chains(tokenizer, documents, before)
    elif are_chats(documents):
        found = tokenize_chats(tokenizer, documents, before)
    else:
        found = tokenize(tokenizer, [document.text for document in documents])
    labelled = []
    for document, tokens in zip(documents, found, strict=True):
        shown, first = truncated(tokens, windows) if windows and rule.kind == "whole" else (tokens, 0)
        labels = [labels_by_rule(rule, document, shown.starts, shown.ends, target) for target in targets]
        labelled.append(LabelledDocument(document, shown, np.stack(labels), first, len(tokens)))
    return labelled


def truncated(tokens: Tokens, windows: TextWindows) -> tuple[Tokens, int]:
    """Cut off what is too long for one window. Returns the rest, and the number of its first token."""
    excess = max(len(tokens) - windows.width, 0)
    first = excess if windows.truncation_side == "left" else 0
    return tokens.part(first, first + len(tokens) - excess), first


def keep_labelled(
    labelled: Sequence[LabelledDocument], split_of: Sequence[str], rows: Sequence[int], dropped: Counter[str]
) -> tuple[list[LabelledDocument], list[str]]:
    """Keep the documents that have a label of a chosen target, and their splits; count the others in `dropped`.

    rows: the numbers of the chosen targets among the labels.
    """
    kept = []
    for item, split in zip(labelled, split_of, strict=True):
        item = item.of_targets(rows)
        if (item.labels >= 0).any():
            kept.append((item, split))
        else:
            dropped["texts_without_tokens" if not len(item.tokens) else "texts_without_labels"] += 1
    return [item for item, _ in kept], [split for _, split in kept]
