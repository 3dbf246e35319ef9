"""Verdicts on claims: when a claim holds, fails or stays open, what else is judged, and what is said of it."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from scipy.stats import dunnett, mannwhitneyu, t, ttest_ind, ttest_rel
from stored_claims import IMAGES, claim, compare, quantity, write_epochs, write_plan, write_run, write_seeds
from stored_files import ROOT, axis, run_id

from analysis import check_claims
from analysis.claims import explain
from analysis.claims.judge import judge
from analysis.claims.statistics import (
    Estimate,
    Side,
    Variance,
    control_confidence,
    images_to_settle,
    rank_interval,
    seeds_to_settle,
)

BETTER = compare('new', 'greater', 'old')


def verdict_of(store):
    [verdict], warnings = judge(store.runs, 'desk', ['table1'])
    assert warnings == []
    return verdict


@pytest.mark.parametrize(
    'new, old, expected, says',
    [
        ((37.1, 37.4, 37.8), (30.2, 29.9, 31.0), 'holds', 'The difference is +7.07 points, 95 % interval +6.0'),
        ((30.2, 29.9, 31.0), (37.1, 37.4, 37.8), 'fails', 'The difference is −7.07 points, 95 % interval −8.1'),
        ((31.0, 31.9, 30.9), (30.2, 29.9, 31.0), 'undecided', ' more seeds per cell ('),
        ((31.0, 31.9, 30.9), (31.0, 30.901, 31.9), 'undecided', 'would not settle it: the differences are too small.'),
        ((37.1,), (30.2,), 'undecided', 'Nothing is known of the noise of training'),
        ((37.1, 37.4, 37.8), (), 'undecided', 'Not measured: AP without NMS, LA old.'),
    ],
)
def test_over_seeds_alone(store, new, old, expected, says):
    """Student's interval with the variance pooled over the cells."""
    write_plan(store, claim(BETTER), seeds=(0, 1, 2))
    write_seeds(store, new, old)
    verdict = verdict_of(store)
    assert verdict.verdict == expected and says in explain.why(verdict)
    [found] = verdict.findings
    if len(old) == 3:
        reference = ttest_ind(new, old).confidence_interval()
        assert found.interval == pytest.approx((reference.low, reference.high)) and found.freedom == 4
        assert 'about these test images' in explain.why(verdict) and found.image_error is None


def test_seeds_that_would_settle_it_do(store):
    """With as many seeds of the same spread, four in five intervals would leave 0 out, and with one less fewer."""
    write_plan(store, claim(BETTER), seeds=(0, 1, 2))
    write_seeds(store, (31.0, 31.9, 30.9), (30.2, 29.9, 31.0))
    verdict = verdict_of(store)
    more, total = explain.settled_with(verdict.findings)
    assert more == total - 3 and f'About {more} more seeds per cell ({total} in all)' in explain.why(verdict)
    [found] = verdict.findings

    def settled(number):
        error = np.sqrt(2 / number * found.noises[0].training.value)
        return t.ppf(0.975, 4) + t.ppf(0.8, 4) <= found.effect / error

    assert settled(total) and not settled(total - 1)


def test_over_seeds_and_images(store):
    """The seeds' variance has the interaction of training and images already, so the images' variance is less by it."""
    write_plan(store, claim(BETTER), seeds=(0, 1, 2), values=('new', 'old'))
    stored = [[write_run(store, i, 0.76 - 0.02 * i + noise, seed) for seed, noise in enumerate((0.0, 0.02, -0.02))]
              for i in (0, 1)]  # fmt: skip
    [found] = verdict_of(store).findings
    cells = 100 * np.array([[each.values['without_nms/AP'] for each in cell] for cell in stored])  # cell, seed, group
    values, groups = cells[..., -1], cells[..., :-1]
    training = values.var(axis=1, ddof=1).mean()
    assert (
        found.training_error == pytest.approx(np.sqrt(training * 2 / 3), rel=1e-3) and found.noises[0].training[1] == 4
    )
    factor = (IMAGES - 1) ** 2 / IMAGES  # of a variance over groups: the jackknife
    means = groups.mean(axis=1)
    whole = factor * (means[0] - means[1]).var(ddof=1)
    own = factor * (groups - means[:, None]).var(axis=2, ddof=1).sum(axis=1).mean() / 2  # n - 1 = 2
    assert found.image_error == pytest.approx(np.sqrt(whole - 2 / 3 * own), rel=1e-3)
    freedom = (training * 2 / 3 + whole - own * 2 / 3) ** 2 / (
        (training * 2 / 3) ** 2 / 4 + whole**2 / (IMAGES - 1) + 2 * (own / 3) ** 2 / (4 * (IMAGES - 1))
    )
    assert found.freedom == pytest.approx(freedom, rel=0.01)
    assert 'without' not in explain.errors(found)


def test_no_verdict_without_the_noise_of_training(store):
    """One seed of each cell: the difference is far beyond the error over images, which says nothing of training."""
    write_plan(store, claim(BETTER), values=('new', 'old'))
    for number, quality in enumerate((0.80, 0.70)):
        write_run(store, number, quality)
    verdict = verdict_of(store)
    [found] = verdict.findings
    assert found.effect > 5 * found.image_error > 0 and found.interval is None
    assert (verdict.verdict, verdict.matters, verdict.size) == ('undecided', 'open', None)


def test_noise_is_taken_from_other_cells(store):
    """Two cells with one seed each, and a third of the table with three."""
    write_plan(store, claim(BETTER), seeds=(0, 1, 2))
    write_seeds(store, (37.0,), (33.0,), (29.0, 30.0, 31.5))
    [found] = verdict_of(store).findings
    assert found.training_error == pytest.approx(np.sqrt(2) * np.std((29.0, 30.0, 31.5), ddof=1))
    assert [len(group.runs) for group in found.noises[0].groups] == [3] and found.freedom == 2


