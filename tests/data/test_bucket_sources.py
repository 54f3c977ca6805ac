"""Text, records, sets, tokenizers and runs in a bucket: as the same on a disk."""

import dataclasses
import glob
import json
import shutil

import numpy as np
import pytest

from configs import base
from gpt_jax import cli
from gpt_jax.config import load
from gpt_jax.core.errors import ConfigError
from gpt_jax.data import files, pipeline
from gpt_jax.storage import bucket_paths
from gpt_jax.storage.places import place
from tests import tiny_runs
from tests.data import tokenizer_zoo
from tests.data.test_sources import write_array_records
from tests.storage.buckets import both

NAMES = (
  'a.jsonl', 'b.txt', '.c.jsonl', 'd/a.jsonl', 'd/.e/a.jsonl', '.f/a.jsonl',
  'd/g/h/a.jsonl', 'd/g/x[1].jsonl',
)  # fmt: skip
KINDS = {
  'a file': dict(source='text', path='{}/words.txt'),
  'a glob': dict(source='jsonl', path='{}/lines/*/*.jsonl'),
  'any depth': dict(source='jsonl', path='{}/lines/**/*.jsonl'),
  'a folder': dict(source='jsonl', path='{}/lines'),
  'packed': dict(source='text', path='{}/*.txt.gz', encoding='utf-16'),
  'records': dict(source='array_record', data_dir='{}', path='records/*'),
  'a set': dict(source='tfds', name='c4_demo', data_dir='{}/tfds'),
  'a version': dict(
    source='tfds', name='sst2_small:1.0.0', text_field='sentence', data_dir='{}/tfds'
  ),
}
TOKENIZERS = {
  'json': 'tokenizers/bpe/tokenizer.json',
  'json folder': 'tokenizers/bpe',
  'sentencepiece': 'tokenizers/spm.model',
  'gpt2': 'tokenizers/gpt2',
}


@pytest.mark.parametrize(
  'pattern',
  ['*', '*.jsonl', '**', '**/*.jsonl', 'd/**/a.jsonl', '.*', '.f/*', '*/*', '*/*/x*',
   '**/.e/*', '?.jsonl', '[ab].*', 'd/**/**/*.jsonl', 'd/g/**'],
)  # fmt: skip
def test_a_glob_means_in_a_bucket_what_it_means_here(pattern, tmp_path):
  for name in NAMES:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
  found = glob.glob(pattern, root_dir=tmp_path, recursive=True)
  expected = {name for name in found if (tmp_path / name).is_file()}
  matched = {n for n in NAMES if files._matches(n.split('/'), pattern.split('/'))}
  assert matched == expected


def test_a_source_in_no_known_storage_is_refused():
  data = dataclasses.replace(
    load.resolve(base.get_config()).data, path='hdfs://host/*.txt'
  )
  with pytest.raises(ConfigError, match='hdfs:// is no storage'):
    files.find(data, ('.txt',))


@pytest.fixture
def folder(tmp_path):
  """Returns a folder with data of each of KINDS and TOKENIZERS, without TFDS."""
  words = tiny_runs.words(9_000)
  texts = [words[i : i + 60] for i in range(0, len(words), 60)]
  (tmp_path / 'words.txt').write_text(words)
  import gzip

  (tmp_path / 'more.txt.gz').write_bytes(gzip.compress(words.encode('utf-16')))
  parts = {'train/a': texts[:60], 'validation/b': texts[60:99], 'train/.c': ['hidden']}
  for name, part in parts.items():
    path = tmp_path / 'lines' / f'{name}.jsonl'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(''.join(json.dumps({'text': text}) + '\n' for text in part))
  (tmp_path / 'records').mkdir()
  for name, part in (('a', texts[:80]), ('b', texts[80:])):
    path = tmp_path / 'records' / f'{name}.array_record'
    write_array_records(path, [text.encode() for text in part])
  bpe = tmp_path / 'tokenizers' / 'bpe'
  bpe.mkdir(parents=True)
  model = tokenizer_zoo.make('bpe')._model
  model.add_special_tokens(['<stop>'])
  model.save(str(bpe / 'tokenizer.json'))
  (bpe / 'tokenizer_config.json').write_text('{"eos_token": "<stop>"}')
  return tmp_path


def upload(folder, url):
  for path in sorted(folder.rglob('*')):
    if path.is_file():
      target = place(f'{url}/{path.relative_to(folder).as_posix()}')
      target.write_bytes(path.read_bytes())


def mark_folder(url):
  """Makes the empty object by which the console of GCS shows a folder."""
  bucket_paths.write(f'{url}/', b'')


def samples(root, fields, cache, tokenizer=None):
  """Returns (fingerprint, samples) of training and validation, text below `root`."""
  values = {f'data.{k}': v.format(root) for k, v in fields.items()}
  values |= {f'tokenizer.{k}': v for k, v in (tokenizer or {}).items()}
  config = load.resolve(base.get_config(), values | {'data.seq_len': 64})
  made = pipeline.open_tokenizer(config.tokenizer, config.data)
  found = []
  for split in ('train', 'validation'):
    data = load.resolve(base.get_config(), values | {
      'data.seq_len': 64, 'data.split': split,
    }).data  # fmt: skip
    one = pipeline.open_dataset(data, made, seed=0, cache_dir=str(cache))
    found.append((one.fingerprint, [one.sample(n)['tokens'] for n in range(9)]))
  return made, found


