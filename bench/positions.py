#!/usr/bin/env python3
"""Compare labels at every position with one label per window, on the same windows and so at equal forward passes.

The script takes a dataset of scripts/prepare_data.py with sampled positions and labels every token of its train windows
from --min_context on. It trains on both, and scores both on the same validation and test examples (the sampled ones).
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
import train_probe  # noqa: E402
from utils.base.files import atomic_write, read_csv  # noqa: E402
from utils.data.sequences import load_sequences, save_sequences  # noqa: E402


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", default="data", help="folder of train.pth, val.pth and test.pth (sampled positions)")
    parser.add_argument("--min_context", type=int, default=16, help="text tokens before the first labelled one")
    parser.add_argument("--layer_sweep", default="all", help="layers, as in train_probe")
    arguments = parser.parse_args(argv)
    folder = Path(arguments.data_dir)
    with tempfile.TemporaryDirectory() as temporary:
        everywhere = Path(temporary) / "train.pth"
        with atomic_write(everywhere) as file:
            save_sequences(file, label_everywhere(load_sequences(folder / "train.pth"), arguments.min_context))
        found = {
            name: sweep(path, folder, Path(temporary) / name, arguments.layer_sweep)
            for name, path in (("one label a window", folder / "train.pth"), ("every position", everywhere))
        }
    print(f"\n{'test, the same examples':<26}" + "".join(f"{name:>32}" for name in found))
    print(f"{'layer':<26}" + f"{'balanced acc':>22}{'AUROC':>10}" * len(found))
    for rows in zip(*found.values(), strict=True):
        print(
            f"{rows[0]['layer']:<26}"
            + "".join(f"{float(row['test_balanced_accuracy']):>22.3f}{float(row['test_auc']):>10.3f}" for row in rows)
        )
    print(f"{'training examples':<26}" + "".join(f"{int(rows[0]['n_train']):>32,}" for rows in found.values()))
    return 0


def label_everywhere(sequences, min_context):
    column = np.arange(sequences.input_ids.shape[1])
    labelled = (column >= sequences.text_start + min_context) & (column < sequences.text_ends[:, None])
    sequences.labels = np.where(labelled, sequences.input_ids == sequences.target_token, -1).astype(np.int8)
    return sequences


def sweep(train, folder, output, layers):
    status = train_probe.main(
        [
            "--train_data",
            str(train),
            "--val_data",
            str(folder / "val.pth"),
            "--test_data",
            str(folder / "test.pth"),
            "--layer_sweep",
            layers,
            "--no_wandb",
            "--output_dir",
            str(output / "models"),
            "--results_dir",
            str(output / "results"),
        ]
    )
    assert status == 0
    return read_csv(output / "results" / "probe_results.csv")


if __name__ == "__main__":
    sys.exit(main())
