"""Opens a pretrained model of others, whatever it is kept in."""

import pathlib

from gpt_jax.core.errors import CheckpointError
from gpt_jax.interop import families, numerics, reader
from gpt_jax.interop.fields import Fields
from gpt_jax.interop.safetensors_files import SafetensorsFiles, is_there, load_json
from gpt_jax.interop.tokenizer_of import open_tokenizer
from gpt_jax.storage.urls import is_url

CONFIG = 'config.json'
DTYPES = ('float32', 'bfloat16', 'float16')

# What a fine-tuning starts from, where nothing else is said: BERT's and Llama 2's
# papers tune at 1e-5 to 5e-5.
TRAINING = {'optimizer.learning_rate': 2e-5, 'schedule.warmup_steps': 100}


def is_model(path):
  """Returns whether `path` is a pretrained model of others, and no run."""
  if not path or is_url(str(path)):
    return False
  path = pathlib.Path(path)
  if not path.is_dir() or not (path / CONFIG).is_file():
    return False
  if (path / 'checkpoints').is_dir():
    return False
  try:
    values = load_json(path / CONFIG)
  except CheckpointError:
    return is_there(path)
  return 'model_type' in values or 'architectures' in values


def open_model(path, dtype=None):
  """Returns the ModelReader of a folder as Hugging Face's libraries write it.

  `dtype`: of the parameters; None: that of the files. Raises CheckpointError for what
  is damaged or not supported, before anything is read.
  """
  folder = pathlib.Path(path)
  if not folder.is_dir():
    raise CheckpointError(f'{path}: no such folder; expected one with {CONFIG}.')
  if not (folder / CONFIG).is_file():
    raise CheckpointError(f'{path}: has no {CONFIG}; expected the folder of a model.')
  values = load_json(folder / CONFIG)
  if not isinstance(values, dict):
    raise CheckpointError(f'{folder / CONFIG}: is no JSON object.')
  family = families.find(values, folder / CONFIG)
  fields = Fields(values, folder / CONFIG)
  ours = family.to_config(fields)
  fields.finish()
  tensors = SafetensorsFiles(folder)
  try:
    return make_reader(family, ours, tensors, folder, dtype, open_tokenizer)
  except BaseException:
    tensors.close()
    raise


def make_reader(family, ours, tensors, place, dtype, open_tokenizer):
  """Returns the ModelReader of `tensors`, named as `family` does.

  `ours`: {dotted field: value}; `open_tokenizer(place, rows)`: (tokenizer, fields).
  """
  dtype = dtype or reader.common_dtype(tensors)
  tokenizer, tokenizer_fields = open_tokenizer(place, ours['model.vocab_size'])
  types = {'model.param_dtype': dtype, 'model.dtype': dtype}
  config = numerics.resolve(TRAINING | types | tokenizer_fields | ours)
  return reader.ModelReader(family, config, tensors, place, tokenizer)
