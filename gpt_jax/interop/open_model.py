"""Opens a pretrained model of others, whatever it is kept in."""

import functools
import os
import pathlib

from gpt_jax.core.errors import CheckpointError, ConfigError
from gpt_jax.interop import families, gguf_tokenizer, numerics, reader
from gpt_jax.interop.fields import Fields
from gpt_jax.interop.gguf_model import GGUFTensors
from gpt_jax.interop.safetensors_files import SafetensorsFiles, is_there, load_json
from gpt_jax.interop.tokenizer_files import open_tokenizer
from gpt_jax.storage.urls import is_url

CONFIG, GGUF = 'config.json', '.gguf'
DTYPES = ('float32', 'bfloat16', 'float16')

# What a fine-tuning starts from, where nothing else is said: BERT's and Llama 2's
# papers tune at 1e-5 to 5e-5.
TRAINING = {'optimizer.learning_rate': 2e-5, 'schedule.warmup_steps': 100}


def is_model(path):
  """Returns whether `path` is a pretrained model of others, and no run."""
  if not path or is_url(str(path)):
    return False
  path = pathlib.Path(path)
  # os.path: a name that is too long is none, where pathlib raises OSError.
  if path.suffix == GGUF and not os.path.isdir(path):
    return True
  if not os.path.isfile(path / CONFIG):
    return False
  if (path / 'checkpoints').is_dir():
    return False
  try:
    values = load_json(path / CONFIG)
  except CheckpointError:
    return is_there(path)
  named = isinstance(values, dict) and values.keys() & {'model_type', 'architectures'}
  return bool(named) or is_there(path)


def open_model(path, dtype=None):
  """Returns the ModelReader of a folder as Hugging Face writes it, or of a GGUF file.

  `dtype`: of the parameters; None: that of the files. Raises CheckpointError for what
  is damaged or not supported, before anything is read.
  """
  folder = pathlib.Path(path)
  if folder.is_file():
    return _open_gguf(folder, dtype)
  if not folder.is_dir():
    raise CheckpointError(
      f'{path}: nothing is there; expected a folder with {CONFIG}, or a {GGUF} file.'
    )
  if not (folder / CONFIG).is_file():
    raise CheckpointError(f'{path}: has no {CONFIG}; expected the folder of a model.')
  values = load_json(folder / CONFIG)
  if not isinstance(values, dict):
    raise CheckpointError(f'{folder / CONFIG}: is no JSON object.')
  family, ours = _understood(values, folder / CONFIG)
  tensors = SafetensorsFiles(folder)
  try:
    return make_reader(family, ours, tensors, folder, dtype, open_tokenizer)
  except BaseException:
    tensors.close()
    raise


def _open_gguf(path, dtype):
  if path.suffix != GGUF:
    raise CheckpointError(
      f'{path}: a file, but not a {GGUF} file; expected one, or a folder with {CONFIG}.'
    )
  tensors = GGUFTensors(path)
  try:
    family, ours = _understood(tensors.config, path)
    header = tensors.file.fields
    return make_reader(
      family, ours, tensors, path, dtype,
      functools.partial(gguf_tokenizer.open_tokenizer, header),
    )  # fmt: skip
  except BaseException:
    tensors.close()
    raise


def _understood(values, place):
  """Returns (Family, {dotted field: value}) of the content of a config.json."""
  family = families.find(values, place)
  fields = Fields(values, place)
  ours = family.to_config(fields)
  fields.finish()
  return family, ours


def make_reader(family, ours, tensors, place, dtype, open_tokenizer):
  """Returns the ModelReader of `tensors`, named as `family` does.

  `ours`: {dotted field: value}; `open_tokenizer(place, rows)`: (tokenizer, fields).
  """
  dtype = dtype or reader.common_dtype(tensors)
  tokenizer, tokenizer_fields = open_tokenizer(place, ours['model.vocab_size'])
  if 'data.begin_token' in tokenizer_fields:  # it has read no text without
    tokenizer_fields |= {'data.packing': 'concat_begin'}
  types = {'model.param_dtype': dtype, 'model.dtype': dtype}
  try:
    config = numerics.resolve(TRAINING | types | tokenizer_fields | ours)
  except ConfigError as error:  # a size beyond any model, say
    raise CheckpointError(f'{place}: {error}') from error
  return reader.ModelReader(family, config, tensors, place, tokenizer)
