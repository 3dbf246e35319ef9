"""Verdicts on claims: what an interval is made of, when a claim holds, fails or stays open, and what is said of it."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import ttest_ind, ttest_rel
from stored_claims import IMAGES, claim, compare, quantity, write_epochs, write_plan, write_run, write_seeds
from stored_files import ROOT, run_id

from analysis import check_claims
from analysis.claims import explain
from analysis.claims.judge import judge
from analysis.claims.statistics import interval

BETTER = compare('new', 'greater', 'old')


def verdict_of(store, samples=300):
    [verdict], warnings = judge(store.runs, 'desk', ['table1'], samples)
    assert warnings == []
    return verdict


@pytest.mark.parametrize(
    'new, old, expected, says',
    [
        ((37.1, 37.4, 37.8), (30.2, 29.9, 31.0), 'holds', 'The difference is +7.07 points, 95 % interval +5.9'),
        ((30.2, 29.9, 31.0), (37.1, 37.4, 37.8), 'fails', 'The difference is −7.07 points, 95 % interval −8.2'),
        ((31.0, 31.9, 30.9), (30.2, 29.9, 31.0), 'undecided', ' more seeds per cell ('),
        ((31.0, 31.9, 30.9), (31.0, 30.9, 31.9), 'undecided', 'would not settle it: the differences are too small.'),
        ((37.1,), (30.2,), 'undecided', 'at least 3 seeds of each cell would show it'),
        ((37.1, 37.4, 37.8), (), 'undecided', 'Not measured: AP without NMS, LA old.'),
    ],
)
def test_over_seeds_alone(store, new, old, expected, says):
    """The interval is Welch's, but for the error of the bootstrap."""
    write_plan(store, claim(BETTER), seeds=(0, 1, 2))
    write_seeds(store, new, old)
    verdict = verdict_of(store)
    assert verdict.verdict == expected and says in explain.why(verdict)
    [found] = verdict.findings
    if len(old) == 3:
        reference = ttest_ind(new, old, equal_var=False).confidence_interval()
        assert found.interval == pytest.approx(tuple(reference), abs=0.03 * (reference.high - reference.low))
        assert 'about these test images' in explain.why(verdict) and found.image_error is None


def test_seeds_that_would_settle_it_do(store):
    """As many values of the same spread and difference leave 0 out, and one seed less does not."""
    write_plan(store, claim(BETTER), seeds=(0, 1, 2))
    write_seeds(store, (31.0, 31.9, 30.9), (30.2, 29.9, 31.0))
    verdict = verdict_of(store)
    more, total = explain.settled_with(verdict)
    assert more == total - 3 and f'About {more} more seeds per cell ({total} in all)' in explain.why(verdict)
    [found] = verdict.findings

    def settled(number):
        """By Welch's interval of two samples of that many values with the same variances."""
        error = found.training_error * np.sqrt(3 / number)
        trainings = [(number, error**2 * number / 2, number - 1)] * 2
        return interval(found.effect, trainings, None, 0)[0] > 0

    assert settled(total) and not settled(total - 1)


def test_over_images_alone(store):
    """One seed gives an interval; its error is near that of the jackknife, and the verdict says what it lacks."""
    write_plan(store, claim(BETTER), values=('new', 'old'))
    stored = [write_run(store, number, quality) for number, quality in enumerate((0.80, 0.70))]
    verdict = verdict_of(store, samples=1000)
    [found] = verdict.findings
    left_out = 1 - np.eye(IMAGES, dtype=int)
    values = [each.metrics('without_nms/', left_out)['without_nms/AP'] for each in stored]
    jackknife = 100 * np.sqrt((IMAGES - 1) * np.var(values[0] - values[1]))
    apart = 100 * np.sqrt((IMAGES - 1) * sum(np.var(each) for each in values))
    assert found.image_error == pytest.approx(jackknife, rel=0.15) and found.image_error < 0.9 * apart
    assert verdict.verdict == 'holds' and found.training_error is None
    assert found.interval == pytest.approx(found.effect + 1.99 * found.image_error * np.array([-1, 1]), rel=0.01)
    assert 'contain no training noise' in explain.why(verdict)
    assert 'without training noise' in explain.errors(found)


