"""Tell what this machine lacks: packages, programs, disk, processor, GPU.

Each missing thing comes with the line that installs it. Exit status 1 when something that every recipe needs is missing.
"""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`speechrep doctor` has no options."""


def main(args: argparse.Namespace) -> int:
    """Run `speechrep doctor`."""
    from speechrep.doctor import examine, report
    text, good = report(examine())
    print(text)
    return 0 if good else 1