@pytest.mark.parametrize('epochs, borrows', [(12, 'Table 2'), (36, 'Table 2'), (24, 'Table 3')])
def test_noise_of_the_nearest_table(store, epochs, borrows):
    """A table of single seeds takes the noise of the table with the same schedule, or else the nearest, and says so."""
    write_plan(store, claim(BETTER))
    store.result(0, 0.37, 0.38, epochs=epochs)
    store.result(1, 0.33, 0.34, epochs=epochs)
    for name, first, length, spread in (('table2', 10, 36 if epochs == 36 else 12, 1.0), ('table3', 20, 24, 3.0)):
        plan = write_plan(store, seeds=(0, 1, 2))
        shutil.move(store.runs / 'desk/tables/table1.json', store.runs / 'desk/tables/aside')
        for number, cell in enumerate(plan['cells'], first):
            cell['runs'] = {str(seed): run_id(number, seed) for seed in range(3)}
            cell['use'] = [name]
            for seed in range(3):
                store.result(number, 0.01 * (number + spread * seed), 0.3, seed=seed, epochs=length)
        store.write(f'desk/tables/{name}.json', json.dumps({**plan, 'table': name}))
    write_plan(store, claim(BETTER))
    (store.runs / 'desk/tables/aside').unlink()
    verdict = verdict_of(store)
    [found] = verdict.findings
    assert f'The noise of training is that of {borrows} with {found.noises[0].epochs} epochs.' in explain.why(verdict)
    spread = {'Table 2': 1.0, 'Table 3': 3.0}[borrows]
    assert found.training_error == pytest.approx(np.sqrt(2) * spread) and found.noises[0].training.freedom == 6


def test_equal_cells_count_once(store):
    """Two cells that compute the same are one training under two names."""
    write_plan(store, claim(compare('new', 'greater', 'other')), seeds=(0, 1, 2))
    # Run ids are hashes, so the seeds of such cells do not come in one order.
    write_seeds(store, (37.0, 38.0, 39.5), (39.5, 37.0, 38.0), (29.0, 30.0, 31.0))
    [found] = verdict_of(store).findings
    assert found.noises[0].training.freedom == 4 and len(found.noises[0].groups) == 2


def test_a_collapsed_cell_under_two_names(store):
    """It counts as one among those that vary more, and under both names it is judged by ranks."""
    names = ('new', 'old', 'other', 'again')
    claims = [claim(compare('new', 'greater', name), name=name) for name in ('other', 'again')]
    write_plan(store, *claims, seeds=range(5), values=names)
    collapsed = (30.2, 29.9, 0.1, 31.0, 30.6)
    write_seeds(store, (37.1, 37.4, 37.8, 37.2, 36.9), (35.2, 35.1, 35.6, 34.9, 35.3), collapsed, collapsed[::-1])
    one, other = (verdict.findings[0] for verdict in judge(store.runs, 'desk', ['table1'])[0])
    assert one.ranks and other.ranks and one.interval == other.interval


def test_ranks_of_no_more_seeds_than_the_cell_that_varies_has(store):
    """With all of a steady cell's, the test would be wrong too often."""
    steady = 37 + 0.1 * np.arange(12)
    collapsed = (30.2, 29.9, 0.1, 31.0, 30.6)
    write_plan(store, claim(compare('new', 'greater', 'other')), seeds=range(12))
    write_seeds(store, steady, 35 + 0.1 * np.arange(12), collapsed)
    [found] = verdict_of(store).findings
    expected = rank_interval([Side(steady[:5]), Side(np.array(collapsed))], 0.95)
    assert found.ranks and found.interval == pytest.approx(expected)
    assert found.interval != pytest.approx(rank_interval([Side(steady), Side(np.array(collapsed))], 0.95))


def test_seeds_are_counted_from_the_cell_that_has_fewest(store):
    """Each comparison from its own; the cell that needs most is named."""
    rng = np.random.default_rng(0)
    new, old = 38 + rng.standard_normal(12), 37.8 + rng.standard_normal(9)
    write_plan(store, claim(BETTER, compare('new', 'greater', 'other')), seeds=range(12))
    write_seeds(store, new, old, [36.9])
    found, other = verdict_of(store).findings
    assert found.verdict == other.verdict == 'undecided' and other.seeds < found.seeds
    assert explain.settled_with([found, other]) == (max(found.seeds - 9, other.seeds - 1), found.seeds)


def test_why_seeds_would_not_settle_it(store):
    """Images are blamed where they are the cause."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(9)
    write_plan(store, claim(BETTER), seeds=range(9))
    write_seeds(store, 38 + noise, 38.001 + noise[::-1])
    assert '1000 seeds per cell would not settle it: the differences are too small.' in explain.why(verdict_of(store))


def test_the_size_in_a_row_is_that_of_its_comparison(store):
    write_plan(
        store, claim(dict(BETTER, size=0.5), dict(compare('new', 'greater', 'other'), size=30.0)), seeds=(0, 1, 2)
    )
    write_seeds(store, (37.0, 37.5, 38.0), (36.6, 37.0, 37.4), (29.0, 30.0, 31.0))
    verdict = verdict_of(store)
    assert verdict.size == 'smaller'
    row = explain.brief([verdict]).splitlines()[-1]
    assert row.split('|')[-2].strip() == verdict.findings[0].size == 'as printed'


def test_a_cell_of_nine_seeds_keeps_its_own_noise(store):
    """The pool has it for cells of fewer seeds. With eight seeds it would take the pool's."""
    rng = np.random.default_rng(0)
    many, few, other = 38 + 2.2 * rng.standard_normal(9), 36 + rng.standard_normal(3), 30 + rng.standard_normal(3)
    for number, own in ((8, False), (9, True)):
        write_plan(store, claim(BETTER), seeds=range(9))
        write_seeds(store, many[:number], few, other)
        verdict = verdict_of(store)
        [found] = verdict.findings
        pooled = (sum((len(each) - 1) * np.var(each, ddof=1) for each in (many[:number], few, other))) / (number + 3)
        variances = np.var(many, ddof=1) if own else pooled, pooled
        assert [noise.training.value for noise in found.noises] == pytest.approx(variances)
        assert found.training_error == pytest.approx(np.sqrt(variances[0] / number + pooled / 3))
    lines = explain.noise(verdict.findings)
    assert 'from the 9 seeds of one cell of Table 1 with 12 epochs, 8 degrees' in lines[0] and '3 cells' in lines[1]


