"""Combinations of config fields that cannot be run, each with a way out."""

import re

from gpt_jax.config.schema import parse_layer
from gpt_jax.core.axes import LOGICAL_AXES, MESH_AXES
from gpt_jax.core.registry import nearest

MAX_RETRIES, DAY_SECONDS = 100, 86_400


def _model(config):
  model, problems = config.model, []
  if model.head_dim is None and model.d_model % model.num_heads:
    problems.append(
      f'model.num_heads={model.num_heads}: does not divide model.d_model='
      f'{model.d_model}; set model.head_dim, which need not be their quotient'
    )
  kv_heads = model.num_kv_heads or model.num_heads
  if model.num_heads % kv_heads:
    problems.append(
      f'model.num_kv_heads={kv_heads}: expected a divisor of model.num_heads='
      f'{model.num_heads}'
    )
  head_dim = model.head_dim or model.d_model // model.num_heads
  if model.position == 'rope' and head_dim % 2:
    problems.append(
      f'model.position="rope": expected an even model.head_dim, not {head_dim}'
    )
  if model.rope_scaling == 'ntk' and head_dim < 4:
    problems.append(
      f'model.rope_scaling="ntk": stretches all pairs but the first, and head_dim='
      f'{head_dim} has one; set model.head_dim to 4 or more'
    )
  if model.position == 'sinusoidal' and model.d_model % 2:
    problems.append(
      f'model.position="sinusoidal": needs an even model.d_model, not {model.d_model}'
    )
  if model.max_seq_len and model.max_seq_len < config.data.seq_len:
    problems.append(
      f'model.max_seq_len={model.max_seq_len}: shorter than data.seq_len='
      f'{config.data.seq_len}; leave it None or raise it'
    )
  if model.rope_scaling != 'none' and model.position != 'rope':
    problems.append(
      f'model.rope_scaling={model.rope_scaling!r}: needs model.position="rope", not'
      f' {model.position!r}'
    )
  if model.block == 'parallel' and model.norm_position != 'pre':
    problems.append(
      f'model.norm_position={model.norm_position!r}: model.block="parallel" has one'
      ' norm before both branches; set "pre"'
    )
  return problems


_CANNOT = {
  'fused': ('softcap', 'dropout'),
  'blockwise': ('dropout',),
  'ring': ('dropout',),
}
"""Kernel -> what it refuses; a kernel that is not here does everything."""


def _kernel(config):
  model, kernel = config.model, config.attention.kernel
  follows = model.attention_dropout is None
  asked = {
    'softcap': ('attention.softcap', config.attention.softcap),
    'dropout': (
      'model.attention_dropout', model.dropout if follows else model.attention_dropout
    ),
  }  # fmt: skip
  return [
    f'{field}={value}: the {kernel} kernel cannot do it; use attention.kernel="dense"'
    ' or 0'
    for field, value in (asked[feature] for feature in _CANNOT.get(kernel, ()))
    if value
  ]


def _layers(config):
  problems, pattern = [], config.model.layer_pattern
  if not pattern:
    problems.append('model.layer_pattern=(): expected at least one of global, local:W')
  for layer in pattern:
    try:
      parse_layer(layer)
    except ValueError:
      problems.append(
        f'model.layer_pattern: {layer!r} is not a layer; expected "global" or "local:W"'
        ' with W keys in tokens, such as "local:256"'
      )
  if pattern and config.model.num_layers % len(pattern):
    problems.append(
      f'model.layer_pattern: its length {len(pattern)} does not divide'
      f' model.num_layers={config.model.num_layers}'
    )
  return problems


def _objective(config):
  objective, problems = config.objective, []
  split = objective.mask_split
  if len(split) != 3 or min(split) < 0 or abs(sum(split) - 1) > 1e-6:
    problems.append(
      f'objective.mask_split={split}: expected three shares ([MASK], random, kept) that'
      ' sum to 1'
    )
  if objective.prefix_min > objective.prefix_max:
    problems.append(
      f'objective.prefix_min={objective.prefix_min}: above objective.prefix_max='
      f'{objective.prefix_max}'
    )
  return problems


def _schedule(config):
  schedule, problems = config.schedule, []
  for what in ('warmup', 'decay'):
    steps = getattr(schedule, f'{what}_steps')
    tokens = getattr(schedule, f'{what}_tokens')
    if steps is not None and tokens is not None:
      problems.append(
        f'schedule.{what}_steps={steps}: schedule.{what}_tokens={tokens} is given too;'
        ' keep one and set the other to None'
      )
  return problems


def _train(config):
  train, problems = config.train, []
  if (train.steps is None) == (train.tokens is None):
    problems.append(
      f'train.steps={train.steps}, train.tokens={train.tokens}: give exactly one, the'
      ' other None'
    )
  if train.batch_size % train.grad_accum:
    problems.append(
      f'train.grad_accum={train.grad_accum}: expected a divisor of train.batch_size='
      f'{train.batch_size}'
    )
  start = train.ramp_start_batch_size
  if (start is None) != (train.ramp_tokens is None):
    problems.append(
      f'train.ramp_start_batch_size={start}, train.ramp_tokens={train.ramp_tokens}: a'
      ' batch-size ramp needs both'
    )
  if start and (train.batch_size % start or start % train.grad_accum):
    problems.append(
      f'train.ramp_start_batch_size={start}: expected a divisor of train.batch_size='
      f'{train.batch_size} and a multiple of train.grad_accum={train.grad_accum}'
    )
  return problems


