#!/usr/bin/env python3
"""Look at a dataset, check it against itself and its sibling files, and refuse a bad one."""

from os.path import expanduser
from pathlib import Path

from utils.command_line import Parser, quiet_libraries, run, whole_number
from utils.errors import UserError

CONTEXT_SHOWN = 40  # tokens before the labelled one in a sample


def parse(argv):
    parser = Parser(__doc__, epilog="next: python scripts/train_probe.py")
    parser.add_argument("--data_path", default="data/train.pth",
                        help="file of labelled sequences; train.pth, val.pth and test.pth beside it are compared with it")
    parser.add_argument("--model_name", type=expanduser, help="model whose tokenizer is used (default: the data's own)")
    parser.add_argument("--num_samples", type=whole_number(0), default=5, help="samples shown of each class")
    parser.add_argument("--seed", type=whole_number(0), default=0, help="draws the samples")
    return parser.parse_args(argv)


def main(argv=None):
    arguments = parse(argv)
    quiet_libraries()
    from utils.data_checks import check_file
    from utils.sequences import load_sequences
    from utils.shortcuts import shortcut_aurocs
    from utils.tokenizer import load_tokenizer, tokenizer_fingerprint

    sequences = load_sequences(arguments.data_path)
    tokenizer = load_tokenizer(arguments.model_name or sequences.metadata["model_name"])
    show_statistics(arguments.data_path, sequences)
    show_balance(sequences)
    checks = check_file(sequences, tokenizer_fingerprint(tokenizer))
    if checks[0].passed:  # another tokenizer would show another text
        show_samples(sequences, tokenizer, arguments.num_samples, arguments.seed)
    checks += check_against_siblings(Path(arguments.data_path), sequences)
    print("\nshortcuts: AUROC without any model (0.5 tells nothing)")
    for name, value in shortcut_aurocs(sequences).items():
        print(f"  {name:<36} {value:.3f}")
    return judge(arguments, checks)


def show_statistics(path, sequences):
    metadata = sequences.metadata
    positives, negatives = (int((sequences.labels == label).sum()) for label in (1, 0))
    target = metadata["targets"][0]
    print(f"{path}: {metadata['split']} split of dataset {metadata['dataset_fingerprint']}\n"
          f"  made from      {metadata['source']['dataset']} ({metadata['source']['language']}), tokenizer of "
          f"{metadata['model_name']}\n"
          f"  target         {target['name']!r}, token {target['token']} ({target['piece']!r}), "
          f"{metadata['prevalence']:.2%} of all tokens; default lag {metadata['default_lag']}\n"
          f"  sequences      {len(sequences):,} of {sequences.lengths.min()} to {sequences.lengths.max()} tokens, "
          f"{int(sequences.lengths.sum()):,} in all\n"
          f"  labels         {positives:,} positive, {negatives:,} negative ({positives / (positives + negatives):.2%} "
          "positive)")


def show_balance(sequences):
    import numpy as np

    from utils.report import table

    for name, numbers in sequences.metadata["splits"].items():
        print(f"  {name:<14} {numbers['positives']:,} positive, {numbers['negatives']:,} negative, "
              f"{numbers['documents']} documents in {numbers['groups']} groups")
    sequence, _, labels = sequences.labelled()
    documents = sequences.documents[sequence]
    rows = [["document", "sequences", "positive", "negative"]]
    present = np.unique(sequences.documents)
    for document in present[:20]:
        here = documents == document
        rows.append([sequences.metadata["documents"][document][:40], f"{int((sequences.documents == document).sum()):,}",
                     *(f"{int((labels[here] == label).sum()):,}" for label in (1, 0))])
    print(f"\n{table(rows)}" + (f"\n... and {len(present) - 20} more" if len(present) > 20 else ""))


def show_samples(sequences, tokenizer, number, seed):
    import numpy as np

    from utils.tokenizer import token_text

    sequence, position, labels = sequences.labelled()
    random = np.random.default_rng(seed)
    for label, name in ((1, "positive"), (0, "negative")):
        of_class = np.flatnonzero(labels == label)
        drawn = random.choice(of_class, min(number, len(of_class)), replace=False)
        if len(drawn):
            print(f"\n{name} samples, the labelled token in ⟦ ⟧")
        for index in drawn:
            ids, at = sequences.input_ids[sequence[index]], position[index]
            context = "".join(token_text(tokenizer, token)
                              for token in ids[max(sequences.text_start, at - CONTEXT_SHOWN):at])
            print(f"  …{context}⟦{token_text(tokenizer, ids[at])}⟧")


def check_against_siblings(path, sequences):
    from utils.data_checks import check_siblings
    from utils.sequences import SPLITS, load_sequences

    checks = []
    for name in SPLITS:
        sibling = path.parent / f"{name}.pth"
        if name != sequences.metadata["split"] and sibling.exists():
            checks += check_siblings(path.name, sequences, sibling.name, load_sequences(sibling))
    return checks


def judge(arguments, checks):
    print("\nchecks")
    for check in checks:
        print(f"  {check}")
    failed = [check for check in checks if not check.passed]
    if failed:
        raise UserError(f"{arguments.data_path} fails {len(failed)} check(s): "
                        + "; ".join(f"{check.name} ({check.detail})" for check in failed)
                        + "; make it again with scripts/prepare_data.py")
    print(f"all {len(checks)} checks passed\nnext: python scripts/train_probe.py --train_data "
          f"{Path(arguments.data_path).parent / 'train.pth'} --layer_sweep auto")
    return 0


if __name__ == "__main__":
    run(main)