def test_over_seeds_and_images(store):
    """The two variances add up."""
    write_plan(store, claim(BETTER), seeds=(0, 1, 2), values=('new', 'old'))
    for seed, noise in enumerate((0.0, 0.02, -0.02)):
        write_run(store, 0, 0.76 + noise, seed)
        write_run(store, 1, 0.74 - noise, seed)
    [found] = verdict_of(store).findings
    values = [list(side) for side in (found.left, found.right)]
    assert found.training_error == pytest.approx(np.sqrt(sum(np.var(v, ddof=1) / 3 for v in values)), rel=0.03)
    error = np.hypot(found.training_error, found.image_error)
    assert 1.96 * error < np.diff(found.interval)[0] / 2 < 4.31 * error
    assert 'without' not in explain.errors(found) and not found.borrowed


def test_noise_of_training_is_taken_from_other_cells(store):
    """Two cells with one seed each, and a third of the table with three."""
    write_plan(store, claim(BETTER), seeds=(0, 1, 2))
    for number, quality in enumerate((0.76, 0.74)):
        write_run(store, number, quality)
    for seed, noise in enumerate((0.0, 0.03, -0.03)):
        third = write_run(store, 2, 0.7 + noise, seed)
    verdict = verdict_of(store)
    [found] = verdict.findings
    values = [json.loads((store.runs / 'desk' / run_id(2, seed) / 'result.json').read_text()) for seed in range(3)]
    spread = np.std([100 * each['metrics']['without_nms/AP'] for each in values], ddof=1)
    assert found.borrowed and found.training_error == pytest.approx(np.sqrt(2) * spread, rel=0.03)
    assert 'that of other cells of the table' in explain.why(verdict) and third.images == IMAGES


def test_both_sides_of_one_training_are_paired(store):
    """FCOS with and without NMS is one training: it is the difference that varies between seeds."""
    gap = compare(quantity('new', 'with_nms/AP'), 'greater', quantity('new', times=0.9))
    write_plan(store, claim(gap), seeds=(0, 1, 2))
    write_seeds(store, (30.0, 32.5, 35.1))
    [found] = verdict_of(store).findings
    values = np.array([30.0, 32.5, 35.1])
    reference = ttest_rel(values + 1, 0.9 * values).confidence_interval()
    assert found.interval == pytest.approx(tuple(reference), rel=0.05) and found.verdict == 'holds'


def test_other_images_give_no_image_error(store):
    """Runs that were evaluated on other annotations are not paired image by image."""
    write_plan(store, claim(BETTER), values=('new', 'old'))
    write_run(store, 0, 0.8)
    write_run(store, 1, 0.7, truth=1)
    [found] = verdict_of(store).findings
    assert found.image_error is None and found.interval is None and found.effect > 0


def test_epochs(store):
    """Values after an epoch come from metrics.json, and have seeds alone."""
    shrinks = compare(
        quantity('new', 'with_nms/AP', 'without_nms/AP', epoch=1),
        'greater',
        quantity('new', 'with_nms/AP', 'without_nms/AP', epoch=3),
    )
    write_plan(store, claim(shrinks), seeds=(0, 1, 2), values=('new', 'old'))
    for seed, first in enumerate((3.0, 3.5, 4.1)):
        write_run(store, 0, 0.8, seed)
        write_epochs(store, 0, (first, 2, 1), seed)
    verdict = verdict_of(store)
    [found] = verdict.findings
    assert verdict.verdict == 'holds' and found.effect == pytest.approx((3.0 + 3.5 + 4.1) / 3 - 1)
    assert found.image_error is None and found.left.name.endswith('LA new, after epoch 1')
    shutil.copy(store.runs / 'truth.json', store.runs / 'desk' / run_id(0) / 'metrics.json')
    [verdict], warnings = judge(store.runs, 'desk', ['table1'], 2)
    assert 'metrics.json: is not JSON' in warnings[0] and verdict.verdict == 'undecided'


