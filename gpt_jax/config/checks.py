"""Combinations of config fields that cannot run, each with a remedy.

The rules of a subject stand beside it (`program/setup.py` lists them); here are those
of fields that no single package owns.
"""

from gpt_jax.config.schema import parse_layer
from gpt_jax.core.axes import LOGICAL_AXES, MESH_AXES
from gpt_jax.core.errors import Problem
from gpt_jax.core.registry import nearest

MAX_RETRIES, DAY_SECONDS = 100, 86_400


def _heads(config):
  model = config.model
  if model.head_dim is None and model.d_model % model.num_heads:
    yield Problem(
      'model.num_heads',
      f'={model.num_heads}: does not divide model.d_model={model.d_model}; set'
      ' model.head_dim, which need not be their quotient',
    )
  kv_heads = model.num_kv_heads or model.num_heads
  if model.num_heads % kv_heads:
    yield Problem(
      'model.num_kv_heads',
      f'={kv_heads}: expected a divisor of model.num_heads={model.num_heads}',
    )


def _max_seq_len(config):
  model = config.model
  if model.max_seq_len and model.max_seq_len < config.data.seq_len:
    wanted = config.data.seq_len
    if not config.init_from:
      fix = 'leave it None or raise it'
    elif model.position == 'learned':
      fix = f'its table of positions ends there: set data.seq_len={model.max_seq_len}'
    else:
      fix = f'it may be raised (model.max_seq_len={wanted}), or set data.seq_len lower'
    text = f'={model.max_seq_len}: shorter than data.seq_len={wanted}; {fix}'
    yield Problem('model.max_seq_len', text)


def _layers(config):
  model = config.model
  pattern = model.layer_pattern
  if not pattern:
    yield Problem(
      'model.layer_pattern', '=(): expected at least one of global, local:W'
    )
  for layer in pattern:
    try:
      parse_layer(layer)
    except ValueError:
      yield Problem(
        'model.layer_pattern',
        f': {layer!r} is not a layer; expected "global" or "local:W" with W keys in'
        ' tokens, such as "local:256"',
      )
  if pattern and model.num_layers % len(pattern):
    yield Problem(
      'model.layer_pattern',
      f': its length {len(pattern)} does not divide model.num_layers='
      f'{model.num_layers}',
    )
  if model.block.startswith('parallel') and model.norm_position != 'pre':
    yield Problem(
      'model.norm_position',
      f'={model.norm_position!r}: model.block={model.block!r} has its norms before the'
      ' branches; set "pre"',
    )


def _checkpoint(config):
  checkpoint, sets = config.checkpoint, config.eval.sets
  name = checkpoint.best_metric.rpartition('/')[0]
  if checkpoint.keep_best and sets and name not in sets:
    yield Problem(
      'checkpoint.best_metric',
      f'={checkpoint.best_metric!r}: expected SET/METRIC with a set of eval.sets'
      f' ({", ".join(map(str, sets))}), such as {next(iter(sets))}/loss; or set'
      ' checkpoint.keep_best to 0',
    )
  waits = checkpoint.retry_seconds
  if len(waits) > MAX_RETRIES or not all(0 <= wait <= DAY_SECONDS for wait in waits):
    yield Problem(
      'checkpoint.retry_seconds',
      f'={waits}: expected at most {MAX_RETRIES} waits of 0 to {DAY_SECONDS} seconds',
    )


def _mesh(config):
  mesh = config.parallel.mesh
  for axis, size in mesh.items():
    field = f'parallel.mesh.{axis}'
    if axis not in MESH_AXES:
      yield Problem(field, f': unknown axis; expected among {", ".join(MESH_AXES)}')
    if type(size) is not int or (size < 1 and size != -1):
      yield Problem(
        field,
        f'={size!r}: expected a positive number of devices, or -1 for what is left',
      )
  free = [axis for axis, size in mesh.items() if size == -1]
  if len([axis for axis in free if axis != 'data']) > 1:
    yield Problem(
      'parallel.mesh',
      f'={mesh}: only one axis may be -1, or data (then the number of slices) and one'
      f' other; give sizes to all but one of {", ".join(free)}',
    )


def _overrides(config):
  for name, axes in config.parallel.overrides.items():
    field = f'parallel.overrides.{name}'
    if name not in LOGICAL_AXES:
      hint = nearest(name, LOGICAL_AXES)
      known = f'; did you mean {hint!r}?' if hint else f' of {", ".join(LOGICAL_AXES)}'
      yield Problem(field, f': unknown logical axis{known}')
    listed = axes if isinstance(axes, tuple) else () if axes is None else (axes,)
    if any(axis not in MESH_AXES for axis in listed):
      yield Problem(
        field, f'={axes!r}: expected None, or one or more of {", ".join(MESH_AXES)}'
      )


def _data(config):
  data = config.data
  for field, parts in (('data.mixture', data.mixture), ('eval.sets', config.eval.sets)):
    for key, part in parts.items():
      if not isinstance(part, dict):
        yield Problem(f'{field}.{key}', f'={part!r}: expected a dict of data fields')
  for key, part in data.mixture.items():
    weight = part.get('weight') if isinstance(part, dict) else 1
    if not _is_weight(weight):
      yield Problem(
        f'data.mixture.{key}.weight', f'={weight!r}: expected a number above 0'
      )
  if data.mask_documents and data.packing != 'concat':
    yield Problem(
      'data.mask_documents',
      f'=True: expected data.packing="concat", not {data.packing!r}; first_fit and'
      ' pad keep documents apart by themselves',
    )


def _is_weight(value):
  return type(value) in (int, float) and 0 < value < float('inf')


CHECKS = (
  _heads, _max_seq_len, _layers, _checkpoint, _mesh, _overrides, _data,
)  # fmt: skip
"""Each `check(config)` yields the Problems of a frozen Config."""
