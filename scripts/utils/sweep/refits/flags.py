"""Define the flags that say what the probes are compared with, and what else is fitted."""

from utils.base.cli.parser import whole_number
from utils.base.errors import UsageError
from utils.base.paths import name_or_path
from utils.probes.kinds import BY_NAME


def add_comparison_flags(parser):
    """Add the flags that say what the probes are compared with."""
    compared = parser.add_argument_group("what the probes are compared with")
    compared.add_argument(
        "--control",
        type=whole_number(5),
        nargs="?",
        const=5,
        default=0,
        metavar="DRAWS",
        help="also train on random labels, one for each type of the token that is read, in this many draws (5 if no "
        "number is given); selectivity is how much better the real labels do",
    )
    compared.add_argument("--random_weights", action="store_true", help="also probe the same model with random weights")
    compared.add_argument(
        "--learning_curve", action="store_true", help="also train on smaller and smaller shares of the examples"
    )
    compared.add_argument(
        "--codelength",
        action="store_true",
        help="also measure the online codelength of the training labels given each layer, in bits",
    )
    compared.add_argument(
        "--sae",
        type=name_or_path,
        metavar="PATH",
        help="also probe the latents of sparse autoencoders, the best 1, 2, 4, ... 512 and all of them: one autoencoder, or "
        "a folder with one for each layer, such as --save_dir of train_sae.py",
    )
    compared.add_argument(
        "--refit_bootstrap",
        type=whole_number(2),
        metavar="N",
        help="also fit the kinds that are solved to N resamples of the training groups, and widen the intervals by what "
        "another training sample would change (default: no refits)",
    )


def check_comparison_flags(arguments):
    """Refuse comparisons that no kind of --probe can be part of. Return the arguments as they are."""
    kinds = [BY_NAME[kind] for kind in arguments.probe]
    for flag in ("learning_curve", "codelength", "sae"):
        if getattr(arguments, flag) and all(kind.reads == "attention rows" for kind in kinds):
            raise UsageError(
                f"--{flag} reads layers, and --probe attention_features none; add another kind, or leave it out"
            )
    if arguments.sae and arguments.pool != "last":
        raise UsageError(
            f"--sae and --pool {arguments.pool} contradict each other: an autoencoder encodes single states, and what is "
            "pooled is none; leave one of them out"
        )
    if arguments.refit_bootstrap and all(kind.descends for kind in kinds):
        raise UsageError("--refit_bootstrap is for kinds that are solved; add logistic to --probe, or leave it out")
    return arguments
