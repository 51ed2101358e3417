"""Define the flags of everything that reads hidden states: the model, which layers, at which lags."""

import argparse
from typing import Any

from utils.base.cli.parser import add_trust_flag, lag_list, number, whole_number
from utils.base.errors import UsageError
from utils.base.paths import folder_path, name_or_folder

SEGMENTS = 4  # of attention rows


def add_model_flags(
    parser: argparse.ArgumentParser,
    what: str = "to probe",
    default: str = "the data's own",
    read: str = "sequences",
    batch_size: int = 48,
    batch_flag: str = "--batch_size",
):
    """Add the flags of the model and of how it is run.

    what, default: of the help of --model_name; read: what a batch is made of; batch_flag: the one for its size.
    """
    model = parser.add_argument_group("model")
    model.add_argument(
        "--model_name", type=name_or_folder, help=f"the model {what}: a Hub name or a folder (default: {default})"
    )
    model.add_argument(
        "--model_dtype",
        choices=("auto", "bfloat16", "float16", "float32"),
        default="auto",
        help="precision of the model; auto: bfloat16 on CUDA where supported, else float32",
    )
    model.add_argument("--device", default="auto", help="auto (the first available of cuda, mps and cpu), or one of these")
    model.add_argument(
        batch_flag,
        type=whole_number(1),
        default=batch_size,
        help=f"{read} per forward pass; halved when memory runs out",
    )
    add_trust_flag(model)


def add_cache_flags(group: Any) -> None:
    """Add to a group the flags that say where hidden states are kept."""
    group.add_argument(
        "--cache_dir",
        type=folder_path,
        help="folder that keeps hidden states: later runs with the same model and data reuse them, and a crashed "
        "run resumes (default: in memory, nothing kept)",
    )
    group.add_argument(
        "--memory_gb",
        type=number(0, exclusive=True),
        help="GB of hidden states to hold in memory; more go to disk, into --cache_dir or data/states "
        "(default: half of the free memory)",
    )


def add_reading_flags(parser: argparse.ArgumentParser):
    """Add the flags that say which layers are read, and where; `check_layers_and_lags` refuses contradictions."""
    what = parser.add_argument_group("what is read")
    what.add_argument("--layer", help="one layer: a number, embed or final_norm")
    what.add_argument(
        "--layer_sweep",
        action="list",
        help="auto (first, quarters, last), all (embed, every layer, final_norm), or a "
        "list such as 0,5,11 (default: auto, unless --layer is given)",
    )
    what.add_argument(
        "--predict_current",
        action="store_true",
        help="read the labelled token itself (lag 0): for token tasks a sanity check, since the token is in the input",
    )
    what.add_argument(
        "--lags",
        action="list",
        type=lag_list,
        help="where the state is read, in tokens from the labelled one, such as "
        "-4,-1,0; negative: before it (default: the data's)",
    )
    what.add_argument(
        "--common_positions", action="store_true", help="keep only tokens that have a state at every one of --lags"
    )
    what.add_argument(
        "--pool",
        choices=("last", "mean", "max"),
        default="last",
        help="last: the state at the position itself; mean or max: that of all states up to it",
    )
    what.add_argument(
        "--attention_segments",
        type=whole_number(1),
        default=SEGMENTS,
        help="equal parts of the text, over each of which --probe attention_features averages",
    )
    what.add_argument(
        "--allow_bidirectional",
        action="store_true",
        help="allow negative lags in a model that sees later tokens; what it gives is no prediction",
    )


def check_layers_and_lags(arguments: argparse.Namespace):
    """Refuse wrong usage of the flags of `add_reading_flags`."""
    from utils.states.sites import check_layer_text

    if arguments.layer is not None and arguments.layer_sweep is not None:
        raise UsageError(
            f"--layer {arguments.layer} and --layer_sweep {arguments.layer_sweep} contradict each other; give one of them"
        )
    if arguments.layer is not None and ("," in arguments.layer or arguments.layer in ("auto", "all")):
        raise UsageError(f"--layer {arguments.layer} is more than one layer; use --layer_sweep {arguments.layer}")
    if arguments.predict_current and arguments.lags is not None:
        raise UsageError("--predict_current is --lags 0; give one of them")
    if arguments.common_positions and len(arguments.lags or ()) < 2:
        raise UsageError("--common_positions compares several lags; give them with --lags -4,-1,0 or leave it out")
    check_layer_text(layer_text(arguments), "--layer" if arguments.layer is not None else "--layer_sweep")


def layer_text(arguments: argparse.Namespace) -> str:
    """Give the words that name the layers."""
    given = arguments.layer_sweep if arguments.layer is None else arguments.layer
    return "auto" if given is None else given
