"""Adapters of random values on small models of transformers, made and read by peft."""

import warnings

import pytest

from tests.interop import oracle

WHY = 'needs peft: pip install "gpt_jax[oracle]"'


def library():
  """Returns peft, or skips the test."""
  oracle.libraries()
  return pytest.importorskip('peft', reason=WHY)


def adapted(model, seed=3, **fields):
  """Returns the model of peft with a LoraConfig, all of it moved from its start."""
  peft = library()
  return randomized(peft.get_peft_model(model, peft.LoraConfig(**fields)), seed)


def randomized(model, seed=3):
  """Returns a model of peft, what it trains moved by random numbers."""
  torch, _ = oracle.libraries()
  generator = torch.Generator().manual_seed(seed)
  with torch.no_grad():
    for _, parameter in sorted(model.named_parameters()):
      if parameter.requires_grad:
        move = torch.randn(parameter.shape, generator=generator)
        parameter.add_(move.to(parameter.dtype) * 0.1)
  return model.eval()


def save(model, folder):
  """Writes the adapter of a model of peft, and returns the folder."""
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    model.save_pretrained(folder)
  return folder


def load(model, folder):
  """Returns a plain model of transformers with the adapter in a folder."""
  peft = library()
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')
    return peft.PeftModel.from_pretrained(model, folder).eval()
