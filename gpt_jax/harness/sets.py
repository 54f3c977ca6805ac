"""Local data sets of benchmarks as lists of records; nothing is downloaded."""

from gpt_jax.core.errors import DataError
from gpt_jax.data import files
from gpt_jax.examples import content, splits


def folder(name, data_dir=None):
  """Returns the folder `name` below data_dir, $GPT_JAX_DATA or the working directory.

  Raises DataError where none of them has it.
  """
  candidates = files.candidates(name, data_dir)
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
  return [
    {'goal': one['prompt'], 'sol1': one['choices'][0], 'sol2': one['choices'][1]}
    | {'label': one['label']}
    for one in _read([here / 'valid.jsonl', here / 'valid-labels.lst'], 'piqa')
  ]


def blimp(paradigm, data_dir=None):
  """Returns the minimal pairs of one paradigm of BLiMP. arXiv:1912.00582."""
  return _read([folder('blimp', data_dir) / f'{paradigm}.jsonl'], 'jsonl')


def sst2(data_dir=None):
  """Returns the development sentences of SST-2; label 1 is positive."""
  path = folder('sst2', data_dir) / 'dev.tsv'
  rows = _read([path], 'tsv', sentence='0', label='1')
  return [row | {'label': int(row['label'])} for row in rows]


def rte(data_dir=None):
  """Returns the development pairs of GLUE's RTE; label 0 is entailment."""
  path = folder('glue_rte', data_dir) / 'dev.tsv'
  names = {name: name for name in ('sentence1', 'sentence2', 'label')}
  rows = _read([path], 'tsv_header', **names)
  return [row | {'label': int(row['label'] != 'entailment')} for row in rows]


def ag_news(data_dir=None):
  """Returns the test articles of AG News; labels are world, sports, business, tech."""
  path = folder('ag_news', data_dir) / 'test.csv'
  return [
    {
      'title': row['title'].replace('\\', ' '),
      'description': row['description'].replace('\\', ' '),
      'label': int(row['label']) - 1,
    }
    for row in _read([path], 'csv', title='1', description='2', label='0')
  ]


def chnsenticorp(data_dir=None):
  """Returns the development reviews of ChnSentiCorp; label 1 is positive."""
  path = folder('chnsenticorp_zh', data_dir) / 'dev.tsv'
  rows = _read([path], 'tsv', text='0', label='1')
  return [row | {'label': int(row['label'] == 'positive')} for row in rows]


def squad(data_dir=None, language='en'):
  """Returns the questions of SQuAD's development subset, 'en' or 'zh'."""
  path = folder('squad', data_dir) / f'squad_v1.1_dev_subset.{language}.json'
  return [
    {
      'context': one['context'],
      'question': one['question'],
      'answers': [answer['text'] for answer in one['answers']],
    }
    for one in _read([path], 'squad')
  ]


def wikitext(data_dir=None):
  """Returns the articles of WikiText-2's test set. arXiv:1609.07843."""
  pages, page = [], []
  for line in content.lines(folder('wikitext-2', data_dir) / 'test.txt', 'utf-8'):
    words = line.split()
    is_title = len(words) > 2 and words[0] == words[-1] == '=' != words[1]
    if is_title and page:
      pages.append({'page': '\n'.join(page)})
      page = []
    page.append(line)
  pages.append({'page': '\n'.join(page)})
  return [page for page in pages if page['page'].strip()]


def _read(paths, reader, **columns):
  """Returns what `reader` gives for files, or the fields of `columns`."""
  names = [str(path) for path in paths]
  return [record.values for record in splits.read(names, reader, columns)]
