"""What is said about an annotated dataset: in its metadata, on the screen, and in the cleaned files of documents."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np

from utils.base.errors import UserError
from utils.base.files import fingerprint
from utils.base.text_table import table
from utils.data.preparation.annotated_tokens import prompt_kind
from utils.data.preparation.annotated_windows import LabelledDocument
from utils.data.preparation.conversations import are_chats
from utils.data.preparation.dataset_files import about_content, about_tokenizer, count, in_words, versions
from utils.data.preparation.flags import OF_AN_INDEX, OF_ONE_TABLE
from utils.data.preparation.settings import OF_SPLITS, RECORDED, AnnotatedFile, AnnotatedPreparation
from utils.data.readers.annotated import Collection, counts_in_words
from utils.data.readers.document import text_hash
from utils.data.readers.tables import cleaned_csv
from utils.data.sequences import Sequences
from utils.data.special_tokens import SpeltOut, spelt_out_in_words
from utils.data.tokenizer import Frame, Tokenizer, isolated, shown_text

CLEANED = "cleaned"  # the folder below --output_dir for the cleaned files of documents


def count_targets(sequences: Sequences, targets: Sequence[str]) -> dict:
    """Count as `count` does, and what there is of every target."""
    by_target = {}
    for index, target in enumerate(targets):
        rows = sequences.rows_of(index)
        labels = sequences.labels[rows]
        documents = sequences.documents if sequences.windows is None else sequences.documents[sequences.windows[rows]]
        by_target[target] = {
            "positives": int((labels == 1).sum()),
            "negatives": int((labels == 0).sum()),
            "documents": len(np.unique(documents)),
            "documents_with_positives": len(np.unique(documents[(labels == 1).any(1)])),
        }
    return {**count(sequences), "targets": by_target}


def make_metadata(
    preparation: AnnotatedPreparation,
    tokenizer: Tokenizer,
    frame: Frame,
    collection: Collection,
    labelled: Sequence[LabelledDocument],
    splits: Mapping[str, Sequences],
    targets: Sequence[str],
) -> dict:
    """Say everything about a dataset but its groups and what was left out. The windows of `preparation` are settled."""
    file, windows = preparation.file, preparation.windows
    counts = {name: count_targets(sequences, targets) for name, sequences in splits.items()}
    buckets = [item.document.meta.get("length_bucket") for item in labelled]
    was_cut = windows.overlap is not None and any(item.length > windows.width for item in labelled)
    return {
        "task": file.task,
        "source": source(file, tokenizer, collection, frame),
        "model_name": preparation.model_name,
        "trust_remote_code": preparation.trust_remote_code,
        "tokenizer": about_tokenizer(tokenizer, frame),
        "targets": [
            {"name": target, "token": None, "piece": None, "prevalence": prevalence(counts, target)} for target in targets
        ],
        "label_rule": str(preparation.rule),
        "default_lag": 0,
        "positions": "all",
        "context_length": windows.context_length,
        "min_context": 0,
        "overlap": windows.overlap if was_cut else None,
        "truncated": {
            "side": windows.truncation_side,
            "texts": sum(item.truncated for item in labelled),
        },
        "as_published": file.as_published,
        "train_ratio": preparation.train_ratio,
        "seed": preparation.seed,
        "splits": counts,
        "read": collection.counts,
        "versions": versions(),
        "documents": [item.document.name for item in labelled],
        "document_hashes": [text_hash(item.document.own_text) for item in labelled],
        "special_tokens": count_spelt_out(tokenizer, labelled).record(file.special_tokens or "text"),
        "length_buckets": buckets if any(bucket is not None for bucket in buckets) else None,
        **about_content(splits),
    }


def source(file: AnnotatedFile, tokenizer: Tokenizer, collection: Collection, frame: Frame) -> dict:
    """Return the flags that say what was read, without those that an index or a single table has no use for.

    Of conversations the ids around each window, too, which depend on what their template writes.
    """
    of_an_index = "save_names" in collection.counts
    unused = OF_ONE_TABLE if of_an_index else OF_AN_INDEX if file.task == "documents" else ()
    default = AnnotatedFile(file.task, file.input)
    flags = {
        name: getattr(file, name)
        for name in RECORDED[file.task]
        if name not in unused and not (name in OF_SPLITS and getattr(file, name) == getattr(default, name))
    }
    flags |= {"frame": frame} if are_chats(collection.documents) else {}
    return flags | ({"prompt": prompt_kind(tokenizer)} if file.task == "chains" or "frame" in flags else {})


def count_spelt_out(tokenizer: Tokenizer, labelled: Sequence[LabelledDocument]) -> SpeltOut:
    """Count the texts that spell out special tokens; of a chain, without the prompt before it."""
    spelt_out = SpeltOut(tokenizer)
    for item in labelled:
        spelt_out.read(item.document.own_text)
    return spelt_out


def prevalence(counts: Mapping[str, dict], target: str) -> float:
    """Return the share of positives among the labelled tokens of train and validation: test moves no probability."""
    known = [split["targets"][target] for name, split in counts.items() if name != "test"]
    positives, negatives = (sum(counted[kind] for counted in known) for kind in ("positives", "negatives"))
    return positives / (positives + negatives)


def cleaned_files(collection: Collection, labelled: Sequence[LabelledDocument], targets: list[str]) -> dict[str, str]:
    """Write out the whole texts of each target: {path below --output_dir: CSV}, under the index's save name."""
    save_names = collection.counts.get("save_names", {})
    kept = Collection([item.document for item in labelled], targets, {})
    files = {}
    for target in targets:
        name = save_names.get(target, f"{quote(target, safe=' ')}.csv")
        if Path(name).name != name or name in (".", ".."):
            raise UserError(f"the save name {name!r} of {target!r} is not a file name; mend the index")
        path = f"{CLEANED}/{name}"
        taken = {other.lower() for other in files}  # not every file system tells cases apart
        if path.lower() in taken and target not in save_names:
            path = f"{CLEANED}/{quote(target, safe=' ')}={fingerprint(target)[:6]}.csv"
        if path.lower() in taken:
            raise UserError(f"two sets have the save name {name!r}; mend the index")
        files[path] = cleaned_csv(kept, target, [item.length for item in labelled])
    return files


