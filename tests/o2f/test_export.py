"""The ONNX graph finds what PyTorch finds, on images of any size and number, and suppresses nothing."""

import copy
import json

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from own_data import CLASSES
from tiny_detectors import detector_config, fcos_head_config, head_config, make_detector
from torch import nn
from torchvision.ops import batched_nms

from o2f import export
from o2f.errors import InputError
from o2f.io.onnx_graph import EndToEnd

onnx = pytest.importorskip('onnx')
onnxruntime = pytest.importorskip('onnxruntime')

SIZES = ((1, 64, 96), (2, 128, 160), (2, 75, 50), (1, 32, 32))  # the third is no multiple of 32


@pytest.fixture(scope='module')
def r50(paper_model):
    """The paper's detector with random weights, whose scores are all over 0 to 1."""
    model = copy.deepcopy(paper_model)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, spread in (('conv_cls', 0.05), ('conv_reg', 0.05), ('conv_centerness', 0.05)):
            getattr(model.bbox_head, name).weight.normal_(0, spread)
        model.bbox_head.conv_reg.bias.fill_(1)
    return model.eval()


@pytest.fixture(scope='module')
def written(tmp_path_factory, r50):
    """name -> (module, file) of an exported detector."""
    folder = tmp_path_factory.mktemp('onnx')
    defaults = make_detector(max_per_img=300)
    del defaults.test_cfg['nms_pre'], defaults.test_cfg['score_thr']
    models = dict(
        r50=r50,
        defaults=defaults,
        tiny=make_detector(),
        poto=make_detector(head=head_config(score_factor='none')),
        filtered=make_detector(head=head_config(score_factor='3dmf')),
        few=make_detector(nms_pre=7, score_thr=0.2),
        pss=make_detector(head=head_config(score_factor='pss', second=dict(shares='predictors'))),
    )

    def write(name):
        path = folder / f'{name}.onnx'
        graph = EndToEnd(models[name]).eval()
        if not path.exists():
            export.write_onnx(graph, path, dict(classes='["cat"]'))
        return graph, path

    return write


def images_of(size, seed=3):
    """Smooth noise, so that there is something of every size in it."""
    count, height, width = size
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 1 + height // 8, 1 + width // 8, generator=generator)
    return (255 * nn.functional.interpolate(coarse, (height, width), mode='bilinear')).round().to(torch.uint8)


@torch.no_grad()
def predicted(model, images):
    """What MMDetection's own way through the model finds on each image alone, without NMS."""
    found = []
    for image in images:
        sample = DetDataSample(metainfo=dict(img_shape=tuple(image.shape[1:]), scale_factor=(1.0, 1.0)))
        [sample] = model.test_step(dict(inputs=[image], data_samples=[sample]))
        found.append(sample.pred_instances)
    return found


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('name', ['r50', 'tiny', 'poto', 'filtered', 'few', 'defaults', 'pss'])
def test_onnxruntime_finds_the_same(written, name, size):
    graph, path = written(name)
    images = images_of(size)
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    outputs = session.run(None, {'images': images.numpy()})
    kept = graph.settings.max_per_img
    assert [output.shape for output in outputs] == [(len(images), kept, 4), (len(images), kept), (len(images), kept)]
    expected = [np.zeros((len(images), kept, 4)), np.zeros((len(images), kept)), np.full((len(images), kept), -1)]
    for i, instances in enumerate(predicted(graph.model, images)):
        for output, values in zip(expected, (instances.bboxes, instances.scores, instances.labels)):
            output[i, : len(values)] = values.numpy()
    boxes, scores, same_labels, number = export.compare(outputs, expected)
    assert boxes <= 1e-3 and scores <= 1e-3 and same_labels
    found = expected[1][expected[1] > 0]
    assert len(found) > 1 or name == 'few'
    assert number >= len(found) // 3  # not only a few are compared
    assert name != 'few' or (expected[1] == 0).any()  # and not always as many as there may be


