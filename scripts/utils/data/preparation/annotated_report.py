"""What is told of an annotated dataset: in its metadata, on the screen, and in the cleaned files of documents."""

import sys
from pathlib import Path
from urllib.parse import quote

import numpy as np

from utils.base.errors import UserError
from utils.data.preparation.annotated_windows import label_rule
from utils.data.preparation.dataset_files import about_tokenizer, count, dataset_fingerprint, versions
from utils.data.preparation.flags import OF_AN_INDEX, OF_ONE_TABLE, READ_BY
from utils.data.readers.annotated import Collection, describe
from utils.data.readers.document import text_hash
from utils.data.readers.tables import cleaned_csv

CLEANED = "cleaned"  # the folder below --output_dir for the cleaned files of documents
NOT_OF_THE_SOURCE = (
    "context_length",
    "overlap",
    "truncation_side",
    "as_published",
    "onset_only",
    "onset_negatives",
    "within",
)


def count_targets(sequences, targets) -> dict:
    """As `count`, with the windows once each, and what every target has."""
    labels, tasks, documents = sequences.labels, sequences.tasks, sequences.documents
    by_target = {
        target: {
            "positives": int((labels[tasks == index] == 1).sum()),
            "negatives": int((labels[tasks == index] == 0).sum()),
            "documents": len(np.unique(documents[tasks == index])),
            "documents_with_positives": len(np.unique(documents[(tasks == index) & (labels == 1).any(1)])),
        }
        for index, target in enumerate(targets)
    }
    windows = len(np.unique(np.stack([documents, sequences.starts]), axis=1).T)
    return {**count(sequences), "windows": windows, "targets": by_target}


def make_metadata(arguments, tokenizer, frame, collection, labelled, splits, targets) -> dict:
    counts = {name: count_targets(sequences, targets) for name, sequences in splits.items()}
    buckets = [item.document.meta.get("length_bucket") for item in labelled]
    was_cut = arguments.overlap is not None and any(item.length > arguments.context_length + 1 for item in labelled)
    return {
        "task": arguments.task,
        "source": source(arguments, tokenizer, collection),
        "model_name": arguments.model_name,
        "tokenizer": about_tokenizer(tokenizer, frame),
        "targets": [
            {"name": target, "token": None, "piece": None, "prevalence": prevalence(counts, target)} for target in targets
        ],
        "label_rule": label_rule(arguments),
        "default_lag": 0,
        "positions": "all",
        "context_length": arguments.context_length,
        "min_context": 0,
        "overlap": arguments.overlap if was_cut else None,
        "truncated": {"side": arguments.truncation_side, "texts": sum(item.truncated for item in labelled)},
        "as_published": bool(arguments.as_published),
        "train_ratio": arguments.train_ratio,
        "seed": arguments.seed,
        "splits": counts,
        "read": collection.counts,
        "versions": versions(),
        "documents": [item.document.name for item in labelled],
        "document_hashes": [text_hash(item.document.text[item.document.meta.get("chain_start", 0) :]) for item in labelled],
        "length_buckets": buckets if any(bucket is not None for bucket in buckets) else None,
        "dataset_fingerprint": dataset_fingerprint(splits),
    }


def source(arguments, tokenizer, collection) -> dict:
    """The flags that say what was read, without those that an index or a single table has no use for."""
    unused = OF_ONE_TABLE if "save_names" in collection.counts else OF_AN_INDEX if arguments.task == "documents" else ()
    flags = {name: getattr(arguments, name) for name in READ_BY[arguments.task] if name not in (*NOT_OF_THE_SOURCE, *unused)}
    return flags | (
        {"prompt": "chat template" if tokenizer.chat_template else "plain"} if arguments.task == "chains" else {}
    )


def prevalence(counts, target) -> float:
    """Share of positives among the labelled tokens of all splits."""
    positives, negatives = (
        sum(split["targets"][target][kind] for split in counts.values()) for kind in ("positives", "negatives")
    )
    return positives / (positives + negatives)


def cleaned_files(collection, labelled, targets) -> dict[str, str]:
    """{path below --output_dir: CSV} with the texts of each target, under the index's save name; texts are whole."""
    save_names = collection.counts.get("save_names", {})
    kept = Collection([item.document for item in labelled], targets, {})
    files = {}
    for target in targets:
        name = save_names.get(target, f"{quote(target, safe=' ')}.csv")
        if Path(name).name != name or name in (".", ".."):
            raise UserError(f"the save name {name!r} of {target!r} is not a file name; mend the index")
        path = f"{CLEANED}/{name}"
        if path in files:
            raise UserError(f"two sets have the save name {name!r}; mend the index")
        files[path] = cleaned_csv(kept, target, [item.length for item in labelled])
    return files


def report_reading(arguments, counts):
    print(f"read {arguments.input}: {describe(counts)}")
    for tag, own in counts.get("sets", {}).items():
        print(f"  {tag}: {describe(own)}")
        if own.get("unused_text_columns") and not arguments.group_column:
            print(
                f"    other columns of text: {', '.join(own['unused_text_columns'])}; where rows that share a value there "
                "belong together, give --group_column"
            )
    if arguments.as_published:
        print(
            "WARNING: --as_published keeps copies, contradictions and groups apart: the same text may stand in train and "
            "in test. Figures from these files measure leakage and are no results.",
            file=sys.stderr,
        )
    sys.stdout.flush()


def report(metadata):
    """The label rule, what was cut and dropped, and the counts by split and target."""
    truncated, dropped, overlap = metadata["truncated"], metadata["dropped"], metadata["overlap"]
    around = "" if overlap is None else f", with {overlap} before and after each token of a longer text"
    print(f"labels: {metadata['label_rule']}; windows of at most {metadata['context_length'] + 1} text tokens{around}")
    if truncated["side"]:
        part = "end" if truncated["side"] == "right" else "beginning"
        print(f"truncated: {truncated['texts']:,} of {len(metadata['documents']):,} texts lost their {part}")
    print(
        "dropped: "
        + (", ".join(f"{number:,} {what.replace('_', ' ')}" for what, number in dropped.items() if number) or "nothing")
    )
    whole = metadata["label_rule"] == "whole"
    print(f"positives / labelled {'texts' if whole else 'tokens (texts with positives)'} by split:")
    for line in table(metadata, whole):
        print(line)


def table(metadata, whole) -> list[str]:
    """A line for each target: positives of what is labelled, by split; the texts with positives; the prevalence."""
    names = list(metadata["splits"])
    rows = [("target", *names, "prevalence")]
    for target in metadata["targets"]:
        own = [metadata["splits"][name]["targets"][target["name"]] for name in names]
        rows.append(
            (
                target["name"],
                *(
                    f"{item['positives']:,} / {item['positives'] + item['negatives']:,}"
                    + ("" if whole else f" ({item['documents_with_positives']:,})")
                    for item in own
                ),
                f"{target['prevalence']:.2%}",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
