"""Each command of run.py has options of its own; where none is named, tables are trained."""

import pytest

from experiments.commands.parser import parse

#: An option that is shown by the help of this command, and one that is not.
COMMANDS = {
    'train': ('--dump-configs', '--space'),
    'status': ('--seeds', '--jobs'),
    'search': ('--space', '--launcher'),
    'doctor': ('--launcher', '--dry-run'),
    'evaluate': ('--image-groups', '--runs'),
    'capture': ('--images', '--seeds'),
    'clean': ('--unfinished', '--data'),
}


def shown(capsys, *words):
    with pytest.raises(SystemExit) as end:
        parse([*words, '--help'])
    assert end.value.code == 0
    return capsys.readouterr().out


def test_the_help_names_every_command(capsys):
    text = shown(capsys)
    assert all(f'\n    {command} ' in text for command in COMMANDS)


@pytest.mark.parametrize('command', COMMANDS)
def test_the_help_of_a_command_shows_what_concerns_it(capsys, command):
    text = shown(capsys, command)
    own, other = COMMANDS[command]
    assert f'\n  {own} ' in text and other not in text
    assert text.startswith('usage: run.py ')


@pytest.mark.parametrize(
    'words, command',
    [
        (['table3'], 'train'),
        (['train', 'table3'], 'train'),
        (['--profile', 'smoke', 'table3'], 'train'),
        (['--list'], 'list'),
        (['--status'], 'status'),
        (['table3', '--status'], 'status'),
        (['status', 'table3'], 'status'),
        (['table3', '--dry-run', '--probe'], 'dry-run'),
        (['table3', '--cancel'], 'cancel'),
        (['table3', '--dump-configs', 'configs'], 'dump-configs'),
        (['search', 'table3'], 'search'),
        (['doctor'], 'doctor'),
        (['evaluate', 'x.pth', '--table', 'table3'], 'evaluate'),
        (['capture', 'fig7', '--images', '17', '203'], 'capture'),
        (['clean'], 'clean'),
    ],
)
def test_what_the_words_ask_for(words, command):
    assert parse(words).command == command


def test_values_are_read():
    args = parse(['table3', '--only', 'k=7', '--set', 'a.b=[128, 96]', '--set', 'c=no=1', '--subset', '0.10'])
    assert args.only == [('k', '7')] and args.set == [('a.b', [128, 96]), ('c', 'no=1')]
    assert (args.profile, args.probe) == ('desk-subset0.1', None)
    assert parse(['table3', '--dry-run', '--probe']).probe == 120
    assert parse(['search', 'table3', '--seed', '3']).seeds == [3]
    assert parse(['table3', '--track', 'mlflow', '--track', 'mlflow']).track == ['mlflow']


@pytest.mark.parametrize(
    'words, says',
    [
        ([], 'name a table, or give --list or --status'),
        (['table3', '--probe'], '--probe and --images-per-second belong to --dry-run'),
        (['table3', '--dry-run', '--probe', '0'], "argument --probe: '0' must be a number above 0"),
        (['table3', '--dry-run', '--probe', '1e400'], "argument --probe: '1e400' must be a number above 0"),
        (['table3', '--dry-run', '--launcher', 'slurm', '--probe'], '--probe measures this machine'),
        (['doctor', '--cluster', 'slurm/cpu.yaml'], '--cluster belongs to --launcher slurm'),
        (
            ['table3', '--launcher', 'ray', '--processes-per-run', '2'],
            '--processes-per-run belongs to --launcher local',
        ),
        (['table3', '--seeds', 'auto'], '--claim ID and --seeds auto belong together'),
        (['table3', '--claim', 'c', '--seeds', '0', 'auto'], '--claim needs one table and --seeds auto alone'),
        (['table3', '--budget', '2'], '--budget belongs to --claim'),
        (['table3', '--claim', 'c', '--seeds', 'auto', '--launcher', 'slurm'], 'give --wait'),
        (['status', 'table3', '--seeds', 'auto'], "'auto' must be a whole number"),
        (['capture', '--images', '17'], '--images and --weights need one figure'),
        (['evaluate', 'x.pth', '--table', 'table3', '--set', 'key'], 'argument --set: key: write it as KEY=VALUE'),
    ],
)
def test_what_does_not_fit_ends_with_a_usage_message(capsys, words, says):
    with pytest.raises(SystemExit) as end:
        parse(words)
    assert end.value.code == 2 and says in capsys.readouterr().err