def test_a_collapsed_training_is_judged_by_ranks(store):
    """Its variance is not pooled. Five seeds decide by their ranks, three cannot."""
    worse = claim(compare('new', 'greater', 'other'), name='ranks')
    steady = ((37.1, 37.4, 37.8, 37.2, 36.9), (35.2, 35.1, 35.6, 34.9, 35.3), (30.2, 29.9, 0.1, 31.0, 30.6))
    for seeds, expected in ((5, 'holds'), (3, 'undecided')):
        write_plan(store, claim(BETTER), worse, seeds=range(seeds))
        write_seeds(store, *(values[:seeds] for values in steady))
        plain, ranked = judge(store.runs, 'desk', ['table1'])[0]
        [found] = ranked.findings
        assert plain.verdict == 'holds' and len(plain.findings[0].noises[0].heavy) == 1 and not plain.findings[0].ranks
        assert found.ranks and ranked.verdict == expected and 6 < found.effect < 8  # not moved by the collapse
    assert 'too few for a test by ranks' in explain.why(ranked) and found.interval is None


def test_the_interval_of_ranks_is_what_mann_and_whitney_do_not_reject(store):
    new, other = (37.1, 37.4, 37.8, 37.2, 36.9), (30.2, 29.9, 0.1, 31.0, 30.6)
    write_plan(store, claim(compare('new', 'greater', 'other')), seeds=range(5))
    write_seeds(store, new, (35.2, 35.1, 35.6, 34.9, 35.3), other)
    [found] = verdict_of(store).findings
    for end, inwards in zip(found.interval, (1e-6, -1e-6)):
        inside, outside = (mannwhitneyu(np.array(new) - end - step, other).pvalue for step in (inwards, -inwards))
        assert inside > 0.05 >= outside


def test_unequal_variances_are_not_pooled(store):
    """Cells whose variances differ in general keep their own: Welch's interval."""
    rng = np.random.default_rng(3)
    cells = [30 + spread * rng.normal(size=6) for spread in (0.02, 0.2, 2.0)]
    write_plan(store, claim(BETTER), seeds=range(6))
    write_seeds(store, *cells)
    [found] = verdict_of(store).findings
    reference = ttest_ind(cells[0], cells[1], equal_var=False).confidence_interval()
    assert found.interval == pytest.approx((reference.low, reference.high)) and not found.ranks


def test_both_sides_of_one_training_are_paired(store):
    """FCOS with and without NMS is one training: it is the difference that varies between seeds."""
    gap = compare(quantity('new', 'with_nms/AP'), 'greater', quantity('new', times=0.9))
    write_plan(store, claim(gap), seeds=(0, 1, 2))
    write_seeds(store, (30.0, 32.5, 35.1))
    [found] = verdict_of(store).findings
    values = np.array([30.0, 32.5, 35.1])
    reference = ttest_rel(values + 1, 0.9 * values).confidence_interval()
    assert found.interval == pytest.approx((reference.low, reference.high)) and found.verdict == 'holds'


def test_other_images_give_no_image_error(store):
    """Runs that were evaluated on other annotations are not paired group by group."""
    write_plan(store, claim(BETTER), seeds=(0, 1), values=('new', 'old'))
    for seed in (0, 1):
        write_run(store, 0, 0.8, seed)
        write_run(store, 1, 0.7, seed, truth=1)
    verdict = verdict_of(store)
    [found] = verdict.findings
    assert found.image_error is None and found.interval and 'about these test images' in explain.why(verdict)


def test_gaps_are_judged_in_points_and_as_a_share(store):
    """Values after an epoch come from metrics.json. In points the gap grows with AP; as a share of it, it shrinks."""
    gap = dict(key='with_nms/AP', minus='without_nms/AP')
    shrinks = compare(quantity('new', **gap, epoch=1), 'greater', quantity('new', **gap, epoch=2))
    write_plan(store, claim(shrinks), seeds=(0, 1, 2), values=('new', 'old'))
    for seed, gaps in enumerate(((0.5, 2.0), (0.52, 2.1), (0.49, 2.05))):
        write_run(store, 0, 0.8, seed)
        write_epochs(store, 0, gaps, seed, without=(0.01, 0.3))
    verdict = verdict_of(store)
    [found], [share] = verdict.findings, verdict.share.findings
    assert (verdict.verdict, verdict.share.verdict) == ('fails', 'holds')
    assert found.image_error is None and found.left.name.endswith('LA new, after epoch 1')
    assert share.unit == '%' and share.left.iloc[0] == pytest.approx(100 * 0.5 / 1.5)
    assert 'As a share of AP with NMS, this holds (+' in explain.why(verdict)
    assert 'As a share of AP with NMS: holds.' in explain.evidence(verdict)
    shutil.copy(store.runs / 'truth.json', store.runs / 'desk' / run_id(0) / 'metrics.json')
    [verdict], warnings = judge(store.runs, 'desk', ['table1'])
    assert 'metrics.json: is not JSON' in warnings[0]


