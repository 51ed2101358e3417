#!/usr/bin/env python3
"""Texts -> labelled token sequences: data/train.pth, val.pth, test.pth and metadata.json."""

from utils.base.cli.parser import Parser, quiet_libraries, run
from utils.base.files import require_writable_folder
from utils.data.preparation.flags import add_flags, settle


def build_parser() -> Parser:
    parser = Parser(__file__, __doc__, epilog="next: python scripts/inspect_data.py")
    add_flags(parser)
    return parser


def parse(argv):
    arguments = build_parser().parse_args(argv)
    settle(arguments)
    return arguments


def main(argv=None):
    arguments = parse(argv)
    require_writable_folder(arguments.output_dir, "--output_dir")
    quiet_libraries()
    if arguments.task == "token":
        from utils.data.preparation.token_task import prepare
    else:
        from utils.data.preparation.annotated_task import prepare
    prepare(arguments)
    return 0


if __name__ == "__main__":
    run(main)