@pytest.fixture
def timed(store):
    """A claim that new is faster than old, in ms; timed(new, old) are the times of the seeds 0, 1, 2, None for none."""
    key = 'speed/without_nms/forward_ms'
    content = write_plan(
        store,
        claim(compare(quantity('new', key), 'less', quantity('old', key))),
        seeds=(0, 1, 2),
        values=('new', 'old'),
    )
    for cell in content['cells']:
        cell['keys'] = {'AP': ['without_nms/AP', key]}
    store.write('desk/tables/table1.json', json.dumps(content))
    write_seeds(store, (30, 30, 30), (30, 30, 30))

    def timed(*of_sides):
        for number, times in enumerate(of_sides):
            for seed, ms in enumerate(times):
                if ms is not None:
                    store.speed(number, ms, seed)
        [found] = (verdict := verdict_of(store)).findings
        return verdict, found

    return timed


def test_speeds_are_compared_seed_by_seed(timed):
    """In ms, with a sign of their own; a seed that was timed while the machine was slow widens nothing."""
    new, old = (9.0, 9.1, 19.2), (10.8, 11.0, 21.3)
    verdict, found = timed(new, old)
    assert (found.unit, verdict.verdict) == ('ms', 'holds') and found.effect == pytest.approx(-5.8 / 3)
    assert found.interval == pytest.approx(tuple(ttest_rel(new, old).confidence_interval()), rel=0.05)
    assert explain.side(found.left) == ('forward ms without NMS, LA new: 12.43 (seeds 0, 1, 2: 9.00, 9.10, 19.20)')
    assert explain.errors(found) == f'standard error {found.training_error:.2f} from timings'


@pytest.mark.parametrize(
    'new, old, effect', [((9.0, 9.1, 19.2), (11.0, 11.3), -2.1), ((9.0, None, None), (None, 11.0, None), -2.0)]
)
def test_speeds_of_too_few_seeds_leave_their_error_open(timed, new, old, effect):
    verdict, found = timed(new, old)
    assert verdict.verdict == 'undecided' and found.interval is None and found.effect == pytest.approx(effect)


def test_one_of_many_must_be_clearly_on_the_other_side_to_fail(store):
    """What fails a claim of one comparison leaves one of ten open; to hold, all ten must."""
    worse = compare('other', 'greater', 'old')
    values = (36.0, 36.3, 36.6), (30.0, 30.3, 30.6), (29.3, 29.6, 29.9)
    found = {}
    for number in (1, 10):
        write_plan(store, claim(worse, *[BETTER] * (number - 1)), seeds=(0, 1, 2))
        write_seeds(store, *values)
        found[number] = verdict_of(store)
    assert (found[1].verdict, found[10].verdict) == ('fails', 'undecided')
    assert [each.verdict for each in found[10].findings] == ['undecided'] + ['holds'] * 9
    assert found[10].findings[0].level == pytest.approx(0.995) and found[1].findings[0].level == 0.95
    assert found[10].findings[0].interval == found[1].findings[0].interval
    assert '1 of 10 differences may lie on either side of 0' in explain.why(found[10])


