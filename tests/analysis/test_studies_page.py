"""docs/studies.md: the outcome of each study is written between its marks, and what is by hand stays."""

from pathlib import Path

from stored_studies import write_study

from analysis import make_results, results
from experiments.spec.table_file import study_names

PAGE = Path(__file__).resolve().parents[2] / 'docs' / 'studies.md'
NONE = 'No run of this study is published yet.'


def parts_of(text):
    """What stands before the outcome of paper-text, the outcome, and what stands after it."""
    before, _, rest = text.partition('<!-- outcome of paper-text -->')
    outcome, _, after = rest.partition('<!-- end -->')
    return before, outcome, after


def equal(at, seed):
    """The text's settings change nothing but the gap, by 6 points."""
    return 0.4 + 0.001 * (seed % 2), 0.42 + (0.06 if at['ambiguous'] == 'text' else 0)


def test_every_study_has_a_place_on_the_page():
    text = PAGE.read_text()
    assert all(text.count(f'<!-- outcome of {name} -->') == 1 for name in study_names())
    assert text.count('<!-- end -->') == text.count('**Question.**') == text.count('**Limits.**') == len(study_names())


def test_outcomes_are_written_between_the_marks(store):
    text = PAGE.read_text()
    empty = make_results.studies_page(text, store.runs)[0]
    assert parts_of(empty)[1].strip() == NONE
    write_study(store, 'paper-text', range(6), equal)
    page = make_results.studies_page(empty, store.runs)[0]
    before, outcome, after = parts_of(page)
    assert (before, after) == (parts_of(empty)[0], parts_of(empty)[2]) and page.count(NONE) == len(study_names()) - 1
    assert '**Profile desk. 4 claims: 4 hold, 0 fail' in outcome and '40.0' in outcome and '48 trainings' in outcome
    assert 'K besides the certain anchor' in outcome and "On the paper's" not in outcome
    assert '**Holds**: all three choices of the text together are within 0.9 AP' in outcome
    assert make_results.studies_page(page, store.runs) == (page, {})


def test_a_study_with_a_figure_shows_it(store):
    write_study(store, 'scaling', (0,), lambda at, seed: (0.3, 0.4))
    text, pictures = make_results.studies_page(PAGE.read_text(), store.runs)
    [(name, content)] = pictures.items()
    assert text.count(f'](images/{name})') == 1 and b'<svg' in content


def test_a_study_on_ones_own_data_is_trained_again_with_its_profile(store):
    write_study(store, 'paper-text', (0,), equal)
    store.write('desk/desk.py', "base = 'smoke'\n")
    _, outcome, _ = parts_of(make_results.studies_page(PAGE.read_text(), store.runs)[0])
    assert '/desk/desk.py --data DIR --seeds 0 --runs again' in outcome


def test_a_difference_beyond_the_margin_fails(store):
    write_study(store, 'paper-text', range(6), lambda at, seed: (equal(at, seed)[0] - 0.03 * (at['k'] == 'text'), 0.5))
    _, outcome, _ = parts_of(make_results.studies_page(PAGE.read_text(), store.runs)[0])
    assert '**Fails**: what K counts changes the released code by less than 0.9 AP' in outcome
    assert '**Holds**: the weights of the box loss change the released code by less than 0.9 AP' in outcome


def test_the_papers_page_leaves_studies_out(full):
    page, _, _ = make_results.page(full.runs, 'desk')
    write_study(full, 'paper-text', (0,), equal)
    assert 'paper-text' in results.plan_names(full.runs, 'desk')
    assert make_results.page(full.runs, 'desk')[0] == page
