"""The site builds without a warning, so every link leads somewhere. The API is complete. Nothing is fetched."""

import html
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import o2f

ROOT = Path(__file__).resolve().parents[2]
CLASSES = [name for name in o2f.__all__ if isinstance(getattr(o2f, name), type)]


@pytest.fixture(scope='module')
def build(unmet):
    """build(config, out): the finished ``mkdocs build --strict``."""
    for package in ('mkdocs', 'material', 'mkdocstrings_handlers'):
        if importlib.util.find_spec(package) is None:
            unmet(f'{package} is not installed in this environment')

    def build(config, out):
        command = [sys.executable, '-m', 'mkdocs', 'build', '--strict', '-f', str(config), '-d', str(out)]
        environment = dict(os.environ, NO_MKDOCS_2_WARNING='1')
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)

    return build


@pytest.fixture(scope='module')
def site(build, tmp_path_factory):
    out = tmp_path_factory.mktemp('site')
    done = build(ROOT / 'mkdocs.yml', out)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope='module')
def api(site):
    return {path.stem: path.read_text(encoding='utf-8') for path in (site / 'api').glob('*.html')}


def test_every_page_of_the_docs_is_on_the_site(site):
    pages = {path.relative_to(ROOT / 'docs').with_suffix('') for path in (ROOT / 'docs').rglob('*.md')}
    assert pages and all((site / page).with_suffix('.html').is_file() for page in pages)
    for path in site.rglob('*.html'):
        for image in re.findall(r'<img [^>]*src="([^"]+)"', path.read_text(encoding='utf-8')):
            assert (path.parent / html.unescape(image)).is_file(), f'{path.name}: {image}'


def section(api, path):
    """The rendered documentation of an object, from its heading to the next one."""
    for text in api.values():
        found = re.search(rf'<h\d id="{re.escape(path)}".*?(?=<h\d |\Z)', text, re.DOTALL)
        if found:
            return found[0]
    raise AssertionError(f'{path} is not on the site')


@pytest.mark.parametrize('name', CLASSES)
def test_every_exported_class_is_on_the_site_with_its_arguments_and_errors(api, name):
    found = getattr(o2f, name)
    text = section(api, f'{found.__module__}.{name}')
    doc = found.__doc__
    for heading, shown in (('Args:', 'Parameters:'), ('Raises:', 'Raises:'), ('Attributes:', 'Attributes:')):
        assert (f'    {heading}\n' in doc) == (shown in text), f'{name}: {heading}'


@pytest.mark.parametrize('name', CLASSES)
def test_every_public_method_is_on_the_site(api, name):
    found = getattr(o2f, name)
    for method, value in vars(found).items():
        if callable(value) and (not method.startswith('_') or method == '__call__'):
            assert value.__doc__, f'{name}.{method} has no docstring'
            section(api, f'{found.__module__}.{name}.{method}')


def test_the_first_page_of_the_api_links_to_every_exported_name(api):
    for name in o2f.__all__:
        assert re.search(rf'href="[\w./]*#[\w.]*\.{name}"', api['index']), f'{name} is not in the table of o2f'


def test_nothing_of_restructured_text_is_left(api):
    assert not [name for name, text in api.items() if re.search(r':(class|meth|func|mod|data):|``', text)]


def test_nothing_is_loaded_from_elsewhere(site):
    loaded = re.compile(r'<(?:script|link|img|iframe)\b[^>]*?(?:src|href)="((?:https?:)?//[^"]+)"')
    pages = {path.name: loaded.findall(path.read_text(encoding='utf-8')) for path in site.rglob('*.html')}
    # The address of a page itself is no request.
    assert {name: links for name, links in pages.items() if links} == {}
    for path in site.rglob('*.css'):
        assert not re.findall(r'url\(["\']?(?:https?:)?//|@import', path.read_text(encoding='utf-8')), path


def test_a_link_to_nowhere_ends_the_build(build, tmp_path):
    (tmp_path / 'docs').mkdir()
    (tmp_path / 'docs' / 'index.md').write_text('[gone](gone.md) and [no heading](#nowhere)\n')
    config = (ROOT / 'mkdocs.yml').read_text(encoding='utf-8')
    (tmp_path / 'mkdocs.yml').write_text(re.sub(r'^nav:\n(?: .*\n)+', '', config, flags=re.MULTILINE))
    done = build(tmp_path / 'mkdocs.yml', tmp_path / 'out')
    assert done.returncode != 0 and 'gone.md' in done.stderr and '#nowhere' in done.stderr
