"""Code of our own experiment files that is more than overrides and rules."""

import pytest

from configs import base
from experiments import lora_rank, peft_pareto
from gpt_jax.data import make_source
from gpt_jax.program import setup
from gpt_jax.sweeps import costs

FEW = {'data.source': 'experiments.peft_pareto:make_few', 'data.seq_len': 64}


@pytest.fixture(scope='module')
def few():
  return make_source(setup.resolve(base.get_config(), FEW).data)


def test_few_rows_are_pieces_of_many_files(few):
  config = setup.resolve(base.get_config(), {'data.source': 'python_source'})
  whole = make_source(config.data)
  texts = [few[i]['text'] for i in range(len(few))]
  assert len(few) == 100
  assert all(0 < len(text) <= 63 for text in texts)
  assert sum(len(text) == 63 for text in texts) > 90
  assert texts[50] in whole[50 * len(whole) // 100]['text']


def test_few_rows_are_other_data_than_all(few):
  whole = make_source(
    setup.resolve(base.get_config(), {'data.source': 'python_source'}).data
  )
  assert few.fingerprint != whole.fingerprint
  assert few.fingerprint['split'] == 'train'


def test_half_the_rank_in_twice_the_matrices_trains_as_many():
  one, two = (
    setup.resolve(
      base.get_config(),
      {
        'model.vocab_size': 16, 'model.num_layers': 1,
        **lora_rank.lora(*chosen), 'init_from': '',
      },
    )
    for chosen in (('q', 8), ('qv', 4))
  )  # fmt: skip
  assert costs.trained_parameters(one) == costs.trained_parameters(two) > 0


def test_every_method_has_a_rate_for_both_amounts_of_data():
  for rates in peft_pareto.RATES.values():
    assert list(rates) == list(peft_pareto.METHODS) == list(peft_pareto.PAPER_RATES)
