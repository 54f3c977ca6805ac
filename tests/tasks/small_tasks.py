"""Tasks on small files: their configs, rows, and a training from random parameters."""

import json

from configs import base
from gpt_jax import tasks
from gpt_jax.data.tokenizers import ByteTokenizer
from gpt_jax.examples.record import Record
from gpt_jax.program import setup
from gpt_jax.tasks.encoding import Encoder
from gpt_jax.train import loop
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs

TINY = {
  'tokenizer.name': 'byte', 'data.seq_len': 64, 'train.batch_size': 8,
  'train.steps': 6, 'eval.every_steps': 0, 'eval.batch_size': 8,
  'checkpoint.every_steps': 0, 'logging.every_steps': 100,
  'model.max_seq_len': 512,
}  # fmt: skip


def config(name, objective, overrides=None):
  """Returns the Config of a tiny run of a task."""
  names = {
    'task.name': name, 'objective.name': objective, 'task.files': {'all': 'unread'},
  }  # fmt: skip
  settings = tiny_runs.TINY | tiny_runs.ONE_LAYER | TINY | names | (overrides or {})
  return setup.resolve(base.get_config(), settings)


def made(name, objective, overrides=None):
  """Returns (Task, Encoder for bytes) of a tiny run."""
  settings = config(name, objective, overrides)
  task = tasks.make_task(settings)
  assert task is not None
  return task, Encoder(ByteTokenizer(), settings.data, settings.task)


def record(**values):
  """Returns a Record of these values."""
  return Record(values, 'a.jsonl, line 1')


def write(path, records):
  """Writes records, dicts, as JSON lines; returns the name of the file."""
  lines = [json.dumps(values, ensure_ascii=False) for values in records]
  path.write_text('\n'.join(lines) + '\n', encoding='utf-8')
  return str(path)


def train(name, objective, path, workdir, overrides=None):
  """Trains on a file, scored on itself; returns (metrics, predictions) of the end."""
  files = {split: path for split in ('train', 'validation', 'test')}
  asked = {'task.files': files, 'eval.sets': {'validation': {}}} | (overrides or {})
  loop.train(config(name, objective, asked), workdir, quiet=True)
  found = json.loads(Workdir(workdir).eval.read_text())
  lines = (Workdir(workdir).predictions / 'test.jsonl').read_text().splitlines()
  return found['test'], [json.loads(line) for line in lines]


def bearing_loss(row):
  """Returns the text of the tokens that bear the loss of a row with a loss_mask."""
  ids = row.tokens[row.fields['loss_mask'] > 0]
  return ''.join('<end>' if i == 256 else chr(i) for i in ids)
