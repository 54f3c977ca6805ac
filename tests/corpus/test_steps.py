"""Quality steps inside `prepare`: what was planted is found, however many make it."""

import dataclasses
import json
import pathlib
import random

import numpy as np
import pytest

from gpt_jax import cli
from gpt_jax.core.errors import ConfigError, Interrupted
from gpt_jax.corpus import STEPS, gopher_repetition, prepare, shard_work, step_flags
from gpt_jax.storage.places import place
from tests import tiny_runs
from tests.corpus import texts

QUIZ = 'which of these large grey animals has the longest trunk and the thinnest tail'
SIZE = 20_000  # bytes of a shard


def planted(folder):
  """Writes a corpus of 60 documents and what is planted; returns their texts."""
  originals = [texts.prose(seed, 150 + seed) for seed in range(60)]
  copies = [text.replace(' ', '  ') for text in originals[:6]]
  near = [text.replace(f' {text.split()[40]} ', ' changed ', 1) for text in originals]
  near = near[10:16]
  leaked = [f'{originals[i]} {QUIZ}? {originals[i + 1]}' for i in (20, 30, 40)]
  loops = ['spam and eggs and bacon and more of it ' * 20 + str(i) for i in range(4)]
  rows = originals + copies + near + leaked + loops
  random.Random(0).shuffle(rows)
  lines = [json.dumps({'text': text}) for text in rows]
  (folder / 'train.jsonl').write_text('\n'.join(lines))
  (folder / 'quiz.jsonl').write_text(json.dumps({'text': QUIZ.title()}))
  return originals, copies, near, leaked, loops


def request(folder, out, **options):
  config = tiny_runs.tiny_config(
    {
      'tokenizer.name': 'byte',
      'data.source': 'jsonl',
      'data.path': str(folder / 'train.jsonl'),
      'data.split_by': 'names',
      'eval.sets': {
        'quiz': {
          'path': str(folder / 'quiz.jsonl'),
          'split': 'all',
          'split_by': 'auto',
        }
      },
      'checkpoint.best_metric': 'quiz/loss',
    }
  )
  steps = step_flags.parse(
    ['gopher_repetition', 'exact', 'minhash', 'decontaminate:sets=quiz']
  )
  return prepare.Request(config, out, tuple(steps), part_bytes=SIZE, **options)


def read(out):
  """Returns the documents of a prepared corpus, and its report."""
  found = []
  for path in sorted((out / 'shards').glob('*/train.tokens.bin')):
    tokens = np.fromfile(path, np.uint16)
    offsets = np.fromfile(path.with_name('train.offsets.bin'), np.int64)
    content = [tokens[a:b] for a, b in zip(offsets, offsets[1:], strict=False)]
    found += [bytes(part[part < 256].astype(np.uint8)).decode() for part in content]
  return found, json.loads((out / 'report.json').read_text())


@pytest.fixture(scope='module')
def corpus(tmp_path_factory):
  folder = tmp_path_factory.mktemp('corpus')
  rows = planted(folder)
  prepare.prepare(request(folder, folder / 'one'))
  return folder, rows, *read(folder / 'one')


def left_out(report):
  """Returns {name of a step: {reason: its counts and examples}}."""
  return {step['name']: step['left_out'] for step in report['steps']}


def test_what_was_planted_is_left_out_and_nothing_else(corpus):
  _, (originals, copies, near, leaked, loops), found, report = corpus
  counts = {
    name: {reason: one['documents'] for reason, one in reasons.items()}
    for name, reasons in left_out(report).items()
  }
  assert counts == {
    'gopher_repetition': {'one 2-gram again and again': len(loops)},
    'exact': {'copy of another document': len(copies)},
    'minhash': {'near-duplicate of another document': len(near)},
    'decontaminate': {'passages of quiz': len(leaked)},
  }
  assert not any(QUIZ in text for text in found)
  kept = {' '.join(text.split()) for text in found}
  assert set(originals[:10] + originals[16:]) <= kept
  assert len(found) == len(originals) + 2 * len(leaked)  # each in two pieces


def test_examples_show_what_was_found(corpus):
  *_, report = corpus
  found = left_out(report)
  (example, *_) = found['decontaminate']['passages of quiz']['examples']
  assert example['text'] == QUIZ
  (example, *_) = found['exact']['copy of another document']['examples']
  assert example['because_of'] != example['place']
  assert 'train.jsonl' in example['because_of']


def test_a_piece_is_a_document_that_stays_away_from_the_leak(corpus):
  _, (originals, _, _, _, _), found, _ = corpus
  assert originals[20][:-199] in found  # with the space between
  assert originals[21][198:] in found  # with the question mark


def mixture(folder, *steps, wiki=range(30)):
  """Returns (documents, report) of two sources of 30 and 90 documents of one size."""
  for name, seeds in (('wiki', wiki), ('web', range(100, 190))):
    rows = [json.dumps({'text': texts.prose(seed, 30)[:100]}) for seed in seeds]
    (folder / f'{name}.jsonl').write_text('\n'.join(rows))
  config = tiny_runs.tiny_config(
    {
      'tokenizer.name': 'byte',
      'data.source': 'jsonl',
      'data.split': 'all',
      'data.mixture': {
        name: {'path': str(folder / f'{name}.jsonl'), 'weight': 0.5}
        for name in ('wiki', 'web')
      },
      'eval.sets': {},
      'checkpoint.keep_best': 0,
    }
  )
  chosen = tuple(step_flags.parse(steps))
  prepare.prepare(prepare.Request(config, folder / 'out', chosen, part_bytes=1 << 20))
  return read(folder / 'out')


