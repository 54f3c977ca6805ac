"""Tasks on a few made-up examples: their configs, rows and trained tiny models."""

import json

from gpt_jax.tasks import make_task
from gpt_jax.tasks.encoding import Encoder
from gpt_jax.train import loop
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs

SMALL = tiny_runs.ONE_LAYER | {
  'tokenizer.name': 'byte',
  'data.seq_len': 32,
  'data.append_eos': True,
  'eval.batch_size': 8,
  'train.steps': 40,
  'eval.every_steps': 40,
  'checkpoint.every_steps': 40,
  'objective.options.attention': 'bidirectional',
}
"""A model from scratch that reads bytes and sees a whole row."""


def config(name, objective, overrides=None):
  """Returns the Config of a task, with a file that is never read."""
  files = {'task.files': {'train': 'none.jsonl'}}
  picks = {'task.name': name, 'objective.name': objective}
  return tiny_runs.tiny_config(SMALL | files | picks | (overrides or {}))


def task_of(name, objective, labels, overrides=None):
  """Returns the Task of `config` with these label names."""
  names = {'task.label_names': tuple(labels)}
  return make_task(config(name, objective, names | (overrides or {})))


def encoder_of(task, tokenizer):
  return Encoder(tokenizer, task.config.data, task.cfg)


def write_jsonl(path, examples):
  path.write_text(''.join(json.dumps(one) + '\n' for one in examples))
  return str(path)


def train(settings, workdir):
  """Trains, and returns ({set: metrics} of eval.json, lines of predictions of test)."""
  loop.train(settings, workdir, quiet=True)
  folder = Workdir(workdir)
  lines = (folder.predictions / 'test.jsonl').read_text().splitlines()
  return json.loads(folder.eval.read_text()), [json.loads(line) for line in lines]
