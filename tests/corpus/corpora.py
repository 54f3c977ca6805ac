"""Small corpora of every form, and what `gpt-jax prepare` makes of them."""

import hashlib
import json
import random

from gpt_jax.corpus import prepare
from tests import tiny_runs

WORDS = (
  'the',
  'of',
  'sea',
  'Größe',
  '中文',
  'naïve',
  '😀',
  "isn't",
  '12',
  'x\ty',
  '\n',
)


def texts(count, seed=0):
  """Returns `count` texts of up to 40 words, some with awkward ones."""
  rng = random.Random(seed)
  return [
    f'{i} ' + ' '.join(rng.choices(WORDS, k=rng.randint(0, 40))) for i in range(count)
  ]


def write_lines(path, documents):
  """Writes JSON lines, with a blank one now and then."""
  with open(path, 'w', encoding='utf-8') as file:
    for i, document in enumerate(documents):
      blank = '\n' * (i % 7 == 0)
      file.write(json.dumps(document, ensure_ascii=i % 2 == 0) + '\n' + blank)


def config(overrides):
  return tiny_runs.tiny_config({'tokenizer.name': 'byte', **overrides})


def prepared(folder, overrides, **options):
  """Returns the report of a corpus prepared in `folder`."""
  folder.mkdir(parents=True, exist_ok=True)
  return prepare.prepare(prepare.Request(config(overrides), folder, **options))


def contents(folder):
  """Returns {file: digest} of all files below a folder."""
  return {
    str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
    for path in folder.rglob('*')
    if path.is_file()
  }
