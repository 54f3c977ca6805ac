"""The adapter of a run as a folder that peft reads."""

import json
import pathlib
from typing import Any

import numpy as np
import safetensors.numpy

from gpt_jax import objectives
from gpt_jax.core.errors import ConfigError
from gpt_jax.interop import open_model
from gpt_jax.interop.mapping import sizes_of
from gpt_jax.interop.new_folder import new_folder
from gpt_jax.peft_formats import FORMATS, names
from gpt_jax.peft_formats.format import CONFIG, TENSORS, Source

TASK_TYPES = {'class_labels': 'SEQ_CLS', 'token_labels': 'TOKEN_CLS'}
"""objective.name of a task head -> `task_type`."""


def export_adapter(run, family, out):
  """Writes the adapter of an AdaptedRun into the new folder `out`.

  Returns the names of its files. Tensors are float32. Raises ConfigError for a method
  that has no format, StorageError as `new_folder` does.
  """
  config = run.config
  if config.peft.name not in FORMATS:
    raise ConfigError(
      f'{run.place}: peft.name={config.peft.name!r} has no format of peft here; there'
      f' are {", ".join(FORMATS)}. Without --format=peft the merged model is written,'
      ' where it can be merged.'
    )
  chosen = FORMATS[config.peft.name]
  fields, tensors = chosen.write(Source(config, family, run.read))
  head = _head(run, family)
  fields |= _common_fields(config, family) | dict(
    peft_type=chosen.peft_type,
    modules_to_save=sorted({name.rpartition('.')[0] for name in head}) or None,
  )
  with new_folder(out) as folder:
    text = json.dumps(fields, indent=2, sort_keys=True, allow_nan=False)
    (folder / CONFIG).write_text(text + '\n')
    named = {
      chosen.prefix + name: np.ascontiguousarray(array, np.float32)
      for name, array in sorted((tensors | head).items())
    }
    safetensors.numpy.save_file(named, folder / TENSORS, metadata={'format': 'pt'})
  return sorted(path.name for path in pathlib.Path(out).iterdir())


def _common_fields(config, family) -> dict[str, Any]:
  is_model = open_model.is_model(config.init_from)
  causal = 'CAUSAL_LM' if objectives.describe(config).writes_text else None
  return dict(
    base_model_name_or_path=config.init_from if is_model else None,
    task_type=TASK_TYPES.get(config.objective.name, causal),
    inference_mode=True,
  )


def _head(run, family):
  """Returns {name: tensor} of the task head, all of which trains."""
  outputs = objectives.describe(run.config).num_outputs
  sizes, found = sizes_of(run.config, outputs), {}
  for entry in family.table(run.config):
    if entry.ours[0].startswith('task_head/'):
      arrays = [run.read([name])[name].astype(np.float32) for name in entry.ours]
      found[entry.theirs] = names.to_theirs(entry, arrays, sizes)
  return found
