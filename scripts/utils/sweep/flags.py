"""The flags that train_probe.py shares with check_setup.py, which says beforehand whether its run will go well; those of the
model are visualize_probe.py's too.
"""

from os.path import expanduser

from utils.base.cli.parser import lag_list, name_list, number, number_list, whole_number
from utils.base.errors import UsageError
from utils.probes.kinds import KINDS, PENALISED

POS_WEIGHT_CAP = 5.0  # of next-token data, unless another is given
L2_GRID = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)


def add_model_flags(parser, what="to probe", default="the data's own", read="sequences", batch_size=48):
    """The model and how it is run. what, default: of --model_name; read: what a batch is made of."""
    model = parser.add_argument_group("model")
    model.add_argument(
        "--model_name", type=expanduser, help=f"the model {what}: a Hub name or a folder (default: {default})"
    )
    model.add_argument(
        "--model_dtype",
        choices=("auto", "bfloat16", "float16", "float32"),
        default="auto",
        help="precision of the model; auto: bfloat16 on CUDA where supported, else float32",
    )
    model.add_argument("--device", default="auto", help="auto (cuda, mps, cpu: the first there is), or one of them")
    model.add_argument(
        "--batch_size",
        type=whole_number(1),
        default=batch_size,
        help=f"{read} per forward pass; halved when memory runs out",
    )


def add_data_flags(parser, **train_data):
    """The three files of one preparation, and where the states of the pass go. train_data: that flag's default and help."""
    data = parser.add_argument_group("data")
    data.add_argument(
        "--train_data", **{"default": "data/train.pth", "help": "file of labelled sequences to train on", **train_data}
    )
    data.add_argument("--val_data", help="... to choose by (default: val.pth beside --train_data)")
    data.add_argument("--test_data", help="... to report on (default: test.pth beside --train_data, if there)")
    data.add_argument(
        "--targets", action="names", help="of several targets in the data only these, a list of names (default: all)"
    )
    data.add_argument(
        "--cache_dir",
        help="folder where hidden states are kept, found again by the same model and data "
        "and resumed after a crash (default: in memory, nothing kept)",
    )
    data.add_argument(
        "--memory_gb",
        type=number(0, exclusive=True),
        help="hidden states beyond this go to disk, into --cache_dir or data/states (default: half of the free memory)",
    )


def add_reading_flags(parser):
    """Which layers are read, and where; `check_reading` refuses what contradicts itself."""
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
        help="read the labelled token itself (lag 0): a check that is trivial for token tasks",
    )
    what.add_argument(
        "--lags",
        action="list",
        type=lag_list,
        help="where the state lies that is read, in tokens from the labelled "
        "one, such as -4,-1,0; negative: before it (default: the data's)",
    )
    what.add_argument("--common_positions", action="store_true", help="keep only tokens that every one of --lags has")
    what.add_argument(
        "--pool",
        choices=("last", "mean", "max"),
        default="last",
        help="of the states up to the one that is read: itself, their mean or their maximum",
    )
    what.add_argument(
        "--attention_segments",
        type=whole_number(1),
        default=4,
        help="parts of the text, over each of which --probe attention_features averages",
    )
    what.add_argument(
        "--allow_bidirectional",
        action="store_true",
        help="read before the labelled token in a model that sees what comes after: no prediction",
    )


