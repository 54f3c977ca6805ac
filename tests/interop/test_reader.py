"""A pretrained model is read as a checkpoint is, and refused with all that differs."""

import json

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

import gpt_jax
from gpt_jax.core import pytree
from gpt_jax.core.errors import CheckpointError
from gpt_jax.interop.open_model import is_model, open_model
from tests.interop import small_folders


def arrays_of(folder, dtype=None):
  """Returns (Config, {name: array}) of the model in a folder."""
  import jax

  here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  with open_model(folder, dtype) as store:
    wanted = {'params': store.abstract(0, 'params', here)}
    tree = store.restore(0, wanted)['params']
    return store.config, dict(pytree.named_leaves(tree))


@pytest.mark.parametrize('dtype', [np.float32, np.float16, ml_dtypes.bfloat16])
def test_parameters_are_the_tensors_of_the_file(tmp_path, dtype):
  folder, tensors = small_folders.gpt2(tmp_path / 'model', dtype)
  config, arrays = arrays_of(folder)
  assert config.model.param_dtype == np.dtype(dtype).name
  fused = tensors['transformer.h.1.attn.c_attn.weight'].reshape(8, 3, 2, 4)
  for place, name in enumerate(('query', 'key', 'value')):
    found = np.asarray(arrays[f'layers/block_0/attention/{name}/kernel'])[1]
    assert found.tobytes() == fused[:, place].tobytes()
  found = np.asarray(arrays['embed/embedding'])
  assert found.tobytes() == tensors['transformer.wte.weight'].tobytes()


def test_another_dtype_is_a_cast_of_each(tmp_path):
  folder, tensors = small_folders.gpt2(tmp_path / 'model', ml_dtypes.bfloat16)
  _, arrays = arrays_of(folder, 'float32')
  wanted = tensors['transformer.wpe.weight'].astype(np.float32)
  np.testing.assert_array_equal(arrays['position/embedding'], wanted)


def test_shards_give_what_one_file_gives(tmp_path):
  folder, tensors = small_folders.gpt2(tmp_path / 'model')
  index = small_folders.write_shards(tmp_path / 'parts', small_folders.GPT2, tensors, 3)
  _, whole = arrays_of(folder)
  _, parts = arrays_of(index.parent)
  assert whole.keys() == parts.keys()
  for name, array in whole.items():
    np.testing.assert_array_equal(array, parts[name])


def test_names_without_the_prefix_are_those_of_the_bare_model(tmp_path):
  folder, tensors = small_folders.gpt2(tmp_path / 'model')
  short = {name.removeprefix('transformer.'): a for name, a in tensors.items()}
  short |= {'h.0.attn.bias': np.ones((1, 1, 12, 12), np.uint8)}  # a mask
  bare = small_folders.write(tmp_path / 'bare', small_folders.GPT2, short)
  _, wanted = arrays_of(folder)
  _, found = arrays_of(bare)
  for name, array in wanted.items():
    np.testing.assert_array_equal(array, found[name])


def test_a_tied_head_may_stand_in_the_file_if_it_is_the_same(tmp_path):
  _, tensors = small_folders.gpt2(tmp_path / 'model')
  tensors['lm_head.weight'] = tensors['transformer.wte.weight'].copy()
  same = small_folders.write(tmp_path / 'same', small_folders.GPT2, tensors)
  arrays_of(same)
  tensors['lm_head.weight'][3, 2] += 1
  other = small_folders.write(tmp_path / 'other', small_folders.GPT2, tensors)
  with pytest.raises(CheckpointError, match='lm_head.weight differs'):
    arrays_of(other)


def test_every_tensor_that_does_not_fit_is_listed(tmp_path):
  folder, tensors = small_folders.gpt2(tmp_path / 'model')
  del tensors['transformer.h.0.ln_1.bias']
  tensors['transformer.extra'] = np.ones(3, np.float32)
  tensors['transformer.wpe.weight'] = np.ones((3, 8), np.float32)
  tensors['transformer.ln_f.bias'] = np.ones(8, np.int64)
  safetensors.numpy.save_file(tensors, folder / 'model.safetensors')
  with pytest.raises(CheckpointError, match='4 to settle') as caught:
    open_model(folder)
  for line in (
    'transformer.h.0.ln_1.bias [8]: missing',
    'transformer.extra F32[3]: not a part',
    'transformer.wpe.weight: [3, 8], expected [12, 8]',
    'transformer.ln_f.bias: of type I64',
  ):
    assert line in str(caught.value)


@pytest.mark.parametrize(
  'change, message',
  [
    (dict(model_type='gpt3'), "nearest one is 'gpt2'"),
    (dict(architectures=['GPT2LMHead']), 'nearest one is GPT2LMHeadModel'),
    (dict(scale_attn_by_inverse_layer_idx=True), 'only False is supported'),
    (dict(rotary_dim=4), 'rotary_dim=4: not known'),
    (dict(activation_function='mish'), "'mish': expected one of"),
    (dict(n_head=3), 'does not divide'),
  ],
)
def test_configs_that_are_not_supported_are_refused(tmp_path, change, message):
  folder, _ = small_folders.gpt2(tmp_path / 'model', **change)
  with pytest.raises(ValueError, match=message):
    open_model(folder)


def test_a_model_of_others_is_told_from_a_run_and_from_nothing(tmp_path):
  folder, _ = small_folders.gpt2(tmp_path / 'model')
  assert is_model(folder) and is_model(str(folder))
  run = tmp_path / 'run'
  run.mkdir()
  (run / 'config.json').write_text(json.dumps({'seed': 0, 'model': {}}))
  assert not any(map(is_model, (run, tmp_path, '', 'gs://bucket/run')))


def test_only_step_0_is_there(tmp_path):
  folder, _ = small_folders.gpt2(tmp_path / 'model')
  with pytest.raises(CheckpointError, match='only step 0'):
    gpt_jax.load(folder, step=3)
