"""Define the flags of train_probe.py, and turn them into what the run is made of.

check_setup.py shares them, to say beforehand whether a run will go well.
"""

from utils.base.cli.parser import name_list, number, number_list, whole_number
from utils.base.errors import UsageError
from utils.base.paths import file_path
from utils.probes.kinds import KINDS, PENALISED, any_reads
from utils.states.flags import SEGMENTS, add_cache_flags, check_layers_and_lags, layer_text

POS_WEIGHT_CAP = 5.0  # of next-token data, unless another is given
L2_GRID = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)


def add_data_flags(parser, **train_data):
    """Add the three files of one preparation, and where the states of the pass go.

    train_data: default and help of --train_data.
    """
    data = parser.add_argument_group("data")
    data.add_argument(
        "--train_data",
        type=file_path,
        **{"default": "data/train.pth", "help": "file of labelled sequences to train on", **train_data},
    )
    data.add_argument(
        "--val_data",
        type=file_path,
        help="labelled sequences to choose penalties, epochs and layers by (default: val.pth next to --train_data)",
    )
    data.add_argument(
        "--test_data",
        type=file_path,
        help="labelled sequences to report scores on (default: test.pth next to --train_data, if there is one)",
    )
    data.add_argument("--targets", action="names", help="only these targets of the data, a list of names (default: all)")
    add_cache_flags(data)


def add_training_flags(parser):
    """Add the flags that say which examples the probes are trained on, and how."""
    add_sample_flags(parser)
    add_fitting_flags(parser)


def add_sample_flags(parser):
    """Add the flags that say which examples the probes are trained on."""
    sample = parser.add_argument_group("training examples, drawn anew for each seed; validation and test keep all")
    sample.add_argument(
        "--class_balance",
        choices=("weighted", "downsample", "none"),
        default="weighted",
        help="weighted: both classes weigh the same in the loss; downsample: the larger class is cut; none: neither",
    )
    sample.add_argument(
        "--pos_weight_cap",
        type=number(0, exclusive=True),
        help="the most that a positive weighs relative to a negative; training keeps at most this many negatives for "
        "each positive (default: 5 for next-token data, else no cap)",
    )
    sample.add_argument("--negatives_per_doc", type=whole_number(1), help="at most this many negatives from each document")
    sample.add_argument(
        "--token_matched_negatives",
        action="store_true",
        help="prefer negatives whose token also occurs among the positives, at most two of each token per document, so "
        "that a probe cannot win by knowing tokens",
    )
    sample.add_argument(
        "--max_train_docs", type=whole_number(1), help="train on at most this many documents, drawn at random"
    )
    sample.add_argument("--max_train_tokens", type=whole_number(2), help="train on at most this many labelled tokens")
    sample.add_argument(
        "--max_val_docs", type=whole_number(1), help="for a quick trial: choose by at most this many documents"
    )
    sample.add_argument(
        "--max_val_tokens", type=whole_number(2), help="for a quick trial: choose by at most this many tokens"
    )


def add_fitting_flags(parser):
    """Add the flags that say how probes are trained."""
    training = parser.add_argument_group("training")
    training.add_argument(
        "--probe",
        action="list",
        type=name_list(KINDS),
        default="linear",
        help=f"kinds of probe, a list of {', '.join(KINDS)}",
    )
    training.add_argument("--epochs", type=whole_number(1), default=10, help="passes over the training examples")
    training.add_argument(
        "--learning_rate",
        type=number(0, 1e6, exclusive=True),
        default=1e-3,
        help="AdamW's initial learning rate; it falls to 0 along a cosine",
    )
    training.add_argument(
        "--weight_decay", type=number(0, 1e6), default=1e-4, help="AdamW's weight decay, on standardised states"
    )
    training.add_argument(
        "--l2_grid",
        action="list",
        type=number_list(0),
        help="penalties of logistic regression (mean loss plus l2 / 2 |w|^2 on standardised states); validation chooses "
        f"one (default: {','.join(f'{l2:g}' for l2 in L2_GRID)})",
    )
    training.add_argument(
        "--probe_batch_size",
        type=whole_number(1),
        help="examples per training step (default: from 8 to 1024, for about 5000 steps)",
    )
    training.add_argument("--seed", type=whole_number(0), help="seed of negatives, first weights and batches (default: 0)")
    training.add_argument(
        "--train_seeds",
        action="list",
        type=number_list(0, whole=True),
        help="train once with each of these seeds, such as 0,1,2",
    )


def check_training_flags(arguments):
    """Refuse flags that contradict each other. Return the arguments as they are."""
    check_layers_and_lags(arguments)
    if arguments.seed is not None and arguments.train_seeds is not None:
        raise UsageError("--seed and --train_seeds contradict each other; give one of them")
    if arguments.l2_grid is not None and not PENALISED & set(arguments.probe) and not getattr(arguments, "sae", None):
        raise UsageError(
            f"--l2_grid is for {' and '.join(sorted(PENALISED))}; add one of them to --probe "
            f"{','.join(arguments.probe)}, or leave it out"
        )
    if arguments.pool != "last" and any_reads(arguments.probe, "sequences"):
        raise UsageError(
            f"--pool {arguments.pool} and --probe attention contradict each other: the probe pools by itself; "
            "train it in a run of its own"
        )
    return arguments


