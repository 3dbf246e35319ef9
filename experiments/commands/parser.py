"""The command line of ``run.py``: a function for each command and for each group of shared options."""

import argparse
import math
import sys
from functools import partial
from pathlib import Path
from typing import Any, Callable, Optional, Sequence, Tuple

from experiments.spec.subset import subset_profile
from experiments.store.files import DATA, RUNS, UniqueKeys

#: The value of --seeds that trains until a claim is decided.
AUTO = 'auto'
#: The default metric of a search.
METRIC = 'without_nms/AP'
#: The default duration of a probe in seconds.
PROBE_S = 120.0

_OVERVIEW = """Train the missing runs of tables of the paper, then print the tables.

run.py table3 --seeds 0 1 2 --jobs 2
run.py table3 --only t_max=0.6 --set optim_wrapper.optimizer.lr=0.001
run.py table3 --claim small-t-min-narrows-the-gap --seeds auto --budget 8
run.py table3 --dry-run --probe
run.py table3 --launcher slurm --cluster slurm/cpu.yaml --wait
run.py --list

Without a command, run.py trains tables; run.py train --help shows the options."""

_Format = argparse.RawTextHelpFormatter
#: Adds the parser of a command, given its name.
Add = Callable[..., argparse.ArgumentParser]


def parse(argv: Optional[Sequence[str]] = None) -> argparse.Namespace:
    """Read the command line. Exits with a usage message and status 2 if it is wrong.

    Returns:
        Namespace: ``command`` is the command, or one of train's options list, dry-run, cancel and dump-configs. The
        rest are the command's options.

    Raises:
        UserError: the share of ``--subset`` is not valid.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog='run.py', description=_OVERVIEW, formatter_class=_Format)
    commands = parser.add_subparsers(title='commands', metavar='COMMAND')
    for add in (_train, _status, _search, _doctor, _geometry, _new_profile, _evaluate, _capture, _clean):
        add(partial(commands.add_parser, formatter_class=_Format))
    if words[:1] not in ([name] for name in ('-h', '--help', *commands.choices)):
        words.insert(0, 'train')
    args = parser.parse_args(words)
    given = [key for key, _ in getattr(args, 'set', ())]
    for key in given:
        if given.count(key) > 1:
            parser.error(f'--set {key} is given twice')
    if 'check' in args:
        args.check(args)
    if getattr(args, 'profile', '').endswith('.py'):
        from experiments.spec.config import add_profile

        args.profile = add_profile(Path(args.profile))
    if getattr(args, 'subset', None) is not None:
        args.profile = subset_profile(args.profile, args.subset)
    return args


def _train(add: Add) -> None:
    parser = add(
        'train',
        prog='run.py',
        help='train the missing runs of tables, then print the tables (default)',
        description='Train the missing runs of tables, then print the tables.',
    )
    parser.set_defaults(command='train', check=partial(_check_train, parser))
    _add_tables(parser, "tables of the paper, files of tables, or 'all'")
    _add_runs(parser, auto=True)
    parser.add_argument(
        '--claim',
        metavar='ID',
        help='with --seeds auto: train the cells of this claim seed by seed, until it is decided;\n'
        'the looks share an error of 5 %% (docs/claims.md)',
    )
    parser.add_argument(
        '--budget', type=_positive, metavar='HOURS', help='with --claim: begin no seed that would end after this time'
    )
    _add_folders(parser, 'runs', 'data')
    how = _add_launchers(parser)
    how.add_argument('--wait', action='store_true', help='on Slurm: follow the jobs, then print the tables')
    _add_accumulate(how)
    how.add_argument(
        '--track',
        action='append',
        default=[],
        choices=('tensorboard', 'mlflow', 'wandb'),
        help='also log to this (may be given again)',
    )
    _add_actions(parser)
    _add_cost(parser)


def _add_actions(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('instead of training').add_mutually_exclusive_group()
    for option, what in {
        '--dry-run': 'show cells, runs, what is done and what is left',
        '--list': 'list the tables, studies and profiles',
        '--status': 'show the state of each run (of all tables, if none is named)',
        '--cancel': "cancel the tables' jobs that Slurm has from here",
    }.items():
        group.add_argument(option, dest='command', action='store_const', const=option[2:], help=what)
    group.add_argument(
        '--dump-configs', type=Path, metavar='DIR', help="write a config per run for MMDetection's own tools"
    )


def _add_cost(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        'cost (with --dry-run)',
        'Hours and disk of what is to do, for each table and in all. Finished runs of the same cost are taken as they\n'
        'were; for others give one of these.',
    ).add_mutually_exclusive_group()
    group.add_argument(
        '--probe',
        type=_positive,
        nargs='?',
        const=PROBE_S,
        metavar='SECONDS',
        help=f'train and evaluate on this machine for so long in all (default: {PROBE_S:.0f}), on images\n'
        "made up at the real size or on some of one's own, shared out over all that costs differently",
    )
    group.add_argument(
        '--images-per-second',
        type=_positive,
        metavar='N',
        help='training images per second of one run, if you know them',
    )


def _check_train(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    if args.dump_configs is not None:
        args.command = 'dump-configs'
    if not args.tables and args.command not in ('list', 'status'):
        parser.error('name a table, or give --list or --status')
    args.track = list(dict.fromkeys(args.track))
    _check_claim(parser, args)
    if args.wait and args.launcher != 'slurm':
        parser.error('--wait belongs to --launcher slurm')
    if (args.probe is not None or args.images_per_second is not None) and args.command != 'dry-run':
        parser.error('--probe and --images-per-second belong to --dry-run')
    if args.probe is not None and args.launcher == 'slurm':
        parser.error('--probe measures this machine: give --images-per-second for the nodes of a cluster')
    _check_launchers(parser, args)


def _check_claim(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    if (args.claim is not None) != (AUTO in args.seeds):
        parser.error('--claim ID and --seeds auto belong together')
    if args.budget is not None and args.claim is None:
        parser.error('--budget belongs to --claim')
    if args.claim is None:
        return
    if args.seeds != [AUTO] or len(args.tables) != 1 or args.tables == ['all'] or args.only:
        parser.error('--claim needs one table and --seeds auto alone, without --only')
    if args.command != 'train':
        parser.error('--claim trains: leave out the other command')
    if args.launcher == 'slurm' and not args.wait:
        parser.error('--claim looks after each seed: give --wait')


def _status(add: Add) -> None:
    parser = add('status', help='show the state of each run', description='Show the state of each run.')
    parser.set_defaults(command='status')
    _add_tables(parser, 'tables whose runs to show (default: all)')
    _add_runs(parser)
    _add_folders(parser, 'runs')


def _search(add: Add) -> None:
    parser = add(
        'search',
        help='search the settings of a table with ASHA on Ray Tune',
        description='Try the settings of a table with ASHA on Ray Tune, and report the best.',
    )
    parser.set_defaults(command='search', check=partial(_check_search, parser), launcher='ray')
    parser.add_argument('tables', nargs=1, metavar='TABLE', help='the table')
    _add_runs(parser, many_seeds=False)
    _add_folders(parser, 'runs', 'data')
    group = parser.add_argument_group('what is tried')
    group.add_argument(
        '--trials', type=_count, metavar='N', help="settings to draw (default: all of the table's cells)"
    )
    group.add_argument(
        '--space',
        action='append',
        default=[],
        metavar='AXIS=LOW:HIGH',
        help="draw an axis from a range instead of the table's values; needs --trials",
    )
    group.add_argument('--metric', metavar='KEY', help=f'what to search for (default: {METRIC})')
    group.add_argument(
        '--grace',
        type=_count,
        metavar='EPOCHS',
        help='epochs that each setting has (default: a quarter of the training)',
    )
    group.add_argument(
        '--reduction',
        type=_above_one,
        default=3,
        metavar='N',
        help='from each rung to the next goes one of N settings (default: 3)',
    )
    how = parser.add_argument_group('how runs are trained')
    _add_jobs(how)
    _add_accumulate(how)
    _add_ray(how)


def _check_search(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    if args.space and args.trials is None:
        parser.error('--space needs --trials N, as there is no end of settings in a range')


def _doctor(add: Add) -> None:
    parser = add(
        'doctor',
        help='check whether runs would succeed on this machine',
        description='Check software, GPUs, data, weights, disk and launchers. Each line says ok, or what to do.\n'
        'The exit status is 1 if a run would fail.',
    )
    parser.set_defaults(command='doctor', check=partial(_check_launchers, parser), wait=False)
    _add_tables(parser, 'tables whose runs to check (default: all)')
    _add_runs(parser)
    _add_folders(parser, 'runs', 'data')
    _add_launchers(parser)


def _geometry(add: Add) -> None:
    parser = add(
        'geometry',
        help='compare the objects of the data with COCO, in cells of the feature maps',
        description="Measure the objects of a profile's data in cells of its model's feature maps, beside COCO's.\n"
        'It says in words where the strides do not fit the objects. Nothing is trained.',
    )
    parser.set_defaults(command='geometry')
    _add_tables(parser, "tables whose data and models to measure (default: the profile's own)")
    _add_runs(parser)
    _add_folders(parser, 'runs', 'data')


def _new_profile(add: Add) -> None:
    parser = add(
        'new-profile',
        help="write a profile for a dataset of one's own",
        description="Look at a dataset in COCO's format, and write a profile for it: sizes and ranges that fit its\n"
        'objects, and a small backbone that is pre-trained on them. Nothing is trained.\n\n'
        'run.py new-profile --data bccd --out my_cells.py\n'
        'run.py table5 --profile my_cells.py --data bccd',
    )
    parser.set_defaults(command='new-profile')
    parser.add_argument(
        '--data',
        type=Path,
        required=True,
        metavar='DIR',
        help='folder of the dataset, with annotations to train and to validate on, such as train.json and val.json',
    )
    parser.add_argument('--out', type=Path, required=True, metavar='FILE', help='the profile, a file that ends in .py')


def _evaluate(add: Add) -> None:
    parser = add(
        'evaluate',
        help='evaluate a file of weights as a cell of a table',
        description='Evaluate a file of weights as a cell of a table, without and with NMS.\n\n'
        'run.py evaluate o2f_r50_fpn_1x.pth --table table5 --cell Ours-3convs --profile paper',
    )
    parser.set_defaults(command='evaluate')
    parser.add_argument('checkpoint', type=Path, metavar='FILE', help="a run's epoch_N.pth, or any of mmengine's")
    parser.add_argument('--table', required=True, metavar='TABLE', help='the table')
    parser.add_argument('--cell', action='append', default=[], metavar='NAME', help="a row's or column's name")
    _add_profile(parser)
    _add_set(parser)
    parser.add_argument('--classwise', action='store_true', help='also print the AP of each class (COCO)')
    parser.add_argument('--errors', action='store_true', help='also print the AP50 that each error costs (COCO)')
    parser.add_argument(
        '--breakdown',
        type=Path,
        metavar='FILE',
        help="also write the AP of each class and what each error costs, as a run's breakdown.json",
    )
    parser.add_argument(
        '--image-groups',
        type=Path,
        metavar='FILE',
        help="also write the metrics without each group of images, as a run's image_groups.json",
    )
    _add_folders(parser, 'data')


def _capture(add: Add) -> None:
    parser = add(
        'capture',
        help='store what trained detectors do on images, for Figs. 6 to 9',
        description='Store what trained detectors do on images, for Figs. 6 to 9 of analysis/make_figures.py.\n'
        'Nothing is trained but the first epochs that Fig. 6 shows, in a temporary folder.\n\n'
        'run.py capture                      all figures whose detectors are trained\n'
        'run.py capture fig7 fig9 --profile smoke\n'
        'run.py capture fig7 --images 17 203\n'
        'run.py capture fig7 --weights Ours=o2f_r50_fpn_1x.pth',
    )
    parser.set_defaults(command='capture', check=partial(_check_capture, parser))
    parser.add_argument('figures', nargs='*', metavar='FIGURE', help='figures (default: all)')
    _add_profile(parser)
    parser.add_argument('--seed', type=_seed, default=0, help='which training of each cell (default: 0)')
    parser.add_argument('--images', nargs='+', default=[], metavar='ID', help="images to show instead of the rule's")
    parser.add_argument(
        '--weights', action='append', default=[], metavar='LABEL=FILE', help='weights for a panel or stage'
    )
    _add_folders(parser, 'runs', 'data')
    parser.add_argument('--list', action='store_true', help='list the figures')


def _check_capture(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    if (args.images or args.weights) and len(args.figures) != 1:
        parser.error('--images and --weights need one figure')


def _clean(add: Add) -> None:
    parser = add(
        'clean',
        help='free disk space that no result needs',
        description='List what the runs of a profile do not need, and with --yes remove it: half-written files of\n'
        'processes that died, checkpoints older than the newest, and the logs of mmengine in finished runs.\n'
        'Results, metrics, configs and runs in training always stay.',
    )
    parser.set_defaults(command='clean', check=partial(_check_clean, parser))
    _add_tables(parser, 'tables whose runs to clean (default: all runs of the profile)')
    _add_runs(parser)
    parser.set_defaults(seeds=None)  # tells whether they were given
    _add_folders(parser, 'runs')
    parser.add_argument('--yes', action='store_true', help='remove it')
    parser.add_argument(
        '--checkpoints',
        action='store_true',
        help='also the final weights of finished runs; they could not be evaluated, timed or drawn again',
    )
    parser.add_argument(
        '--unfinished',
        action='store_true',
        help='also checkpoint and metrics of runs that stopped or failed; they begin anew',
    )
    parser.add_argument(
        '--trackers', action='store_true', help="also what --track and Ray Tune keep beside the runs' own files"
    )


def _add_tables(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument('tables', nargs='*', metavar='TABLE', help=what)


def _add_runs(parser: argparse.ArgumentParser, many_seeds: bool = True, auto: bool = False) -> None:
    """Add the options that select runs of the tables."""
    _add_profile(parser)
    parser.add_argument(
        '--subset',
        metavar='SHARE',
        help='train on this share of the images, always the same ones, for as many epochs: 0.1 is a tenth.\n'
        'It is a profile of its own, such as desk-subset0.1, and never mixed with full results',
    )
    if many_seeds:
        parser.add_argument(
            '--seeds',
            type=_seed_or_auto if auto else _seed,
            nargs='+',
            default=[0],
            help='one training per cell and seed (default: 0)' + (', or auto, with --claim' if auto else ''),
        )
    else:
        parser.add_argument(
            '--seed', dest='seeds', type=_seed, nargs=1, default=[0], metavar='N', help='random seed (default: 0)'
        )
    parser.add_argument(
        '--only',
        type=_pair,
        action='append',
        default=[],
        metavar='AXIS=VALUE',
        help='only cells at this value; several of one axis are alternatives',
    )
    _add_set(parser)


def _add_profile(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--profile',
        default='desk',
        help="desk (default), smoke or paper: which data and how large; or a file of one's own, PATH.py",
    )


def _check_clean(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    if not args.tables and (args.seeds or args.only or args.set):
        parser.error('--seeds, --only and --set select runs of tables: name a table, or leave them out')
    args.seeds = args.seeds or [0]


def _add_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        '--set', type=_setting, action='append', default=[], metavar='KEY=VALUE', help='override a key of the config'
    )


def _add_folders(parser: argparse.ArgumentParser, *names: str) -> None:
    for name in names:
        default = dict(runs=RUNS, data=DATA)[name]
        parser.add_argument(f'--{name}', type=Path, default=default, help=f'folder of the {name} (default: {name})')


def _add_launchers(parser: argparse.ArgumentParser) -> Any:
    """Add the options of launchers and their resources. Returns the group, so that a command can add more."""
    group = parser.add_argument_group('how runs are trained')
    group.add_argument(
        '--launcher',
        choices=('local', 'slurm', 'ray'),
        default='local',
        help='train on this machine (default), or a cluster',
    )
    _add_jobs(group)
    group.add_argument(
        '--processes-per-run',
        type=_count,
        metavar='N',
        help='train each run in N processes of this machine, on a GPU each (default: 1)',
    )
    group.add_argument('--cluster', type=Path, metavar='FILE', help='what a job asks of Slurm; see the folder slurm')
    _add_ray(group)
    return group


def _check_launchers(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    of_ray = (args.ray_address, args.cpus_per_run, args.gpus_per_run)
    if any(value is not None for value in of_ray) and args.launcher != 'ray':
        parser.error('--ray-address, --cpus-per-run and --gpus-per-run belong to --launcher ray')
    if args.cluster and args.launcher != 'slurm':
        parser.error('--cluster belongs to --launcher slurm')
    if args.processes_per_run is not None and args.launcher != 'local':
        parser.error('--processes-per-run belongs to --launcher local')
    if args.jobs is not None and args.launcher == 'slurm':
        parser.error('--jobs: on Slurm, array_parallelism of the --cluster file says how many runs there are at once')


def _add_jobs(group: Any) -> None:
    group.add_argument(
        '--jobs', type=_count, metavar='N', help='runs at once (default: as many as there are GPUs, or cores, for)'
    )


def _add_accumulate(group: Any) -> None:
    group.add_argument(
        '--accumulate',
        type=_count,
        default=1,
        metavar='N',
        help='compute each batch in N parts, one after the other, for less memory; the run stays the same',
    )


def _add_ray(group: Any) -> None:
    group.add_argument(
        '--ray-address',
        metavar='ADDRESS',
        help='a cluster of Ray: HOST:PORT or auto (default: one started on this machine)',
    )
    group.add_argument(
        '--cpus-per-run', type=_count, metavar='N', help='on Ray: CPUs of one run, and its threads (default: 1)'
    )
    group.add_argument(
        '--gpus-per-run',
        type=_share,
        metavar='N',
        help='on Ray: GPUs of one run; 0.5 lets two share one (default: 1 where there are GPUs, else 0)',
    )


def _number(kind: Callable[[str], Any], fits: Callable[[Any], bool], words: str) -> Callable[[str], Any]:
    """A converter for a numeric option. ``words`` describe the numbers that fit."""

    def read(text: str) -> Any:
        try:
            if fits(value := kind(text)):
                return value
        except ValueError:
            pass
        raise argparse.ArgumentTypeError(f'{text!r} must be {words}')

    return read


_count = _number(int, lambda value: value >= 1, 'a whole number, 1 or more')
#: Each epoch has a seed of its own, which must fit 32 bits.
_seed = _number(int, lambda value: 0 <= value <= 4_000_000, 'a whole number from 0 to 4000000')
_positive = _number(float, lambda value: 0 < value < math.inf, 'a number above 0')
_above_one = _number(float, lambda value: 1 < value < math.inf, 'a number above 1')
_share = _number(float, lambda value: 0 <= value <= 1, 'a number from 0 to 1, as a run trains in one process')


def _seed_or_auto(text: str) -> Any:
    return AUTO if text == AUTO else _seed(text)


def _pair(text: str) -> Tuple[str, str]:
    key, equals, value = text.partition('=')
    if not (key and equals and value):
        raise argparse.ArgumentTypeError(f'{text}: write it as KEY=VALUE')
    return key, value


def _setting(text: str) -> Tuple[str, Any]:
    """Parse a setting: a key and its value in YAML."""
    import yaml

    key, value = _pair(text)
    try:
        return key, yaml.load(value, UniqueKeys)
    except yaml.YAMLError as error:
        problem = getattr(error, 'problem', None)
        raise argparse.ArgumentTypeError(f'{text}: the value is not valid YAML ({problem})') from error
