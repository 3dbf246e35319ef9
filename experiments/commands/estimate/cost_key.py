"""Which runs cost the same. Settings that change what is learned, but not how much is computed, are ignored."""

import hashlib
import json
from typing import Any, Dict

#: Parts of a head whose types affect the cost, but whose numbers do not.
_OF_THE_METHOD = ('selection', 'degrees', 'auxiliary')


def cost_key(config: dict) -> str:
    """A digest of all that affects the cost of a training step and an evaluation: model, pipelines, batch and data.

    Args:
        config (dict): resolved config of a run.
    """
    train, val = config['train_dataloader'], config['val_dataloader']
    parts = dict(
        model=_model(config['model']),
        optim=_shapes(config['optim_wrapper']),
        train=[train['dataset'], train['batch_size']],
        val=[val['dataset'], val['batch_size'], config.get('epoch_images')],
        data=[config.get('generate'), config.get('subset')],
    )
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:12]


def _model(model: Dict[str, Any]) -> Dict[str, Any]:
    parts = {key: value for key, value in model.items() if key not in ('test_cfg', 'train_cfg')}
    head = parts.get('bbox_head')
    if isinstance(head, dict):
        methods = {key: _shapes(head[key]) for key in head if key in _OF_THE_METHOD or key.startswith('loss')}
        parts['bbox_head'] = {**head, **methods}
    return parts


def _shapes(value: Any) -> Any:
    """A config with its types and switches, but without its numbers."""
    if isinstance(value, dict):
        return {key: _shapes(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_shapes(item) for item in value]
    return value if isinstance(value, (str, bool)) or value is None else 0
