"""The notebook of the docs runs as it stands."""

import re
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from analysis.results import load_plan, load_results

ROOT = Path(__file__).resolve().parents[2]


def test_it_shows_table_3_and_draws_it():
    notebook = nbformat.read(ROOT / 'docs' / 'examples' / 'explore.ipynb', as_version=4)
    NotebookClient(notebook, timeout=120, resources={'metadata': {'path': str(ROOT)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == 'code' for output in cell.outputs]
    shown = [output.data for output in outputs if output.output_type in ('execute_result', 'display_data')]
    assert sum('image/png' in data for data in shown) == 2
    statistics = load_results(ROOT / 'results', 'desk', load_plan(ROOT / 'results', 'desk', 'table3')).statistics
    means = {f'{mean:.1f}' for mean in statistics[statistics.metric == 'AP']['mean']}
    assert any(means <= set(re.findall(r'\d+\.\d', data.get('text/html', ''))) for data in shown)
