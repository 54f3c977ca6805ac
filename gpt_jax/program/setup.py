"""From a config to its parts: tokenizer, data sets, program. Shared by all commands."""

import dataclasses
import functools

from gpt_jax import attention, objectives, optimizers, peft, tasks
from gpt_jax.config import load
from gpt_jax.core.errors import CheckpointError, ConfigError, Problem
from gpt_jax.data import (
  SOURCES,
  encodings,
  overlap,
  packing,
  pipeline,
  records,
  tokenizers,
)
from gpt_jax.evaluation.metrics import METRICS
from gpt_jax.interop import open_model
from gpt_jax.model import activations, exits, heads, output_layer, positions, stored
from gpt_jax.model.statistics import STATISTICS
from gpt_jax.optimizers import groups, last_layers, post_update, schedules
from gpt_jax.parallel import multihost, sharding, sync
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.program import (
  carry,
  device_memory,
  distillation,
  horizon,
  inherit,
  inherit_adapter,
  init_rules,
  regularization,
  row_lengths,
  task_data,
)
from gpt_jax.program.build import build_program
from gpt_jax.program.horizon import START
from gpt_jax.program.reference_errors import named_reference
from gpt_jax.storage import places, urls
from gpt_jax.workdir.paths import Workdir

REGISTRIES = {
  'attention.kernel': {'auto': None} | attention.KERNELS | attention.SHARDED_KERNELS,
  'data.packing': packing.PACKINGS,
  'data.source': SOURCES,
  'eval.metrics': METRICS,
  'init.transform': init_rules.INIT_TRANSFORMS,
  'logging.statistics': STATISTICS,
  'model.activation': activations.ACTIVATIONS,
  'model.position': positions.POSITIONS,
  'objective.head': heads.HEADS,
  'objective.name': objectives.OBJECTIVES,
  'optimizer.name': optimizers.OPTIMIZERS,
  'optimizer.post_update': {'': None} | post_update.POST_UPDATES,
  'parallel.preset': sharding.PRESETS,
  'peft.name': {'': None} | peft.METHODS,
  'schedule.name': schedules.SCHEDULES,
  'task.name': {'': None} | tasks.TASKS,
  'tokenizer.name': tokenizers.TOKENIZERS,
}
"""Every registry of plug-ins by the config field that picks from it."""


def _folder_problems(config):
  """Yields the Problems of folders that are none, such as URLs."""
  for field, value in (
    ('init_from', config.init_from),
    ('peft.init_from', config.peft.init_from),
    ('distill.teacher', config.distill.teacher),
    ('data.path', config.data.path),
    ('data.data_dir', config.data.data_dir),
    ('data.cache_dir', config.data.cache_dir),
    ('tokenizer.path', config.tokenizer.path),
  ):
    fixed = urls.split_pattern(value)[0] if urls.is_url(value) else value
    can_be_bucket = field in ('data.path', 'data.data_dir')
    if text := _why_no_folder(fixed or '.', can_be_bucket):
      yield Problem(field, f': {text}')
    elif field == 'data.cache_dir' and urls.is_remote(value):
      text = 'tokens are mapped into memory; expected a folder of this machine'
      yield Problem(field, f'={value!r}: {text}')


@functools.cache  # a sweep asks for thousands of points
def _why_no_folder(value, can_be_bucket):
  try:
    places.place(value, can_be_bucket)
  except ConfigError as error:
    return str(error).removesuffix('.')
  return ''


RULES = (
  _folder_problems,
  lambda config: horizon.problems(config.train),
  lambda config: encodings.problems(config.data),
  lambda config: schedules.problems(config.schedule),
  lambda config: groups.problems(config.optimizer),
  last_layers.problems,
  lambda config: records.problems(config.data),
  init_rules.problems,
  inherit.problems,
  inherit_adapter.problems,
  attention.problems,
  positions.problems,
  output_layer.problems,
  exits.problems,
  task_data.problems,
  regularization.problems,
  distillation.problems,
  peft.storage.problems,
  stored.problems,
)
"""What the subjects have to say about a Config; beside `config.checks.CHECKS` and the
rules that entries declare (`registry.entry`)."""


