"""Images to boxes: the command, and the detector that takes arrays."""

import json
import os
import pty
import shutil
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
import torch
from mmdet.apis import inference_detector
from mmengine.config import Config
from PIL import Image
from pycocotools.coco import COCO

from o2f import export, predict
from o2f.compat.mmcv_ops import provide_mmcv_ops
from o2f.errors import InputError
from o2f.inference import Detections, Detector
from o2f.io.images import find_images, read_image


@pytest.fixture(scope='module')
def detector(own):
    return Detector(own.lively, device='cpu')


@pytest.fixture
def photos(own, tmp_path):
    """Three images, one in a folder of its own."""
    shutil.copytree(own.data / 'val', tmp_path / 'photos')
    (tmp_path / 'photos' / 'more').mkdir()
    (tmp_path / 'photos' / 'shape 101.png').rename(tmp_path / 'photos' / 'more' / 'shape 101.png')
    return tmp_path / 'photos'


def run(own, *args):
    return predict.main([*map(str, args), '--checkpoint', str(own.lively), '--device', 'cpu'])


def bomb():
    """A PNG of a few kilobytes that says it has 40,000 x 40,000 pixels."""

    def chunk(kind, data):
        return len(data).to_bytes(4, 'big') + kind + data + zlib.crc32(kind + data).to_bytes(4, 'big')

    header = (40000).to_bytes(4, 'big') * 2 + bytes([8, 2, 0, 0, 0])
    return (
        b'\x89PNG\r\n\x1a\n'
        + chunk(b'IHDR', header)
        + chunk(b'IDAT', zlib.compress(bytes(10**6)))
        + chunk(b'IEND', b'')
    )


def test_arrays_in_arrays_out(own, detector, monkeypatch):
    """The same as MMDetection's own function finds, in pixels of the image, whatever its size."""
    model = detector.model
    model.cfg = Config.fromfile(own.checkpoint.parent / next(own.checkpoint.parent.glob('*.py')))
    monkeypatch.setitem(model.bbox_head.test_cfg.nms, 'iou_threshold', 0.1)  # so that NMS has something to do
    for size in (60, 100), (333, 211):
        image = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
        found, expected = detector(image), inference_detector(model, image)
        assert len(found) > 10
        for name, field in (('boxes', 'bboxes'), ('scores', 'scores'), ('labels', 'labels')):
            torch.testing.assert_close(torch.from_numpy(getattr(found, name)), expected.pred_instances[field])
        kept = detector(image, nms=True)
        torch.testing.assert_close(torch.from_numpy(kept.boxes), expected.pred_instances_nms.bboxes)
        assert not np.array_equal(kept.boxes, found.boxes)
        assert found.boxes.max() <= max(size) and found.masks is None
        above = detector(image, score=float(found.scores[4]))
        assert len(above) == 4 and (above.scores > found.scores[4]).all()


def test_blue_comes_first(detector):
    """Channels the other way round are another image to it."""
    image = np.zeros((64, 64, 3), np.uint8)
    image[16:48, 16:48, 2] = 255
    assert not np.allclose(detector(image).scores[:5], detector(image[..., ::-1].copy()).scores[:5])


@pytest.mark.parametrize(
    'image',
    [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.float32), np.zeros((8, 8, 4), np.uint8), 'a.jpg', None],
    ids=['grey', 'float', 'alpha', 'name', 'None'],
)
def test_what_is_no_image(detector, image):
    with pytest.raises(InputError, match=r'an image must be an array \(H, W, 3\) of uint8, blue first'):
        detector(image)


def test_one_pixel_is_an_image(detector):
    detector(np.zeros((1, 1, 3), np.uint8))
    with pytest.raises(InputError, match='must have pixels'):
        detector(np.zeros((0, 5, 3), np.uint8))


