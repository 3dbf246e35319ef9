"""``run.py doctor`` on the command line."""

import argparse


def read_options(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Note in ``args.doctor`` whether to check this machine; without tables it is checked for all of them."""
    args.doctor = args.tables[:1] == ['doctor']
    if not args.doctor:
        return
    if any((args.dry_run, args.list, args.status, args.cancel, args.dump_configs, args.evaluate)):
        parser.error('doctor does nothing else at once')
    args.tables = args.tables[1:] or ['all']