def test_intervals_cover_what_they_say():
    """With three seeds and 80 images, 95 % of the intervals contain the true difference."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(1000):
        seeds = rng.normal(0, 0.8, (2, 3))
        trainings = [(3, np.var(values, ddof=1), 2) for values in seeds]
        effect = seeds[0].mean() - seeds[1].mean() + rng.normal(0, 0.5)
        low, high = interval(effect, trainings, 0.5, 80)
        covered += low < 0 < high
    assert 0.935 < covered / 1000 < 0.975


@pytest.mark.parametrize('damage', ['foreign', 'half', 'empty', 'another schema'])
def test_a_bad_file_of_matches_is_named_and_left_out(store, damage):
    """The claim is checked with what is left, and says what it lacks."""
    write_plan(store, claim(BETTER), values=('new', 'old'))
    write_run(store, 0, 0.8)
    write_run(store, 1, 0.7)
    path, other = (store.runs / 'desk' / run_id(number) / 'matches.npz' for number in (0, 1))
    if damage == 'foreign':
        shutil.copy(other, path)
        reason = 'but the result has 0.57'
    elif damage == 'another schema':
        with np.load(path) as file:
            np.savez(path, **{**file, 'about': np.array('{"schema": 9}')})
        reason = 'schema is 9, but 1 belongs here'
    else:
        path.write_bytes(path.read_bytes()[: 500 * (damage == 'half')])
        reason = 'cannot be read'
    [verdict], warnings = judge(store.runs, 'desk', ['table1'], 2)
    assert len(warnings) == 1 and reason in warnings[0] and warnings[0].startswith(f'{path}: ')
    assert verdict.findings[0].interval is None and verdict.verdict == 'undecided'


@pytest.fixture
def checked(store):
    write_plan(store, claim(BETTER), seeds=(0, 1, 2))
    write_seeds(store, (37.1, 37.4, 37.8), (30.2, 29.9, 31.0))
    return store


def run(store, *arguments):
    return check_claims.main([*arguments, '--runs', str(store.runs)])


def test_the_command_as_a_user_calls_it(checked):
    command = [sys.executable, str(ROOT / 'analysis' / 'check_claims.py'), '--runs', str(checked.runs)]
    environment = {'PYTHONPATH': str(ROOT), 'PYTHONIOENCODING': 'latin-1', 'PYTHONUTF8': '0'}
    done = subprocess.run(command, cwd='/', env=environment, capture_output=True, encoding='utf-8', timeout=60)
    assert done.returncode == 0 and done.stderr == ''
    assert done.stdout.startswith('# Claims (profile desk)\n\n1 claim: 1 hold, 0 fail, 0 undecided.\n\n| table ')
    assert '\n### better: holds\n' in done.stdout
    assert (
        '- AP without NMS, LA new: 37.43 (seeds 0, 1, 2: 37.10, 37.40, 37.80); claimed to be greater than '
        'AP without NMS, LA old: 30.37 (seeds 0, 1, 2: 30.20, 29.90, 31.00). Difference +7.07 points, '
        '95 % interval +5.91 to +8.23 (standard error 0.39 from trainings; without the choice of test images). Holds.\n'
    ) in done.stdout


def test_json_in_a_folder(checked, capsys):
    out = checked.runs / 'out'
    assert run(checked, 'table1', '--format', 'json', '--out', str(out)) == 0
    assert capsys.readouterr().out == f'wrote {out / "claims.json"}\n'
    [content] = json.loads((out / 'claims.json').read_text())['claims']
    assert (content['verdict'], content['table'], content['id']) == ('holds', 'table1', 'better')
    assert content['findings'][0]['left']['runs'] == {str(seed): run_id(0, seed) for seed in range(3)}
    assert content['why'].startswith('The difference is +7.07 points')


def test_strict_asks_for_every_number(checked, capsys):
    assert run(checked, '--strict') == 0
    (checked.runs / 'desk' / run_id(1, 0) / 'result.json').write_text('{')
    assert run(checked) == 0 and 'result.json: is not JSON' in capsys.readouterr().err
    assert run(checked, '--strict') == 1
    captured = capsys.readouterr()
    assert 'LA old: 30.45 (seeds 1, 2: ' in captured.out
    assert captured.err.endswith('check_claims.py: 1 claims lack numbers or an interval (better)\n')


@pytest.mark.parametrize(
    'change, says',
    [
        (dict(comparisons=[]), 'claims[0].comparisons: must be a list with something in it'),
        (
            dict(comparisons=[compare('nowhere', 'less', 'old')]),
            "claim better names {'la': 'nowhere'}, which is no cell of the table",
        ),
        (
            dict(comparisons=[compare('new', 'equal', 'old')]),
            "claims[0].comparisons[0].relation: 'equal' must be 'less' or 'greater'",
        ),
        (dict(statement=None), 'claims[0].statement: must be text, not None'),
    ],
)
def test_a_broken_claim_is_one_line(checked, change, says, capsys):
    assert write_plan(checked, {**claim(BETTER), **change})['claims'] and run(checked) == 2
    captured = capsys.readouterr()
    assert captured.out == '' and len(captured.err.splitlines()) == 1
    assert 'table1.json: ' in captured.err and says in captured.err and 'run.py table1' in captured.err


def test_a_table_without_a_plan(checked, store, capsys):
    assert run(checked, 'table9') == 2 and 'run.py table9' in capsys.readouterr().err
    shutil.rmtree(store.runs)
    assert run(store) == 2 and 'no plans in ' in capsys.readouterr().err