# From flags to what the run is made of


def reading_of(arguments, anatomy):
    """Say how states are read of a model with this anatomy, and where they are kept: a Reading."""
    from utils.states.extraction import Reading
    from utils.states.sites import parse_layers

    return Reading(
        layers=tuple(parse_layers(layer_text(arguments), anatomy)),
        pool=arguments.pool,
        whole=any_reads(arguments.probe, "sequences"),
        segments=arguments.attention_segments,
        attention=any_reads(arguments.probe, "attention rows"),
        batch_size=arguments.batch_size,
        cache_dir=arguments.cache_dir,
        memory_gb=arguments.memory_gb,
    )


def files_of(arguments):
    """Name the files of one preparation, and the targets that are wanted of them: a DataFiles."""
    from utils.sweep.questions import DataFiles

    wanted = tuple(arguments.targets.split(",")) if arguments.targets else None
    return DataFiles(arguments.train_data, arguments.val_data, arguments.test_data, wanted)


def usual_cap(targets) -> float | None:
    """Give the default cap on the weight of a positive: only next-token data have one."""
    from utils.sweep.questions import of_next_token

    return POS_WEIGHT_CAP if of_next_token(targets) else None


def sampling_of(arguments, targets):
    """Say how train is sampled: a Sampling. targets: {split: Sequences} of each."""
    from utils.sweep.sampling import Sampling

    return Sampling(
        class_balance=arguments.class_balance,
        pos_weight_cap=arguments.pos_weight_cap or usual_cap(targets),
        negatives_per_doc=arguments.negatives_per_doc,
        token_matched=arguments.token_matched_negatives,
        max_documents=arguments.max_train_docs,
        max_tokens=arguments.max_train_tokens,
    )


def asking_of(arguments, targets, causal):
    """Say which questions are asked of the data: an Asking. causal: whether the model is."""
    from utils.sweep.questions import Asking, choose_lags

    given = [0] if arguments.predict_current else arguments.lags
    lags = choose_lags(given, targets[0]["train"], causal, arguments.allow_bidirectional)
    return Asking(
        tuple(lags), tuple(seeds_of(arguments)), arguments.common_positions, arguments.max_val_docs, arguments.max_val_tokens
    )


def fitting_of(arguments, sampling):
    """Say how probes are fitted to a sample: a Fitting."""
    from utils.sweep.fits import Fitting

    return Fitting(
        kinds=tuple(arguments.probe),
        epochs=arguments.epochs,
        learning_rate=arguments.learning_rate,
        weight_decay=arguments.weight_decay,
        probe_batch_size=arguments.probe_batch_size,
        l2_grid=tuple(penalties_of(arguments)),
        class_balance=sampling.class_balance,
        pos_weight_cap=sampling.pos_weight_cap,
        seeds=tuple(seeds_of(arguments)),
        control=getattr(arguments, "control", 0),
    )


def seeds_of(arguments) -> list[int]:
    return arguments.train_seeds or [arguments.seed or 0]


def penalties_of(arguments) -> list[float]:
    return sorted(arguments.l2_grid or L2_GRID, reverse=True)


def settings_text(arguments, sampling, targets) -> str:
    """Name the settings of reading and sampling that are not the usual ones: 'pool mean, max_documents 10'.

    Results of other settings are kept apart by it.
    """
    from utils.sweep.sampling import Sampling

    names = ("pool", "common_positions", "attention_segments", "max_val_docs", "max_val_tokens")
    usual = {**vars(Sampling(pos_weight_cap=usual_cap(targets))), "pool": "last", "common_positions": False}
    usual |= {"attention_segments": SEGMENTS, "max_val_docs": None, "max_val_tokens": None}
    chosen = {**vars(sampling), **{name: getattr(arguments, name) for name in names}}
    return ", ".join(f"{name} {value}" for name, value in chosen.items() if value != usual[name]) or "the usual ones"


def record_of(arguments, sampling, targets) -> dict:
    """Give every flag and the value that it came to, for the record of the run."""
    from utils.sweep.questions import of_sequences

    return {
        **vars(arguments),
        "pos_weight_cap": sampling.pos_weight_cap,
        "l2_grid": penalties_of(arguments),
        "layers": layer_text(arguments),
        "kinds": arguments.probe,
        "pos_weight_cap_given": arguments.pos_weight_cap is not None,
        "seeds": seeds_of(arguments),
        "sequence_task": of_sequences(targets),
        "usual_pos_weight_cap": usual_cap(targets),
    }