def test_a_folder(own, detector, photos, tmp_path, capsys):
    """Boxes are in COCO's files, which pycocotools takes, and every image is drawn under its name."""
    out = tmp_path / 'out'
    assert run(own, photos, '--out', out, '--score', 0.25) == 0
    images = json.loads((out / 'images.json').read_text())
    results = json.loads((out / 'detections.json').read_text())
    names = ['more/shape 101.png', 'shape 100.png', 'shape 102.png']
    assert [(image['id'], image['file_name']) for image in images['images']] == list(enumerate(names, 1))
    assert images['images'][0].items() >= dict(width=100, height=60).items()
    assert [category['name'] for category in images['categories']] == list(detector.classes)
    found = detector(cv2.imread(str(photos / names[0])), 0.25)
    first = [result for result in results if result['image_id'] == 1]
    assert len(first) == len(found) > 0
    for result, box, score, label in zip(first, found.boxes, found.scores, found.labels):
        assert result['bbox'] == pytest.approx([box[0], box[1], box[2] - box[0], box[3] - box[1]], abs=2e-3)
        assert (result['score'], result['category_id']) == (pytest.approx(score, abs=1e-6), label + 1)
    assert len(COCO(out / 'images.json').loadRes(str(out / 'detections.json')).anns) == len(results)
    for name in names:
        drawn, image = cv2.imread(str(out / name)), cv2.imread(str(photos / name))
        factor = 480 // 100
        assert drawn.shape == (60 * factor, 100 * factor, 3)
        plain = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        assert (drawn != plain).any(axis=2).mean() > 0.02  # lines and names stand on it
    output = capsys.readouterr()
    assert f'{len(results)} detections on 3 images in {out}\n' in output.out and output.err == ''


def test_ids_of_an_annotation_file(own, tmp_path):
    """What is found can be evaluated at once."""
    out, truth = tmp_path / 'out', own.data / 'val.json'
    assert run(own, own.data / 'val', '--out', out, '--score', 0, '--annotations', truth) == 0
    results = json.loads((out / 'detections.json').read_text())
    assert {result['image_id'] for result in results} == {100, 101, 102}
    assert {result['category_id'] for result in results} <= set(range(10, 90, 10))
    COCO(truth).loadRes(str(out / 'detections.json'))


def test_one_image_and_again(own, photos, tmp_path, capsys):
    """An image alone; what another run wrote is not taken for input."""
    assert run(own, photos / 'shape 100.png', '--out', photos / 'found') == 0
    assert json.loads((photos / 'found' / 'images.json').read_text())['images'][0]['file_name'] == 'shape 100.png'
    assert run(own, photos, '--out', photos / 'found') == 0
    assert 'on 3 images' in capsys.readouterr().out


