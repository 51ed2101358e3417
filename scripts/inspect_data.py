#!/usr/bin/env python3
"""Look at a dataset, check it by itself and against its sibling files, and refuse a bad one."""

from utils.base.processes.signals import listen

if __name__ == "__main__":
    listen()  # first, so that Ctrl-C during the imports shows no traceback

from pathlib import Path

from utils.base.cli.parser import Parser, add_trust_flag, quiet_libraries, run, whole_number
from utils.base.errors import UserError
from utils.base.paths import file_path, name_or_folder

CONTEXT_SHOWN = 40  # tokens before the labelled one in a sample
TARGETS_SHOWN = 3  # of which samples are shown
DOCUMENTS_SHOWN = 20


def build_parser() -> Parser:
    parser = Parser(__file__, __doc__, epilog="next: python scripts/train_probe.py")
    parser.add_argument(
        "--data_path",
        type=file_path,
        default="data/train.pth",
        help="file of labelled sequences; it is compared with train.pth, val.pth and test.pth in its folder",
    )
    parser.add_argument("--model_name", type=name_or_folder, help="model whose tokenizer is used (default: the data's own)")
    add_trust_flag(parser)
    parser.add_argument("--num_samples", type=whole_number(0), default=5, help="samples shown of each class")
    parser.add_argument("--seed", type=whole_number(0), default=0, help="draws the samples")
    return parser


def parse(argv):
    return build_parser().parse_args(argv)


def main(argv=None):
    arguments = parse(argv)
    quiet_libraries()
    from utils.data.checks.one_file import check_file
    from utils.data.sequences import load_sequences, per_target
    from utils.data.tokenizer import load_tokenizer, tokenizer_fingerprint

    sequences = load_sequences(arguments.data_path)
    tokenizer = load_tokenizer(arguments.model_name or sequences.model_name, trust_remote_code=arguments.trust_remote_code)
    targets = per_target(sequences)
    show_statistics(arguments.data_path, sequences, targets)
    show_balance(sequences, targets)
    checks = check_file(sequences, tokenizer_fingerprint(tokenizer))
    if checks[0].passed:  # another tokenizer would show another text
        show_special_tokens(sequences, tokenizer)
        for target in targets[:TARGETS_SHOWN]:
            show_samples(target, tokenizer, arguments.num_samples, arguments.seed)
    checks += check_against_siblings(Path(arguments.data_path), sequences)
    show_shortcuts(targets)
    return judge(arguments.data_path, checks)


def show_statistics(path, sequences, targets):
    source = sequences.metadata["source"]
    positives, negatives = (int((sequences.labels == label).sum()) for label in (1, 0))
    origin = f"{source['dataset']} ({source['language']})" if "dataset" in source else str(source["input"])
    windows = targets[0]
    print(
        f"{path}: {sequences.split} split of dataset {sequences.dataset_fingerprint}\n"
        f"  made from      {origin}, tokenizer of {sequences.model_name}\n"
        f"{about_labels(sequences)}\n"
        f"  sequences      {len(windows):,} of {windows.lengths.min()} to {windows.lengths.max()} tokens, "
        f"{int(windows.lengths.sum()):,} in all\n"
        f"  labels         {positives:,} positive, {negatives:,} negative ({positives / (positives + negatives):.2%} "
        "positive)"
    )


def about_labels(sequences) -> str:
    """Say what is labelled, and how."""
    from utils.data.readers.annotated import counts_in_words

    metadata, lag = sequences.metadata, f"default lag {sequences.default_lag}"
    targets = metadata["targets"]
    if sequences.target_token is not None:
        (target,) = targets
        return (
            f"  target         {target['name']!r}, token {target['token']} ({target['piece']!r}), "
            f"{sequences.prevalence:.2%} of all tokens; {lag}"
        )
    each = "texts" if sequences.task == "documents" else "labelled tokens"
    lines = [
        f"  task           {sequences.task}, label rule {sequences.label_rule!r}; {lag}",
        f"  read           {counts_in_words(metadata['read'])}",
    ]
    if len(targets) == 1:
        lines.insert(0, f"  target         {targets[0]['name']!r}, {targets[0]['prevalence']:.2%} of all {each}")
    if sequences.overlap is not None:
        lines.append(f"  long texts     in windows, with {sequences.overlap} tokens before and after each label")
    if metadata["as_published"]:
        lines.append("  as published   copies were kept: figures of this dataset may owe to them, and are no results")
    return "\n".join(lines)


def show_balance(sequences, targets):
    for name, numbers in sequences.metadata["splits"].items():
        print(
            f"  {name:<14} {numbers['positives']:,} positive, {numbers['negatives']:,} negative, "
            f"{numbers['documents']} documents in {numbers['groups']} groups"
        )
    if len(targets) > 1:
        show_targets(targets)
    elif sequences.task != "documents":
        show_documents(sequences)


def show_special_tokens(sequences, tokenizer):
    """Print which special tokens the sequences hold, and where."""
    import numpy as np

    from utils.data.special_tokens import special_ids, spelt_out_in_words

    before, after = (
        " ".join(tokenizer.convert_ids_to_tokens(sequences.metadata["tokenizer"][side])) or "nothing"
        for side in ("before", "after")
    )
    column = np.arange(sequences.input_ids.shape[1])
    inside = (column >= sequences.text_start) & (column < sequences.text_ends[:, None])
    ids, counts = np.unique(sequences.input_ids[inside], return_counts=True)
    special = special_ids(tokenizer)
    found = [
        f"{tokenizer.convert_ids_to_tokens(int(token))} {number:,}"
        for token, number in zip(ids, counts, strict=True)
        if token in special
    ]
    inside_texts = ", ".join(found) or "none"
    print(f"\nspecial tokens: {before} before and {after} after every text; inside texts {inside_texts}; in ⟪ ⟫ below")
    if "special_tokens" in sequences.metadata:  # data of before they were counted
        print(f"  {spelt_out_in_words(sequences.metadata['special_tokens'])}")