def test_copies_of_an_epoch_lie_apart(tmp_path):
  found, report = mixture(tmp_path, 'epochs:sources=wiki=2.5,web=1')
  assert report['sources']['web']['documents'] == 90
  wiki = found[90:]  # members in their order: web, wiki
  assert wiki[:30] == wiki[30:60]
  more = wiki[60:]
  assert 5 < len(more) < 25 and set(more) < set(wiki[:30])
  assert report['sources']['wiki']['documents'] == len(wiki)


def test_what_one_step_leaves_out_no_later_one_sees(tmp_path):
  """Of copies in two sources, that of the source without epochs is not the one kept."""
  steps = ('epochs:sources=web=0,wiki=1', 'exact')
  found, report = mixture(tmp_path, *steps, wiki=range(100, 130))
  assert len(set(found)) == len(found) == 30
  assert left_out(report)['exact'] == {}


def test_weights_bring_sources_into_their_shares(tmp_path):
  found, report = mixture(tmp_path, 'weights')
  assert report['sources']['wiki']['documents'] == 30
  assert report['sources']['wiki']['share'] == pytest.approx(0.5, abs=0.15)
  (gone,) = left_out(report)['weights'].values()
  assert gone['documents'] == 120 - len(found)


def test_a_step_is_asked_once_about_a_document(tmp_path, monkeypatch):
  """Two global steps make three passes; the first one remembers its answers."""
  asked, keep = [], gopher_repetition.GopherRepetition.keep

  def counted(self, document):
    asked.append(document.place)
    return keep(self, document)

  monkeypatch.setattr(gopher_repetition.GopherRepetition, 'keep', counted)
  _, report = mixture(tmp_path, 'gopher_repetition:top_2gram=0.09', 'exact', 'minhash')
  (gone,) = left_out(report)['gopher_repetition'].values()
  assert 0 < gone['documents'] < 120
  assert len(asked) == len(set(asked)) == 120


def test_all_steps_that_cannot_be_made_are_told_at_once(tmp_path):
  steps = step_flags.parse(['length:max_words=9', 'epochs', 'c4', 'weights'])
  planted(tmp_path)
  wanted = dataclasses.replace(request(tmp_path, tmp_path / 'x'), steps=tuple(steps))
  with pytest.raises(ConfigError) as error:
    prepare.prepare(wanted)
  for name in ('length:min_words=50', 'epochs: expected', 'weights: data.mixture'):
    assert f'--step={name}' in str(error.value)


def test_ids_are_no_text_for_steps(tmp_path):
  config = tiny_runs.tiny_config()  # of a synthetic language
  steps = tuple(step_flags.parse(['length']))
  with pytest.raises(ConfigError, match='--step=length: .* gives ids'):
    prepare.prepare(prepare.Request(config, tmp_path / 'out', steps))


def test_options_are_named_as_they_were_typed():
  with pytest.raises(ConfigError) as error:
    step_flags.parse(['minhash:treshold=1:bands=x', 'exact:same', 'c44'])
  assert '--step=minhash:treshold: unknown key' in str(error.value)
  assert "--step=minhash:bands='x': expected int" in str(error.value)
  assert "--step=exact:same: expected FIELD=VALUE, not 'same'" in str(error.value)
  assert "did you mean 'c4'" in str(error.value)


def test_cuts_are_in_bytes_up_to_the_end_of_a_document():
  document = texts.document('äöü, and so on')
  longer = dataclasses.replace(document, num_bytes=99)
  pieces = [(0, 2), (5, 8), (10, 14)]
  assert shard_work._in_bytes(document, pieces) == [(0, 4), (8, 11), (13, 17)]
  assert shard_work._in_bytes(longer, pieces)[-1] == (13, 99)


def test_help_and_document_name_every_step(capsys):
  with pytest.raises(SystemExit):
    cli.main(['prepare', '--help'])
  shown = capsys.readouterr().out
  page = (pathlib.Path(__file__).parents[2] / 'docs' / 'quality_steps.md').read_text()
  assert all(name in shown and f'`{name}`' in page for name in STEPS)


@pytest.mark.slow
def test_any_number_of_processes_and_shares_makes_the_same(corpus):
  folder, *_ = corpus
  prepare.prepare(request(folder, folder / 'three', num_processes=3))
  for share in ((1, 2), (2, 2)):  # the surveys of exact; the first half of minhash's
    with pytest.raises(Interrupted):
      prepare.prepare(request(folder, folder / 'two', share=share))
  for share in ((1, 2), (2, 2)):
    prepare.prepare(request(folder, folder / 'two', share=share))
  files = [p for p in (folder / 'one' / 'shards').rglob('*') if p.is_file()]
  assert len(files) > 12
  for other in ('two', 'three'):
    for path in files:
      twin = folder / other / path.relative_to(folder / 'one')
      assert twin.read_bytes() == path.read_bytes(), path


@pytest.mark.slow
def test_steps_leave_out_the_same_in_a_bucket(corpus, bucket):
  folder, _, _, report = corpus
  url, _ = bucket
  found = prepare.prepare(request(folder, place(f'{url}/out')))
  assert left_out(found) == left_out(report)
