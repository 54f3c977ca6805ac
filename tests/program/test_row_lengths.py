"""Evaluation sets with rows of another length are scored as such, or refused."""

import jax
import numpy as np
import pytest

from gpt_jax import objectives
from gpt_jax.core.errors import ConfigError
from gpt_jax.objectives.span_corruption import make_layout
from gpt_jax.program import row_lengths, setup
from gpt_jax.program.build import build_program
from tests import tiny_runs

VOCAB = objectives.Vocab(size=16)
SPANS = {'objective.name': 'span_corruption', 'logging.sample_every_steps': 0}


def config_of(seq_len, **overrides):
  sets = {'other': {'seq_len': seq_len}}
  overrides |= {'checkpoint.keep_best': 0}
  return tiny_runs.tiny_config({'eval.sets': sets} | overrides)


def test_rows_past_the_learned_positions_are_refused():
  config = config_of(32, **{'model.position': 'learned'})
  for check in (setup.check_plan, lambda config: build_program(config, vocab=VOCAB)):
    with pytest.raises(
      ConfigError, match=r'other\.seq_len=32: learned.*max_seq_len=16'
    ):
      check(config)
  row_lengths.check_positions(config_of(16, **{'model.position': 'learned'}))
  row_lengths.check_positions(config_of(32))


@pytest.mark.slow
@pytest.mark.parametrize('seq_len', [8, 20])
def test_spans_follow_the_layout_of_their_own_rows(seq_len):
  config = config_of(seq_len, **SPANS)
  program = build_program(config, vocab=VOCAB)
  rng = np.random.default_rng(0)
  batch = {'tokens': rng.integers(0, 16, (8, seq_len + 1), np.int32)}
  sums = program.evaluate(program.init(0).params, batch, 3)
  layout = make_layout(config.objective, seq_len)
  assert float(sums['targets']) == 8 * (layout.num_noise + layout.num_spans + 1)
  # The masks of a set depend on its rows and their index, whatever training reads.
  objective = objectives.make_objective(config.objective, vocab=VOCAB, seq_len=seq_len)
  weights = jax.jit(lambda batch, rng: objective(batch, rng).weights_BT)
  weights_BT = weights(batch, jax.random.fold_in(jax.random.key(0), 3))
  sums, again = (
    {name: float(value) for name, value in each.items()}
    for each in (sums, program.evaluate(program.init(0).params, batch, 3))
  )
  assert sums == again and sums['targets'] == float(weights_BT.sum())


def test_more_spans_than_the_model_has_ids_for_are_refused():
  with pytest.raises(ConfigError, match=r'other\.seq_len=64: .*needs 4 ids.* has 2'):
    build_program(config_of(64, **SPANS), vocab=VOCAB)


def test_rows_that_the_mesh_cannot_divide_name_their_set():
  mesh = dict(data=2, fsdp=1, sequence=1, tensor=4, expert=1)
  config = config_of(18, **{'parallel.mesh': mesh, 'model.num_heads': 4})
  with pytest.raises(ConfigError, match=r'eval\.sets\.other\.seq_len: .*18.*4 devices'):
    build_program(config, vocab=VOCAB)