@pytest.mark.parametrize(
    'size, values, expected, says',
    [
        (7.0, (30.2, 29.9, 31.0), 'as printed', "The paper's difference is +7.00, inside the interval."),
        (12.0, (30.2, 29.9, 31.0), 'smaller', "The paper's difference is +12.00: the measured one is smaller."),
        (1.5, (30.2, 29.9, 31.0), 'larger', "The paper's difference is +1.50: the measured one is larger."),
        (1.5, (39.2, 39.1, 39.6), 'smaller', "The paper's difference is +1.50: the measured one is smaller."),
    ],
)
def test_the_papers_size(store, size, values, expected, says):
    write_plan(store, claim({**BETTER, 'size': size}), seeds=(0, 1, 2))
    write_seeds(store, (37.1, 37.4, 37.8), values)
    verdict = verdict_of(store)
    assert verdict.size == expected and says in explain.why(verdict)


def test_the_size_of_the_tables_numbers(store):
    """Without a size in the text; none if a side has no number, or is not as the table shows it."""
    content = write_plan(
        store,
        claim(BETTER),
        claim(compare('old', 'less', quantity('new', 'with_nms/AP')), name='less'),
        claim(compare('new', 'greater', quantity('old', times=0.5)), name='half'),
        claim(compare('new', 'greater', 'other'), name='none'),
    )
    for cell, text in zip(content['cells'], ('39.0/39.4', '37.6/38.1', '-')):
        cell['paper'] = {'AP': text}
    store.write('desk/tables/table1.json', json.dumps(content))
    found = [verdict.findings[0].paper for verdict in judge(store.runs, 'desk', ['table1'])[0]]
    assert found == [1.4, -1.8, None, None]


@pytest.mark.parametrize(
    'shift, expected, says',
    [
        (0.0, 'no', 'The difference is smaller than 0.3 points: no difference that matters'),
        (0.45, 'yes', 'The difference is larger than 0.3 points, the smallest of interest.'),
        (0.3, 'open', 'The difference is +0.30 points'),
    ],
)
def test_the_smallest_difference_of_interest(store, shift, expected, says):
    """An equivalence test at 5 %: the 90 % interval lies inside."""
    old = np.array([30.0, 30.05, 29.95, 30.02, 29.98])
    write_plan(store, claim(BETTER), seeds=range(5))
    write_seeds(store, old + shift, old)
    verdict = verdict_of(store)
    assert verdict.matters == expected and says in explain.why(verdict)


def test_the_suites_own_threshold_is_judged_apart(store):
    """The paper's words hold, the threshold fails; without words to compare, the threshold is the verdict."""
    half = dict(statement='less than half', comparisons=[compare('old', 'less', quantity('new', times=0.5))])
    write_plan(
        store,
        claim(compare('old', 'less', 'new'), threshold=half, name='both'),
        claim(threshold=half, name='threshold'),
        seeds=(0, 1, 2),
    )
    write_seeds(store, (37.1, 37.4, 37.8), (30.2, 29.9, 31.0))
    both, alone = judge(store.runs, 'desk', ['table1'])[0]
    assert (both.verdict, both.threshold.verdict, alone.verdict) == ('holds', 'fails', 'fails')
    assert "This suite's own threshold, less than half, fails (+11.65 points" in explain.why(both)
    assert explain.why(alone).startswith("Judged by this suite's own threshold: less than half.")
    assert "The suite's own threshold: less than half: fails." in explain.evidence(both)


@pytest.mark.filterwarnings('ignore:Computation of the confidence interval')  # scipy's is as near as 0.05
@pytest.mark.parametrize('relation, sign', [('greater', 1), ('less', -1)])
@pytest.mark.parametrize(
    'first, expected', [((37.1, 37.4, 37.8), 'holds'), ((34.2, 34.1, 34.6), 'fails'), ((35.3, 36.5, 36.0), 'undecided')]
)
def test_the_best_of_several(store, relation, sign, first, expected):
    """Hsu's interval: its ends are those of Dunnett's one-sided intervals."""
    others = np.array([(35.9, 36.2, 36.3), (35.0, 35.1, 35.8)])
    cells = [np.array(first), *others] if sign == 1 else [80 - np.array(first), *(80 - others)]
    write_plan(store, claim(*(compare('new', relation, name) for name in ('old', 'other')), best=True), seeds=range(3))
    write_seeds(store, *cells)
    verdict = verdict_of(store)
    assert verdict.verdict == expected
    low, high = (dunnett(*others, control=first, alternative=side, rng=0) for side in ('less', 'greater'))
    low, high = min(-low.confidence_interval(0.95).high), min(-high.confidence_interval(0.95).low)
    assert verdict.best == pytest.approx((min(0, low), max(0, high)), abs=0.01)
    says = {
        'holds': f'It is better than the best of 2 others, by at most {verdict.best[1]:.2f} points',
        'fails': f'It is worse than the best of 2 others, by at most {-verdict.best[0]:.2f} points',
        'undecided': f'It is at most {-verdict.best[0]:.2f} points below the best of 2 others',
    }
    assert says[expected] in explain.why(verdict) and 'with 95 % confidence' in explain.why(verdict)


@pytest.mark.parametrize('best, expected', [('new', 'holds'), ('old', 'fails')])
def test_a_collapsed_cell_is_no_hindrance_to_the_best(store, best, expected):
    """Hsu's interval is that of the other cells; the collapsed one can only lower its lower end. With three seeds it
    has no interval, and nothing is known."""
    cells = {'new': (37.1, 37.4, 37.8, 37.2, 36.9), 'old': (35.2, 35.1, 35.6, 34.9, 35.3)}
    other = (30.2, 29.9, 0.1, 31.0, 30.6)
    [second] = cells.keys() - {best}
    only = claim(compare(best, 'greater', second), name='only', best=True)
    both = claim(compare(best, 'greater', 'other'), compare(best, 'greater', second), name='both', best=True)
    write_plan(store, only, both, seeds=range(5))
    write_seeds(store, *cells.values(), other)
    alone, found = judge(store.runs, 'desk', ['table1'])[0]
    assert [each.ranks for each in found.findings] == [True, False]
    assert found.verdict == alone.verdict == expected and found.best == alone.best
    write_seeds(store, *cells.values(), (38.2, 37.6, 0.1, 31.0, 36.9))  # not below the first cell, by ranks
    _, found = judge(store.runs, 'desk', ['table1'])[0]
    assert found.best == (min(alone.best[0], found.findings[0].interval[0]), alone.best[1])
    assert found.verdict == ('undecided' if best == 'new' else 'fails')
    write_plan(store, both, seeds=range(3))
    assert verdict_of(store).best is None


