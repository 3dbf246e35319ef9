"""Copy finished runs to the folder of published results: python analysis/publish.py [table3 ...] [--to results].

For each run it copies what tables, claims, figures and the report read: the result, the metrics after every epoch, the
speed, and the metrics without each group of test images. The config is written as its difference from the base config
of the table, which is the config of the first run published for it. Weights and logs are not copied. The qualitative
results for Figs. 6 to 9 are copied too, and so is a profile of one's own.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a script: the packages are in the parent folder

from analysis import cli, results  # noqa: E402
from experiments.spec.schema import StoredPlan  # noqa: E402
from experiments.store.configs import CONFIG, config_text, inheriting_text, read_config  # noqa: E402
from experiments.store.files import HOME  # noqa: E402
from experiments.store.model import naming  # noqa: E402
from experiments.store.runs import BREAKDOWN, IMAGE_GROUPS  # noqa: E402

ALWAYS = ('metrics.json', IMAGE_GROUPS, BREAKDOWN, 'speed.json')
RESULT = 'result.json'


def main(argv: Optional[List[str]] = None) -> int:
    """Run the command line. Returns the exit status: 0, or 2 for a user's error."""
    return cli.run(_publish_all, _arguments(argv), 'publish.py')


def _arguments(argv: Optional[List[str]]) -> argparse.Namespace:
    parser = cli.parser('publish.py', 'publish', description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('--to', type=Path, default=HOME / 'results', help='folder to publish in (default: %(default)s)')
    parser.add_argument('--replace', action='store_true', help='also replace runs that are published already')
    return parser.parse_args(argv)


def _publish_all(args: argparse.Namespace) -> int:
    for name in cli.names_of(args):
        print(_publish(results.load_plan(args.runs, args.profile, name), args))
    _copy_captures(args.runs / args.profile / 'captures', args.to / args.profile / 'captures')
    own = args.runs / args.profile / f'{args.profile}.py'
    if own.exists():
        cli.write(args.to / args.profile / own.name, own.read_bytes(), '--to')
    return 0


def _publish(plan: StoredPlan, args: argparse.Namespace) -> str:
    """Publish the finished runs of a plan, then the plan with only these runs. Returns a line about it."""
    found = results.load_results(args.runs, args.profile, plan)
    for warning in found.warnings:
        cli.warner('publish.py')(warning)
    target = args.to / args.profile
    new = 0
    for run, result in sorted(
        found.runs.items(), key=lambda each: _settings(args.runs / args.profile / each[0] / CONFIG)
    ):
        if result.provenance.dirty is not False:
            cli.warner('publish.py')(f'{run} was trained by code that no commit holds: left out')
        elif args.replace or not (target / run / RESULT).exists():
            _publish_config(args.runs / args.profile / run / CONFIG, target / run / CONFIG, plan.name)
            _copy(args.runs / args.profile / run, target / run)
            new += 1
    path = Path(args.runs) / args.profile / 'tables' / f'{plan.name}.json'
    content = _only_published(json.loads(path.read_text(encoding='utf-8')), target, plan.name)
    cli.write(target / 'tables' / path.name, _json(content), '--to')
    kept = {run for cell in content['cells'] for run in cell['runs'].values()}
    missing = len(set(plan.runs) - kept)
    return f'{plan.name}: {new} runs published, {len(kept)} are there' + (f', {missing} missing' if missing else '')


def _settings(path: Path) -> int:
    """How many settings a config has. The run with the fewest comes first: its config becomes the base, and no run
    may lack what the base has.

    Raises:
        UserError: the config is damaged.
    """
    with naming(path):
        return len(read_config(path)) if path.exists() else 0


def _publish_config(source: Path, target: Path, table: str) -> None:
    """Write a run's config as its difference from the table's base, which is written if it does not exist.

    Raises:
        UserError: the config or the base is damaged, or a file cannot be written.
    """
    if not source.exists():
        return
    base = f'../tables/{table}.py'
    base_path = target.parents[1] / 'tables' / f'{table}.py'
    with naming(source):
        config = read_config(source)
    if not base_path.exists():
        cli.write(base_path, config_text(config).encode(), '--to')
    with naming(base_path):
        text = inheriting_text(config, read_config(base_path), base)
    cli.write(target, text.encode(), '--to')


def _copy(source: Path, target: Path) -> None:
    """Copy a run. The result comes last, because its presence means that the run is complete."""
    for name in (*ALWAYS, RESULT):
        path = source / name
        if path.exists():
            cli.write(target / name, path.read_bytes(), '--to')


def _copy_captures(source: Path, target: Path) -> None:
    for path in sorted(source.glob('*.npz')):
        cli.write(target / path.name, path.read_bytes(), '--to')


def _only_published(content: Dict[str, Any], target: Path, name: str) -> Dict[str, Any]:
    """The content of a plan's file with only published runs, including those of seeds that only the target has."""
    path = target / 'tables' / f'{name}.json'
    earlier = json.loads(path.read_text(encoding='utf-8'))['cells'] if path.exists() else []
    for cell in content['cells']:
        before: Dict[str, str] = next((each['runs'] for each in earlier if each['at'] == cell['at']), {})
        runs = sorted({**before, **cell['runs']}.items(), key=lambda item: int(item[0]))
        cell['runs'] = {seed: run for seed, run in runs if (target / run / RESULT).exists()}
    return content


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=1, ensure_ascii=False) + '\n').encode('utf-8')


if __name__ == '__main__':
    sys.exit(main())
