"""Small random encoders of transformers, saved as folders; what they and we compute."""

import os

os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ.setdefault('HF_HUB_OFFLINE', '1')

import math

import jax.numpy as jnp
import numpy as np
import pytest

import gpt_jax
from gpt_jax.attention import masks
from gpt_jax.interop.export_model import choose_family, export_model
from gpt_jax.interop.open_model import open_model
from gpt_jax.interop.safetensors_files import SafetensorsFiles

VOCAB, LABELS = 101, 3  # odd ones
SIZES = {
  'bert': dict(
    vocab_size=VOCAB, hidden_size=24, num_hidden_layers=3, num_attention_heads=3,
    intermediate_size=40, max_position_embeddings=19, type_vocab_size=3,
  ),
  'distilbert': dict(
    vocab_size=VOCAB, dim=24, n_layers=3, n_heads=3, hidden_dim=40,
    max_position_embeddings=19,
  ),
}  # fmt: skip
ARCHITECTURES = {
  'bert': (
    'BertModel', 'BertForMaskedLM', 'BertForSequenceClassification',
    'BertForTokenClassification',
  ),
  'distilbert': (
    'DistilBertModel', 'DistilBertForMaskedLM', 'DistilBertForSequenceClassification',
    'DistilBertForTokenClassification',
  ),
}  # fmt: skip
LENGTHS = (19, 11, 1, 7)


def make(family, name, folder, **changes):
  """Saves a random model of architecture `name` in `folder`, and returns it."""
  torch = pytest.importorskip('torch', reason='needs torch (extra oracle)')
  transformers = pytest.importorskip(
    'transformers', reason='needs transformers (extra oracle)'
  )
  torch.manual_seed(0)
  config = transformers.AutoConfig.for_model(family, **(SIZES[family] | changes))
  if 'Classification' in name:
    config.num_labels = changes.get('num_labels', LABELS)
  model = getattr(transformers, name)(config).eval()
  with torch.no_grad():  # nothing is zero or one by its initialization
    for parameter in model.parameters():
      parameter.add_(0.3 * torch.randn_like(parameter))
  model.save_pretrained(folder)
  return model


def inputs(family):
  """Returns (ids [B, T], mask [B, T] of real tokens, token types [B, T] or None)."""
  rng = np.random.default_rng(0)
  tokens_BT = rng.integers(1, VOCAB, (len(LENGTHS), max(LENGTHS)), np.int32)
  is_real_BT = np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None]
  types_BT = rng.integers(0, 3, tokens_BT.shape, np.int32)
  return tokens_BT, is_real_BT, types_BT if family == 'bert' else None


def theirs(model, family):
  """Returns {name: array} of what a model of transformers gives for `inputs`."""
  import torch

  tokens_BT, is_real_BT, types_BT = inputs(family)
  given = {'input_ids': tokens_BT, 'attention_mask': is_real_BT}
  if types_BT is not None:
    given['token_type_ids'] = types_BT
  with torch.no_grad():
    found = model(**{name: torch.tensor(a).long() for name, a in given.items()})
  names = ('last_hidden_state', 'pooler_output', 'logits')
  return {name: found[name].numpy() for name in names if name in found}


def ours(path, family):
  """Returns the same of a folder, or of a run of ours."""
  run = gpt_jax.load(path)
  tokens_BT, is_real_BT, types_BT = inputs(family)
  variables = {'params': run.params}
  arguments = (
    tokens_BT, masks.bidirectional(jnp.asarray(is_real_BT, jnp.int32)), None, None,
    types_BT,
  )  # fmt: skip
  if run.config.objective.name == 'class_labels':
    x_BTD = run.model.apply(variables, *arguments, method='hidden')[0]
    pooled_BD = x_BTD[:, 0]
    return {'logits': run.model.apply(variables, pooled_BD, method='apply_task_head')}
  outputs_BTC = run.model.apply(variables, *arguments)[0]
  if run.config.model.head == 'none' and run.model.task_head is None:
    found = {'last_hidden_state': outputs_BTC}
    if run.config.model.pooler:
      from gpt_jax.model.output_layer import Pooler

      pooler = Pooler(run.config.model)
      params = {'params': run.params['pooler']}
      found['pooler_output'] = pooler.apply(params, outputs_BTC)
    return found
  return {'logits': outputs_BTC}


def assert_equal(found, wanted):
  """Asserts that outputs at real tokens differ by 1e-4 at most, in float32."""
  assert found.keys() == wanted.keys()
  for name, array in wanted.items():
    mine = np.asarray(found[name])
    assert mine.shape == array.shape
    if array.ndim == 3:
      is_real_BT = np.arange(array.shape[1]) < np.array(LENGTHS)[:, None]
      mine, array = mine[is_real_BT], array[is_real_BT]
    assert np.abs(mine - array).max() <= 1e-4, name
    if name == 'logits':
      assert np.array_equal(mine.argmax(-1), array.argmax(-1))


def bytes_of(folder):
  """Returns {name: (dtype, shape, bytes)} of the parameters in a folder."""
  with SafetensorsFiles(folder) as files:
    return {
      name: (*spec_of(spec), files.read(name, 0, math.prod(spec.shape)).tobytes())
      for name, spec in files.specs.items()
      if files.dtype_of(name) is not None
    }


def spec_of(spec):
  return spec.dtype, spec.shape


def assert_goes_out_as_it_came(folder, out, model, family):
  """Asserts that an export has the same bytes, and that transformers reads it."""
  with open_model(folder) as store:
    chosen = choose_family(store.config)
    assert chosen.name == family
    export_model(store, 0, store.config, store.tokenizer, out, chosen)
  assert bytes_of(out) == bytes_of(folder)
  again, report = type(model).from_pretrained(out, output_loading_info=True)
  assert not any(report[kind] for kind in ('missing_keys', 'unexpected_keys'))
  wanted = theirs(model, family)
  for name, array in theirs(again.eval(), family).items():
    np.testing.assert_array_equal(array, wanted[name])
  if 'Classification' in type(model).__name__:
    assert again.config.id2label == model.config.id2label
