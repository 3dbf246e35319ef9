"""Copy finished runs to the folder of published results: python analysis/publish.py [table3 ...] [--to results].

For each run it copies what tables, claims, figures and the report read: the result, the metrics after every epoch, the
speed, and the metrics without each group of test images. What was measured since follows its run. The config
is written as its difference from the base config of the table, which is the simplest config of those published first.
Weights and logs are not copied. The qualitative results for Figs. 6 to 9 are copied too, and so is a profile of one's
own. A training that several tables show gets the same seeds in each.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

if __package__ in (None, ''):
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # run as a script: the packages are in the parent folder

from analysis import cli, results  # noqa: E402
from experiments.machine import print_in_any_locale  # noqa: E402
from experiments.spec.schema import StoredPlan, own_profile  # noqa: E402
from experiments.store.configs import CONFIG, config_text, inheriting_text, read_config  # noqa: E402
from experiments.store.errors import UserError  # noqa: E402
from experiments.store.files import HOME  # noqa: E402
from experiments.store.model import naming, read_stored  # noqa: E402
from experiments.store.runs import BREAKDOWN, EPOCHS, IMAGE_GROUPS, SPEED_FILE  # noqa: E402

#: What may be measured after a training, by timing it or by ``run.py evaluate``.
LATER = (IMAGE_GROUPS, BREAKDOWN, SPEED_FILE)
ALWAYS = (EPOCHS, *LATER)
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
    _share_seeds(args.to / args.profile / 'tables')
    _copy_captures(args.runs / args.profile / 'captures', args.to / args.profile / 'captures')
    own = own_profile(args.runs, args.profile)
    if own.exists():
        cli.write(args.to / args.profile / own.name, own.read_bytes(), '--to')
    return 0


def _publish(plan: StoredPlan, args: argparse.Namespace) -> str:
    """Publish the finished runs of a plan, then the plan with only these runs. Returns a line about it."""
    found = results.load_results(args.runs, args.profile, plan)
    for warning in found.warnings:
        cli.warner('publish.py')(warning)
    source, target = args.runs / args.profile, args.to / args.profile
    new, later = [], []
    for run, result in found.runs.items():
        if result.provenance.dirty is not False:
            cli.warner('publish.py')(f'{run} was trained by code that no commit holds: left out')
        elif args.replace or not (target / run / RESULT).exists():
            new.append(run)
        elif _same(source / run, target / run, RESULT):
            later += [(run, name) for name in LATER if not _same(source / run, target / run, name)]
    _publish_configs(source, target, new, plan.name)
    for run in new:
        _copy(source / run, target / run, (*ALWAYS, RESULT))
    for run, name in later:
        _copy(source / run, target / run, (name,))
    path = source / 'tables' / f'{plan.name}.json'
    content = _only_published(json.loads(path.read_text(encoding='utf-8')), target, plan.name)
    cli.write(target / 'tables' / path.name, _json(content), '--to')
    kept = {run for cell in content['cells'] for run in cell['runs'].values()}
    missing = len(set(plan.runs) - kept)
    return f'{plan.name}: {len(new)} runs published, {len(kept)} are there' + ''.join(
        f', {number} {what}'
        for number, what in ((len({run for run, _ in later}), 'measured again since'), (missing, 'missing'))
        if number
    )


def _same(source: Path, target: Path, name: str) -> bool:
    """Whether the target has the file as it is in the source. What the source lacks is not missed."""
    if not (source / name).exists():
        return True
    return (target / name).exists() and (source / name).read_bytes() == (target / name).read_bytes()


def _publish_configs(source: Path, target: Path, runs: List[str], table: str) -> None:
    """Write the configs of runs as their differences from the table's base.

    If there is no base yet, it is the config with the fewest settings, because no run may lack what the base has.

    Raises:
        UserError: a config or the base is damaged, or a file cannot be written.
    """
    configs = {}
    for run in runs:
        path = source / run / CONFIG
        if path.exists():
            with naming(path):
                configs[run] = read_config(path)
    base = target / 'tables' / f'{table}.py'
    if configs and not base.exists():
        cli.write(base, config_text(min(configs.values(), key=len)).encode(), '--to')
    for run, config in configs.items():
        with naming(base):
            text = inheriting_text(config, read_config(base), f'../tables/{base.name}')
        cli.write(target / run / CONFIG, text.encode(), '--to')


def _copy(source: Path, target: Path, names: Sequence[str]) -> None:
    """Copy what there is of a run's files. The result comes last: its presence means that the run is complete."""
    for name in names:
        path = source / name
        if path.exists():
            cli.write(target / name, _shortened(path) if name == EPOCHS else path.read_bytes(), '--to')