def report_reading(file: AnnotatedFile, collection: Collection) -> None:
    """Print what the reader found, and what it has to say; warnings go to standard error."""
    counts = collection.counts
    print(f"read {file.input}: {counts_in_words(counts)}")
    for note in collection.notes:
        print(f"  {note}" if not note.startswith("WARNING") else note, file=sys.stderr if note.startswith("WARN") else None)
    for tag, own in counts.get("sets", {}).items():
        print(f"  {tag}: {counts_in_words(own)}")
        if own.get("unused_text_columns") and not file.group_column:
            print(
                f"    other columns of text: {', '.join(own['unused_text_columns'])}; where rows that share a value there "
                "belong together, give --group_column"
            )
    if file.as_published:
        print(
            "WARNING: --as_published keeps copies, contradictions and groups apart: the same text may stand in train and "
            "in test. Figures from these files may owe to that, and are no results.",
            file=sys.stderr,
        )
    sys.stdout.flush()


def report(metadata: dict) -> None:
    """Print the label rule, what was cut and dropped, and the counts by split and target."""
    truncated, dropped, overlap = metadata["truncated"], metadata["dropped"], metadata["overlap"]
    around = "" if overlap is None else f", with {overlap} before and after each token of a longer text"
    print(f"labels: {metadata['label_rule']}; windows of at most {metadata['context_length'] + 1} text tokens{around}")
    if truncated["side"]:
        part = "end" if truncated["side"] == "right" else "beginning"
        print(f"truncated: {truncated['texts']:,} of {len(metadata['documents']):,} texts lost their {part}")
    print(f"dropped: {in_words(dropped)}")
    print(f"special tokens: {spelt_out_in_words(metadata['special_tokens'])}")
    whole = metadata["label_rule"] == "whole"
    print(f"positives / labelled {'texts' if whole else 'tokens (texts with positives)'} by split:")
    print(balance_table(metadata, whole))


def balance_table(metadata: dict, whole: bool) -> str:
    """Draw a line for each target: positives of what is labelled, by split; the texts with positives; the prevalence."""
    names = list(metadata["splits"])
    rows = [["target", *names, "prevalence"]]
    for target in metadata["targets"]:
        own = [metadata["splits"][name]["targets"][target["name"]] for name in names]
        cells = [
            f"{item['positives']:,} / {item['positives'] + item['negatives']:,}"
            + ("" if whole else f" ({item['documents_with_positives']:,})")
            for item in own
        ]
        rows.append([isolated(shown_text(target["name"])), *cells, f"{target['prevalence']:.2%}"])
    return table(rows)