def add_training_flags(parser):
    """Which examples the probes are trained on, and how."""
    sample = parser.add_argument_group("training examples, drawn anew for each seed; validation and test keep all")
    sample.add_argument(
        "--class_balance",
        choices=("weighted", "downsample", "none"),
        default="weighted",
        help="weighted: positives count as much as negatives; downsample: the larger class is cut",
    )
    sample.add_argument(
        "--pos_weight_cap",
        type=number(0, exclusive=True),
        help="the most that a positive counts more than a negative; training draws at most this many "
        "negatives for each positive (default: 5 for next-token data, else no cap)",
    )
    sample.add_argument("--negatives_per_doc", type=whole_number(1), help="the most negatives of one document")
    sample.add_argument(
        "--token_matched_negatives",
        action="store_true",
        help="prefer negatives whose token is one that positives have too, at most two of a token and "
        "document: a probe cannot win by knowing tokens then",
    )
    sample.add_argument("--max_train_docs", type=whole_number(1), help="the most documents, drawn evenly")
    sample.add_argument("--max_train_tokens", type=whole_number(2), help="the most labelled tokens, drawn evenly")
    sample.add_argument("--max_val_docs", type=whole_number(1), help="for a quick trial: choose by fewer documents")
    sample.add_argument("--max_val_tokens", type=whole_number(2), help="for a quick trial: choose by fewer labelled tokens")
    training = parser.add_argument_group("training")
    training.add_argument(
        "--probe",
        action="list",
        type=name_list(KINDS),
        default="linear",
        help=f"kinds of probe, a list of {', '.join(KINDS)}",
    )
    training.add_argument("--epochs", type=whole_number(1), default=10, help="visits of the training examples")
    training.add_argument(
        "--learning_rate",
        type=number(0, 1e6, exclusive=True),
        default=1e-3,
        help="AdamW's at the start; it falls to 0 along a cosine",
    )
    training.add_argument("--weight_decay", type=number(0, 1e6), default=1e-4, help="AdamW's, on standardised states")
    training.add_argument(
        "--l2_grid",
        action="list",
        type=number_list(0),
        help="penalties of logistic regression (the mean loss plus l2 / 2 |w|^2), of which validation chooses "
        f"one (default: {','.join(f'{l2:g}' for l2 in L2_GRID)})",
    )
    training.add_argument(
        "--probe_batch_size",
        type=whole_number(1),
        help="examples per training step (default: from 8 to 1024, so that about 5000 steps are made)",
    )
    training.add_argument("--seed", type=whole_number(0), help="draws negatives, first weights and batches (default: 0)")
    training.add_argument(
        "--train_seeds", action="list", type=number_list(0, whole=True), help="several seeds, such as 0,1,2"
    )


def add_comparison_flags(parser):
    """What stands beside the probes."""
    beside = parser.add_argument_group("what stands beside the probes")
    beside.add_argument(
        "--control",
        type=whole_number(5),
        nargs="?",
        const=5,
        default=0,
        metavar="DRAWS",
        help="also train on random labels, fixed for each type of the token that is read, so many times "
        "(5 without a number): selectivity is what the real labels do better",
    )
    beside.add_argument("--random_weights", action="store_true", help="also probe the same model with random weights")
    beside.add_argument("--learning_curve", action="store_true", help="also train on fewer and fewer examples")


def check_flags(arguments):
    """Refuse flags that contradict each other; sets `layers` (the text that names them), `kinds`, `seeds`, `l2_grid`, and
    whether `pos_weight_cap` was given.
    """
    check_reading(arguments)
    arguments.kinds = arguments.probe
    if arguments.seed is not None and arguments.train_seeds is not None:
        raise UsageError("--seed and --train_seeds contradict each other; give one of them")
    if arguments.l2_grid is not None and not PENALISED & set(arguments.kinds):
        raise UsageError(
            f"--l2_grid is for {' and '.join(sorted(PENALISED))}; add one of them to --probe "
            f"{','.join(arguments.kinds)}, or leave it out"
        )
    if arguments.pool != "last" and "attention" in arguments.kinds:
        raise UsageError(
            f"--pool {arguments.pool} and --probe attention contradict each other: the probe pools by itself; "
            "train it in a run of its own"
        )
    arguments.pos_weight_cap_given = arguments.pos_weight_cap is not None
    arguments.pos_weight_cap = arguments.pos_weight_cap or POS_WEIGHT_CAP
    arguments.seeds = arguments.train_seeds or [arguments.seed or 0]
    arguments.l2_grid = sorted(arguments.l2_grid or L2_GRID, reverse=True)
    return arguments


def check_reading(arguments):
    """Refuse wrong usage of the flags of `add_reading_flags`; sets `layers`."""
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
    flag = "layer" if arguments.layer is not None else "layer_sweep"
    given = getattr(arguments, flag)
    arguments.layers = "auto" if given is None else given
    check_layer_text(arguments.layers, f"--{flag}")