def _shortened(path: Path) -> bytes:
    """The file of a run's epochs on one line, with metrics to six digits, but for those of the last epoch, which are
    the result. It is a third shorter, and most of what is published."""
    with naming(path):
        content = json.loads(path.read_text(encoding='utf-8'))
        for entry in content.get('epochs', [])[:-1]:
            entry['metrics'] = {
                key: float(f'{value:.6g}') if isinstance(value, float) else value
                for key, value in entry['metrics'].items()
            }
        return (json.dumps(content, separators=(',', ':')) + '\n').encode()


def _copy_captures(source: Path, target: Path) -> None:
    for path in sorted(source.glob('*.npz')):
        cli.write(target / path.name, path.read_bytes(), '--to')


def _only_published(content: Dict[str, Any], target: Path, name: str) -> Dict[str, Any]:
    """The content of a plan's file with only published runs, including those of seeds that only the target has.

    Published runs of a cell that has other settings now are left out.

    Raises:
        UserError: the published plan is damaged.
    """
    path = target / 'tables' / f'{name}.json'
    earlier = _published(path)['cells'] if path.exists() else []
    for cell in content['cells']:
        before = next((each for each in earlier if each['at'] == cell['at']), dict(cell, runs={}))
        if _differ(cell, before) and before['runs']:
            at = ' '.join(f'{axis}={value}' for axis, value in cell['at'].items())
            cli.warner('publish.py')(f'{name} {at}: the published runs have other settings and are left out')
            before['runs'] = {}
        runs = sorted({**before['runs'], **cell['runs']}.items(), key=lambda item: int(item[0]))
        cell['runs'] = {seed: run for seed, run in runs if (target / run / RESULT).exists()}
    return content


def _published(path: Path) -> Dict[str, Any]:
    """The content of the file of a plan that was published earlier.

    Raises:
        UserError: it is damaged.
    """
    try:
        read_stored(StoredPlan, path)
    except ValueError as error:
        raise UserError(
            f'{path}: {error}: restore it from what was published (git checkout), or delete it and publish its table '
            'again'
        ) from error
    return json.loads(path.read_text(encoding='utf-8'))


def _differ(cell: Dict[str, Any], before: Dict[str, Any]) -> bool:
    """Whether a cell trains otherwise than before: a seed in common tells. The profile and the data count as well."""
    common = cell['runs'].keys() & before['runs'].keys()
    if common:
        return any(cell['runs'][seed] != before['runs'][seed] for seed in common)
    return any(cell.get(key) != before.get(key) for key in ('use', 'overrides'))


def _share_seeds(tables: Path) -> None:
    """Give a training that several tables show the same seeds in each. One run in common tells that it is the same.

    Raises:
        UserError: two runs of one seed are said to be the same training, or a plan is damaged.
    """
    plans = {path: _published(path) for path in sorted(tables.glob('*.json'))}
    cells = [(path, cell) for path, plan in plans.items() for cell in plan['cells'] if cell['runs']]
    seeds_of: Dict[str, Dict[str, str]] = {}
    for path, cell in cells:
        seeds = dict(cell['runs'])
        for run in cell['runs'].values():
            for seed, other in seeds_of.get(run, {}).items():
                if seeds.setdefault(seed, other) != other:
                    raise UserError(
                        f'{path}: run {run} has other seeds in other tables: {other} and {seeds[seed]} are both seed '
                        f'{seed}; publish the tables that have run {run} anew'
                    )
        seeds_of.update(dict.fromkeys(seeds.values(), seeds))
    for _, cell in cells:
        cell['runs'] = dict(sorted(seeds_of[next(iter(cell['runs'].values()))].items(), key=lambda item: int(item[0])))
    for path, plan in plans.items():
        cli.write(path, _json(plan), '--to')


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=1, ensure_ascii=False) + '\n').encode('utf-8')


if __name__ == '__main__':
    print_in_any_locale()
    sys.exit(main())
