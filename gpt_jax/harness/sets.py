"""Local data sets of benchmarks as lists of records; nothing is downloaded."""

import csv
import json
import os
import pathlib

from gpt_jax.core.errors import DataError


def folder(name, data_dir=None):
  """Returns the folder `name` below data_dir, $GPT_JAX_DATA or the working directory.

  Raises DataError where none of them has it.
  """
  roots = [data_dir, os.environ.get('GPT_JAX_DATA'), '.']
  candidates = [pathlib.Path(root).expanduser() / name for root in roots if root]
  found = next((path for path in candidates if path.is_dir()), None)
  if found is None:
    looked = ', '.join(map(str, candidates))
    raise DataError(
      f'data set {name}: no such folder ({looked}). Set --data_dir or GPT_JAX_DATA to'
      ' the folder that holds it.'
    )
  return found


def piqa(data_dir=None):
  """Returns the questions of PIQA's validation set. arXiv:1911.11641."""
  here = folder('piqa', data_dir)
  records, labels = _json_lines(here / 'valid.jsonl'), _lines(here / 'valid-labels.lst')
  if len(records) != len(labels):
    raise DataError(f'{here}: {len(records)} questions, but {len(labels)} labels.')
  pairs = zip(records, labels, strict=True)
  return [record | {'label': int(label)} for record, label in pairs]


def blimp(paradigm, data_dir=None):
  """Returns the minimal pairs of one paradigm of BLiMP. arXiv:1912.00582."""
  return _json_lines(folder('blimp', data_dir) / f'{paradigm}.jsonl')


def sst2(data_dir=None):
  """Returns the development sentences of SST-2; label 1 is positive."""
  rows = _table(folder('sst2', data_dir) / 'dev.tsv', '\t', 2)
  return [{'sentence': text, 'label': int(label)} for text, label in rows]


def rte(data_dir=None):
  """Returns the development pairs of GLUE's RTE; label 0 is entailment."""
  rows = _table(folder('glue_rte', data_dir) / 'dev.tsv', '\t', 4)[1:]
  return [
    {'sentence1': one, 'sentence2': two, 'label': int(label != 'entailment')}
    for _, one, two, label in rows
  ]


def ag_news(data_dir=None):
  """Returns the test articles of AG News; labels are world, sports, business, tech."""
  with open(
    folder('ag_news', data_dir) / 'test.csv', newline='', encoding='utf-8'
  ) as f:
    rows = list(csv.reader(f))
  return [
    {
      'title': title.replace('\\', ' '),
      'description': description.replace('\\', ' '),
      'label': int(label) - 1,
    }
    for label, title, description in rows
  ]


def chnsenticorp(data_dir=None):
  """Returns the development reviews of ChnSentiCorp; label 1 is positive."""
  rows = _table(folder('chnsenticorp_zh', data_dir) / 'dev.tsv', '\t', 2)
  return [{'text': text, 'label': int(label == 'positive')} for text, label in rows]


def squad(data_dir=None, language='en'):
  """Returns the questions of SQuAD's development subset, 'en' or 'zh'."""
  name = f'squad_v1.1_dev_subset.{language}.json'
  content = json.loads((folder('squad', data_dir) / name).read_text(encoding='utf-8'))
  return [
    {
      'context': paragraph['context'],
      'question': question['question'],
      'answers': [answer['text'] for answer in question['answers']],
    }
    for article in content['data']
    for paragraph in article['paragraphs']
    for question in paragraph['qas']
  ]


def wikitext(data_dir=None):
  """Returns the articles of WikiText-2's test set. arXiv:1609.07843."""
  pages, page = [], []
  for line in _lines(folder('wikitext-2', data_dir) / 'test.txt'):
    words = line.split()
    is_title = len(words) > 2 and words[0] == words[-1] == '=' != words[1]
    if is_title and page:
      pages.append({'page': '\n'.join(page)})
      page = []
    page.append(line)
  pages.append({'page': '\n'.join(page)})
  return [page for page in pages if page['page'].strip()]


def _lines(path):
  try:
    return path.read_text(encoding='utf-8').splitlines()
  except (OSError, UnicodeDecodeError) as error:
    raise DataError(f'{path}: cannot be read: {error}') from error


def _json_lines(path):
  try:
    return [json.loads(line) for line in _lines(path) if line.strip()]
  except ValueError as error:
    raise DataError(f'{path}: a line is no JSON: {error}') from error


def _table(path, separator, columns):
  rows = [line.split(separator) for line in _lines(path) if line]
  for i, row in enumerate(rows):
    if len(row) != columns:
      raise DataError(f'{path}: line {i + 1} has {len(row)} columns, not {columns}.')
  return rows
