"""An objective outside of gpt_jax goes through train, eval, plan and decoding."""

import jax.numpy as jnp
import numpy as np
import pytest

import gpt_jax
from gpt_jax import cli, planning
from gpt_jax.attention import masks
from gpt_jax.core.errors import ConfigError
from gpt_jax.objectives import Example, Objective
from gpt_jax.planning import topologies
from gpt_jax.train import loop, score_run
from gpt_jax.workdir.paths import Workdir
from tests import tiny_runs


def hide_every_fourth(cfg, *, vocab, seq_len, visibility='bidirectional'):
  """Returns an objective that restores tokens 3, 7, ... from both sides.

  Irregular on purpose: a token of its own, no randomness, fewer targets than tokens.
  """
  is_hidden_T = jnp.arange(seq_len) % 4 == 3

  def build(batch, rng):
    tokens_BT = batch['tokens'][:, :-1]
    return Example(
      inputs_BT=jnp.where(is_hidden_T, vocab.size, tokens_BT),
      targets_BT=tokens_BT,
      weights_BT=jnp.broadcast_to(is_hidden_T, tokens_BT.shape).astype(jnp.float32),
      mask=masks.bidirectional(),
    )

  return Objective(build, extra_tokens=1, visibility=visibility)


def undeclared(cfg, *, vocab, seq_len):
  """Returns the same objective, without a word about what its mask shows."""
  return hide_every_fourth(cfg, vocab=vocab, seq_len=seq_len, visibility='causal')


def overrides(name, text_file):
  return tiny_runs.TEXT | {
    'data.path': str(text_file),
    'objective.name': f'{__name__}:{name}',
    'logging.sample_prompts': ('some words',),
  }


@pytest.fixture(scope='module')
def run(text_file, tmp_path_factory):
  """Returns the workdir of six steps with the plug-in."""
  workdir = tmp_path_factory.mktemp('plug_in') / 'run'
  flags = tiny_runs.flags(overrides('hide_every_fourth', text_file))
  assert cli.main(['train', *flags, f'--workdir={workdir}']) == 0
  return workdir


def test_a_bidirectional_plug_in_trains_without_samples(run):
  assert len(tiny_runs.losses(run)) == 6
  assert not Workdir(run).samples.exists()


def test_eval_gives_its_loss_but_no_bits_per_byte(run):
  metrics = score_run.score_run(run).sets['validation']
  assert 0 < metrics['loss'] < 7
  assert 'bits_per_byte' not in metrics
  with pytest.raises(ConfigError, match='hide_every_fourth'):
    score_run.score_run(run, with_baselines=True)


def test_its_logits_see_both_sides(run):
  loaded = gpt_jax.load(run)
  assert loaded.logits(np.array([[257]])).shape[-1] == 257 + 1  # the hidden token
  first, other = (loaded.logits(np.array([[97, 257, 99, b]])) for b in (100, 101))
  assert np.abs(np.asarray(first - other)[0, 0]).max() > 0


def test_generate_and_score_refuse_it(run, capfd):
  assert cli.main(['generate', f'--workdir={run}', '--prompt=some']) == 2
  assert 'bidirectional model' in capfd.readouterr().err
  with pytest.raises(ConfigError, match='bidirectional'):
    gpt_jax.load(run).score('some', ' words')


def test_it_can_be_planned(text_file):
  config = tiny_runs.tiny_config(overrides('hide_every_fourth', text_file))
  plan = planning.make_plan(config, topologies.parse('cpu'))
  assert plan.time.matmul_flops_per_chip > 0


def test_a_mask_that_differs_from_the_declared_one_is_refused(text_file, tmp_path):
  config = tiny_runs.tiny_config(overrides('undeclared', text_file))
  expected = "undeclared'.* mask is bidirectional.*visibility='bidirectional'"
  with pytest.raises(ConfigError, match=expected):
    loop.train(config, tmp_path, quiet=True)
