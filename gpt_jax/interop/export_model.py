"""A run of ours as a folder that Hugging Face's libraries read."""

import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from gpt_jax import objectives
from gpt_jax.core import progress, pytree
from gpt_jax.core.errors import CheckpointError, ConfigError
from gpt_jax.core.registry import nearest
from gpt_jax.interop import numerics
from gpt_jax.interop.families import FAMILIES
from gpt_jax.interop.fields import Fields
from gpt_jax.interop.mapping import sizes_of
from gpt_jax.interop.new_folder import new_folder
from gpt_jax.interop.reader import abstract_params, unrolled_names
from gpt_jax.interop.safetensors_writer import SHARD_BYTES, SafetensorsWriter
from gpt_jax.interop.tokenizer_export import write_tokenizer


def choose_family(config, name=None, preferred=None):
  """Returns the Family that expresses a Config; ConfigError with what none does.

  `name`: of the one to be; None: the first that fits, `preferred` before others.
  """
  if name is not None and name not in FAMILIES:
    hint = nearest(name, FAMILIES)
    raise ConfigError(
      f'--family={name}: expected one of {", ".join(FAMILIES)}'
      + (f'; did you mean {hint!r}?' if hint else '.')
    )
  tried = [name] if name else [*FAMILIES]
  if preferred is not None and preferred in tried:
    tried.insert(0, preferred)
  found = {}
  for one in dict.fromkeys(tried):
    found[one] = problems_of(FAMILIES[one], config)
    if not found[one]:
      return FAMILIES[one]
  best = min(found, key=lambda one: len(found[one]))
  whose = f'--family={name}' if name else f'{best}, the nearest family'
  lines = '\n  '.join(found[best])
  others = ', '.join(one for one in found if one != best)
  raise ConfigError(
    f'this model is not one that others know. In a config.json of {whose},'
    f' {len(found[best])} thing(s) of it cannot be said:\n  {lines}'
    + (f'\nFurther from it are {others}.' if others else '')
  )


def problems_of(family, config):
  """Returns a line for each thing that a config.json of `family` cannot say."""
  values = family.from_config(config)
  fields = Fields(values, family.name)
  try:
    ours = family.to_config(fields)
    again = numerics.resolve(ours)
  except ConfigError as error:
    return fields.problems + [str(error)]
  problems = fields.problems + numerics.differences(config, again)
  if not problems:
    mine = unrolled_names(dict(pytree.named_leaves(abstract_params(_scanned(config)))))
    theirs = {name for entry in family.table(config) for name in entry.ours}
    problems = [f'{name}: a parameter that it does not have' for name in mine - theirs]
  return problems


def export_model(
  store, step, config, tokenizer, out, family, dtype=None, shard_bytes=SHARD_BYTES
):
  """Writes the parameters of `step` in a CheckpointReader into the new folder `out`.

  Returns the names of its files. The moving average is taken where the run keeps one.
  `dtype` None: as they are saved. Raises StorageError for a folder with files, and for
  one that cannot be written; nothing is left of it then.
  """
  config = _without_padding(config, tokenizer)
  with new_folder(out) as scratch:
    dtype = _write_tensors(store, step, config, scratch, family, dtype, shard_bytes)
    _write_config(config, tokenizer, scratch, family, dtype)
  return sorted(path.name for path in pathlib.Path(out).iterdir())


def _write_tensors(store, step, config, folder, family, dtype, shard_bytes):
  """Returns the name of the dtype in which all tensors of `family` are written."""
  item = 'ema' if 'ema' in store.items(step) else 'params'
  saved = dict(pytree.named_leaves(store.abstract(step, item)))
  entries = family.table(config)
  sizes = sizes_of(config, objectives.describe(config).num_outputs)
  dtype = jnp.dtype(dtype or next(iter(saved.values())).dtype)
  shapes = {entry.theirs: entry.their_shape(sizes) for entry in entries}
  here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  with (
    SafetensorsWriter(folder, shapes, dtype, shard_bytes) as writer,
    progress.shown('writing', writer.total_bytes) as advance,
  ):
    # Some leaves at a time: never all parameters are in memory.
    for names, mine in _by_leaves(entries, saved).items():
      wanted = {
        name: jax.ShapeDtypeStruct(saved[name].shape, saved[name].dtype, sharding=here)
        for name in names
      }
      found = store.restore_leaves(step, item, wanted)
      arrays = {name: np.asarray(array) for name, array in found.items()}
      for entry in mine:
        parts = [_cropped(_leaf(arrays, name), entry, sizes) for name in entry.ours]
        advance(writer.write(entry.theirs, entry.gather(parts, sizes)))
    writer.sync()
  return dtype.name


def _write_config(config, tokenizer, folder, family, dtype):
  """Writes config.json and the files of the tokenizer."""
  limit = config.model.max_seq_len
  begin = config.data.begin_token
  write_tokenizer(tokenizer, folder, begin_token=begin, max_length=limit)
  choose = family.architecture_of
  values = family.from_config(config) | dict(
    model_type=family.name,
    architectures=[choose(config) if choose else family.architectures[0]],
    dtype=dtype,
    torch_dtype=dtype,  # its name before transformers 5
    bos_token_id=tokenizer.special_tokens.get(begin),
    eos_token_id=tokenizer.eos_id,
    pad_token_id=None,
  )
  text = json.dumps(values, indent=2, sort_keys=True, allow_nan=False)
  (folder / 'config.json').write_text(text + '\n')


def _by_leaves(entries, saved):
  """Returns {names of saved leaves: the entries that are made of them}."""
  groups = {}
  for entry in entries:
    names = tuple(dict.fromkeys(_saved_name(name, saved) for name in entry.ours))
    groups.setdefault(names, []).append(entry)
  return groups


def _saved_name(name, saved):
  """Returns the leaf that holds the parameter `name` of unrolled layers."""
  if name in saved:
    return name
  layer, _, rest = name.partition('/')
  if layer.startswith('layers_') and f'layers/{rest}' in saved:
    return f'layers/{rest}'
  raise CheckpointError(f'{name}: not in the checkpoint; is it that of this config?')


def _leaf(arrays, name):
  if name in arrays:
    return arrays[name]
  layer, _, rest = name.partition('/')
  return arrays[f'layers/{rest}'][int(layer.removeprefix('layers_'))]


def _without_padding(config, tokenizer):
  """Returns `config` without the rows that only pad the embedding.

  They are those of runs that ask for padding; others may have rows beyond the ids.
  """
  if config.model.pad_vocab_to_multiple_of == 1:
    return config
  used = tokenizer.vocab_size + objectives.describe(config).extra_tokens
  rows = min(config.model.vocab_size, used)
  return dataclasses.replace(
    config, model=dataclasses.replace(config.model, vocab_size=rows)
  )


def _cropped(array, entry, sizes):
  """Returns `array` without the rows of the vocabulary that only pad it."""
  part = tuple(slice(sizes[axis]) for axis in entry.our_axes.split())
  return array[part]


def _scanned(config):
  return dataclasses.replace(
    config, model=dataclasses.replace(config.model, scan_layers=True)
  )
