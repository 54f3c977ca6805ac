"""LoRA as peft has it: lora_A [r, in], lora_B [out, r], lora_magnitude_vector [out].

Where one matrix of theirs is several of ours (GPT-2's c_attn, NeoX's query_key_value),
a file's A is read by all of them, and B is split. The way back stacks ranks: the
factors A one after another, B in blocks; factors A that are equal are written once.
"""

import collections
import re

import numpy as np

from gpt_jax.core.errors import CheckpointError
from gpt_jax.peft import dora, layer_names, linears, lora_updates
from gpt_jax.peft.lora_updates import Update, unrolled
from gpt_jax.peft_formats import names
from gpt_jax.peft_formats.format import HARMLESS, Format

A, B, MAGNITUDE = 'lora_A.weight', 'lora_B.weight', 'lora_magnitude_vector'
BIASES = {'none': 'none', 'lora_only': 'targets', 'all': 'all'}
# Of these the base is another one, from which the start of A B was taken off.
_STARTS_INSIDE = ('pissa', 'olora', 'corda', 'loftq', 'lora_ga')
_OFF = (
  'alora_invocation_tokens', 'arrow_config', 'kasa_config', 'layer_replication',
  'loftq_config', 'lora_bias', 'megatron_config', 'monteclora_config',
  'target_parameters', 'trainable_token_indices', 'use_bdlora', 'use_qalora',
  'velora_config', 'ensure_weight_tying',
)  # fmt: skip
"""Options that have to be off."""
_IDLE = (
  'fan_in_fan_out', 'qalora_group_size', 'megatron_core', 'eva_config', 'corda_config',
  'lora_ga_config', 'runtime_config', 'exclude_modules', 'target_modules',
  'layers_to_transform', 'layers_pattern', 'modules_to_save',
)  # fmt: skip
"""Fields that say how it was trained, or that tensors say as well."""


# Out


def write(source):
  """Returns the LoraConfig and the tensors of a run."""
  config, options = source.config, source.config.peft.options
  updates = lora_updates.read(config, source.read(lora_updates.names(config)))
  tensors, ranks, alphas = {}, {}, {}
  for module in names.modules_of(source.family, config):
    parts = [updates.get(path) for path in module.paths]
    if any(part is not None for part in parts):
      parts = _stacked(parts, _kernels(source, module, parts))
      tensors |= _tensors_of(module, parts)
      rank = ranks[module.name] = parts[0].rank
      root = rank**0.5 if options.rank_stabilized else rank
      alphas[module.name] = float(f'{parts[0].scale * root:.9g}')
  everywhere = names.all_names(source.family, config)
  rank, alpha = _commonest(ranks), _commonest(alphas)
  other_ranks = {name: one for name, one in ranks.items() if one != rank}
  other_alphas = {name: one for name, one in alphas.items() if one != alpha}
  fields = dict(
    r=rank,
    lora_alpha=int(alpha) if alpha == int(alpha) else alpha,
    target_modules=names.shortest(ranks, everywhere),
    rank_pattern=names.shortest_by(other_ranks, ranks),
    alpha_pattern=names.shortest_by(other_alphas, alphas),
    use_rslora=options.rank_stabilized,
    use_dora=options.dora,
    lora_dropout=options.dropout,
    bias={ours: theirs for theirs, ours in BIASES.items()}[options.biases],
    fan_in_fan_out=source.family.name == 'gpt2',
    init_lora_weights=True,
  )
  return fields, tensors | _biases_of(source, ranks)


def _commonest(values):
  return collections.Counter(values.values()).most_common(1)[0][0]


def _kernels(source, module, parts):
  """Returns the base's kernels of the parts that DoRA does not change, or Nones."""
  if parts.count(None) == 0 or not source.config.peft.options.dora:
    return [None] * len(parts)
  return [
    _kernel(source, path) if part is None else None
    for path, part in zip(module.paths, parts, strict=True)
  ]


def _kernel(source, path):
  """Returns (LinearMap, kernel of one layer)."""
  stored = layer_names.stored_name(f'{path}/kernel', source.config.model.scan_layers)
  kernels = layer_names.unrolled_leaves(source.read([stored]))
  every = linears.find(source.config.model)
  (linear,) = [one for each in every for one in unrolled(each) if one.path == path]
  return linear, kernels[linear.kernel].astype(np.float32)