def resolve(values, overrides=None, must_import=True, saved=None):
  """Returns the Config of a ConfigDict or dict plus overrides; see `load.resolve`.

  `saved`: as in `carry.carry_along`, by which other fields follow the overrides.
  """
  overrides = carry.carry_along(values, overrides or {}, saved)
  values, overrides = inherit_adapter.with_adapter_of_run(values, overrides)
  values, overrides = inherit.with_model_of_source(values, overrides)
  return load.resolve(values, overrides, REGISTRIES, RULES, must_import)


def read_config(workdir):
  """Returns the Config of a run's folder; CheckpointError where there is none."""
  saved = Workdir(workdir).read_config()
  if saved is None:
    raise CheckpointError(
      f'{workdir}: no config.json there, so no run; expected a folder that `gpt-jax'
      ' train --config=configs/tiny.py --workdir=...` has written.'
    )
  return resolve(saved, must_import=False)


def check_trains(config):
  """Raises ConfigError for a training of kernels that are stored in few bits."""
  cfg = config.model
  if cfg.quantization == 'none' and not cfg.quantized_embedding:
    return
  raise ConfigError(
    f'model.quantization={cfg.quantization!r}, model.quantized_embedding='
    f'{cfg.quantized_embedding}: kernels in few bits do not train. Set'
    ' --config.model.quantization=none --config.model.quantized_embedding=False'
    ' --config.model.quantized_activations=False: init_from takes their values in full,'
    ' and few parameters train beside kernels that are stored so again by'
    ' --config.peft.name=lora --config.peft.base_storage=int8 (or nf4).'
  )


def check_plan(config, planned=None):
  """Raises ConfigError where steps, schedule or objective cannot run; reads no data.

  `planned`: {workdir: Config} of runs that will be there before this one.
  """
  train = config.train
  if train.epochs is not None:  # how many steps, the data will say
    train = dataclasses.replace(train, steps=2**31 - 1)
  length = horizon.make_horizon(train, config.data.seq_len)
  schedules.make_schedule(config.schedule, length, peak=1.0)
  row_lengths.check_positions(config)
  objective = objectives.describe(config)
  regularization.check_objective(config, objective)
  distillation.check_objective(config, objective)
  found = read_reference_configs(config, planned)
  row_lengths.check_references(config, found)
  if config.distill.teacher:
    distillation.check_teacher(config, found[distillation.TEACHER])
  if config.logging.sample_every_steps and not objective.writes_text:
    raise ConfigError(
      f'logging.sample_every_steps={config.logging.sample_every_steps}: a model of'
      f' objective.name={config.objective.name!r} (bidirectional, or with a task head)'
      ' writes no text from left to right; set 0.'
    )


def open_tokenizer(config, workdir):
  """Returns the run's tokenizer: the kept one, that of `init_from`, or a new one."""
  workdir = Workdir(workdir)

  def read(inherited=None):
    if config.task.name:
      return task_data.open_tokenizer(config, workdir.path, inherited)
    return pipeline.open_tokenizer(
      config.tokenizer,
      config.data,
      workdir=workdir.path,
      inherited=inherited,
      cache_dir=config.data.cache_dir,
      held_out=[eval_data(config, name) for name in config.eval.sets],
    )

  def build():
    if not multihost.is_primary():
      return None
    # Parameters mean nothing under other ids, so they come with their tokenizer.
    if not config.init_from or config.init.tokenizer != 'keep':
      teacher = config.distill.teacher  # whose logits are by its own ids
      return read(Workdir(teacher).tokenizer if teacher else None)
    if open_model.is_model(config.init_from):
      with open_model.open_model(config.init_from) as model:
        return read(model.tokenizer)
    return read(Workdir(config.init_from).tokenizer)

  built = sync.raise_on_all(build)  # the other processes read what the first one kept
  return read() if built is None else built