def test_a_broken_image_is_named_and_the_rest_done(own, photos, tmp_path, capsys):
    whole = (photos / 'shape 100.png').read_bytes()
    (photos / 'a.png').write_bytes(whole[: len(whole) // 2])
    (photos / 'b.jpg').write_bytes(b'')
    (photos / 'c.JPG').write_text('no image')
    (photos / 'd.png').write_bytes(bomb())
    (photos / 'f.png').symlink_to(photos / 'f.png')
    damaged = bytearray(whole)
    damaged[60] ^= 255
    (photos / 'e.png').write_bytes(damaged)
    assert run(own, photos, '--out', tmp_path / 'out') == 1
    output = capsys.readouterr()
    lines = output.err.splitlines()
    assert [line.partition('photos/')[2][:5] for line in lines] == 'a.png b.jpg c.JPG d.png e.png f.png'.split()
    assert all(line.startswith('predict: ') for line in lines) and 'decompression bomb' in lines[3]
    assert 'on 3 images' in output.out and output.out.endswith('6 failed\n')
    images = json.loads((tmp_path / 'out' / 'images.json').read_text())['images']
    assert [image['id'] for image in images] == [7, 8, 9]  # an image's id does not depend on what is broken


def test_an_image_that_the_detector_fails_on_costs_no_other(own, photos, tmp_path, capsys):
    """1200 x 1 pixels are resized to a height of 0."""
    cv2.imwrite(str(photos / 'a thin.png'), np.zeros((1, 1200, 3), np.uint8))
    assert run(own, photos, '--out', tmp_path / 'out', '--score', 0.25) == 1
    output = capsys.readouterr()
    assert output.err.startswith(f'predict: {photos}/a thin.png failed: ') and output.err.count('\n') == 1
    assert 'on 3 images' in output.out and output.out.endswith('1 failed\n')
    assert len(json.loads((tmp_path / 'out' / 'images.json').read_text())['images']) == 3
    assert json.loads((tmp_path / 'out' / 'detections.json').read_text())


def test_a_full_disk_ends_it_with_one_line(own, photos, tmp_path, capsys, mount):
    """The images are not to blame."""
    mount(tmp_path / 'out', 'size=8k')
    assert run(own, photos, '--out', tmp_path / 'out', '--score', 0.25) == 2
    error = capsys.readouterr().err
    assert error.count('\n') == 1 and error.startswith(f'predict: {tmp_path}/out/')
    assert error.endswith(' cannot be written: No space left on device: choose another folder with --out\n')


def test_what_is_found_is_kept_where_a_drawing_fails(own, photos, tmp_path, capsys):
    (tmp_path / 'out' / 'shape 100.png').mkdir(parents=True)
    assert run(own, photos / 'shape 100.png', '--out', tmp_path / 'out', '--score', 0.25) == 1
    assert 'shape 100.png failed: ' in capsys.readouterr().err
    assert json.loads((tmp_path / 'out' / 'detections.json').read_text())
    left = {path.name for path in (tmp_path / 'out').iterdir()}
    assert left == {'shape 100.png', 'detections.json', 'images.json'}


def test_what_was_found_before_it_is_stopped_is_kept(own, photos, tmp_path, capsys, monkeypatch):
    """Ctrl-C at the last image."""

    def interrupted(path):
        if path.name == 'shape 102.png':
            raise KeyboardInterrupt
        return read_image(path)

    monkeypatch.setattr(predict, 'read_image', interrupted)
    assert run(own, photos, '--out', tmp_path / 'out', '--score', 0.25) == 130
    assert capsys.readouterr().err == 'predict: stopped\n'
    images, found = (json.loads((tmp_path / 'out' / f'{name}.json').read_text()) for name in ('images', 'detections'))
    assert [image['id'] for image in images['images']] == [1, 2] == sorted({result['image_id'] for result in found})


def test_linked_folders(photos, tmp_path):
    """They are followed, but not in circles, nor to what is found under its own name."""
    (tmp_path / 'elsewhere').mkdir()
    shutil.copy(photos / 'shape 100.png', tmp_path / 'elsewhere' / 'x.png')
    (photos / 'linked').symlink_to(tmp_path / 'elsewhere')
    (tmp_path / 'elsewhere' / 'back').symlink_to(photos)
    (photos / 'again').symlink_to(photos / 'more')
    (photos / 'lost.png').symlink_to(tmp_path / 'nothing.png')
    (tmp_path / 'out').mkdir()
    shutil.copy(photos / 'shape 100.png', tmp_path / 'out' / 'drawn.png')
    (photos / 'results').symlink_to(tmp_path / 'out')
    names = ['linked/x.png', 'lost.png', 'more/shape 101.png', 'shape 100.png', 'shape 102.png']
    images, others = find_images(photos, leave_out=tmp_path / 'out')
    assert [path.relative_to(photos).as_posix() for path in images] == names and others == []


def test_the_folder_to_write_may_lie_above_the_images(own, photos, monkeypatch, capsys):
    monkeypatch.chdir(photos.parent)
    assert run(own, 'photos', '--out', '.', '--score', 0.9) == 0
    assert 'on 3 images in .\n' in capsys.readouterr().out


def test_originals_are_never_drawn_on(own, photos, tmp_path, capsys):
    """A link leads to the original, or the original has the name of a drawing."""
    originals = tmp_path / 'originals'
    originals.mkdir()
    whole = (photos / 'shape 100.png').read_bytes()
    (originals / 'a.png').write_bytes(whole)
    (photos / 'a.png').symlink_to(originals / 'a.png')
    (photos / 'photos').mkdir()
    (photos / 'photos' / 'b.png').write_bytes(whole)
    (photos / 'b.png').write_bytes(whole)
    (tmp_path / 'single').mkdir()
    (tmp_path / 'single' / 'a.png').symlink_to(originals / 'a.png')
    for images, out in (
        (photos, originals),
        (photos, tmp_path),
        (tmp_path / 'single' / 'a.png', originals),
        (tmp_path / 'single' / 'a.png', tmp_path / 'single'),
    ):
        assert run(own, images, '--out', out) == 2
        assert f'--out {out} would overwrite {"" if images == photos else out / images.name}' in capsys.readouterr().err
    assert (originals / 'a.png').read_bytes() == (photos / 'b.png').read_bytes() == whole


def test_a_drawing_replaces_a_link(own, photos, tmp_path):
    """It is not written to the file that the link names."""
    other = tmp_path / 'other.png'
    other.write_bytes(b'precious')
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'shape 100.png').symlink_to(other)
    assert run(own, photos / 'shape 100.png', '--out', tmp_path / 'out', '--score', 0.9) == 0
    assert other.read_bytes() == b'precious' and cv2.imread(str(tmp_path / 'out' / 'shape 100.png')) is not None


def test_every_image_has_a_drawing_of_its_own():
    names = ['scan', 'scan.png', 'scan.2.png', 'a.gif', 'b.jpg']
    assert predict.drawn_names(names) == {
        'scan': 'scan.3.png',
        'scan.png': 'scan.png',
        'scan.2.png': 'scan.2.png',
        'a.gif': 'a.gif.png',
        'b.jpg': 'b.jpg',
    }


@pytest.mark.parametrize(
    'args, says',
    [
        (['nothing.jpg'], 'nothing.jpg is missing: name an image or a folder of images'),
        (['empty'], 'empty has no images'),
        (['photos', '--out', 'photos'], 'would overwrite the images that are read'),
        (['photos/shape 100.png', '--out', 'photos'], 'would overwrite photos/shape 100.png'),
        (['photos', '--out', 'file'], 'file: File exists: choose another folder'),
        (['photos', '--annotations', 'none.json'], 'none.json is missing'),
        (['photos', '--annotations', 'file'], 'file is not JSON'),
        (['photos', '--annotations', 'list.json'], "list.json has no list 'images'"),
        (['photos', '--annotations', 'other.json'], "other.json lists no image 'more/shape 101.png'"),
        (['photos', '--config', 'none.py'], 'none.py is missing'),
        (['photos', '--config', 'bad.py'], 'bad.py cannot be read as a config (ZeroDivisionError: division by zero)'),
        (['photos', '--config', 'void.py'], 'void.py has no model'),
        (['photos', '--device', 'tpu'], "device 'tpu' cannot be used"),
    ],
    ids=lambda value: ' '.join(value) if isinstance(value, list) else '',
)
def test_what_is_wrong_is_said_in_a_line(own, photos, tmp_path, monkeypatch, capsys, args, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'empty').mkdir()
    for name, text in dict(file='', bad='1 / 0', void='a = 1').items():
        (tmp_path / (name if name == 'file' else f'{name}.py')).write_text(text)
    (tmp_path / 'list.json').write_text('[1]')
    (tmp_path / 'other.json').write_text('{"images": [], "categories": []}')
    assert predict.main([*args, '--checkpoint', str(own.lively)]) == 2
    error = capsys.readouterr().err
    assert error.startswith('predict: ') and says in error and error.count('\n') == 1


def test_nms_that_is_not_there(own, detector, photos, tmp_path, monkeypatch, capsys):
    """Detection without NMS does not need it. Asked for, it is refused in a line, by the detector and the command."""
    image = cv2.imread(str(photos / 'shape 100.png'))
    expected = detector(image)
    for nms, says in (
        (None, 'model.test_cfg has no nms'),
        (dict(type='soft_nms'), "operation 'softnms' needs mmcv with compiled"),
    ):
        monkeypatch.setitem(detector.model.test_cfg, 'nms', nms)
        assert np.array_equal(detector(image).boxes, expected.boxes)
        if nms is None or provide_mmcv_ops():
            with pytest.raises(InputError, match=says):
                detector(image, nms=True)
    config = Config.fromfile(next(own.checkpoint.parent.glob('*.py')))
    config.model.test_cfg.nms = None
    config.dump(tmp_path / 'config.py')
    assert run(own, photos, '--out', tmp_path / 'out', '--config', tmp_path / 'config.py', '--nms') == 2
    error = capsys.readouterr().err
    assert error.startswith('predict: model.test_cfg has no nms') and error.count('\n') == 1


@pytest.mark.slow
def test_progress_is_shown_on_a_terminal(own, photos, tmp_path):
    """As a user calls it; on a terminal there is a bar."""
    reader, writer = pty.openpty()
    command = [sys.executable, '-m', 'o2f.predict', str(photos), '--checkpoint', str(own.lively), '--score', '0.6']
    environment = dict(os.environ, TERM='xterm', COLUMNS='100')
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=writer, cwd=tmp_path, env=environment)
    os.close(writer)
    shown = b''
    try:
        while chunk := os.read(reader, 65536):
            shown += chunk
    except OSError:  # the other end is closed
        pass
    printed = process.communicate(timeout=60)[0].decode()
    os.close(reader)
    assert process.returncode == 0 and 'on 3 images in predictions' in printed, shown.decode()
    assert b'detecting' in shown and b'100%' in shown and b'Traceback' not in shown


