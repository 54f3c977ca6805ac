"""(IA)^3 as peft has it: ia3_l [out, 1] scales outputs, [1, in] of feedforward inputs.

A file's vector of a fused matrix is split; the way back has ones where none trains.
"""

import dataclasses

import numpy as np

from gpt_jax import peft
from gpt_jax.config.schema import PeftConfig
from gpt_jax.peft import layer_names, linears, lora_updates
from gpt_jax.peft_formats import names
from gpt_jax.peft_formats.format import HARMLESS, Format

VECTOR, TENSOR = 'ia3', 'ia3_l'
_IDLE = (
  'fan_in_fan_out', 'init_ia3_weights', 'target_modules', 'feedforward_modules',
  'exclude_modules', 'modules_to_save',
)  # fmt: skip


def write(source):
  """Returns the IA3Config and the tensors of a run."""
  config, options = source.config, source.config.peft.options
  inputs = _paths(config, options.feedforward_targets)
  every = inputs | _paths(config, options.targets)
  is_scanned = config.model.scan_layers
  stored = {layer_names.stored_name(f'{path}/{VECTOR}', is_scanned) for path in every}
  leaves = layer_names.unrolled_leaves(source.read(sorted(stored)))
  tensors, kinds = {}, {}
  for module in names.modules_of(source.family, config):
    if not every & set(module.paths):
      continue
    is_input = kinds[module.name] = module.paths[0] in inputs
    entry = _entry(module, is_input)
    ones = np.ones(entry.our_shape(module.sizes), np.float32)
    parts = [
      np.asarray(leaves.get(f'{path}/{VECTOR}', ones), np.float32)
      for path in module.paths
    ]
    vector = names.to_theirs(entry, parts, module.sizes)
    tensors[f'{module.name}.{TENSOR}'] = _shaped(vector, is_input)
  everywhere = names.all_names(source.family, config)
  chosen = [name for name, is_input in kinds.items() if is_input]
  fields = dict(
    target_modules=names.shortest(kinds, everywhere),
    feedforward_modules=names.shortest(chosen, everywhere),
    fan_in_fan_out=source.family.name == 'gpt2',
    init_ia3_weights=True,
  )
  return fields, tensors


def _paths(config, pattern):
  """Returns the paths of unrolled linear maps that a pattern of a run matches."""
  if not pattern:
    return set()
  found = linears.choose(config.model, pattern, 'peft.options')
  return {one.path for each in found for one in lora_updates.unrolled(each)}


def _entry(module, is_input):
  if is_input:
    return module.entry(VECTOR, '{inside}', '{inside}')
  return module.entry(VECTOR, '{outside}', '{outside}')


def _shaped(vector, is_input):
  return vector[None] if is_input else vector[:, None]


def read(target):
  """Returns (Config, {parameter: array}) of an IA3Config and its tensors."""
  fields = target.fields
  names.check(fields)
  feedforward = fields.peek('feedforward_modules', [])
  fields.ignore(*_IDLE, *HARMLESS)
  fields.finish()
  leaves, inputs, outputs = {}, set(), set()
  for module in names.modules_of(target.family, target.config):
    tried = (module.name, *module.other_names)
    name = next((n for n in tried if names.is_picked(fields.values, n)), None)
    if name is None:
      continue
    is_input = names.is_listed(feedforward, name)
    entry = _entry(module, is_input)
    shape = _shaped(np.empty(entry.their_shape(module.sizes)), is_input).shape
    tensor = target.take(f'{name}.{TENSOR}', shape)
    (inputs if is_input else outputs).update(module.paths)
    if tensor is not None:
      vectors = names.to_ours(entry, tensor.reshape(-1), module.sizes)
      keys = [f'{path}/{VECTOR}' for path in module.paths]
      leaves |= dict(zip(keys, vectors, strict=True))
  if not leaves:
    target.problems.append('no tensor of a linear map that target_modules picks')
  if target.problems:
    return target.config, {}
  config = lora_updates.in_form_for(target.config, dict.fromkeys(inputs | outputs, 1))
  every = [one.path for one in linears.find(config.model)]
  options = peft.METHODS[VECTOR].options(
    targets=_pattern(config, outputs, every),
    feedforward_targets=_pattern(config, inputs, every),
  )
  section = PeftConfig(name=VECTOR, options=options, base_storage='as_is', init_from='')
  config = dataclasses.replace(config, peft=section)
  if config.model.scan_layers:
    leaves = layer_names.stacked_leaves(leaves)
  return config, leaves


def _pattern(config, paths, every):
  """Returns the regular expression that finds unrolled `paths`; '' for none."""
  is_scanned = config.model.scan_layers
  stored = {layer_names.stored_name(path, is_scanned) for path in paths}
  return lora_updates.pattern_of(stored, every) if stored else ''


FORMAT = Format('IA3', write, read)