def nodes_of(graph):
    """All nodes of a graph and of the graphs in it; NMS is exported within an If."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            graphs = [attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else attribute.graphs
            for inner in graphs:
                yield from nodes_of(inner)


def renamed(graph):
    """The nodes of a graph with its tensors named in the order in which they appear, and its weights under these names.

    Exported names have numbers that count all parameters of the module, used or not."""
    names = {}

    def called(name):
        return names.setdefault(name, len(names))

    nodes = [
        (
            node.op_type,
            [called(name) for name in node.input],
            [called(name) for name in node.output],
            [each.SerializeToString() for each in node.attribute if each.type != onnx.AttributeProto.GRAPH],
        )
        for node in nodes_of(graph)
    ]
    return nodes, sorted((called(each.name), onnx.numpy_helper.to_array(each).tolist()) for each in graph.initializer)


@pytest.mark.parametrize('shares', ['towers', 'neck', 'predictors'])
def test_a_second_branch_is_not_in_the_graph(tmp_path, shares):
    """With the same weights, the graph is that of the single-branch detector: nodes, order, wiring and weights."""
    dual, alone = make_detector(head=head_config(second=dict(shares=shares))), make_detector()
    alone.load_state_dict({name: value for name, value in dual.state_dict().items() if '.second.' not in name})
    graphs = []
    for name, model in (('dual', dual), ('alone', alone)):
        export.write_onnx(EndToEnd(model).eval(), tmp_path / name, {})
        graphs.append(renamed(onnx.load(tmp_path / name).graph))
    assert graphs[0] == graphs[1] and len(graphs[0][0]) > 100
    assert len(list(dual.parameters())) > len(list(alone.parameters())) or shares == 'predictors'


class Suppressing(EndToEnd):
    """The same with NMS at its end."""

    def best(self, found):
        kept = batched_nms(found.boxes[0], found.scores[0], found.labels[0], 0.6)
        return tuple(part[:, kept] for part in found)


@pytest.mark.parametrize('name', ['r50', 'tiny', 'poto', 'filtered', 'few'])
def test_no_nms_is_in_the_graph(written, name):
    model = onnx.load(written(name)[1])
    kinds = {node.op_type for node in nodes_of(model.graph)}
    assert 'TopK' in kinds and not any('nms' in kind.lower() or 'suppression' in kind.lower() for kind in kinds)
    assert {node.domain for node in nodes_of(model.graph)} == {''}  # nothing but ONNX's own operations
    assert not model.functions
    [images] = model.graph.input
    shape = [dim.dim_param or dim.dim_value for dim in images.type.tensor_type.shape.dim]
    assert images.name == 'images' and shape == ['batch', 3, 'height', 'width']
    assert [output.name for output in model.graph.output] == ['boxes', 'scores', 'labels']
    assert model.metadata_props[0].value == '["cat"]'


def test_nms_would_be_found(tmp_path):
    """It is not at the top of a graph, where a glance would look for it."""
    path = tmp_path / 'nms.onnx'
    export.write_onnx(Suppressing(make_detector()).eval(), path, {}, batch=1)
    graph = onnx.load(path).graph
    assert 'NonMaxSuppression' in {node.op_type for node in nodes_of(graph)} - {node.op_type for node in graph.node}


def test_a_difference_is_seen():
    """Boxes or labels that are others are told from detections of equal score that changed places."""
    boxes = np.arange(12, dtype=float).reshape(1, 3, 4)
    outputs = boxes, np.array([[0.9, 0.5, 0.5]]), np.array([[1, 2, 3]])
    assert export.compare(outputs, outputs) == (0, 0, True, 1)
    assert export.compare([part[:, :1] for part in outputs], outputs) == (0, 0, True, 1)
    swapped = boxes[:, [0, 2, 1]], outputs[1], outputs[2][:, [0, 2, 1]]
    assert export.compare(swapped, outputs) == (0, 0, True, 1)
    assert export.compare((boxes + [[[1], [0], [0]]], *outputs[1:]), outputs) == (1, 0, True, 1)
    assert export.compare((boxes, outputs[1], outputs[2] + [1, 0, 0]), outputs) == (0, 0, False, 1)
    assert export.compare((boxes, outputs[1] + [0, 0, 0.25], outputs[2]), outputs) == (0, 0.25, True, 1)


def test_a_graph_of_another_detector_is_refused(written):
    other = EndToEnd(make_detector(seed=1)).eval()
    with pytest.raises(InputError, match='onnxruntime finds other boxes than PyTorch'):
        export.check(other, written('tiny')[1])


class Shifted(EndToEnd):
    """A graph that decodes otherwise than its detector."""

    def best(self, found):
        return super().best(found._replace(boxes=found.boxes + 1))


def test_a_graph_that_decodes_otherwise_is_refused(tmp_path):
    """onnxruntime is compared with the detector, not with the module that was written."""
    graph, path = Shifted(make_detector()).eval(), tmp_path / 'shifted.onnx'
    export.write_onnx(graph, path, {})
    with pytest.raises(InputError, match='onnxruntime finds other boxes than PyTorch'):
        export.check(graph, path)


@pytest.mark.parametrize('lowered', [12, 22, 100])
def test_a_detector_that_finds_nothing_on_noise(tmp_path, lowered):
    """It is compared without the score threshold, then with higher logits; or refused if nothing is left to compare."""
    model, path = make_detector(), tmp_path / 'silent.onnx'
    with torch.no_grad():
        model.bbox_head.conv_cls.bias -= lowered
    graph = EndToEnd(model).eval()
    export.write_onnx(graph, path, {})
    assert not graph(export._images((3, 90, 70)))[1].any()
    if lowered == 100:
        with pytest.raises(InputError, match='the graph cannot be compared with the detector'):
            export.check(graph, path)
        return
    bias = model.bbox_head.conv_cls.bias.clone()
    export.check(graph, path)
    assert torch.equal(model.bbox_head.conv_cls.bias, bias)
    with torch.no_grad():
        model.bbox_head.conv_reg.bias += 1
    with pytest.raises(InputError, match='onnxruntime finds other boxes than PyTorch'):
        export.check(graph, path)


def test_what_cannot_be_exported_is_named():
    with pytest.raises(InputError, match='TwoReadingsFCOS with FCOSHead cannot be exported'):
        EndToEnd(make_detector(head=fcos_head_config()))
    with pytest.raises(InputError, match='min_bbox_size is 20, in pixels of the image before it is resized'):
        EndToEnd(make_detector(min_bbox_size=20))
    endless = make_detector()
    del endless.test_cfg['max_per_img']
    with pytest.raises(InputError, match='test_cfg.max_per_img is None: set it'):
        EndToEnd(endless)
    plain = detector_config()
    del plain['data_preprocessor']['mean'], plain['data_preprocessor']['std']
    from mmdet.registry import MODELS

    with pytest.raises(InputError, match='without mean and std'):
        EndToEnd(MODELS.build(plain))


def test_the_command(own, tmp_path, capsys):
    """A checkpoint of mmengine's Runner, exported by the command and read back by onnxruntime alone."""
    path = tmp_path / 'new' / 'detector.onnx'
    assert export.main([str(own.lively), '--onnx', str(path)]) == 0
    assert 'opset 17, 3 classes, 100 boxes per image; onnxruntime and PyTorch differ by' in capsys.readouterr().out
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    assert json.loads(session.get_modelmeta().custom_metadata_map['classes']) == list(CLASSES)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    'content, says', [(None, 'is missing: name a checkpoint file'), (b'no', 'is damaged, or no checkpoint')]
)
def test_bad_files(tmp_path, capsys, content, says):
    path = tmp_path / 'file.pth'
    if content:
        path.write_bytes(content)
    assert export.main([str(path), '--onnx', str(tmp_path / 'x.onnx')]) == 2
    error = capsys.readouterr().err
    assert error == f'export: {path} {says}\n' and not (tmp_path / 'x.onnx').exists()


def test_a_folder_that_cannot_be_written(own, tmp_path, capsys):
    (tmp_path / 'file').touch()
    assert export.main([str(own.lively), '--onnx', str(tmp_path / 'file' / 'x.onnx')]) == 2
    assert capsys.readouterr().err.startswith(f'export: cannot write {tmp_path}/file/x.onnx: ')
