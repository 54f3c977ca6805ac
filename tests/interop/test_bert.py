"""BERT: its heads, its names of all times, its parity with transformers."""

import jax
import numpy as np
import pytest
import safetensors.numpy

from gpt_jax import objectives
from gpt_jax.core import pytree
from gpt_jax.core.errors import CheckpointError
from gpt_jax.interop import bert, numerics
from gpt_jax.interop.fields import Fields
from gpt_jax.interop.mapping import sizes_of
from gpt_jax.interop.open_model import open_model
from gpt_jax.interop.reader import abstract_params
from tests.interop import encoders_of_torch as encoders
from tests.interop import small_folders

SMALL = dict(
  model_type='bert', vocab_size=11, hidden_size=8, num_hidden_layers=2,
  num_attention_heads=2, intermediate_size=12, max_position_embeddings=9,
)  # fmt: skip


def config_of(**values):
  fields = Fields(SMALL | values, 'config.json')
  ours = bert.to_config(fields)
  fields.finish()
  return numerics.resolve(ours)


def tensors_of(config):
  """Returns random {their name: array} of a Config."""
  sizes = sizes_of(config, objectives.describe(config).num_outputs)
  shapes = {e.theirs: e.their_shape(sizes) for e in bert.table(config)}
  return small_folders.random_tensors(shapes)


def arrays_of(folder):
  here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  with open_model(folder) as store:
    tree = store.restore(0, {'params': store.abstract(0, 'params', here)})['params']
  return {name: np.asarray(leaf) for name, leaf in pytree.named_leaves(tree)}


@pytest.mark.parametrize('name', encoders.ARCHITECTURES['bert'])
def test_a_config_comes_back_from_what_is_written_for_it(name):
  config = config_of(architectures=[name], id2label={'0': 'a', '1': 'b', '2': 'c'})
  assert bert.architecture_of(config) == name
  values = bert.from_config(config) | dict(architectures=[name], model_type='bert')
  again = Fields(values, 'config.json')
  assert numerics.differences(config, numerics.resolve(bert.to_config(again))) == []
  again.finish()
  if 'Classification' in name:
    assert config.data.label_names == ('a', 'b', 'c')
    assert objectives.describe(config).num_outputs == 3


def test_published_models_have_their_published_sizes():
  base = dict(
    vocab_size=30522, hidden_size=768, num_hidden_layers=12, num_attention_heads=12,
    intermediate_size=3072, max_position_embeddings=512,
  )  # fmt: skip
  small = dict(
    hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
  )
  for values, count in (
    (base, 109_482_240),
    (base | dict(architectures=['BertForMaskedLM']), 109_514_298),
    (base | small, 22_713_216),
  ):
    assert pytree.count(abstract_params(config_of(**values))) == count


def test_names_of_the_first_files_and_prefixes_are_read(tmp_path):
  tensors = tensors_of(config_of())
  wanted = arrays_of(small_folders.write(tmp_path / 'now', SMALL, tensors))
  old = {
    'bert.'
    + name.replace('LayerNorm.weight', 'LayerNorm.gamma').replace(
      'LayerNorm.bias', 'LayerNorm.beta'
    ): array
    for name, array in tensors.items()
  }
  old['bert.embeddings.position_ids'] = np.arange(9)[None]
  found = arrays_of(small_folders.write(tmp_path / 'old', SMALL, old))
  assert wanted.keys() == found.keys()
  for name, array in wanted.items():
    np.testing.assert_array_equal(found[name], array)


def test_parts_of_pretraining_are_left_out_and_named(tmp_path, capsys):
  values = SMALL | dict(architectures=['BertForPreTraining'])
  tensors = tensors_of(config_of(architectures=['BertForMaskedLM']))
  more = {
    'bert.pooler.dense.weight': (8, 8), 'bert.pooler.dense.bias': (8,),
    'cls.seq_relationship.weight': (2, 8), 'cls.seq_relationship.bias': (2,),
  }  # fmt: skip
  tensors |= small_folders.random_tensors(more)
  tensors['cls.predictions.decoder.bias'] = tensors.pop('cls.predictions.bias')
  arrays = arrays_of(small_folders.write(tmp_path / 'model', values, tensors))
  assert 'head_bias' in arrays and not any('pooler' in name for name in arrays)
  assert all(name in capsys.readouterr().err for name in list(more)[:1])


@pytest.mark.parametrize(
  'changes, message',
  [
    (dict(position_embedding_type='relative_key'), "only 'absolute' is supported"),
    (dict(is_decoder=True), 'is_decoder=True: only False'),
    (dict(hidden_act='mish'), "hidden_act='mish': expected one of"),
    (dict(tie_word_embeddings=False), 'only True is supported'),
    (dict(architectures=['BertForNextSentencePrediction']), 'not supported'),
    (
      dict(architectures=[bert.CLASSES], problem_type='multi_label_classification'),
      "only None or 'single_label_classification'",
    ),
    (dict(architectures=[bert.CLASSES], id2label={'0': 'x'}), 'a regression is not'),
    (dict(architectures=[bert.TOKENS], id2label={'1': 'x', '2': 'y'}), 'ids 0 to 1'),
  ],
)
def test_what_is_not_supported_is_refused(changes, message, tmp_path):
  folder = small_folders.write(tmp_path / 'model', SMALL | changes, {})
  with pytest.raises(CheckpointError, match=message):
    open_model(folder)


@pytest.mark.slow
@pytest.mark.parametrize('name', encoders.ARCHITECTURES['bert'])
def test_outputs_are_those_of_transformers_both_ways(name, tmp_path):
  folder = tmp_path / 'model'
  model = encoders.make('bert', name, folder)
  encoders.assert_equal(encoders.ours(folder, 'bert'), encoders.theirs(model, 'bert'))
  encoders.assert_goes_out_as_it_came(folder, tmp_path / 'out', model, 'bert')


@pytest.mark.slow
def test_other_activations_and_one_token_type_agree_too(tmp_path):
  changes = dict(hidden_act='relu', layer_norm_eps=1e-3)
  model = encoders.make('bert', 'BertForMaskedLM', tmp_path, **changes)
  encoders.assert_equal(encoders.ours(tmp_path, 'bert'), encoders.theirs(model, 'bert'))


@pytest.mark.slow
def test_files_of_gammas_give_the_same_logits(tmp_path):
  model = encoders.make('bert', 'BertForMaskedLM', tmp_path)
  file = tmp_path / 'model.safetensors'
  renamed = {
    name.replace('LayerNorm.weight', 'LayerNorm.gamma'): array
    for name, array in safetensors.numpy.load_file(file).items()
  }
  safetensors.numpy.save_file(renamed, file)
  encoders.assert_equal(encoders.ours(tmp_path, 'bert'), encoders.theirs(model, 'bert'))
