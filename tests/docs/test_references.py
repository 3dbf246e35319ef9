"""Every file that the docs, notes and docstrings name is there, and the README draws the folders that exist."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ('analysis', 'benchmarks', 'docs', 'experiments', 'o2f', 'results', 'slurm', 'tests')
#: A path from the root. Placeholders such as <run>, DIR or * do not name a file.
PATH = re.compile(rf'(?<![\w/.-])(?:{"|".join(FOLDERS)})/[\w./-]*\w(?![\w*<{{])')
#: Written by the user, as the page says.
OF_USERS = {'slurm/my-cluster.yaml'}
PAGES = [
    ROOT / 'README.md',
    ROOT / 'CONTRIBUTING.md',
    *sorted((ROOT / 'docs').rglob('*.md')),
    *sorted((ROOT / 'benchmarks' / 'notes').glob('*.md')),
    *sorted((ROOT / 'results' / 'notes').glob('*.md')),
]
SOURCES = [path for name in ('o2f', 'experiments', 'analysis') for path in sorted((ROOT / name).rglob('*.py'))]


def named(text):
    return {path for path in PATH.findall(text) if not path.split('/')[-1].isupper()}


def missing(text):
    """Paths that name nothing; a module may stand without its ending."""
    found = named(text) - OF_USERS
    return sorted(path for path in found if not (ROOT / path).exists() and not (ROOT / f'{path}.py').exists())


@pytest.mark.parametrize('page', PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_that_a_page_names_are_there(page):
    assert not missing(page.read_text(encoding='utf-8'))


def test_files_that_the_sources_name_are_there():
    absent = {path.relative_to(ROOT).as_posix(): missing(path.read_text(encoding='utf-8')) for path in SOURCES}
    assert not {path: names for path, names in absent.items() if names}


def test_a_file_that_is_not_there_is_found():
    assert missing('see `o2f/nowhere.py`, docs/method.md and experiments/run.py') == ['o2f/nowhere.py']


@pytest.mark.parametrize('package', ['o2f', 'experiments', 'analysis'])
def test_the_readme_draws_every_folder_of_a_package(package):
    """Each folder with code or data is a line of the tree in README.md, or stands in one."""
    tree = (ROOT / 'README.md').read_text(encoding='utf-8').split('## Where things are')[1].split('```')[1]
    part = re.split(r'^(?=\w+/)', tree, flags=re.MULTILINE)
    [lines] = [each for each in part if each.startswith(f'{package}/')]
    folders = [path.name for path in (ROOT / package).iterdir() if path.is_dir() and not path.name.startswith('__')]
    assert [name for name in folders if f'{name}/' not in lines] == []


def test_method_leads_to_every_module_of_the_method():
    """docs/method.md names each file that holds a class or function of the paper."""
    text = (ROOT / 'docs' / 'method.md').read_text(encoding='utf-8')
    modules = [path for name in ('assign', 'models', 'evaluation') for path in (ROOT / 'o2f' / name).glob('*.py')]
    names = {path.relative_to(ROOT).as_posix() for path in modules if path.name != '__init__.py'}
    # docs/claims.md says how the metrics vary and what they are made of; the garbage collector is no part of the paper.
    beyond = {f'o2f/evaluation/{name}.py' for name in ('leave_out', 'errors', 'garbage')}
    assert names - named(text) == beyond


def test_commands_name_the_runs_and_the_data_of_the_present_desk():
    """What README.md types works after its first command."""
    from experiments.spec.config import resolve
    from experiments.spec.paths import generated

    text = (ROOT / 'README.md').read_text(encoding='utf-8')
    cells = json.loads((ROOT / 'results' / 'desk' / 'tables' / 'table3.json').read_text())['cells']
    of_table = {run for cell in cells for run in cell['runs'].values()}
    named = set(re.findall(r'runs/desk/([0-9a-f]{12})/', text))
    assert named and named <= of_table
    [folder] = set(re.findall(r'data/desk/(scenes-\S+?)/', text))
    assert folder == generated(resolve('desk', (), {}, 0, 'test').config)['SCENES'][0]


def test_claims_that_the_readme_shows_are_those_of_the_results():
    readme, results = ((ROOT / name).read_text(encoding='utf-8') for name in ('README.md', 'docs/results.md'))
    count = re.compile(r'\d+ claims: \d+ hold, \d+ fail, \d+ undecided')
    assert count.findall(readme) == count.findall(results)[:1]
    [table] = re.findall(r'\| what the paper claims .*\n\|[ -|]*\n((?:\|.*\n)+)', readme)
    verdicts = {'holds': 'What holds', 'fails': 'What does not', 'undecided': 'What is undecided'}
    for row in table.splitlines():
        claim, verdict, *values = (cell.strip() for cell in row.strip('|').split('|'))
        section = results.split(f'## {verdicts[verdict]} (')[1].split('\n## ')[0]
        [found] = [line for line in section.splitlines() if f'| {claim} (`' in line]
        assert [cell.strip() for cell in found.strip('|').split('|')][2:] == values
