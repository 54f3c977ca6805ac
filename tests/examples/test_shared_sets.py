"""Real files have as many examples as they are published with."""

import collections

import pytest

from gpt_jax.examples import leakage, splits

pytestmark = pytest.mark.shared

TEXT = {'text': '0', 'label': '1'}
COUNTS = [
  ('sst2/train.tsv', 'auto', TEXT, 6920),
  ('sst2/dev.tsv', 'auto', TEXT, 872),
  ('sst2/test.tsv', 'auto', TEXT, 1821),
  ('chnsenticorp_zh/train.tsv', 'auto', TEXT, 9600),
  ('chnsenticorp_zh/dev.tsv', 'auto', TEXT, 1200),
  ('ag_news/test.csv', 'auto', {'label': '0', 'text': '1', 'text_b': '2'}, 7600),
  ('glue_rte/train.tsv', 'tsv_header', {'text': 'sentence1', 'label': 'label'}, 2490),
  ('glue_rte/dev.tsv', 'tsv_header', {'text': 'sentence1', 'label': 'label'}, 277),
  ('conll2003/train.txt', 'conll', {}, 14041),
  ('conll2003/dev.txt', 'conll', {}, 3250),
  ('conll2003/test.txt', 'conll', {}, 3453),
  ('resume_ner_zh/train.char.bmes', 'char_tags', {}, 3821),
  ('resume_ner_zh/dev.char.bmes', 'char_tags', {}, 463),
  ('resume_ner_zh/test.char.bmes', 'char_tags', {}, 477),
  ('squad/squad_v1.1_dev_subset.en.json', 'squad', {}, 1190),
  ('squad/squad_v1.1_dev_subset.zh.json', 'squad', {}, 1190),
  ('dialogsum/dialogsum.dev.jsonl', 'dialogsum', {}, 500),
  ('dialogsum/dialogsum.test.jsonl', 'dialogsum', {}, 500),
  ('p3_summ/*.jsonl', 'p3', {}, 400),
  ('multi30k_en_de/train.*.gz', 'parallel', {}, 29000),
  ('multi30k_en_de/val.*.gz', 'parallel', {}, 1014),
  ('multi30k_en_de/test_2016_flickr.*.gz', 'parallel', {}, 1000),
  ('multi30k_en_de/test_2017_mscoco.*.gz', 'parallel', {}, 461),
  ('tatoeba_en_zh/cmn.txt', 'tsv', {'source': '0', 'targets': '1'}, 20133),
  ('semeval2010_task8/TRAIN_FILE.TXT', 'semeval', {}, 8000),
  ('semeval2010_task8/TEST_FILE_FULL.TXT', 'semeval', {}, 2717),
  ('alpaca/alpaca_data_1k.json', 'alpaca', {}, 1000),
  ('alpaca/alpaca_en_demo.json', 'alpaca', {}, 999),
  ('alpaca/alpaca_zh_demo.json', 'alpaca', {}, 1000),
  ('preference/dpo_en_demo.json', 'sharegpt', {}, 300),
  ('preference/dpo_zh_demo.json', 'sharegpt', {}, 300),
  ('blimp/*.jsonl', 'blimp', {}, 3000),
  ('web_docs/c4_demo.jsonl', 'auto', {'text': 'text'}, 300),
  ('gutenberg/*.txt', 'text', {}, 7),
]


@pytest.mark.parametrize('name, reader, columns, count', COUNTS)
def test_a_set_has_its_published_size(shared_data, name, reader, columns, count):
  found = list(splits.read([name], reader, columns, data_dir=str(shared_data)))
  assert len(found) == count


def load(shared_data, names, reader, split='all', columns=None):
  files = {'all': names}
  return splits.load(files, reader, columns or {}, split, data_dir=str(shared_data))


def test_piqa_has_a_label_for_each_question(shared_data):
  found = load(shared_data, ['piqa/valid.jsonl', 'piqa/valid-labels.lst'], 'piqa')
  assert len(found) == 1838
  assert {record.values['label'] for record in found} == {0, 1}


def test_semeval_has_the_spans_of_its_tags(shared_data):
  found = load(shared_data, 'semeval2010_task8/TRAIN_FILE.TXT', 'semeval')
  assert len({record.values['label'] for record in found}) == 19
  raw = (shared_data / 'semeval2010_task8' / 'TRAIN_FILE.TXT').read_text('utf-8')
  for record in found[::50]:
    for name, (start, end) in (
      ('e1', record.values['head']),
      ('e2', record.values['tail']),
    ):
      marked = f'<{name}>{record.values["text"][start:end]}</{name}>'
      line = raw.splitlines()[int(record.place.rpartition(' ')[2]) - 1]
      assert marked in line
  key = (shared_data / 'semeval2010_task8' / 'TEST_FILE_KEY.TXT').read_text('utf-8')
  expected = [line.split('\t') for line in key.splitlines() if line]
  test = load(shared_data, 'semeval2010_task8/TEST_FILE_FULL.TXT', 'semeval')
  # The key has no directions.
  found = [[one.values['id'], one.values['label'].partition('(')[0]] for one in test]
  assert found == expected


def test_articles_of_squad_stay_in_one_split(shared_data):
  name = 'squad/squad_v1.1_dev_subset.en.json'
  titles = collections.Counter()
  total = 0
  for split in splits.BOUNDS:
    found = load(shared_data, name, 'squad', split)
    total += len(found)
    titles.update({record.values['title'] for record in found})
  assert total == 1190 and len(titles) == 48 and set(titles.values()) == {1}


def test_movielens_has_all_ratings_with_a_history(shared_data):
  rows = [
    line.split(',')
    for line in (shared_data / 'movielens_small' / 'ratings.csv')
    .read_text()
    .split()[1:]
  ]
  assert len(rows) == 71401
  first_liked = {}
  for user, _, stars, time in rows:
    if float(stars) >= 4:
      first_liked[user] = min(int(time), first_liked.get(user, int(time)))
  expected = sum(int(row[3]) > first_liked.get(row[0], 2**40) for row in rows)
  found = load(shared_data, 'movielens_small', 'movielens')
  assert len(found) == expected == 69669
  assert max(len(record.values['history']) for record in found) == 10


def test_a_fourth_of_the_held_out_reviews_are_in_training(shared_data):
  train, held_out = (
    load(shared_data, f'chnsenticorp_zh/{name}.tsv', 'tsv', columns=TEXT)
    for name in ('train', 'dev')
  )
  assert leakage.count(train, held_out).num_shared == 338
  texts = {record.values['text'] for record in train}
  assert sum(record.values['text'] in texts for record in held_out) == 338


def test_tfds_sets_are_the_files_that_they_were_made_of(shared_data, shared_tfds):
  columns = {'text': 'sentence', 'label': 'label'}
  files = {'test': 'sst2_small:test'}
  prepared = splits.load(files, 'tfds', columns, 'test', data_dir=str(shared_tfds))
  plain = load(shared_data, 'sst2/test.tsv', 'tsv', columns=TEXT)
  names = {'0': 'negative', '1': 'positive'}
  assert sorted(
    (record.values['text'], record.values['label']) for record in prepared
  ) == sorted((one.values['text'], names[one.values['label']]) for one in plain)
