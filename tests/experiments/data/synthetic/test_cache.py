import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from experiments.data.synthetic.cache import MANIFEST, ensure
from experiments.spec.synthetic import folder_name

ROOT = Path(__file__).parents[4]

# Run as a program of its own: builds slowly, and leaves a line in builds.txt for each build begun.
CHILD = """
import sys, time
from pathlib import Path
from experiments.data.synthetic.cache import ensure
from dataclasses import dataclass

@dataclass(frozen=True)
class Spec:
    version: str = '1'
    count: int = 3

def build(spec, folder, progress):
    with open(Path(sys.argv[1]) / 'builds.txt', 'a') as file:
        file.write('begun\\n')
    for number in range(spec.count):
        (folder / f'{number}.txt').write_text(str(number))
        time.sleep(float(sys.argv[2]))

print(ensure(sys.argv[1], 'things', Spec(), build))
"""


@dataclass(frozen=True)
class Spec:
    version: str = '1'
    count: int = 3


class Builder:
    def __init__(self):
        self.calls = 0

    def __call__(self, spec, folder, progress):
        self.calls += 1
        (folder / 'deep').mkdir()
        for number in range(spec.count):
            (folder / 'deep' / f'{number}.txt').write_text(f'thing {number}')
            if progress:
                progress(number + 1, spec.count)


@pytest.fixture
def builder():
    return Builder()


@pytest.fixture
def said():
    return []


def start_child(root, pause):
    return subprocess.Popen(
        [sys.executable, '-c', CHILD, str(root), str(pause)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
    )


def test_built_once_then_found(tmp_path, builder, said):
    seen = []
    folder = ensure(tmp_path / 'new', 'things', Spec(), builder, lambda *pair: seen.append(pair), said.append)
    assert folder == tmp_path / 'new' / folder_name('things', Spec())
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert ensure(tmp_path / 'new', 'things', Spec(), builder, say=said.append) == folder
    assert builder.calls == 1 and said == []


def test_the_name_tells_version_and_spec():
    assert re.fullmatch(r'things-v1-[0-9a-f]{8}', folder_name('things', Spec()))
    assert folder_name('things', Spec()) == folder_name('things', Spec())
    assert folder_name('things', Spec(count=4)) != folder_name('things', Spec())
    assert folder_name('things', Spec(version='2')).startswith('things-v2-')


def test_naming_needs_no_heavy_import():
    code = "import sys, experiments.data.synthetic.cache; sys.exit(bool({'numpy', 'cv2', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, '-c', code], env={**os.environ, 'PYTHONPATH': str(ROOT)}).returncode == 0


def test_the_manifest_lists_every_file(tmp_path, builder):
    folder = ensure(tmp_path, 'things', Spec(), builder)
    manifest = json.loads((folder / MANIFEST).read_text())
    assert manifest['spec'] == {'version': '1', 'count': 3}
    assert sorted(manifest['files']) == ['deep/0.txt', 'deep/1.txt', 'deep/2.txt']
    assert manifest['files']['deep/0.txt']['size'] == len('thing 0')


def overwrite(name, text):
    return lambda folder: (folder / name).write_text(text)


DAMAGES = {
    'truncated': (overwrite('deep/1.txt', 'thi'), 'deep/1.txt has the wrong size'),
    'longer': (overwrite('deep/1.txt', 'thing 1 and more'), 'deep/1.txt has the wrong size'),
    'altered': (overwrite('deep/1.txt', 'thing 7'), 'deep/1.txt is altered'),
    'deleted': (lambda folder: (folder / 'deep/2.txt').unlink(), 'deep/2.txt is missing'),
    'no manifest': (lambda folder: (folder / MANIFEST).unlink(), f'{MANIFEST} is missing'),
    'bad manifest': (overwrite(MANIFEST, '{"files": '), f'{MANIFEST} is not readable'),
    'odd manifest': (overwrite(MANIFEST, '[1, 2]'), f'{MANIFEST} is not readable'),
    'edited manifest': (
        lambda f: (f / MANIFEST).write_text((f / MANIFEST).read_text().replace('"size": 7', '"size": 8', 1)),
        f'{MANIFEST} is altered',
    ),
}


@pytest.mark.parametrize('harm, message', DAMAGES.values(), ids=DAMAGES)
def test_damage_is_named_and_mended(tmp_path, builder, said, contents, harm, message):
    folder = ensure(tmp_path, 'things', Spec(), builder)
    before = contents(folder)
    harm(folder)
    ensure(tmp_path, 'things', Spec(), builder, say=said.append)
    assert builder.calls == 2 and contents(folder) == before
    assert len(said) == 1 and message in said[0] and str(folder) in said[0]


def test_a_file_laid_beside_the_data_is_no_damage(tmp_path, builder):
    folder = ensure(tmp_path, 'things', Spec(), builder)
    (folder / 'note.txt').write_text('mine')
    ensure(tmp_path, 'things', Spec(), builder)
    assert builder.calls == 1 and (folder / 'note.txt').exists()


def test_a_failing_build_leaves_nothing_and_its_error_comes_through(tmp_path, builder):
    full = OSError(errno.ENOSPC, 'No space left on device')

    def fail(spec, folder, progress):
        (folder / 'half.txt').write_text('half')
        raise full

    with pytest.raises(OSError) as caught:
        ensure(tmp_path, 'things', Spec(), fail)
    assert caught.value is full
    assert [path.name for path in tmp_path.iterdir()] == [f'.{folder_name("things", Spec())}.lock']
    ensure(tmp_path, 'things', Spec(), builder)
    assert builder.calls == 1


def test_a_root_that_is_a_file_is_an_os_error(tmp_path, builder):
    (tmp_path / 'file').write_text('')
    with pytest.raises(OSError):
        ensure(tmp_path / 'file', 'things', Spec(), builder)


def test_two_processes_build_once(tmp_path):
    children = [start_child(tmp_path, 0.1) for _ in range(2)]
    folders = {child.communicate(timeout=30)[0].strip() for child in children}
    assert [child.returncode for child in children] == [0, 0]
    assert folders == {str(tmp_path / folder_name('things', Spec()))}
    assert (tmp_path / 'builds.txt').read_text() == 'begun\n'


def test_a_killed_build_leaves_nothing_wrong(tmp_path):
    child = start_child(tmp_path, 30)
    aside = tmp_path / f'.{folder_name("things", Spec())}.building'
    deadline = time.monotonic() + 20
    while not (aside / '0.txt').exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    ensure(tmp_path, 'things', Spec(count=4), Builder())  # what is being built is waited for, and nothing else
    assert child.poll() is None and aside.exists()
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    target = tmp_path / folder_name('things', Spec())
    assert (aside / '0.txt').exists() and not target.exists()

    def build(spec, folder, progress):
        (folder / 'whole.txt').write_text('whole')

    assert ensure(tmp_path, 'things', Spec(), build) == target
    assert sorted(path.name for path in target.iterdir()) == [MANIFEST, 'whole.txt'] and not aside.exists()