def _stacked(parts, kernels):
  """Returns Updates of all parts of a module, of one A and one scale."""
  given = [part for part in parts if part is not None]
  scale, distinct = given[0].scale, []
  for part in given:
    if not any(np.array_equal(part.a, one.a) for one in distinct):
      distinct.append(part)
  a = np.concatenate([one.a for one in distinct], -1)
  starts = np.cumsum([0, *(one.rank for one in distinct)])
  found = []
  for part, kernel in zip(parts, kernels, strict=True):
    b = np.zeros((a.shape[-1], *given[0].b.shape[1:]), np.float32)
    magnitude = None if part is None else part.magnitude
    if part is not None:
      i = next(i for i, x in enumerate(distinct) if np.array_equal(part.a, x.a))
      b[starts[i] : starts[i + 1]] = part.b * np.float32(part.scale / scale)
    elif kernel is not None:
      magnitude = np.asarray(dora.norm(*kernel))
    found.append(Update(a, b, scale, magnitude))
  return found


def _tensors_of(module, parts):
  sizes = module.sizes | {'R': parts[0].rank}
  a, b, m = _entries(module)
  found = {
    f'{module.name}.{A}': names.to_theirs(a, [parts[0].a], sizes),
    f'{module.name}.{B}': names.to_theirs(b, [part.b for part in parts], sizes),
  }
  if parts[0].magnitude is not None:
    magnitudes = [part.magnitude for part in parts]
    found[f'{module.name}.{MAGNITUDE}'] = names.to_theirs(m, magnitudes, sizes)
  return found


def _entries(module):
  """Returns the Entries of A, B and the magnitude."""
  return (
    module.entry('lora_a', 'R {inside}', '{inside} R'),
    module.entry('lora_b', '{outside} R', 'R {outside}'),
    module.entry('lora_magnitude', '{outside}', '{outside}'),
  )


# Biases, which a file has under the name of the module, or of its `base_layer`


def _bias_entries(family, config):
  """Yields (name of the module, Entry) of the biases that LoRA may train."""
  for entry in family.table(config):
    if entry.theirs.endswith('.bias') and entry.ours[0].endswith('/bias'):
      yield entry.theirs.removesuffix('.bias'), entry


def _biases_of(source, targets):
  """Returns the biases of a run that trains some."""
  which, found = source.config.peft.options.biases, {}
  if which == 'none':
    return {}
  sizes = names.sizes_of(source.config)
  is_scanned = source.config.model.scan_layers
  for module, entry in _bias_entries(source.family, source.config):
    is_target = module in targets
    if entry.ours[0].startswith('task_head/') or (which == 'targets' and not is_target):
      continue
    stored = {layer_names.stored_name(ours, is_scanned) for ours in entry.ours}
    parts = layer_names.unrolled_leaves(source.read(sorted(stored)))
    parts = [parts[ours].astype(np.float32) for ours in entry.ours]
    name = f'{module}.base_layer.bias' if is_target else f'{module}.bias'
    found[name] = names.to_theirs(entry, parts, sizes)
  return found


# In


def read(target):
  """Returns (Config, {parameter: array}) of a LoraConfig and its tensors."""
  fields = target.fields
  options = _options(fields)
  fields.finish()
  modules = names.modules_of(target.family, target.config)
  try:
    updates, by_path = _updates(target, modules)
  except re.error as error:
    raise CheckpointError(
      f'{fields.place}: a pattern of target_modules, exclude_modules, rank_pattern or'
      f' alpha_pattern is no regular expression ({error}).'
    ) from error
  if not by_path:
    raise CheckpointError(
      f'{fields.place}: target_modules={fields.values.get("target_modules")!r}: none'
      f' of these is a linear map of a {target.family.name}; there are'
      f' {", ".join(sorted({one.name.rpartition(".")[2] for one in modules}))}.'
    )
  if target.problems:
    return target.config, {}
  config, leaves = lora_updates.write(target.config, updates, **options)
  return config, leaves | _read_biases(target, config, by_path)