@pytest.mark.filterwarnings('ignore:Computation of the confidence interval')  # scipy's is as near as 0.05
@pytest.mark.parametrize('relation, sign', [('greater', 1), ('less', -1)])
@pytest.mark.parametrize(
    'control, expected, says',
    [
        ((34.0, 34.2, 34.3), 'holds', '2 of 2 differences from the control lie on the claimed side; the clearest is'),
        ((35.0, 35.3, 35.4), 'holds', '1 of 2 differences from the control lie on the claimed side; the clearest is'),
        ((37.4, 37.6, 37.9), 'fails', 'All 2 differences from the control lie on the other side; the smallest is'),
        ((35.5, 35.6, 35.9), 'undecided', 'None of 2 differences from the control is shown to lie on the claimed side'),
    ],
)
def test_one_control(store, control, expected, says, relation, sign):
    """The intervals are scipy's of Dunnett's test. One on the claimed side is enough; to fail, all must be worse."""
    others = np.array([(35.9, 36.2, 36.5), (35.0, 35.1, 35.8)])
    cells = [40 + sign * (np.array(values) - 40) for values in (control, *others)]
    write_plan(
        store, claim(*(compare(name, relation, 'new') for name in ('old', 'other')), control=True), seeds=range(3)
    )
    write_seeds(store, *cells)
    verdict = verdict_of(store)
    assert verdict.verdict == expected and says in explain.why(verdict)
    known = dunnett(*cells[1:], control=cells[0], rng=0).confidence_interval(0.95)
    for found, *ends in zip(verdict.findings, known.low, known.high):
        assert found.interval == pytest.approx(ends, abs=0.01)
        assert found.level == 0.95 and 0.95 < found.confidence < 0.975  # narrower than Bonferroni's
        level = f'{100 * found.confidence:.3g} %'
        assert f'{level} interval {explain.interval(found).partition(" (")[0]}' in explain.evidence(verdict)
        assert explain.interval(found).endswith(f' ({level})')
    assert explain.deciding(verdict.findings, True) is max(verdict.findings, key=lambda each: each.towards)


@pytest.mark.parametrize('number, critical', [(1, 2.09), (2, 2.38), (3, 2.54), (4, 2.65)])
def test_dunnetts_critical_values(number, critical):
    """His table of 1964, two-sided, 5 %, 20 degrees of freedom, cells of equal size."""
    cell = Side(np.zeros(6), training=Variance(1.0, 20))
    confidence = control_confidence(cell, [cell] * number)
    assert t.ppf((1 + confidence) / 2, 20) == pytest.approx(critical, abs=0.012)


@pytest.mark.parametrize('others', [('old',), ('old', 'other')])
def test_the_best_and_a_control_of_cells_that_share_a_training(store, others):
    """Readings of one training are paired, and the intervals are Bonferroni's: of one comparison, the plain one."""

    def of(name):
        return quantity(name, 'without_nms/AP' if name == 'old' else 'with_nms/AP')

    best = [compare(of('new'), 'greater', of(name)) for name in others]
    control = [compare(of(name), 'less', of('new')) for name in others]
    claims = [claim(*best, name='each'), claim(*best, best=True), claim(*control, name='control', control=True)]
    cells = write_plan(store, seeds=range(3))['cells']
    cells[1]['runs'] = cells[0]['runs']  # 'old' is 'new' without NMS
    store.plan(
        'table1',
        rows=[],
        columns=[axis('la', 'LA', 'new', 'old', 'other')],
        metrics={'AP': ['without_nms/AP', 'with_nms/AP']},
        cells=cells,
        claims=claims,
    )
    values = np.array([[37.1, 37.4, 37.8], [35.0, 35.1, 35.8]])
    for number, of_run in enumerate(values[: len(others)]):
        for seed, (value, gap) in enumerate(zip(of_run, (1.0, 1.2, 1.1))):
            store.result(2 * number, value / 100, (value + gap) / 100, seed=seed)
    (each, best, control), _ = judge(store.runs, 'desk', ['table1'])
    assert [verdict.verdict for verdict in (each, best, control)] == ['holds'] * 3
    assert best.best == (0, min(found.corrected[1] for found in each.findings))
    ends = [found.corrected for found in each.findings]
    assert [found.interval for found in control.findings] == [pytest.approx((-high, -low)) for low, high in ends]
    assert f"(Bonferroni's level for {len(others)} comparison" in explain.why(control)
    if len(others) == 1:
        paired = ttest_rel(values[0] + (1.0, 1.2, 1.1), values[0]).confidence_interval()
        assert best.best[1] == pytest.approx(paired.high)


def test_a_control_that_is_not_measured_leaves_the_claim_open(store):
    write_plan(
        store, claim(*(compare(name, 'greater', 'new') for name in ('old', 'other')), control=True), seeds=range(3)
    )
    write_seeds(store, (), (36.0, 36.1, 36.3), (35.0, 35.2, 35.6))
    verdict = verdict_of(store)
    assert verdict.verdict == 'undecided' and 'Not measured: AP without NMS, LA new' in explain.why(verdict)


