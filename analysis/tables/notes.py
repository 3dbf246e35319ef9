"""Texts about a table's numbers: titles, caption and notes, before any output format."""

import re
from typing import Dict, Iterable, List, Optional

from analysis.results import Results, is_speed
from experiments.spec.schema import StoredPlan

_SUBSET = re.compile(r'(.+)-subset(0\.\d+)')
_GENERATED = {'desk': 'generated scenes', 'smoke': 'a dozen generated images'}


def measured_title(plan: StoredPlan) -> str:
    """'Measured (profile desk), AP, AR in %, without NMS / with NMS'. Overrides are named beside the profile.

    NMS is not named for a metric whose cells differ in it. Speeds are not named, because they have a note.
    """
    shown: Dict[str, List[str]] = {}
    for name, metric in plan.metrics.items():
        if not is_speed(metric.keys):
            shown.setdefault(_reading_words(plan, name), []).append(name)
    texts = [f'{", ".join(names)} in %' + (f', {words}' if words else '') for words, names in shown.items()]
    setting = [f'profile {plan.profile}', *(f'{key}={value}' for key, value in plan.overrides.items())]
    return f'Measured ({", ".join(setting)})' + (f', {"; ".join(texts)}' if texts else '')


def paper_title(plan: StoredPlan) -> str:
    """The title of the table of the paper's numbers: the setting in which the paper measured them."""
    return f'Paper ({plan.setting or plan.source or "as published"})'


def difference_title() -> str:
    """The title of the table of differences."""
    return "Measured less the paper's numbers, in points"


def best_note(plan: StoredPlan) -> str:
    """What bold numbers mean. Only claims decide whether a difference is more than chance."""
    return f'Bold: the best of each {"column" if plan.rows else "row"}, as shown.'


def caption(plan: StoredPlan) -> str:
    """The caption. The paper's is marked, because its conclusions need not hold for the numbers measured here. They
    have a source and no question."""
    what = 'figure' if plan.table.startswith('fig') else 'table'
    return (
        f"On the paper's {what}: {plan.caption}" if plan.caption and plan.source and not plan.question else plan.caption
    )


def notes(plan: StoredPlan, results: Results) -> List[str]:
    """The line of provenance, one about speeds, and for every profile but the paper's what its numbers are not."""
    seeds = sorted(set(plan.runs.values()))
    spread = ' (mean ± sample standard deviation)' if len(seeds) > 1 else ''
    facts = f'{len(results.runs)} of {len(plan.runs)} runs, {seeds_in_words(seeds)}{spread}, '
    facts += f'{profile(plan.profile, plan.setting)}.'
    lacking = results.missing_cells
    facts += f' {lacking} of {len(plan.cells)} cells incomplete.' if lacking else ''
    facts += _zero_ap_note(plan, results)
    facts += f' {"; ".join(_sources(results))}.' if results.runs else ''
    name, dataset = plan.profile.capitalize(), _dataset(plan.setting)
    disclaimer = f"{name} numbers are not {dataset} numbers: compare them with each other, not with the paper's."
    if _SUBSET.fullmatch(plan.profile):
        disclaimer = "Compare them with each other, not with results of all training images and not with the paper's."
    return [facts, *_speed_note(plan, results), *([] if plan.profile == 'paper' else [disclaimer])]


def seeds_in_words(seeds: Iterable[int]) -> str:
    """'seed 0', 'seeds 0, 1, 2', 'seeds 0 to 11' for more than three in a row, or 'seed none'."""
    numbers = list(seeds)
    return f'seed{"s" * (len(numbers) > 1)} {in_words(numbers) or "none"}'


def in_words(numbers: List[int]) -> str:
    """'0', '0, 1, 2', '0 to 11' for more than three in a row, or ''."""
    if len(numbers) > 3 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f'{numbers[0]} to {numbers[-1]}'
    return ', '.join(map(str, numbers))


def profile(name: str, setting: str) -> str:
    """'profile desk: generated scenes, not COCO' for numbers that the paper measured in that ``setting``. A subset also
    has its share of the training images."""
    base, share = found.groups() if (found := _SUBSET.fullmatch(name)) else (name, None)
    data = f': {_GENERATED[base]}, not {_dataset(setting)}' if base in _GENERATED else ''
    trained = f'{"," if data else ":"} trained on {100 * float(share):g} % of the training images' if share else ''
    return f'profile {name}{data}{trained}'


def _zero_ap_note(plan: StoredPlan, results: Results) -> str:
    """' 1 of 12 runs found nothing (AP 0): POTO, seed 2.' Up to three are named. A mean that includes such a run says
    little, but looks like any other."""
    empty = [run for run, result in results.runs.items() if _found_nothing(result.metrics)]
    places = {
        run: f'{", ".join(map(str, cell.at.values()))}, seed {seed}'
        for cell in plan.cells
        for seed, run in cell.runs.items()
    }
    named = '; '.join(places[run] for run in empty) if len(empty) <= 3 else ''
    return f' {len(empty)} of {len(results.runs)} runs found nothing (AP 0){named and ": " + named}.' if empty else ''


def _found_nothing(metrics: Dict[str, Optional[float]]) -> bool:
    readings = [value for key, value in metrics.items() if key.rpartition('/')[2] == 'AP']
    return bool(readings) and all(value == 0 for value in readings)


def _dataset(setting: str) -> str:
    return 'CrowdHuman' if 'CrowdHuman' in setting else 'COCO'


def _reading_words(plan: StoredPlan, metric: str) -> str:
    """'without NMS / with NMS' if all cells show the metric so, '' if they differ."""
    shown = {cell.keys[metric] for cell in plan.cells if metric in cell.keys}
    keys = shown.pop() if len(shown) == 1 else ()
    words = [key.partition('/')[0].replace('_', ' ').replace('nms', 'NMS') for key in keys if '/' in key]
    return ' / '.join(words)


def _sources(results: Results) -> List[str]:
    """The devices and commits of the results: 'Device cpu: Xeon', 'commit abc1234'."""
    stored = [result.provenance for result in results.runs.values()]
    devices = sorted({f'Device {source.device}' for source in stored})
    return devices + sorted(
        {f'commit {source.commit or "unknown"}' + ' with local changes' * bool(source.dirty) for source in stored}
    )


def _speed_note(plan: StoredPlan, results: Results) -> List[str]:
    """'forward(ms), NMS(ms) and FPS measured on cpu: Xeon, batch 1, image 96 × 96.' if there are speeds."""
    if not results.speeds:
        return []
    names = [name for name, metric in plan.metrics.items() if is_speed(metric.keys)]
    listed = ' and '.join(filter(None, [', '.join(names[:-1]), names[-1]]))
    machines = sorted({(speed.device, *speed.image) for speed in results.speeds.values()})
    where = [f'{device}, batch 1, image {height} × {width}' for device, height, width in machines]
    return [f'{listed} measured on {"; on ".join(where)}.']
