"""Tasks that write, on a few made-up examples: their configs, rows and tiny models."""

import json

from gpt_jax.data.tokenizers import ByteTokenizer
from gpt_jax.examples.record import Record
from gpt_jax.tasks import make_task
from gpt_jax.tasks.encoding import Encoder
from gpt_jax.train import loop
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs

SMALL = tiny_runs.ONE_LAYER | {
  'tokenizer.name': 'byte',
  'data.seq_len': 64,
  'eval.batch_size': 8,
  'train.steps': 30,
  'eval.every_steps': 30,
  'checkpoint.every_steps': 30,
}
"""A model from scratch that reads bytes."""


def config(name, overrides=None):
  """Returns the Config of a task, with a file that is never read."""
  picks = {'task.name': name, 'task.files': {'train': 'none.jsonl'}}
  return tiny_runs.tiny_config(SMALL | picks | (overrides or {}))


def task_of(name, overrides=None):
  """Returns the Task of `config`."""
  return make_task(config(name, overrides))


def rows_of(task, values, tokenizer=None, is_training=True):
  """Returns the Rows of a record's values, and the Encoder that made them."""
  encoder = Encoder(tokenizer or ByteTokenizer(), task.config.data, task.cfg)
  return task.encode(Record(values, 'a.jsonl, line 1'), encoder, is_training), encoder


def with_loss(row, tokenizer):
  """Returns the text of a row's tokens that bear the loss, [END] for end tokens."""
  tokens = row.tokens[row.fields['loss_mask'] == 1]
  return shown(tokens, tokenizer)


def shown(tokens, tokenizer):
  """Returns the text of tokens, with [END] for end tokens."""
  end, parts, text = tokenizer.eos_id, [], []
  for token in tokens:
    if token == end:
      parts += [tokenizer.decode(text), '[END]']
      text = []
    else:
      text.append(int(token))
  return ''.join([*parts, tokenizer.decode(text)])


class Echo:
  """Stands for a TextGenerator: writes the prompt, and keeps what it was asked."""

  def __init__(self, tokenizer=None):
    self.tokenizer = tokenizer or ByteTokenizer()
    self.asked, self.options = [], []

  def continue_ids(self, prompts_ids, **options):
    self.asked += [shown(ids, self.tokenizer) for ids in prompts_ids]
    self.options.append(options)
    return [f' {self.tokenizer.decode(ids)} ' for ids in prompts_ids]


def write_jsonl(path, examples):
  path.write_text(''.join(json.dumps(one) + '\n' for one in examples))
  return str(path)


def train(settings, workdir):
  """Trains, and returns ({set: metrics} of eval.json, lines of predictions of test)."""
  loop.train(settings, workdir, quiet=True)
  folder = Workdir(workdir)
  path = folder.predictions / 'test.jsonl'
  lines = path.read_text().splitlines() if path.exists() else []
  return json.loads(folder.eval.read_text()), [json.loads(line) for line in lines]
