"""Small random models of transformers, on torch's CPU backend: what ours must equal."""

import os

import numpy as np
import pytest

os.environ.setdefault('HF_HUB_OFFLINE', '1')
WHY = 'needs torch and transformers: pip install "gpt_jax[oracle]"'


def libraries():
  """Returns (torch, transformers), or skips the test."""
  torch = pytest.importorskip('torch', reason=WHY)
  transformers = pytest.importorskip('transformers', reason=WHY)
  transformers.logging.set_verbosity_error()
  torch.set_num_threads(1)
  return torch, transformers


def make(config_class, model_class, seed=0, dtype='float32', **fields):
  """Returns a model in evaluation mode, none of whose parameters is special."""
  torch, transformers = libraries()
  fields = dict(bos_token_id=0, eos_token_id=1, pad_token_id=None) | fields
  config = getattr(transformers, config_class)(**fields)
  # Eager attention: the other kinds leave soft-caps out.
  config._attn_implementation = 'eager'
  model = getattr(transformers, model_class)(config)
  generator = torch.Generator().manual_seed(seed)
  with torch.no_grad():
    for name, parameter in model.named_parameters():
      center = 1.0 if 'norm' in name and name.endswith('weight') else 0.0
      spread = 0.3 if parameter.ndim == 1 else 2 * parameter.shape[-1] ** -0.5 / 2
      values = torch.randn(parameter.shape, generator=generator) * spread
      parameter.copy_(values + center)
  return model.to(getattr(torch, dtype)).eval()


def load(folder, model_class):
  """Returns the model of transformers in a folder, in float32."""
  torch, _ = libraries()
  options = dict(attn_implementation='eager', dtype=torch.float32)
  return model_class.from_pretrained(folder, **options).eval()


def logits_of(model, tokens_BT, mask_BT=None, positions_BT=None):
  """Returns float32 [B, T, V] of a model of transformers."""
  torch, _ = libraries()

  def tensor(array):
    return None if array is None else torch.tensor(np.asarray(array)).long()

  with torch.no_grad():
    found = model(
      tensor(tokens_BT),
      attention_mask=tensor(mask_BT),
      position_ids=tensor(positions_BT),
    )
  return found.logits.float().numpy()


def tokens(vocab, length, batch=2, seed=1):
  rng = np.random.default_rng(seed)
  return rng.integers(0, vocab, (batch, length)).astype(np.int32)