def open_program(config, tokenizer, mesh=None, embedding_rows=None, past=START):
  """Returns `make_program`; ConfigError where its state exceeds the free memory."""
  program = make_program(config, tokenizer, mesh, embedding_rows, past)
  device_memory.check_fits(program.abstract_state)
  return program


def make_program(
  config, tokenizer, mesh=None, embedding_rows=None, past=START, references=None
):
  """Returns the Program of `config`; `embedding_rows` are those of a checkpoint.

  `references`: as of `read_reference_configs`, which reads them by default.
  """
  if references is None:
    references = read_reference_configs(config)
  return build_program(
    config,
    vocab=objectives.Vocab(
      tokenizer.vocab_size, tokenizer.eos_id, tokenizer.special_tokens
    ),
    mesh=mesh,
    byte_lengths=tokenizer.byte_lengths,
    embedding_rows=embedding_rows,
    past=past,
    reference_configs=references,
  )


def read_reference_configs(config, planned=None):
  """Returns the Configs of the runs that the objective reads as references, by name.

  `planned`: as in `check_plan`.
  """
  found = {}
  for name, path in distillation.references(config).items():
    with named_reference(name, path):
      found[name] = (planned or {}).get(str(path)) or read_config(path)
  return found


def open_training_data(config, tokenizer, workdir):
  """Returns the Dataset that training reads."""
  if config.task.name:
    return task_data.open_training_data(config, tokenizer)
  return _open_dataset(config, config.data, tokenizer, workdir)


def open_saved_program(config, tokenizer):
  """Returns the Program of a saved config on its mesh, or on the devices at hand."""
  config = distillation.without(config)
  # A run that was trained on a pod can be scored on a laptop: the metrics are the same.
  try:
    mesh = make_mesh(config.parallel.mesh)
  except ConfigError:
    mesh = make_mesh(dict(data=-1))
  program = make_program(config, tokenizer, mesh, config.model.vocab_size)
  device_memory.check_fits(program.abstract_state.params, 'parameters')
  return program


def open_eval_sets(config, tokenizer, workdir):
  """Returns `{name: Dataset}` of eval.sets: data fields over those of training.

  Says which of them share documents with the training data.
  """
  if config.task.name:
    return task_data.open_eval_sets(config, tokenizer)
  opened = {
    name: _open_dataset(
      config,
      eval_data(config, name),
      tokenizer,
      workdir,
      for_eval=True,
      interleave=config.eval.max_batches > 0,  # what is scored is like the whole set
    )
    for name in config.eval.sets
  }
  for name in opened if multihost.is_primary() else ():
    for train, _ in pipeline.members(config.data).values():
      for held_out, _ in pipeline.members(eval_data(config, name)).values():
        overlap.note_overlap(train, held_out, name)
  return opened


def _open_dataset(config, data, tokenizer, workdir, **options):
  cache_dir = config.data.cache_dir or Workdir(workdir).cache
  dataset = pipeline.open_dataset(
    data, tokenizer, seed=config.data.seed, cache_dir=cache_dir, **options
  )
  outputs = objectives.describe(config).num_outputs
  if outputs and dataset.num_labels not in (None, outputs):
    found = dataset.num_labels
    raise ConfigError(
      f'objective.name={config.objective.name!r}: its task head has {outputs}'
      f' outputs, but the labels of data.source={data.source!r} are {found} classes;'
      f' set objective.options.num_labels={found}.'
    )
  return dataset


def eval_data(config, name):
  """Returns the DataConfig of the set `name` of eval.sets."""
  fields = config.eval.sets[name]
  return load.data_section(config.data, fields, f'eval.sets.{name}', SOURCES)