@pytest.mark.slow
@both
def test_samples_of_a_bucket_are_those_of_a_disk(bucket, folder, request):
  url, _ = bucket
  kinds = dict(KINDS)
  try:
    sets = request.getfixturevalue('shared_tfds')
    for name in ('c4_demo', 'sst2_small'):
      shutil.copytree(sets / name, folder / 'tfds' / name)
  except pytest.skip.Exception:
    del kinds['a set'], kinds['a version']
  upload(folder, url)
  for name in ('', '/lines', '/lines/train', '/records', '/tfds/c4_demo'):
    mark_folder(url + name)
  bucket_paths.write(f'{url}/lines/train/odd #1?[*].md', b'of another kind')
  for name, fields in kinds.items():
    here = samples(str(folder), fields, folder / 'cache')[1]
    there = samples(url, fields, folder / 'cache_of_bucket')[1]
    assert here[0][0] == there[0][0] and here[1][0] == there[1][0], name
    np.testing.assert_array_equal(here[0][1], there[0][1], err_msg=name)
    np.testing.assert_array_equal(here[1][1], there[1][1], err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize('kind', sorted(TOKENIZERS))
def test_a_tokenizer_in_a_bucket_is_that_of_a_disk(bucket, folder, kind, request):
  url, _ = bucket
  if kind == 'gpt2':
    shared = request.getfixturevalue('shared_data')
    shutil.copytree(shared / 'gpt2_bpe', folder / 'tokenizers' / 'gpt2')
  if kind == 'sentencepiece':
    made = tokenizer_zoo.make(kind)
    (folder / 'tokenizers' / 'spm.model').write_bytes(made._model_bytes())
  upload(folder / 'tokenizers', f'{url}/tokenizers')
  found = [
    samples(
      str(folder), KINDS['a file'], folder / 'cache',
      dict(name=kind.split()[0], path=f'{root}/{TOKENIZERS[kind]}'),
    )[0]
    for root in (folder, url)
  ]  # fmt: skip
  assert found[0].fingerprint == found[1].fingerprint
  assert found[0].eos_id == found[1].eos_id


@pytest.mark.slow
def test_a_run_that_starts_from_a_bucket_ends_bit_equal(bucket, folder):
  url, _ = bucket
  upload(folder / 'lines', f'{url}/lines')
  fields = {'data.source': 'jsonl', 'eval.batch_size': 8, 'train.steps': 3}
  ends = []
  for root in (str(folder), url):
    data = fields | {'data.path': f'{root}/lines/**', 'data.cache_dir': ''}
    first, second = f'{root}/first', f'{root}/second'
    command = ['train', *tiny_runs.flags(data | tiny_runs.ONE_LAYER)]
    assert cli.main([*command, f'--workdir={first}']) == 0
    more = [f'--config.init_from={first}', f'--workdir={second}']
    assert cli.main([*command, *more]) == 0
    ends.append((tiny_runs.lines(first), tiny_runs.lines(second)))
  assert ends[0] == ends[1] and ends[0][0] != ends[0][1]


WRONG = {
  'no object': ({'data.path': '{}/no.txt'}, 3, 'listed by: gcloud storage ls gs://'),
  'an empty glob': ({'data.path': '{}/*.csv'}, 3, 'no such file, glob or folder'),
  'an empty object': ({'data.path': '{}/empty.txt'}, 3, 'empty.txt is empty (0'),
  'no bucket': ({'data.path': 'gs://not-there/a.txt'}, 5, "no bucket 'not-there'"),
  'no set': (
    {'data.source': 'tfds', 'data.name': 'c4_demo', 'data.data_dir': '{}'},
    3, "data.name='c4_demo': no such TFDS set is prepared in gs://",
  ),
  'no tokenizer': (
    {'tokenizer.name': 'json', 'tokenizer.path': '{}/no'}, 3, "tokenizer.path='gs://",
  ),
  'no files of a tokenizer': (
    {'tokenizer.name': 'gpt2', 'tokenizer.path': '{}/lines'}, 3,
    "lines': expected a folder with encoder.json",
  ),
  'a bad tokenizer': (
    {'tokenizer.name': 'json', 'tokenizer.path': '{}/words.txt'}, 3,
    "words.txt': cannot be read",
  ),
  'a bad model': (
    {'tokenizer.name': 'sentencepiece', 'tokenizer.path': '{}/words.txt'}, 3,
    'not a SentencePiece model',
  ),
  'no run': ({'init_from': '{}/no'}, 4, "init_from='gs://"),
  'a bad line': (
    {'data.source': 'jsonl', 'data.path': '{}/words.jsonl'}, 3,
    'words.jsonl (record 1, byte 0): not JSON',
  ),
  'no permission': ({'data.path': '{}/words.txt'}, 5, 'no valid credentials'),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize('case', WRONG)
def test_what_is_missing_in_a_bucket_is_told(case, bucket, tmp_path, capsys):
  (url, faults), (fields, code, said) = bucket, WRONG[case]
  if fields.get('tokenizer.name') == 'sentencepiece':
    pytest.importorskip('sentencepiece')
  for name, text in (
    ('words.txt', tiny_runs.words(3_000)), ('empty.txt', ''), ('lines/a', 'x'),
    ('words.jsonl', 'words'),
  ):  # fmt: skip
    place(f'{url}/{name}').write_text(text)
  faults.refused = 'all' if case == 'no permission' else ''
  values = {'data.source': 'text', 'data.path': f'{url}/words.txt'} | {
    field: value.format(url) for field, value in fields.items()
  }
  command = ['train', *tiny_runs.flags(values), f'--workdir={tmp_path / "run"}']
  assert cli.main(command) == code
  shown = capsys.readouterr().err  # the server's tracebacks among it
  assert said in shown[shown.rindex('gpt-jax: error:') :]