def test_all_images_that_can_be_read(own, photos, tmp_path, capsys):
    """Whatever they end in; what is left out is counted; pictures are drawn in a format that can be written."""
    whole = Image.open(photos / 'shape 100.png').convert('RGB')
    names = ['a.gif', 'b.jfif', 'c.jpe', 'd', 'e.ppm', 'f.GIF']
    for name in names:
        whole.save(photos / name, format=dict(a='gif', e='ppm', f='gif').get(name[0], 'jpeg'))
    for name in ('x.heic', 'notes.txt', 'Makefile', '.hidden.txt'):
        (photos / name).write_text('no image')
    assert run(own, photos, '--out', tmp_path / 'out') == 0
    output = capsys.readouterr()
    assert output.out.endswith(
        'on 9 images in ' + str(tmp_path / 'out') + ', 3 files left out (.heic, .txt, Makefile)\n'
    )
    listed = [image['file_name'] for image in json.loads((tmp_path / 'out' / 'images.json').read_text())['images']]
    assert set(names) < set(listed) and output.err == ''
    for name in names:
        assert cv2.imread(str(tmp_path / 'out' / f'{name}.png')) is not None


@pytest.mark.parametrize('name', ['a.jfif', 'photo', 'a.gif'])
def test_one_image_of_any_ending(own, photos, tmp_path, name):
    Image.open(photos / 'shape 100.png').convert('RGB').save(photos / name, 'gif' if name == 'a.gif' else 'jpeg')
    assert run(own, photos / name, '--out', tmp_path / 'out') == 0
    assert cv2.imread(str(tmp_path / 'out' / f'{name}.png')) is not None


