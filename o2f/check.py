"""Check a dataset before training on it: annotations in COCO's or CrowdHuman's format, and their images.

    python -m o2f.check train.json --images photos
    python -m o2f.check train.json val.json --images train val
    python -m o2f.check --config my_config.py
    python -m o2f.check train.json --images photos --all-images --json

Each line is of one kind:

    refused  it would be trained on wrongly, or not at all
    changed  it is put right when the file is loaded
    note     it is worth knowing

The exit status is 0, or 1 if anything is refused.
"""

import argparse
import dataclasses
import io
import json
import sys
import warnings
from pathlib import Path
from typing import List, Optional, Tuple

warnings.filterwarnings('ignore', message='.*pkg_resources is deprecated')
warnings.filterwarnings('ignore', message='.*torch.meshgrid')


from o2f.errors import InputError  # noqa: E402
from o2f.inference import read_config  # noqa: E402
from o2f.io.dataset_check import CHANGED, NOTED, REFUSED, Finding, Report, Source, compare, inspect, inspect_config  # noqa: E402

#: What each kind is called on the terminal.
NAMES = {REFUSED: 'refused', CHANGED: 'changed', NOTED: 'note'}


def main(argv: Optional[List[str]] = None) -> int:
    """Run the command line.

    Returns:
        int: the exit status. 0: nothing is refused. 1: something is. 2: wrong arguments or files. 130: stopped.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors='backslashreplace')  # names of files and classes may have any characters
    args = _parse(argv)
    try:
        reports, both = _look(args)
    except InputError as error:
        print(f'check: {error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('check: stopped', file=sys.stderr)
        return 130
    findings = [*(finding for report in reports for finding in report.findings), *both]
    refused = sum(finding.kind == REFUSED for finding in findings)
    if args.json:
        print(json.dumps(_content(reports, findings), indent=1))
        return 1 if refused else 0
    for report in reports:
        print(f'{report.source.annotations}: {report.summary()}')
        for finding in report.findings:
            print(line(finding))
    if both:
        print('together:')
        for finding in both:
            print(line(finding))
    counts = [sum(finding.kind == kind for finding in findings) for kind in (CHANGED, NOTED)]
    print(f'{refused} refused, {counts[0]} changed, {counts[1]} worth knowing')
    return 1 if refused else 0


def line(finding: Finding) -> str:
    """A finding as a line of the terminal."""
    return f'  {NAMES[finding.kind]:8} {finding.says}'


def _parse(argv: Optional[List[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='python -m o2f.check', description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('train', type=Path, nargs='?', metavar='TRAIN.json', help='annotations to train on')
    parser.add_argument('val', type=Path, nargs='?', metavar='VAL.json', help='annotations to validate on')
    parser.add_argument(
        '--images', type=Path, nargs='+', metavar='DIR', help='folder of the images, or one for each of the two files'
    )
    parser.add_argument('--config', type=Path, help='a config, for files, classes and model; it is run as Python')
    parser.add_argument('--all-images', action='store_true', help='decode all images, not a sample')
    parser.add_argument('--json', action='store_true', help='print JSON')
    args = parser.parse_args(argv)
    if (args.train is None) == (args.config is None):
        parser.error('name annotation files, or a --config with the datasets')
    if args.images and args.config:
        parser.error('--images: a --config names its folders itself')
    if args.images and len(args.images) > (2 if args.val else 1):
        parser.error('--images needs one folder, or one for each annotation file')
    return args


def _look(args: argparse.Namespace) -> Tuple[List[Report], List[Finding]]:
    if args.config is not None:
        return inspect_config(read_config(args.config), args.all_images)
    files = [path for path in (args.train, args.val) if path]
    folders = args.images or [path.parent for path in files]
    folders = folders * len(files) if len(folders) == 1 else folders
    reports = [
        inspect(Source(path, folder, training=number == 0), args.all_images)
        for number, (path, folder) in enumerate(zip(files, folders))
    ]
    return reports, compare(*reports) if len(reports) == 2 else []


def _content(reports: List[Report], findings: List[Finding]) -> dict:
    """The reports as JSON."""
    return dict(
        datasets=[
            dict(
                annotations=str(report.source.annotations),
                images=len(report.files),
                crowds=report.crowds,
                objects=report.objects,
                most_objects_of_an_image=report.most,
            )
            for report in reports
        ],
        findings=[dataclasses.asdict(finding) for finding in findings],
    )


if __name__ == '__main__':
    sys.exit(main())
