"""`gpt-jax replay`: the batch that a step was trained on, document by document."""

import json

import numpy as np
import pytest

from gpt_jax import cli
from gpt_jax.parallel import multihost
from gpt_jax.train import loop, replay
from tests import tiny_runs


def rows_of(parts, count):
  """Returns the tokens of each of `count` rows."""
  return [
    [token for part in parts if part['row'] == row for token in part['tokens']]
    for row in range(count)
  ]


@pytest.fixture(scope='module')
def lines_run(tmp_path_factory):
  """Returns (workdir, token batches it was trained on): JSON lines, one empty."""
  folder = tmp_path_factory.mktemp('replay')
  words = tiny_runs.words(9000)
  texts = [words[i : i + 40] for i in range(0, 9000, 40)]
  texts[3] = ''
  (folder / 'train.jsonl').write_text(
    ''.join(json.dumps({'text': text}) + '\n' for text in texts)
  )
  config = tiny_runs.tiny_config(
    {
      'data.source': 'jsonl', 'data.path': str(folder / 'train.jsonl'),
      'data.split': 'all', 'eval.sets': {}, 'checkpoint.keep_best': 0,
      'checkpoint.every_steps': 1,
    }
  )  # fmt: skip
  seen, usual = [], multihost.global_batch

  def watch(batch, sharding):
    seen.append(batch['tokens'].tolist())
    return usual(batch, sharding)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(multihost, 'global_batch', watch)
    loop.train(config, folder / 'run', quiet=True)
  return folder / 'run', seen, texts


def test_the_tokens_are_those_that_the_run_was_trained_on(lines_run, capsys):
  workdir, batches, texts = lines_run
  for step in (1, 5):
    capsys.readouterr()
    command = [
      'replay',
      f'--workdir={workdir}',
      f'--step={step}',
      '--json',
      '--no_loss',
    ]
    assert cli.main(command) == 0
    found = json.loads(capsys.readouterr().out)
    assert rows_of(found['parts'], 8) == batches[step - 1]
    assert found['first_sample'] == 8 * (step - 1)
    for part in found['parts']:
      # The records are named as a person counts them, the empty one among them.
      record = int(part['place'].split('record ')[1].split(',')[0]) - 1
      first = part['first_token']
      assert (
        texts[record]
        .encode()[first:]
        .startswith(bytes(token for token in part['tokens'] if token < 256))
      )


def test_the_losses_of_documents_make_up_the_loss_of_the_step(lines_run, capsys):
  workdir, _, _ = lines_run
  assert cli.main(['replay', f'--workdir={workdir}', '--step=4']) == 0
  assert 'loss under the parameters of step 3' in ' '.join(
    capsys.readouterr().out.split()
  )
  found = replay.replay(workdir, 4)
  assert sum(part.targets for part in found.parts) == 8 * 16
  mean = sum(part.loss * part.targets for part in found.parts if part.targets) / 128
  assert mean == pytest.approx(tiny_runs.losses(workdir)[4], rel=1e-5)


def test_a_step_that_is_not_there_says_which_are(lines_run, capsys):
  workdir, _, _ = lines_run
  assert cli.main(['replay', f'--workdir={workdir}', '--step=7']) == 2
  assert '--step=7: expected 1 to 6' in capsys.readouterr().err


@pytest.mark.parametrize('packing', ['windows', 'first_fit', 'pad'])
def test_every_packing_says_where_its_tokens_are(packing):
  from gpt_jax.data.packing import pack
  from gpt_jax.data.token_cache import TokenStore

  lengths = np.random.default_rng(0).integers(2, 40, 30)
  offsets = np.concatenate([[0], np.cumsum(lengths)])
  store = TokenStore(np.arange(1, offsets[-1] + 1, dtype=np.uint16), offsets)
  config = tiny_runs.tiny_config({'data.packing': packing})
  packed = pack(store, config.data)
  for i in range(len(packed)):
    there = np.concatenate([store.tokens[a:b] for a, b in packed.spans(i)])
    tokens = packed.sample(i)['tokens']
    np.testing.assert_array_equal(tokens[: len(there)], there)
    assert not tokens[len(there) :].any()