@pytest.mark.parametrize('mode', ['L', 'RGBA', 'P', 'I;16', 'CMYK', 'LA', '1'])
def test_any_kind_of_pixels(tmp_path, mode):
    path = tmp_path / ('a.jpg' if mode == 'CMYK' else 'a.png')
    Image.new(mode, (40, 30)).save(path)
    pixels = read_image(path)
    assert pixels.shape == (30, 40, 3) and pixels.dtype == np.uint8


def ramp(path, kind):
    """Pixels from 0 to 60000."""
    values = np.linspace(0, 60000, 40 * 30).reshape(30, 40).astype(kind)
    Image.fromarray(values).save(path)
    return path, values


@pytest.mark.parametrize(
    'name, kind', [('a.tif', 'int32'), ('a.tif', 'float32'), ('a.pfm', 'float32'), ('a.im', 'uint16')]
)
def test_pixels_of_unknown_range_are_refused(tmp_path, name, kind):
    """They would be clipped to 0 to 255."""
    with pytest.raises(InputError, match=rf'{name} cannot be read: its pixels are of mode [IF]\S*: scale them'):
        read_image(ramp(tmp_path / name, kind)[0])


@pytest.mark.parametrize('name', ['a.tif', 'a.png', 'a.pgm'])
def test_16_bits_are_scaled(tmp_path, name):
    path, values = ramp(tmp_path / name, np.uint16)
    assert abs(read_image(path) - values[..., None] / 256).max() <= 1


