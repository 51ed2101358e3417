"""The flags of prepare_data.py: which task reads which, with what default, and the settings that they ask for."""

import argparse
from dataclasses import fields
from typing import Any

from utils.base.cli.parser import add_trust_flag, number, whole_number
from utils.base.errors import UsageError
from utils.base.paths import folder_path, name_or_folder, name_or_path
from utils.data.label_rule import LabelRule
from utils.data.preparation.settings import (
    READ_BY,
    AnnotatedFile,
    AnnotatedPreparation,
    PlainTexts,
    TextWindows,
    TokenPreparation,
    TokenWindows,
)
from utils.data.readers.published import SplitChoice

LISTS = ("label", "datasets", "splits")
OF_ONE_TABLE = ("text_column", "label_column", "label_expression")  # an index says these of each set
OF_AN_INDEX = ("datasets",)


def add_flags(parser: argparse.ArgumentParser):
    task = parser.add_argument_group("task")
    task.add_argument(
        "--task",
        choices=tuple(READ_BY),
        default="token",
        help="token: find a token in running text; spans: marked parts of texts; chains: labelled segments of "
        "reasoning chains; documents: whole texts with a label",
    )
    task.add_argument(
        "--model_name",
        type=name_or_folder,
        default="unsloth/gemma-3-270m",
        help="the model whose tokenizer is used: a Hub name or a folder",
    )
    add_trust_flag(task)
    task.add_argument(
        "--context_length",
        type=whole_number(1),
        help="text tokens in a window, not counting its last one: 256 give windows of 257 (default: 256; with --input: "
        "what the model takes, at most 2048 positions in all)",
    )
    task.add_argument(
        "--max_texts",
        type=whole_number(1),
        help="use at most this many texts (default: the first 1000; with --input: all, else drawn at random)",
    )
    task.add_argument(
        "--special_tokens",
        choices=("text", "encode"),
        help="how to read a special token that a text spells out, such as <s>: as plain text, or (encode) as the token "
        "itself, as the model's own call does (default: text; in conversations encode)",
    )
    add_token_flags(parser.add_argument_group("--task token"))
    add_annotated_flags(parser.add_argument_group("--task spans, chains, documents"))
    add_marked_flags(parser.add_argument_group("--task spans, chains"))
    add_document_flags(parser.add_argument_group("--task documents"))
    size = parser.add_argument_group("split and output")
    size.add_argument(
        "--train_ratio",
        type=number(0, 1, exclusive=True),
        default=0.8,
        help="share of the texts that go to train; the rest is halved into val and test (no matter where the "
        "--input says which split a text is of)",
    )
    size.add_argument("--seed", type=whole_number(0), default=0, help="draws the texts, the windows and the split")
    size.add_argument(
        "--output_dir", type=folder_path, default="data", help="folder for train.pth, val.pth, test.pth, metadata.json"
    )


def add_token_flags(group: Any):
    group.add_argument(
        "--dataset",
        type=name_or_path,
        help="a Hub dataset, a local folder in the same layout, or .txt, .jsonl, .parquet files (a file, a "
        "folder of them, or a glob pattern) (default: manu/project_gutenberg)",
    )
    group.add_argument(
        "--dataset_config",
        help="which configuration of a Hub dataset that has several, such as 20231101.en of wikimedia/wikipedia "
        "(default: its only one)",
    )
    group.add_argument("--language", help="the dataset's split: en, fr, de, es, it, nl, pl, pt, ... (default: en)")
    group.add_argument("--target_token", help="the token to predict, as it stands in running text (default: ' the')")
    group.add_argument(
        "--positions",
        choices=("sampled", "all"),
        help="sampled: windows that end at drawn tokens, both classes equally often; all: texts tiled with "
        "windows, every token labelled, classes as frequent as they are (default: sampled)",
    )
    group.add_argument(
        "--min_context",
        type=whole_number(1),
        help="with --positions all: text tokens before the first labelled one of a window (default: 16)",
    )
    group.add_argument(
        "--max_chunks_per_class",
        type=whole_number(1),
        help="windows of each class, all splits together (with --positions all: twice this many windows) (default: 50000)",
    )


def add_annotated_flags(annotated: Any):
    annotated.add_argument(
        "--input",
        type=name_or_path,
        help="the annotated file, or a folder of a file for each split: JSON lines, a JSON list or .parquet; documents: "
        "an index .csv, a table (.csv, .tsv, .jsonl, .json, .parquet) or a Hub dataset",
    )
    annotated.add_argument(
        "--split_column",
        help="the column or key that names the split of each text; tokens too; none: texts are dealt out, whatever the "
        "input says (default: split, where there is one)",
    )
    annotated.add_argument(
        "--splits",
        action="names",
        help="the published splits to use, a list such as train,dev,holdout=test; others are left out (default: all)",
    )
    annotated.add_argument(
        "--text_column",
        help="the column or key that holds the text, or the messages of a conversation; tokens too (default: text, or "
        "messages where there is no text)",
    )
    annotated.add_argument(
        "--add_generation_prompt",
        action="store_true",
        help="spans, documents: end each conversation with the beginning of the model's next answer, as the chat template "
        "writes it",
    )