def _options(fields):
  """Returns our options of a LoraConfig; fields that cannot be go to its problems."""
  for name in _OFF:
    if fields.peek(name):
      fields.refuse(f'{name}={fields.peek(name)!r}: only off (null) is supported')
  fields.ignore(*_OFF, *_IDLE, *HARMLESS)
  kind = fields.peek('init_lora_weights', True)
  if str(kind).lower().startswith(_STARTS_INSIDE):
    fields.refuse(
      f'init_lora_weights={kind!r}: the start is taken off the base, which is another'
      ' one then. Save it as a plain LoRA: model.save_pretrained(OUT,'
      ' path_initial_model_for_weight_conversion=START)'
    )
  if fields.take('r', 8) < 1:
    fields.refuse(f'r={fields.values["r"]}: expected at least 1')
  fields.take('use_dora', False, bool)
  for name in ('rank_pattern', 'alpha_pattern'):
    pattern = fields.peek(name, {})
    values = pattern.values() if isinstance(pattern, dict) else [None]
    if not all(isinstance(one, int | float) and one > 0 for one in values):
      fields.refuse(f'{name}={pattern!r}: expected {{name: number above 0}}')
  names.check(fields)
  return dict(
    alpha=fields.take('lora_alpha', 8.0, float),
    rank_stabilized=fields.take('use_rslora', False, bool),
    dropout=fields.take('lora_dropout', 0.0, float),
    biases=fields.choose('bias', BIASES, 'none'),
  )


def _updates(target, modules):
  """Returns ({path: Update}, {path: name of its module in the file})."""
  values, updates, by_path = target.fields.values, {}, {}
  for module in modules:
    tried = (module.name, *module.other_names)
    there = next((n for n in tried if f'{n}.{A}' in target.tensors), None)
    picked = next((n for n in tried if names.is_picked(values, n)), None)
    name = there or picked
    if name is None:
      continue
    if picked is None:
      target.problems.append(f'{name}.{A}: not one of target_modules')
    by_path |= dict.fromkeys(module.paths, name)
    updates |= _module_updates(target, module, name)
  return updates, by_path


def _module_updates(target, module, name):
  values = target.fields.values
  rank = int(names.value_at(values.get('rank_pattern'), name, values.get('r', 8)))
  alpha = values.get('lora_alpha', 8)
  alpha = float(names.value_at(values.get('alpha_pattern'), name, alpha))
  scale = alpha / (rank**0.5 if values.get('use_rslora') else rank)
  sizes = module.sizes | {'R': rank}
  tensors = [A, B, *([MAGNITUDE] if values.get('use_dora') else [])]
  arrays = []
  for entry, tensor in zip(_entries(module), tensors, strict=False):
    found = target.take(f'{name}.{tensor}', entry.their_shape(sizes))
    if found is None:
      return {}
    arrays.append(names.to_ours(entry, found, sizes))
  magnitudes = arrays[2:] or [[None] * len(module.paths)]
  return {
    path: Update(a, b, scale, magnitude)
    for path, a, b, magnitude in zip(
      module.paths, *arrays[:2], *magnitudes, strict=True
    )
  }


def _read_biases(target, config, by_path):
  """Returns {parameter: array} of the biases that train."""
  which, sizes, found = config.peft.options.biases, names.sizes_of(config), {}
  if which == 'none':
    return {}
  for module, entry in _bias_entries(target.family, config):
    name = by_path.get(entry.ours[0].removesuffix('/bias'), module)
    is_target = name != module or entry.ours[0].removesuffix('/bias') in by_path
    if entry.ours[0].startswith('task_head/') or (which == 'targets' and not is_target):
      continue
    tried = [f'{name}.base_layer.bias', f'{name}.bias'][0 if is_target else 1 :]
    there = next((one for one in tried if one in target.tensors), tried[0])
    tensor = target.take(there, entry.their_shape(sizes))
    if tensor is None:
      continue
    found |= dict(zip(entry.ours, names.to_ours(entry, tensor, sizes), strict=True))
  return layer_names.stacked_leaves(found) if config.model.scan_layers else found


FORMAT = Format('LORA', write, read)
