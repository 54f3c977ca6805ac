"""A folder that peft has written, as a run of ours at step 0 over a named base."""

import contextlib
import dataclasses
import math
import pathlib

import numpy as np

from gpt_jax import objectives, peft
from gpt_jax.config import load
from gpt_jax.config.files import load_file
from gpt_jax.config.schema import Config
from gpt_jax.core import pytree
from gpt_jax.core.errors import CheckpointError
from gpt_jax.core.registry import nearest
from gpt_jax.data import tokenizers
from gpt_jax.interop import open_model
from gpt_jax.interop.export_model import choose_family
from gpt_jax.interop.fields import Fields
from gpt_jax.interop.mapping import sizes_of
from gpt_jax.interop.reader import STEP
from gpt_jax.interop.safetensors_files import SafetensorsFiles, load_json
from gpt_jax.peft_formats import FORMATS, names
from gpt_jax.peft_formats.format import CONFIG, PREFIX, TENSORS, Target
from gpt_jax.program import new_run, over_base, restore, setup
from gpt_jax.program.adapted_checkpoints import open_source
from gpt_jax.program.base import RECORD, Base
from gpt_jax.workdir.paths import Workdir

HEADS = {'SEQ_CLS': 'ForSequenceClassification', 'TOKEN_CLS': 'ForTokenClassification'}
"""`task_type` -> the end of the class whose head an adapter of that type has."""


@dataclasses.dataclass(frozen=True)
class Imported:
  """What an import has written."""

  config: Config
  base: Base
  count: int  # of parameters that the adapter adds, or changes


def is_adapter(path):
  """Returns whether `path` is a folder of peft."""
  return (pathlib.Path(path) / CONFIG).is_file()


def base_of(path):
  """Returns what an adapter says of its base, '' where that is nothing."""
  values, _ = _read_config(pathlib.Path(path))
  return str(values.get('base_model_name_or_path') or '')


def import_adapter(folder, base_path, workdir, dtype=None):
  """Writes the adapter in `folder`, over the model `base_path`, into a Workdir.

  Args:
    base_path: a run, a Hugging Face folder or a GGUF file.
    dtype: of the parameters of a base that is no run; None: as in its files.
  Returns what was Imported. Raises CheckpointError with the list of what does not fit,
  or is not supported; nothing is written then.
  """
  new_run.require_new(workdir)
  values, chosen = _read_config(pathlib.Path(folder))
  tensors = _read_tensors(pathlib.Path(folder))
  with _open_base(base_path, dtype) as (source, step, plain, family, save_tokenizer):
    fields = Fields(values, pathlib.Path(folder) / CONFIG, 'adapter')
    plain = _with_head(plain, family, values, tensors, fields)
    target = Target(plain, family, fields, tensors, [])
    config, leaves = chosen.read(target)
    leaves |= _head(target)
    _require_fit(target, folder)
    init = dataclasses.replace(config.init, transform='matching', rules=())
    config = dataclasses.replace(config, init_from=str(base_path), init=init)
    own, base = over_base.over_base(config, source, step, leaves, folder)
    record = load.to_dict(config)
    meta = dict(
      fingerprints={'tokenizer': source.read_meta(step)['fingerprints']['tokenizer']},
      next_sample=0, tokens=0, config=record,
      imported=dict(family=family.name, adapter=config.peft.name),
    )  # fmt: skip
  new_run.write(
    workdir,
    step=STEP,
    items={'params': pytree.nested(own)},
    meta=meta | {RECORD: base.as_json()},
    config=record,
    save_tokenizer=save_tokenizer,
    made_of=dict(imported=str(folder), base=str(base_path), family=family.name),
  )
  return Imported(config, base, pytree.count(own))


# The folder


def _read_config(folder):
  """Returns (fields of adapter_config.json, Format)."""
  path = folder / CONFIG
  if not path.is_file():
    raise CheckpointError(f'{folder}: has no {CONFIG}; expected a folder of peft.')
  values = load_json(path)
  if not isinstance(values, dict):
    raise CheckpointError(f'{path}: is no JSON object.')
  kinds = {one.peft_type: one for one in FORMATS.values()}
  kind = str(values.get('peft_type'))
  if kind not in kinds:
    hint = nearest(kind, kinds)
    raise CheckpointError(
      f'{path}: peft_type={kind!r}: not supported; there are {", ".join(kinds)}'
      + (f'. The nearest is {hint!r}.' if hint else '.')
    )
  # What is off in a version that we do not know changes nothing.
  values = {
    name: one
    for name, one in values.items()
    if one is not False and one not in ({}, [])
  }
  return values, kinds[kind]


