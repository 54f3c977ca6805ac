"""DistilBERT: a table beside BERT's, with its own fields and names."""

import pytest

from gpt_jax.core import pytree
from gpt_jax.core.errors import CheckpointError
from gpt_jax.interop import distilbert, numerics
from gpt_jax.interop.fields import Fields
from gpt_jax.interop.open_model import open_model
from gpt_jax.interop.reader import abstract_params
from tests.interop import encoders_of_torch as encoders
from tests.interop import small_folders


def config_of(**values):
  fields = Fields(values | dict(model_type='distilbert'), 'config.json')
  ours = distilbert.to_config(fields)
  fields.finish()
  return numerics.resolve(ours)


@pytest.mark.parametrize('name', encoders.ARCHITECTURES['distilbert'])
def test_a_config_comes_back_from_what_is_written_for_it(name):
  sizes = encoders.SIZES['distilbert']
  config = config_of(**sizes, architectures=[name])
  assert distilbert.architecture_of(config) == name
  again = config_of(**distilbert.from_config(config))
  assert numerics.differences(config, again) == []


def test_the_defaults_are_those_of_the_published_model():
  assert pytree.count(abstract_params(config_of())) == 66_362_880


def test_heads_that_are_not_supported_are_refused(tmp_path):
  values = dict(model_type='distilbert', architectures=['DistilBertForMultipleChoice'])
  folder = small_folders.write(tmp_path / 'model', values, {})
  with pytest.raises(CheckpointError, match='nearest one is DistilBert'):
    open_model(folder)


@pytest.mark.slow
@pytest.mark.parametrize('name', encoders.ARCHITECTURES['distilbert'])
def test_outputs_are_those_of_transformers_both_ways(name, tmp_path):
  folder = tmp_path / 'model'
  model = encoders.make('distilbert', name, folder)
  wanted = encoders.theirs(model, 'distilbert')
  encoders.assert_equal(encoders.ours(folder, 'distilbert'), wanted)
  encoders.assert_goes_out_as_it_came(folder, tmp_path / 'out', model, 'distilbert')
