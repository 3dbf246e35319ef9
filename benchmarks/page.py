"""Stored figures, one file per device and benchmark, and docs/benchmarks.md made from them."""

import json
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

from benchmarks import NAMES, module_of
from benchmarks.rows import Row, from_json, table, to_json

ROOT = Path(__file__).resolve().parent.parent
STORED = Path(__file__).resolve().parent / 'results'
PAGE = ROOT / 'docs' / 'benchmarks.md'


def store(name: str, rows: List[Row]) -> None:
    """Keep what a benchmark found on this device, in place of what it found before."""
    import torch

    from experiments.store.provenance import provenance

    origin = provenance()
    folder = STORED / ('gpu' if torch.cuda.is_available() else 'cpu')
    folder.mkdir(parents=True, exist_ok=True)
    content = {key: origin[key] for key in ('device', 'python', 'versions', 'commit', 'started')}
    text = json.dumps(dict(content, rows=to_json(rows)), indent=1)
    (folder / f'{name}.json').write_text(text + '\n', encoding='utf-8')


def picture(name: str) -> Path:
    """Where a benchmark's picture is, if it draws one."""
    return PAGE.parent / 'images' / f'{name}.svg'


def write_page() -> None:
    """Write docs/benchmarks.md."""
    PAGE.write_text(page_text(), encoding='utf-8')


def page_text() -> str:
    """docs/benchmarks.md: what is hand-written in ``benchmarks/notes``, and the tables of all that is stored."""
    parts = [(Path(__file__).parent / 'notes' / 'head.md').read_text(encoding='utf-8').strip()]
    for name in NAMES:
        found = list(_stored(name))
        if found:
            parts.append(_section(name, found))
    return '\n\n'.join(parts) + '\n'


def _stored(name: str) -> Iterator[Tuple[str, Dict[str, Any]]]:
    for kind in ('cpu', 'gpu'):
        path = STORED / kind / f'{name}.json'
        if path.exists():
            yield kind, json.loads(path.read_text(encoding='utf-8'))


def _section(name: str, found: List[Tuple[str, Dict[str, Any]]]) -> str:
    module = module_of(name)
    title, _, text = module.__doc__.partition('\n')
    parts = [f'## {title.rstrip(".")}', text.strip(), f'`python benchmarks/run.py {name}`']
    for _, content in found:
        versions = ', '.join(f'{package} {version}' for package, version in content['versions'].items())
        origin = f'{content["device"]}; {content["started"][:10]}, commit {content["commit"]}; {versions}.'
        parts += [origin, table(from_json(content['rows']))]
    if picture(name).exists():
        parts.append(f'![{title.rstrip(".")}]({picture(name).relative_to(PAGE.parent).as_posix()})')
    note = Path(__file__).parent / 'notes' / f'{name}.md'
    if note.exists():
        parts.append(note.read_text(encoding='utf-8').strip())
    return '\n\n'.join(part for part in parts if part)
