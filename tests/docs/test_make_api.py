"""The API page is what the docstrings say, whole, and leads where it says."""

import importlib.util
import re
import runpy
from pathlib import Path

import pytest

import o2f

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = (ROOT / 'docs/api.md').read_text(encoding='utf-8')
SECTIONS = dict(re.findall(r'^## `(\w+)`\n(.*?)(?=^## |\Z)', COMMITTED, re.MULTILINE | re.DOTALL))


def test_committed_page_is_what_the_command_writes(unmet):
    if importlib.util.find_spec('griffe') is None:
        unmet('griffelib is not installed in this environment')
    made = runpy.run_path(str(ROOT / 'docs/make_api.py'))
    assert made['page']() == COMMITTED, f'docs/api.md is not of these docstrings: {made["COMMAND"]}'


@pytest.mark.parametrize('name', o2f.__all__)
def test_every_exported_name_has_a_section_that_says_its_source(name):
    found = getattr(o2f, name)
    if not hasattr(found, '__module__'):
        pytest.skip(f'{name} is a constant, whose module Python does not know')
    assert f'../{found.__module__.replace(".", "/")}.py): ' in SECTIONS[name]


@pytest.mark.parametrize('name', [name for name in o2f.__all__ if isinstance(getattr(o2f, name), type)])
def test_every_public_method_of_its_own_is_there_and_documented(name):
    own = [key for key, value in vars(getattr(o2f, name)).items() if callable(value)]
    for method in own:
        if not method.startswith('_') or method == '__call__':
            assert f'\n### `{name}.{method}`\n' in SECTIONS[name], f'{name}.{method} has no docstring'


def test_links_lead_to_headings_and_files():
    headings = re.findall(r'^#+ (.*)$', COMMITTED, re.MULTILINE)
    anchors = {re.sub(r'[^\w -]', '', heading).lower().replace(' ', '-') for heading in headings}
    links = re.findall(r'\]\(([^)]*)\)', COMMITTED)
    assert len(links) > 50
    for link in links:
        assert link[1:] in anchors if link.startswith('#') else (ROOT / 'docs' / link).is_file(), link


def test_nothing_of_restructured_text_is_left():
    assert not re.findall(
        r'``[^`\n]|:\w+:`|^=+ =', re.sub(r'^```.*?^```', '', COMMITTED, flags=re.MULTILINE | re.DOTALL)
    )
