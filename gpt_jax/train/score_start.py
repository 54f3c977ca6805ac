"""Scores the parameters that a training begins with: what a model knows without it.

Of a pretrained model and a task that asks in words, that is zero-shot and few-shot
evaluation (arXiv:2005.14165, section 2).
"""

import dataclasses

from gpt_jax.config import load
from gpt_jax.core.errors import ConfigError, note_once
from gpt_jax.examples.reading import reading_once
from gpt_jax.parallel import multihost, sync
from gpt_jax.program import device_memory, setup, task_data
from gpt_jax.storage import objects
from gpt_jax.train import score_run, start, task_end
from gpt_jax.workdir.paths import Workdir

MANY_STEPS = 2**31 - 1


@reading_once()
def score_start(
  config, workdir, *, with_baselines=False, baseline_tokens=score_run.BASELINE_TOKENS
):
  """Returns the `score_run.Scores`, at step 0, of a config's first parameters.

  `workdir`: a folder that holds no training; it gets config.json, by which `report`
  shows what `eval` wrote there, and the tokenizer. Other arguments: as in `score_run`.
  """
  workdir = Workdir(workdir)
  if objects.is_folder(workdir.checkpoints):
    raise ConfigError(
      f'--config: {workdir} holds a training; leave --config out to score it, or name'
      ' another --workdir for what its model knows before.'
    )
  config = sync.raise_on_all(lambda: task_data.complete(config))
  if with_baselines:
    score_run.require_text(config)
  sync.raise_on_all(workdir.create)
  tokenizer = setup.open_tokenizer(config, workdir)
  if config.init_from:
    start.check_tokenizer(config, tokenizer)
  if config.task.name:
    eval_sets = sync.raise_on_all(lambda: task_end.final_sets(config, tokenizer))
  else:
    eval_sets = setup.open_eval_sets(config, tokenizer, workdir)
  # No step is made: how many an epoch has does not matter.
  train = dataclasses.replace(config.train, epochs=None, tokens=None, steps=MANY_STEPS)
  program = setup.make_program(dataclasses.replace(config, train=train), tokenizer)
  device_memory.check_fits(program.abstract_state.params, 'parameters')
  params, origin = start.starting_params(program)
  if multihost.is_primary():
    workdir.write_config(load.to_dict(config))
    _introduce(origin)
  limit = baseline_tokens if with_baselines else None
  return score_run.score_params(
    program, params, 0, eval_sets, tokenizer, workdir, limit
  )


def _introduce(origin):
  note_once(f'step 0: {origin.text}')
  if origin.report and not origin.report.is_whole:
    for line in origin.report.lines():
      note_once(line)
