#!/usr/bin/env python3
"""Texts -> labelled token sequences: data/train.pth, val.pth, test.pth and metadata.json."""

from utils.base.processes.signals import listen

if __name__ == "__main__":
    listen()  # first, so that Ctrl-C during the imports shows no traceback

from utils.base.cli.parser import Parser, quiet_libraries, run
from utils.base.files import require_writable_folder
from utils.data.preparation.flags import add_flags, preparation_of


def build_parser() -> Parser:
    parser = Parser(__file__, __doc__, epilog="next: python scripts/inspect_data.py")
    add_flags(parser)
    return parser


def parse(argv):
    """What the command line asks for: a TokenPreparation or an AnnotatedPreparation."""
    return preparation_of(build_parser().parse_args(argv))


def main(argv=None):
    preparation = parse(argv)
    require_writable_folder(preparation.output_dir, "--output_dir")
    quiet_libraries()
    if preparation.task == "token":
        from utils.data.preparation.token_task import prepare_token_task

        prepare_token_task(preparation)
    else:
        from utils.data.preparation.annotated_task import prepare_annotated

        prepare_annotated(preparation)
    return 0


if __name__ == "__main__":
    run(main)