@pytest.fixture
def timed(store):
    """A claim that new is faster than old, in ms; timed(new, old) are the times of the seeds 0, 1, 2, None for none."""
    key = 'speed/without_nms/forward_ms'
    content = write_plan(
        store,
        claim(compare(quantity('new', key), 'less', quantity('old', key))),
        seeds=(0, 1, 2),
        values=('new', 'old', 'other'),
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


def test_speeds_are_compared_as_ratios_sitting_by_sitting(timed):
    """A sitting on a slow machine widens nothing. Two methods give the paired interval of the logarithms."""
    new, old = (9.0, 9.1, 18.3), (10.8, 11.0, 21.9)
    verdict, found = timed(new, old)
    reference = ttest_rel(np.log(new), np.log(old)).confidence_interval()
    assert (found.unit, verdict.verdict) == ('%', 'holds')
    assert found.interval == pytest.approx((100 * np.expm1(reference.low), 100 * np.expm1(reference.high)))
    assert found.effect == pytest.approx(100 * np.expm1(np.mean(np.log(new) - np.log(old))))
    assert explain.side(found.left) == ('forward ms without NMS, LA new: 12.13 (seeds 0, 1, 2: 9.00, 9.10, 18.30)')
    assert explain.errors(found) == f'standard error {found.training_error:.2f} from timings; 2 degrees of freedom'
    assert verdict.matters == 'yes'


def test_every_method_tells_of_the_noise_of_timing(timed):
    """Method and sitting are taken out of all timings of the table; what is left is noise."""
    new, old, other = np.array([[9.0, 9.1, 18.3], [10.8, 11.0, 21.9], [7.0, 7.4, 14.1]])
    _, found = timed(new, old, other)
    logs = np.log([new, old, other])
    left = logs - logs.mean(axis=0) - logs.mean(axis=1, keepdims=True) + logs.mean()
    assert found.freedom == 4
    assert found.training_error == pytest.approx(100 * np.expm1(np.sqrt((left**2).sum() / 4 * 2 / 3)))


@pytest.mark.parametrize('new, old', [((9.0, None, None), (None, 11.0, None)), ((9.0, None, None), (11.0, None, None))])
def test_speeds_of_too_few_sittings_leave_their_error_open(timed, new, old):
    verdict, found = timed(new, old)
    assert verdict.verdict == 'undecided' and found.interval is None
    assert found.effect == pytest.approx(100 * (9 / 11 - 1))


def test_one_of_many_must_be_clearly_on_the_other_side_to_fail(store):
    """What fails a claim of one comparison leaves one of ten open; to hold, all ten must."""
    worse = compare('other', 'greater', 'old')
    values = (36.0, 36.3, 36.6), (30.0, 30.3, 30.6), (29.2, 29.5, 29.8)
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


@pytest.mark.parametrize('damage', ['foreign', 'half', 'empty', 'another schema', 'uneven'])
def test_a_bad_file_of_image_groups_is_named_and_left_out(store, damage):
    """The claim is checked with what is left, and says what it lacks."""
    write_plan(store, claim(BETTER), seeds=(0, 1), values=('new', 'old'))
    for seed in (0, 1):
        write_run(store, 0, 0.8, seed)
        write_run(store, 1, 0.7, seed)
    path, other = (store.runs / 'desk' / run_id(number) / 'image_groups.json' for number in (0, 1))
    if damage == 'foreign':
        shutil.copy(other, path)
        reason = 'of another run'
    elif damage == 'another schema':
        path.write_text(json.dumps({**json.loads(path.read_text()), 'schema': 9}))
        reason = 'schema is 9, but 1 belongs here'
    elif damage == 'uneven':
        content = json.loads(path.read_text())
        content['left_out']['without_nms/AP'].pop()
        path.write_text(json.dumps(content))
        reason = 'left_out must have a number for each group'
    else:
        path.write_text(path.read_text()[: 500 * (damage == 'half')])
        reason = 'is not JSON'
    [verdict], warnings = judge(store.runs, 'desk', ['table1'])
    assert len(warnings) == 1 and reason in warnings[0] and warnings[0].startswith(f'{path}: ')
    assert verdict.findings[0].image_error is None and verdict.findings[0].interval


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
        '95 % interval +6.00 to +8.14 (standard error 0.39 from trainings; 4 degrees of freedom; '
        'without the choice of test images). Holds.\n'
    ) in done.stdout
    assert (
        '\nNoise of one training, without_nms/AP: standard deviation 0.47, from 2 cells of Table 1 with 12 epochs, '
        '4 degrees of freedom.\n'
    ) in done.stdout