def add_marked_flags(marked: Any):
    marked.add_argument("--label", action="names", help="the target: a label, a list a,b of them, or all (default: all)")
    marked.add_argument(
        "--onset_only",
        action="store_true",
        help="positives are the first tokens of the target's spans; see --onset_negatives",
    )
    marked.add_argument(
        "--onset_negatives",
        choices=("others", "all"),
        help="with --onset_only: the first tokens of spans of other labels, or all other tokens whose truth "
        "is known (default: others)",
    )
    marked.add_argument(
        "--within",
        type=whole_number(1),
        metavar="K",
        help="a token is positive if a span of the target begins in the K tokens after it",
    )
    marked.add_argument(
        "--overlap",
        type=whole_number(0),
        help="tokens that each token of a long text has before and after it in its window (default: the "
        "larger of 64 and a quarter of the window, at most a third)",
    )
    marked.add_argument(
        "--group_by", help="spans: the field that texts of one group share (default: needle_family, where there is one)"
    )


def add_document_flags(documents: Any):
    documents.add_argument("--datasets", action="names", help="tags of the index, a list a,b or all (default: all)")
    documents.add_argument("--label_column", help="a table: the column that holds the label (default: label)")
    documents.add_argument(
        "--label_expression", help="a table: which labels are positive, such as \"col == 'spam'\" (default: col)"
    )
    documents.add_argument("--group_column", help="rows with the same value in this column stay together")
    documents.add_argument(
        "--truncation_side",
        choices=("right", "left"),
        help="what a text longer than a window loses: its end (right) or its beginning (default: right; of chats left)",
    )
    documents.add_argument(
        "--as_published",
        action="store_true",
        help="keep copies and contradictions, every row a group of its own, to measure what leakage "
        "buys; never for a result",
    )


def preparation_of(arguments: argparse.Namespace) -> TokenPreparation | AnnotatedPreparation:
    """What the parsed flags ask for, with the task's own defaults filled in.

    Raises UsageError for flags that the task does not read, and for those that contradict each other.
    """
    task = arguments.task
    given = flags_given(arguments)
    check_flags(arguments, given)
    values = vars(arguments) | {name: default for name, default in READ_BY[task].items() if name not in given}
    for flag in LISTS:
        if flag in READ_BY[task]:
            values[flag] = names(values[flag], flag)
    run = {name: values[name] for name in ("model_name", "trust_remote_code", "train_ratio", "seed", "output_dir")}
    SplitChoice(wanted=values["splits"]).roles()
    if task == "token":
        values["special_tokens"] = values["special_tokens"] or "text"
        windows = TokenWindows(**chosen(values, TokenWindows))
        check_token_task(values["target_token"], windows)
        return TokenPreparation(
            texts=PlainTexts(**chosen(values, PlainTexts)), target_token=values["target_token"], windows=windows, **run
        )
    own = {name: values[name] for name in ("special_tokens", *READ_BY[task])}
    tables = tuple(name for name in (*OF_ONE_TABLE, *OF_AN_INDEX) if name in given)
    return AnnotatedPreparation(
        file=AnnotatedFile(**{**chosen(own, AnnotatedFile), "task": task, "given": tables}),
        rule=label_rule(task, own),
        windows=TextWindows(**{"overlap": None, **chosen(own, TextWindows)}),
        **run,
    )


def chosen(values: dict, kind: type) -> dict:
    """Those of the values that are fields of this dataclass."""
    return {item.name: values[item.name] for item in fields(kind) if item.name in values}


def flags_given(arguments: argparse.Namespace) -> list[str]:
    """The flags that the user gave, of those that not every task reads."""
    of_some = dict.fromkeys(name for flags in READ_BY.values() for name in flags)
    return [name for name in of_some if getattr(arguments, name) is not None and getattr(arguments, name) is not False]


def check_flags(arguments: argparse.Namespace, given: Any):
    """Refuse flags that the task does not read, and those that contradict each other. given: as `flags_given` returns."""
    task = arguments.task
    refuse(
        [name for name in given if name not in READ_BY[task]],
        f"--task {task}",
        "give --task spans, chains or documents" if "input" in given and task == "token" else "leave it out",
    )
    if task != "token" and arguments.input is None:
        raise UsageError(f"--task {task} needs --input, the annotated file")
    if arguments.within and arguments.onset_only:
        raise UsageError("--within and --onset_only contradict each other: each says which tokens are positive; give one")
    if arguments.onset_negatives and not arguments.onset_only:
        raise UsageError(f"--onset_negatives {arguments.onset_negatives} means nothing without --onset_only; give both")


def label_rule(task: str, values: dict) -> LabelRule:
    """The rule that --onset_only, --onset_negatives and --within ask for."""
    if task == "documents":
        return LabelRule("whole")
    if values["onset_only"]:
        return LabelRule("onsets_all" if values["onset_negatives"] == "all" else "onsets")
    return LabelRule("within", values["within"]) if values["within"] else LabelRule("tokens")


def names(text: str, flag: str) -> str | list[str]:
    """'all' -> 'all'; 'a, b' -> ['a', 'b']"""
    if text.strip() == "all":
        return "all"
    found = [part.strip() for part in text.split(",")]
    if not all(found):
        raise UsageError(f"--{flag} {text!r} is not a list of names such as a,b, nor all")
    return found


def check_token_task(target_token: str, windows: Any):
    if windows.positions == "all" and windows.min_context > windows.context_length:
        raise UsageError(
            f"--min_context {windows.min_context} leaves no token to label in windows of "
            f"--context_length {windows.context_length}; make it smaller"
        )
    if not target_token:
        raise UsageError("--target_token is empty; give a token such as ' the'")


def refuse(unread: Any, reader: str, remedy: str):
    """Raise UsageError where there are flags that `reader` does not read."""
    if unread := list(unread):
        raise UsageError(f"{reader} does not read {', '.join(f'--{name}' for name in unread)}; {remedy}")