def drawn(classes, tmp_path):
    """A picture with one detection of the first class."""
    found = Detections(np.array([[20, 60, 300, 200]], np.float32), np.array([0.9], np.float32), np.array([0]))
    drawing = predict.Drawing(classes, 'random')
    drawing.write(np.full((240, 480, 3), 90, np.uint8), found, tmp_path / 'x.png')
    return drawing.warnings, cv2.imread(str(tmp_path / 'x.png'))


def test_names_with_dollars(tmp_path):
    """As text, not as a formula: the picture is that of any other name."""
    warnings, formula = drawn(('US$5_{x}$',), tmp_path)
    _, plain = drawn(('US§5_{x}§',), tmp_path)
    different = (formula != plain).any(axis=2)
    rows, columns = np.nonzero(different)
    assert warnings == [] and different.any()
    assert np.ptp(rows) < 20 and different.mean() < 0.01  # two letters, on one line


def test_names_in_letters_that_no_font_has(tmp_path):
    """One line says so, and all else is drawn."""
    letters = ''.join(map(chr, (0x12000, 0x13000, 0x16800)))  # cuneiform, hieroglyphs, Bamum
    [line], picture = drawn((f'{letters}a', 'b'), tmp_path)
    assert line.startswith('no font here has the letters ') and picture is not None


def test_names_in_chinese(tmp_path):
    """With a font that has the letters, or one line that says so."""
    warnings, picture = drawn(('猫',), tmp_path)
    fonts = [font for font in predict.font_manager.fontManager.ttflist if not font.name.startswith('Last Resort')]
    has = any(ord('猫') in predict._letters(font.fname) for font in fonts)
    assert bool(warnings) != has
    _, other = drawn(('狗',), tmp_path)
    assert (picture != other).any() == has  # squares are alike


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_weights_that_are_not_finite(own, photos, tmp_path, capsys, value):
    content = torch.load(own.lively)
    content['state_dict']['bbox_head.conv_cls.bias'][0] = value
    path = tmp_path / 'diverged.pth'
    torch.save(content, path)
    assert predict.main([str(photos), '--checkpoint', str(path), '--out', str(tmp_path / 'out')]) == 2
    assert export.main([str(path), '--onnx', str(tmp_path / 'x.onnx')]) == 2
    lines = capsys.readouterr().err.splitlines()
    says = f'{path} has weights that are not finite: bbox_head.conv_cls.bias: its training diverged'
    assert len(lines) == 2 and all(says in line for line in lines) and not (tmp_path / 'out').exists()