def test_json_in_a_folder(checked, capsys):
    out = checked.runs / 'out'
    assert run(checked, 'table1', '--format', 'json', '--out', str(out)) == 0
    assert capsys.readouterr().out == f'wrote {out / "claims.json"}\n'
    [content] = json.loads((out / 'claims.json').read_text())['claims']
    assert (content['verdict'], content['table'], content['id']) == ('holds', 'table1', 'better')
    assert (content['judged_by'], content['matters'], content['size'], content['share']) == ('words', 'yes', None, None)
    [found] = content['findings']
    assert found['left']['runs'] == {str(seed): run_id(0, seed) for seed in range(3)}
    assert found['noises'][0]['freedom'] == 4 and len(found['noises'][0]['cells']) == 2
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
        (
            dict(comparisons=[]),
            'claims[0]: comparisons: must be a list with something in it',
        ),
        (
            dict(comparisons=[compare('nowhere', 'less', 'old')]),
            "claim better names {'la': 'nowhere'}, which is no cell of the table",
        ),
        (
            dict(comparisons=[compare('new', 'equal', 'old')]),
            "claims[0].comparisons[0].relation: 'equal' must be 'less' or 'greater'",
        ),
        (
            dict(comparisons=[BETTER, compare('old', 'greater', 'new')], control=True),
            'claims[0]: control: all comparisons must have the same right side and relation',
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


def write_two_tables(store):
    """Two tables of two cells: runs 0 and 1, and 2 and 3. The first claims a larger difference than the second."""
    other = dict(table='table2', **compare('new', 'greater', 'old'))
    write_plan(store, claim(dict(BETTER, more_than=other)), seeds=(0, 1, 2), values=('new', 'old'))
    path = store.runs / 'desk/tables/table1.json'
    plan = json.loads(path.read_text())
    for number, cell in enumerate(plan['cells'], 2):
        cell['runs'] = {str(seed): run_id(number, seed) for seed in range(3)}
    store.write('desk/tables/table2.json', json.dumps({**plan, 'table': 'table2', 'claims': []}))


def test_a_difference_larger_than_in_another_table(store):
    """The difference of both differences, with the variances of all four cells."""
    write_two_tables(store)
    cells = np.array([(37.1, 37.4, 37.8), (30.2, 29.9, 31.0), (41.0, 41.5, 41.1), (39.2, 40.4, 39.4)])
    write_seeds(store, *cells)
    verdict = verdict_of(store)
    [found] = verdict.findings
    new, old, other_new, other_old = cells.mean(axis=1)
    assert found.effect == pytest.approx((new - old) - (other_new - other_old)) and verdict.verdict == 'holds'
    assert found.training_error == pytest.approx(np.sqrt(4 / 3 * cells.var(axis=1, ddof=1).mean()))
    assert 'by more than in Table 2 AP without NMS, LA new' in explain.evidence(verdict)
    write_seeds(store, *cells[[2, 3, 0, 1]])
    assert verdict_of(store).verdict == 'fails'


def test_another_table_without_results_or_a_plan_is_named(store):
    write_two_tables(store)
    write_seeds(store, (37.1, 37.4, 37.8), (30.2, 29.9, 31.0))
    assert 'Not measured: AP without NMS, LA new; AP without NMS, LA old' in explain.why(verdict_of(store))
    (store.runs / 'desk/tables/table2.json').unlink()
    assert 'Not measured: without_nms/AP of new in table2, which has no plan' in explain.why(verdict_of(store))


def test_seeds_and_test_images_that_would_settle_it():
    """The variances of both cells, one of which has more seeds already, and of the images."""
    estimated = Estimate(1.0, 0.03 / 3 + 0.03 / 9, 0.2, 50, ((0.03, 3), (0.03, 9)))
    power = t.ppf(0.975, 50) + t.ppf(0.8, 50)
    times = images_to_settle(estimated, 0.95)
    assert 1 / np.sqrt(estimated.training + 0.2 / times) == pytest.approx(power)
    assert seeds_to_settle(estimated, 0.95) is None  # the images alone leave it open
    seeds = seeds_to_settle(estimated._replace(image=0.1156), 0.95)

    def reached(number):
        return 1 / np.sqrt(0.1156 + 0.03 / number + 0.03 / max(number, 9)) >= power

    assert 3 < seeds and reached(seeds) and not reached(seeds - 1)
    assert images_to_settle(estimated._replace(training=0.2), 0.95) is None  # trainings alone leave it open


@pytest.mark.parametrize('shared, factor', [(False, 1), (True, 2)])
def test_a_training_behind_both_differences(store, shared, factor):
    """(new − old) − (other − new): the errors are added, as if both went against each other, instead of squared."""
    write_two_tables(store)
    path = store.runs / 'desk/tables/table2.json'
    plan = json.loads(path.read_text())
    if shared:
        plan['cells'][1]['runs'] = {str(seed): run_id(0, seed) for seed in range(3)}
        path.write_text(json.dumps(plan))
    write_seeds(store, (37.1, 37.4, 37.8), (30.2, 29.9, 31.0), (41.0, 41.5, 41.1), (39.2, 40.4, 39.4))
    [found] = verdict_of(store).findings
    noise = found.noises[0].training.value
    assert found.training_error == pytest.approx(np.sqrt(factor * 4 / 3 * noise))


def another_table(store, change, spread=3.0):
    """A second table, of runs 10 and 11, whose seeds vary more."""
    plan = write_plan(store, seeds=(0, 1, 2), values=('new', 'old'))
    shutil.move(store.runs / 'desk/tables/table1.json', store.runs / 'desk/tables/aside')
    for number, cell in enumerate(plan['cells'], 10):
        cell['runs'] = {str(seed): run_id(number, seed) for seed in range(3)}
        for seed in range(3):
            store.result(number, 0.03 * number + 0.01 * spread * seed, 0.9, seed=seed)
    change(plan['cells'])
    store.write('desk/tables/table2.json', json.dumps({**plan, 'table': 'table2'}))
    shutil.move(store.runs / 'desk/tables/aside', store.runs / 'desk/tables/table1.json')


@pytest.mark.parametrize('number, pooled', [(0, {10, 11}), (1, {11}), (2, set())])
def test_cells_of_another_backbone_or_other_data_are_another_pool(store, number, pooled):
    """Whether a table sets it for all of its cells or for one alone."""

    def change(cells):
        for cell in cells[:number]:
            cell['overrides'] = {'model.backbone.depth': 34}

    another_table(store, change)
    write_plan(store, claim(BETTER), seeds=(0, 1, 2))
    write_seeds(store, (37.1, 37.4, 37.8), (30.2, 29.9, 31.0), (29.0, 30.0, 31.5))
    [found] = verdict_of(store).findings
    runs = {run for group in found.noises[0].groups for run in group.runs}
    assert {each for each in (10, 11) if run_id(each) in runs} == pooled


def test_more_metrics_make_no_other_pool(store):
    """A second branch that is read as well adds metrics, and its AP varies like that of others."""
    write_plan(store, claim(BETTER), seeds=(0, 1, 2))
    write_seeds(store, (37.1, 37.4, 37.8), (30.2, 29.9, 31.0), (29.0, 30.0, 31.5))
    for seed, value in enumerate((29.0, 30.0, 31.5)):
        store.result(2, value / 100, 0.4, seed=seed, metrics={'second_with_nms/AP': 0.4})
    [found] = verdict_of(store).findings
    assert found.freedom == 6


def test_noise_of_another_schedule_of_the_same_table_is_named(store):
    """At 3×, one seed; at 1×, three."""
    write_plan(store, claim(BETTER), seeds=(0,), values=('new', 'old'))
    path = store.runs / 'desk/tables/table1.json'
    plan = json.loads(path.read_text())
    short = [{**cell, 'at': {'la': f'{cell["at"]["la"]}-1x'}, 'runs': {}} for cell in plan['cells']]
    for number, cell in enumerate(short, 2):
        cell['runs'] = {str(seed): run_id(number, seed) for seed in range(3)}
        for seed in range(3):
            store.result(number, 0.3 + 0.01 * number * seed, 0.4, seed=seed, epochs=12)
    values = plan['axes']['la']['values']
    values.update({f'{name}-1x': {**values[name], 'label': f'{name}-1x'} for name in ('new', 'old')})
    plan['cells'] += short
    path.write_text(json.dumps(plan))
    for number, value in enumerate((0.37, 0.33)):
        store.result(number, value, 0.4, epochs=36)
    assert 'The noise of training is that of Table 1 with 12 epochs.' in explain.why(verdict_of(store))


def test_broken_files_of_other_tables_are_named(store):
    """Intervals lack their noise."""
    another_table(store, lambda cells: None)
    write_plan(store, claim(BETTER), seeds=(0, 1, 2))
    write_seeds(store, (37.1, 37.4, 37.8), (30.2, 29.9, 31.0), (29.0, 30.0, 31.5))
    store.write(f'desk/{run_id(10)}/result.json', '{')
    _, [warning] = judge(store.runs, 'desk', ['table1'])
    assert f'{run_id(10)}/result.json: ' in warning and 'left out' in warning
    store.write('desk/tables/table2.json', '{')
    _, [warning] = judge(store.runs, 'desk', ['table1'])
    assert 'table2.json: ' in warning and warning.endswith(': left out')


def test_other_settings_are_counted_apart_and_are_no_headline(store):
    """A table with --set is another experiment with the same claims."""
    plan = write_plan(store, claim(BETTER), seeds=(0, 1, 2))
    write_seeds(store, (37.1, 37.4, 37.8), (30.2, 29.9, 31.0))
    for cell in plan['cells']:
        cell['runs'] = {}
    name = 'table1+optim_wrapper.optimizer.lr=0.002'
    store.write(f'desk/tables/{name}.json', json.dumps({**plan, 'overrides': {'optim_wrapper.optimizer.lr': 0.002}}))
    verdicts, _ = judge(store.runs, 'desk', ['table1', name])
    counted = (
        '1 claim of the paper: 1 hold, 0 fail, 0 undecided; 1 claim with other settings: 0 hold, 0 fail, 1 undecided'
    )
    assert explain.counts(verdicts) == counted
    assert '| holds | +7.07 points |' in explain.headline(verdicts, ['better'])


def test_groups_of_another_number_leave_the_images_out(store):
    """As a file of another version has them."""
    write_plan(store, claim(BETTER), seeds=(0, 1), values=('new', 'old'))
    for seed in (0, 1):
        write_run(store, 0, 0.8, seed)
        write_run(store, 1, 0.7, seed)
    path = store.runs / 'desk' / run_id(0) / 'image_groups.json'
    content = json.loads(path.read_text())
    content['left_out'] = {key: values[:-1] for key, values in content['left_out'].items()}
    path.write_text(json.dumps(content))
    verdict = verdict_of(store)
    assert verdict.findings[0].interval and 'about these test images' in explain.why(verdict)


def test_a_speed_of_0_has_no_ratio(timed, store):
    """As the time of NMS without NMS."""
    timed((9.0, 9.1, 18.3), (10.8, 11.0, 21.9))
    for seed in range(3):
        store.speed(0, 1.0, seed, metrics={'speed/without_nms/forward_ms': 0.0})
    [found] = (verdict := verdict_of(store)).findings
    assert found.effect is None
    assert 'Not measured: forward ms without NMS, LA new (0, which has no ratio).' in explain.why(verdict)


def test_equal_cells_need_no_images(store):
    write_plan(store, claim(BETTER, best=True), seeds=(0, 1, 2), values=('new', 'old'))
    write_seeds(store, (37.1, 37.4, 37.8), (37.1, 37.4, 37.8))
    verdict = verdict_of(store)
    assert 'test images.' not in explain.why(verdict).replace('The intervals are about these test images.', '')
    assert 'points below the other and' in explain.why(verdict) and '-0.00' not in explain.why(verdict)


def test_the_papers_lead_of_the_best(store):
    plan = write_plan(
        store, claim(compare('new', 'greater', 'old'), compare('new', 'greater', 'other'), best=True), seeds=(0, 1, 2)
    )
    write_seeds(store, (37.1, 37.4, 37.8), (35.2, 34.9, 36.0), (34.2, 33.9, 35.0))
    for cell, paper in zip(plan['cells'], ('39.0/39.3', '38.0/39.0', '30.0/31.0')):
        cell['paper'] = {'AP': paper}
    store.write('desk/tables/table1.json', json.dumps(plan))
    assert 'Its lead in the paper is +1.00 points: the measured one is larger.' in explain.why(verdict_of(store))


def test_points_are_not_added_to_a_share(store):
    """A gap of at least 3 points is judged in points alone."""
    left, right = (dict(quantity(la, 'with_nms/AP', 'without_nms/AP')) for la in ('new', 'old'))
    right['plus'] = 3.0
    write_plan(store, claim(compare(left, 'less', right)), seeds=(0, 1, 2), values=('new', 'old'))
    write_seeds(store, (37.1, 37.4, 37.8), (30.2, 29.9, 31.0))
    assert verdict_of(store).share is None
