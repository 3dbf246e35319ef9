"""Rows, timing, memory and the page of the benchmarks."""

import json
import time

import pytest
import torch

from benchmarks import page, run
from benchmarks.rows import Row, from_json, table, to_json
from benchmarks.timing import in_turns, memory


@pytest.mark.parametrize(
    ('row', 'met', 'ratio'),
    [
        (Row('a', 2.0, 'ms', 30.0, 'loop', faster=15), True, '15.0x less'),
        (Row('a', 2.1, 'ms', 30.0, 'loop', faster=15), False, '14.3x less'),
        (Row('a', 0.97, 'ms', 1.0, 'FCOS', at_most=0.97), True, '0.970x'),
        (Row('a', 0.98, 'ms', 1.0, 'FCOS', at_most=0.97), False, '0.980x'),
        (Row('a', 1.9, 'ms', below=2.0), True, ''),
        (Row('a', 2.0, 'ms', below=2.0), False, ''),
        (Row('a', 1.0, 'ms', 1.0, 'x', at_most=1.0, below=0.5), False, '1.000x'),
        (Row('a', 1.0, 'ms', 2.0, 'x'), None, '0.500x'),
        (Row('a', 1.0, 'ms'), None, ''),
    ],
)
def test_a_row_knows_its_ratio_and_its_target(row, met, ratio):
    assert row.met is met and row.cells()[3] == ratio
    assert row.cells()[5] == {True: 'yes', False: '**no**', None: ''}[met]
    assert from_json(json.loads(json.dumps(to_json([row])))) == [row]


def test_a_table_is_markdown():
    lines = table([Row('a case', 0.0123, 's', 12.3, 'other', faster=2, note='seen once')]).splitlines()
    assert len({len(line) for line in lines}) == 1 and all(line.startswith('| ') for line in lines)
    assert [cell.strip() for cell in lines[2].strip('|').split('|')] == [
        'a case; seen once',
        '0.012 s',
        '12.3 s (other)',
        '1000x less',
        '>= 2x less',
        'yes',
    ]


def test_functions_take_turns():
    calls = []
    times = in_turns({'a': lambda: calls.append('a'), 'b': lambda: (calls.append('b'), time.sleep(0.02))}, repeats=3)
    assert calls == ['a', 'b'] * 4 and times['b'] >= 0.02 > times['a'] > 0
    calls.clear()
    in_turns({'a': lambda: (calls.append('a'), time.sleep(0.02))}, repeats=50, enough_s=0.01, least=2)
    assert calls == ['a'] * 3


@pytest.mark.skipif(torch.cuda.is_available(), reason='what is on the GPU is measured there')
def test_memory_is_what_torch_allocates():
    """A megabyte that is returned and two more that are freed before."""
    peak, held = memory(lambda: torch.zeros(2**18) if torch.zeros(2**19).sum() == 0 else None)
    assert peak == pytest.approx(2**21, rel=0.01) and held == pytest.approx(2**20, rel=0.01)


def test_the_page_shows_what_is_stored(tmp_path, monkeypatch):
    monkeypatch.setattr(page, 'STORED', tmp_path / 'results')
    monkeypatch.setattr(page, 'PAGE', tmp_path / 'benchmarks.md')
    page.store('commands', [Row('one', 1.0, 's', below=2.0)])
    page.store('commands', [Row('two', 1.0, 's', below=2.0)])
    page.write_page()
    text = (tmp_path / 'benchmarks.md').read_text()
    assert '| two ' in text and '| one ' not in text and '`python benchmarks/run.py commands`' in text
    assert '## What the commands take' in text and '## Data loading' not in text
    assert f'torch {torch.__version__.split("+")[0]}' in text


def test_bad_arguments(capsys):
    for arguments, message in (['nothing'], 'there is no benchmark nothing'), (['--quick', '--write'], '--quick'):
        with pytest.raises(SystemExit) as stop:
            run.main(arguments)
        assert stop.value.code == 2 and message in capsys.readouterr().err


def test_the_list_names_all(capsys):
    assert run.main(['--list']) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(run.NAMES)


def test_the_page_in_docs_is_made_of_what_is_stored():
    """Nobody has changed a figure by hand, or forgot to write the page."""
    assert page.page_text() == page.PAGE.read_text(encoding='utf-8')
