"""GGUF files give the parameters that the folders they were made of give."""

import itertools

import jax
import numpy as np
import pytest

import gpt_jax
from gpt_jax import cli
from gpt_jax.core import pytree
from gpt_jax.core.errors import CheckpointError
from gpt_jax.interop.open_model import is_model, open_model
from gpt_jax.interop.reader import STEP
from tests.interop import gguf_bytes, gguf_models, small_folders
from tests.interop.test_import_model import train

NAMES = {
  'transformer.wte': 'token_embd', 'transformer.wpe': 'position_embd',
  'transformer.ln_f': 'output_norm', 'lm_head': 'output',
  'ln_1': 'attn_norm', 'attn.c_attn': 'attn_qkv', 'attn.c_proj': 'attn_output',
  'ln_2': 'ffn_norm', 'mlp.c_fc': 'ffn_up', 'mlp.c_proj': 'ffn_down',
}  # fmt: skip


def name_of(name):
  """Returns the name in the file of a tensor of a GPT-2."""
  module, _, kind = name.rpartition('.')
  if '.h.' in module:
    _, _, layer, part = module.split('.', 3)
    return f'blk.{layer}.{NAMES[part]}.{kind}'
  return f'{NAMES[module]}.{kind}'


CONFIG = small_folders.GPT2 | dict(n_inner=32, layer_norm_epsilon=1e-5)


@pytest.fixture
def gpt2(tmp_path):
  """Returns (the folder of a tiny GPT-2, its tensors, write(**changes))."""
  folder, tensors = small_folders.gpt2(tmp_path / 'folder')
  numbers = itertools.count()

  def write(tensors=tensors, **changes):
    path = tmp_path / f'{next(numbers)}.gguf'
    return gguf_models.write(path, 'gpt2', CONFIG, tensors, name_of, **changes)

  return folder, tensors, write


def params_of(path):
  with open_model(path) as model:
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    wanted = {'params': model.abstract(STEP, 'params', here)}
    return dict(pytree.named_leaves(model.restore(STEP, wanted)['params']))


def test_a_file_gives_the_parameters_of_its_folder(gpt2):
  folder, _, write = gpt2
  wanted, found = params_of(folder), params_of(write())
  assert wanted.keys() == found.keys()
  for name, array in wanted.items():
    np.testing.assert_array_equal(found[name], array)


def test_an_output_layer_that_is_a_copy_is_tied(gpt2):
  _, tensors, write = gpt2
  embedding = tensors['transformer.wte.weight']
  for head, is_tied in ((embedding, True), (embedding + 1, False)):
    with open_model(write(tensors | {'lm_head.weight': head})) as model:
      assert model.config.model.tie_embeddings == is_tied


def test_parts_are_read_alike_in_any_order(gpt2):
  _, tensors, write = gpt2
  with open_model(write()) as model:
    name = 'transformer.h.0.mlp.c_fc.weight'
    whole = tensors[name].reshape(-1)
    for start, stop in ((64, 128), (0, 64), (192, 256), (128, 192), (0, 256)):
      part = model.tensors.read(name, start, stop)
      np.testing.assert_array_equal(part, whole[start:stop])


@pytest.mark.parametrize(
  'changes, message',
  [
    (dict(more={'rope.freq_base': 1e4}), 'rope.freq_base=10000.0: not known'),
    (dict(more={'block_count': 3}), r'transformer\.h\.2\.\S+ \[8\]: missing'),
    (dict(more={'block_count': 1}), r'transformer\.h\.1\.\S+ F32\S+: not a part of'),
    (dict(more={'embedding_length': 0.5}), 'embedding_length=0.5: expected a whole'),
    (dict(fields={'general.architecture': 'gpt3'}), "The nearest one is 'gpt2'"),
    (dict(fields={'general.architecture': 7}), 'has no general.architecture'),
    (dict(fields={'tokenizer.ggml.model': 'bert'}), 'expected one of llama, gpt2'),
  ],
)  # fmt: skip
def test_files_of_other_models_are_refused_with_the_list(gpt2, changes, message):
  with pytest.raises(CheckpointError, match=message):
    open_model(gpt2[2](**changes))


def test_a_part_of_a_model_is_refused(tmp_path):
  fields = {'general.architecture': 'gpt2'}
  path = gguf_bytes.write(tmp_path / 'a.gguf', fields, {'x': np.ones(3)})
  with pytest.raises(CheckpointError, match='llama-gguf-split --merge'):
    open_model(path)


def test_only_gguf_files_are_opened_as_files(tmp_path):
  (tmp_path / 'model.bin').write_bytes(b'\x80\2')
  with pytest.raises(CheckpointError, match='expected one, or a folder'):
    open_model(tmp_path / 'model.bin')
  with pytest.raises(CheckpointError, match='nothing is there'):
    open_model(tmp_path / 'none.gguf')
  assert is_model('x.gguf') and not is_model(tmp_path / 'model.bin')


@pytest.mark.slow
def test_files_cut_or_flipped_anywhere_give_one_error(gpt2, tmp_path):
  content = gpt2[2]().read_bytes()
  path, outcomes = tmp_path / 'changed.gguf', set()
  header = content.index(b'token_embd.weight') + 400
  cuts = [content[:length] for length in range(0, len(content) - 28, 97)]
  flips = []
  for position in range(0, header, 3):
    changed = bytearray(content)
    changed[position] ^= 1 << position % 8
    flips.append(bytes(changed))
  for changed in cuts + flips:
    path.write_bytes(changed)
    try:
      params_of(path)
    except CheckpointError as error:
      assert str(path) in str(error)
      outcomes.add('refused')
    else:
      outcomes.add('read')
  assert outcomes == {'refused', 'read'}


@pytest.mark.slow
def test_a_file_is_imported_and_loaded_like_a_folder(gpt2, tmp_path):
  folder, _, write = gpt2
  path, workdir = write(), tmp_path / 'run'
  assert cli.main(['import', str(path), f'--workdir={workdir}']) == 0
  tokens_BT = np.arange(10).reshape(2, 5)
  wanted = gpt_jax.load(folder).logits(tokens_BT)
  for source in (path, workdir):
    np.testing.assert_array_equal(gpt_jax.load(source).logits(tokens_BT), wanted)


@pytest.mark.slow
def test_training_starts_from_a_file_as_from_its_folder(gpt2, tmp_path):
  folder, _, write = gpt2
  path, run = write(), tmp_path / 'run'
  assert cli.main(['import', str(path), f'--workdir={run}']) == 0
  from_file = train(path, run, tmp_path / 'from_file')
  assert train(folder, run, tmp_path / 'from_folder') == from_file