def _read_tensors(folder):
  """Returns {name without the prefix: numpy array}."""
  path = folder / TENSORS
  if not path.is_file():
    others = sorted(one.name for one in folder.glob('adapter_model.*'))
    raise CheckpointError(
      f'{folder}: has no {TENSORS}'
      + (f', but {", ".join(others)}, which may run code when opened' if others else '')
      + '. Save it with model.save_pretrained(OUT, safe_serialization=True).'
    )
  with SafetensorsFiles(path) as files:
    wrong = [name for name in files.specs if files.dtype_of(name) is None]
    if wrong:
      raise CheckpointError(
        f'{path}: {wrong[0]} is of type {files.specs[wrong[0]].dtype}; expected'
        ' float32, bfloat16 or float16.'
      )
    found = {
      name.removeprefix(PREFIX): files.read(name, 0, math.prod(spec.shape)).reshape(
        spec.shape
      )
      for name, spec in files.specs.items()
    }
  return {name: one for name, one in found.items() if not _is_copy(name, found)}


def _is_copy(name, tensors):
  """Returns whether peft wrote a bias of modules_to_save once more, for bias='all'."""
  if '.original_module.' in name:  # as it was before the training
    return name.replace('.original_module.', '.') in tensors
  once = tensors.get(name.replace('.modules_to_save.', '.'))
  if '.modules_to_save.' not in name or once is None:
    return False
  return np.array_equal(once, tensors[name])


def _require_fit(target, folder):
  """Raises CheckpointError with what is missing, left over or of another shape."""
  problems = target.problems + [
    f'{name} {list(array.shape)}: not a part of such an adapter'
    for name, array in target.tensors.items()
  ]
  if problems:
    shown = (
      problems[:30] + ([f'... and {len(problems) - 30} more'][: len(problems) > 30])
    )
    lines = '\n  '.join(shown)
    raise CheckpointError(
      f'{pathlib.Path(folder) / TENSORS}: does not fit {CONFIG} and the base, a'
      f' {target.family.name}, {len(problems)} to settle:\n  {lines}'
    )


# The base


@contextlib.contextmanager
def _open_base(path, dtype):
  """Gives (store, step, Config of the plain model, Family, save_tokenizer)."""
  if open_model.is_model(path):
    with open_model.open_model(path, dtype) as model:
      config = model.config
      request = {'name': config.tokenizer.name}
      if config.tokenizer.name == 'ids':
        request['vocab_size'] = config.tokenizer.vocab_size

      def save(folder):
        model.tokenizer.save(folder, request)

      yield model, STEP, config, model.family, save
    return
  with open_source(str(path)) as store:
    step = restore.choose_step(store)
    config = peft.without_adapter(setup.read_config(path))
    rows = restore.embedding_rows(store, step)
    model = dataclasses.replace(config.model, vocab_size=rows)
    config = dataclasses.replace(config, model=model)
    tokenizer = tokenizers.load(Workdir(path).tokenizer)
    restore.check_tokenizer(store, step, tokenizer)
    made_of = store.read_meta(step).get('imported', {}).get('family')
    family = choose_family(config, preferred=made_of)
    yield store, step, config, family, new_run.copied(Workdir(path).tokenizer)


def _with_head(config, family, values, tensors, fields):
  """Returns the Config of the base, with the task head of the adapter's task_type."""
  end = HEADS.get(str(values.get('task_type')))
  weight = tensors.get('classifier.weight', tensors.get('score.weight'))
  if end is None or weight is None:
    return config
  outputs = len(weight)
  found = [name for name in family.architectures if name.endswith(end)]
  if not found:
    fields.refuse(
      f'task_type={values["task_type"]!r}: of {family.name} there is no {end}; there'
      f' are {", ".join(family.architectures)}'
    )
    return config
  if objectives.describe(config).num_outputs == outputs:
    return config
  theirs = Fields(
    family.from_config(config)
    | dict(
      architectures=found, id2label={str(i): f'LABEL_{i}' for i in range(outputs)}
    ),
    fields.place,
  )
  ours = family.to_config(theirs)
  kept = ('objective.', 'data.', 'model.head', 'model.pooler')
  overrides = {name: one for name, one in ours.items() if name.startswith(kept)}
  record = load.to_dict(config) | {
    'objective': load_file('base').to_dict()['objective']
  }
  return setup.resolve(record, overrides)


def _head(target):
  """Returns {parameter: array} of the task head, as far as the file has it."""
  outputs = objectives.describe(target.config).num_outputs
  sizes, found = sizes_of(target.config, outputs), {}
  for entry in target.family.table(target.config):
    is_there = entry.theirs in target.tensors
    if entry.ours[0].startswith('task_head/') and is_there:
      tensor = target.take(entry.theirs, entry.their_shape(sizes))
      if tensor is not None:
        (found[entry.ours[0]],) = names.to_ours(entry, tensor, sizes)
  return found