def show_targets(targets):
    """Print a line for each target: what of this file is labelled for it, and its natural share."""
    import numpy as np

    from utils.base.text_table import table
    from utils.data.tokenizer import isolated, shown_text

    rows = [["target", "documents", "positive", "negative", "share here", "share of all splits"]]
    for target in targets:
        sequence, _, labels = target.labelled()
        rows.append(
            [
                isolated(shown_text(target.target_name)[:40]),
                f"{len(np.unique(target.documents[sequence])):,}",
                *(f"{int((labels == label).sum()):,}" for label in (1, 0)),
                f"{labels.mean():.2%}" if len(labels) else "-",
                f"{target.prevalence:.2%}",
            ]
        )
    print(f"\n{table(rows)}")


def show_documents(sequences):
    import numpy as np

    from utils.base.text_table import table
    from utils.data.tokenizer import isolated, shown_text

    sequence, _, labels = sequences.labelled()
    documents = sequences.documents[sequence]
    rows = [["document", "sequences", "positive", "negative"]]
    present = np.unique(sequences.documents)
    for document in present[:DOCUMENTS_SHOWN]:
        here = documents == document
        rows.append(
            [
                isolated(shown_text(sequences.document_names[document])[:40]),
                f"{int((sequences.documents == document).sum()):,}",
                *(f"{int((labels[here] == label).sum()):,}" for label in (1, 0)),
            ]
        )
    more = len(present) - DOCUMENTS_SHOWN
    print(f"\n{table(rows)}" + (f"\n... and {more} more" if more > 0 else ""))


def show_samples(sequences, tokenizer, number, seed):
    import numpy as np

    whole = sequences.task == "documents"
    sequence, position, labels = sequences.labelled()
    random = np.random.default_rng(seed)
    for label, name in ((1, "positive"), (0, "negative")):
        of_class = np.flatnonzero(labels == label)
        drawn = random.choice(of_class, min(number, len(of_class)), replace=False)
        if len(drawn):
            of_target = f" of {sequences.target_name!r}" if sequences.target_token is None else ""
            print(
                f"\n{name} samples{of_target}, " + ("the text's beginning and end" if whole else "the labelled token in ⟦ ⟧")
            )
        for index in drawn:
            end = sequences.lengths[sequence[index]] if whole else position[index] + 1
            text = sequences.input_ids[sequence[index], :end]
            print(f"  {(ends_of_text if whole else token_in_context)(tokenizer, text)}")


def token_in_context(tokenizer, ids) -> str:
    """Mark the last of these tokens and show those before it."""
    shown = shown_tokens(tokenizer, ids[-CONTEXT_SHOWN - 1 :])
    cut = "…" if len(ids) > CONTEXT_SHOWN + 1 else ""
    return f"{cut}{''.join(shown[:-1])}⟦{shown[-1]}⟧"


def ends_of_text(tokenizer, ids) -> str:
    """Show a text whole if it is short, else its first and last tokens."""
    half = CONTEXT_SHOWN // 2
    parts = [ids] if len(ids) <= CONTEXT_SHOWN else [ids[:half], ids[-half:]]
    return " … ".join("".join(shown_tokens(tokenizer, part)) for part in parts)


def shown_tokens(tokenizer, ids) -> list[str]:
    """Show each token; special ones, unlike text that spells them out, in ⟪ ⟫."""
    from utils.data.special_tokens import special_ids
    from utils.data.tokenizer import token_text

    special = special_ids(tokenizer)
    return [f"⟪{token_text(tokenizer, token)}⟫" if token in special else token_text(tokenizer, token) for token in ids]


def show_shortcuts(targets):
    from utils.base.text_table import table
    from utils.scores.shortcuts import shortcut_aurocs

    print("\nshortcuts: AUROC without any model (0.5 tells nothing)")
    found = [shortcut_aurocs(target) for target in targets]
    if len(targets) == 1:
        for name, value in found[0].items():
            print(f"  {name:<36} {value:.3f}")
        return
    print(
        table(
            [
                ["target", *found[0]],
                *(
                    [target.target_name[:40], *(f"{value:.3f}" for value in values.values())]
                    for target, values in zip(targets, found, strict=True)
                ),
            ]
        )
    )


def check_against_siblings(path, sequences):
    from utils.data.checks.between_splits import check_siblings
    from utils.data.sequences import SPLITS, load_sequences

    checks = []
    for name in SPLITS:
        sibling = path.parent / f"{name}.pth"
        if name != sequences.split and sibling.exists():
            checks += check_siblings(path.name, sequences, sibling.name, load_sequences(sibling))
    return checks


def judge(data_path, checks) -> int:
    """Print all checks; raise UserError where one failed."""
    print("\nchecks")
    for check in checks:
        print(f"  {check}")
    failed = [check for check in checks if check.passed is not None and not check.passed]
    if failed:
        raise UserError(
            f"{data_path} fails {len(failed)} check(s): "
            + "; ".join(f"{check.name} ({check.detail})" for check in failed)
            + "; make it again with scripts/prepare_data.py"
        )
    notes = sum(check.passed is None for check in checks)
    print(f"all {len(checks) - notes} checks passed" + (f", {notes} noted" if notes else ""))
    print(f"next: python scripts/train_probe.py --train_data {Path(data_path).parent / 'train.pth'} --layer_sweep auto")
    return 0


if __name__ == "__main__":
    run(main)