def _checkpoint(config):
  """The best step is chosen by a figure that some eval set has to give."""
  checkpoint, sets = config.checkpoint, config.eval.sets
  name = checkpoint.best_metric.rpartition('/')[0]
  if not checkpoint.keep_best or not sets or name in sets:
    return []
  return [
    f'checkpoint.best_metric={checkpoint.best_metric!r}: expected SET/FIGURE with a set'
    f' of eval.sets ({", ".join(map(str, sets))}), such as {next(iter(sets))}/loss; or'
    ' set checkpoint.keep_best to 0'
  ]


def _retries(config):
  waits = config.checkpoint.retry_seconds
  if len(waits) <= MAX_RETRIES and all(0 <= wait <= DAY_SECONDS for wait in waits):
    return []
  return [
    f'checkpoint.retry_seconds={waits}: expected at most {MAX_RETRIES} waits of 0 to'
    f' {DAY_SECONDS} seconds'
  ]


def _mesh(config):
  problems, mesh = [], config.parallel.mesh
  for axis, size in mesh.items():
    if axis not in MESH_AXES:
      problems.append(
        f'parallel.mesh.{axis}: unknown axis; expected among {", ".join(MESH_AXES)}'
      )
    if type(size) is not int or (size < 1 and size != -1):
      problems.append(
        f'parallel.mesh.{axis}={size!r}: expected a positive number of devices, or -1'
        ' for what is left'
      )
  free = [axis for axis, size in mesh.items() if size == -1]
  if len([axis for axis in free if axis != 'data']) > 1:
    problems.append(
      f'parallel.mesh={mesh}: only one axis may be -1, or data (then the number of'
      f' slices) and one other; give sizes to all but one of {", ".join(free)}'
    )
  return problems


def _overrides(config):
  problems = []
  for name, axes in config.parallel.overrides.items():
    field = f'parallel.overrides.{name}'
    if name not in LOGICAL_AXES:
      hint = nearest(name, LOGICAL_AXES)
      problems.append(
        f'{field}: unknown logical axis'
        + (f'; did you mean {hint!r}?' if hint else f' of {", ".join(LOGICAL_AXES)}')
      )
    listed = axes if isinstance(axes, tuple) else () if axes is None else (axes,)
    if any(axis not in MESH_AXES for axis in listed):
      problems.append(
        f'{field}={axes!r}: expected None, or one or more of {", ".join(MESH_AXES)}'
      )
  return problems


def _data(config):
  problems = []
  for field in ('mixture', 'eval.sets'):
    parts = config.data.mixture if field == 'mixture' else config.eval.sets
    name = f'data.{field}' if field == 'mixture' else field
    for key, part in parts.items():
      if not isinstance(part, dict):
        problems.append(f'{name}.{key}={part!r}: expected a dict of data fields')
      elif field == 'mixture' and not _is_weight(part.get('weight')):
        problems.append(
          f'{name}.{key}.weight={part.get("weight")!r}: expected a number above 0'
        )
  if config.data.mask_documents and config.data.packing != 'concat':
    problems.append(
      f'data.mask_documents=True: expected data.packing="concat", not'
      f' {config.data.packing!r}; first_fit and pad keep documents apart by themselves'
    )
  return problems


def _is_weight(value):
  return type(value) in (int, float) and 0 < value < float('inf')


def _groups(config):
  allowed = {'match', 'learning_rate_scale', 'weight_decay', 'freeze'}
  problems = []
  for i, group in enumerate(config.optimizer.groups):
    field = f'optimizer.groups[{i}]'
    if not isinstance(group, dict) or 'match' not in group or set(group) - allowed:
      problems.append(
        f'{field}={group!r}: expected a dict with "match" and any of'
        f' {", ".join(sorted(allowed - {"match"}))}'
      )
      continue
    if not _is_pattern(group['match']):
      problems.append(
        f'{field}.match={group["match"]!r}: expected a regular expression on names'
      )
    for name in ('learning_rate_scale', 'weight_decay'):
      if name in group and not (group[name] == 0 or _is_weight(group[name])):
        problems.append(
          f'{field}.{name}={group[name]!r}: expected a number of at least 0'
        )
    if type(group.get('freeze', False)) is not bool:
      problems.append(f'{field}.freeze={group["freeze"]!r}: expected True or False')
  return problems


def _is_pattern(text):
  try:
    re.compile(text)
  except (re.error, TypeError):
    return False
  return isinstance(text, str)


CHECKS = [
  _model, _kernel, _layers, _objective, _schedule, _train, _checkpoint, _retries,
  _mesh, _overrides, _data, _groups,
]  # fmt: skip
"""Each `check(config)` returns a line per impossible combination in a frozen Config."""
