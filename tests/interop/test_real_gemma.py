"""Gemma 3 270M, from a GGUF file: its config, its logits, and text of it."""

import numpy as np
import pytest

import gpt_jax
from gpt_jax.config import load
from gpt_jax.config.files import load_file
from gpt_jax.interop import numerics
from gpt_jax.interop.open_model import open_model
from tests.interop import oracle

pytestmark = pytest.mark.slow

TEXT = (
  'The lighthouse at the end of the island was built in 1820. Every evening the keeper'
  ' climbed its 112 steps, lit the lamp and wrote the weather into a book:\n\n'
)


@pytest.fixture(scope='module')
def run(gemma):
  pytest.importorskip('gguf', reason="needs pip install 'gpt_jax[gguf]'")
  return gpt_jax.load(gemma)


def test_its_header_says_what_the_shipped_config_does(gemma):
  shipped = load.resolve(load_file('gemma:3-270m'))
  with open_model(gemma) as model:
    assert numerics.differences(model.config, shipped) == []
    counts = [place.num_values for place in model.tensors.file.tensors.values()]
  assert (len(counts), sum(counts)) == (236, 268_098_176)


def test_its_text_makes_sense(run):
  prompts = ['The capital of France is the city of', '1, 2, 3, 4, 5,']
  texts = run.generate(prompts, max_new_tokens=5, temperature=0)
  assert 'Paris' in texts[0] and texts[1].startswith(' 6, 7')
  likely = run.score('The opposite of hot is', ' cold')
  assert likely > run.score('The opposite of hot is', ' green') + 3


def test_its_logits_are_those_of_transformers(run, gemma):
  model = _in_transformers(gemma)
  ids = np.concatenate([[2], run.tokenizer.encode(TEXT * 20)])[None, :600]
  assert ids.shape[1] == 600  # beyond the window of local layers, 512
  torch, _ = oracle.libraries()
  with torch.no_grad():
    wanted = model(torch.tensor(ids).long(), logits_to_keep=120).logits.numpy()
  del model
  found = np.asarray(run.logits(ids))[:, -120:]
  assert (found.argmax(-1) == wanted.argmax(-1)).all()
  # Both compute in float32, in another order.
  np.testing.assert_allclose(found, wanted, atol=1e-4 * wanted.std(), rtol=0)


def _in_transformers(path):
  """Returns the model of transformers with the tensors that the package unpacks."""
  torch, transformers = oracle.libraries()
  import gguf

  names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.GEMMA3, 18)
  theirs = {}
  config = transformers.Gemma3TextConfig(
    vocab_size=262_144, hidden_size=640, intermediate_size=2048, num_hidden_layers=18,
    num_attention_heads=4, num_key_value_heads=1, head_dim=256, sliding_window=512,
    max_position_embeddings=32_768, query_pre_attn_scalar=256,
  )  # fmt: skip
  config._attn_implementation = 'eager'
  model = transformers.Gemma3ForCausalLM(config)
  for key in model.state_dict():
    module, _, kind = key.rpartition('.')
    theirs[f'{names.get_name(module)}.{kind}'] = key
  state = {}
  for tensor in gguf.GGUFReader(path).tensors:
    array = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
    if tensor.name.endswith('norm.weight'):
      array = array - np.float32(1)  # as the converter had added
    state[theirs[tensor.name]] = torch.tensor(array)
  state['lm_head.weight'] = state['model.embed_tokens.weight']
  model.load_state_dict(state, assign=True)
  return model.eval()
