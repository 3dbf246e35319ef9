"""What a search prints."""

from experiments.commands.search.report import Found, rank, render
from experiments.commands.search.space import Setting
from experiments.launchers.ray.launcher import End
from experiments.spec.config import Run


def entry(name, state, epoch, ap, stored=False, **metrics):
    values = {} if ap is None else {'without_nms/AP': ap, 'with_nms/AP': ap + 0.01}
    return Found(
        Setting({'k': name}, Run(f'run-{name}', 'smoke', 0, {})), End(state, epoch), {**values, **metrics}, stored
    )


def test_the_best_comes_first_and_what_was_stopped_never_before_a_result():
    given = [
        entry('failed', 'failed', 2, 0.9),
        entry('early', 'training', 3, 0.8),
        entry('late', 'training', 9, 0.2),
        entry('poor', 'done', 12, 0.1),
        entry('none', 'done', 12, None),
        entry('best', 'done', 12, 0.3, stored=True),
    ]
    ranked = rank(given, 'without_nms/AP', 'max')
    assert [found.setting.at['k'] for found in ranked] == ['best', 'poor', 'none', 'late', 'early', 'failed']
    text = render('mine, profile smoke', ranked, 'without_nms/AP')
    assert '6 settings by without_nms/AP: 3 trained to the end (1 of them before), 2 stopped by ASHA, 1 failed.' in text
    lines = [[cell.strip() for cell in line.strip('|').split('|')] for line in text.splitlines() if line[:1] == '|']
    assert lines[0] == ['k', 'without_nms/AP in %', 'with_nms/AP in %', 'epochs', 'run', '']
    assert lines[2] == ['best', '30.0', '31.0', '12', 'run-best', 'stored']
    assert lines[4] == ['none', '–', '–', '12', 'run-none', 'trained']
    assert lines[6] == ['early', '80.0', '81.0', '3', 'run-early', 'stopped by ASHA after epoch 3']
    assert len({len(line) for line in text.splitlines() if line[:1] == '|'}) == 1


def test_a_metric_of_which_less_is_better_has_a_column_of_its_own():
    given = [
        entry('much', 'done', 12, 0.3, **{'with_nms/mMR': 0.6}),
        entry('little', 'done', 12, 0.2, **{'with_nms/mMR': 0.5}),
    ]
    ranked = rank(given, 'with_nms/mMR', 'min')
    assert [found.setting.at['k'] for found in ranked] == ['little', 'much']
    assert '| k      | with_nms/mMR in % |' in render('mine', ranked, 'with_nms/mMR')
