"""Opening a corpus of any size: what the benchmark writes is a prepared corpus."""

import numpy as np

from gpt_jax.benchmarks import corpus_scale
from gpt_jax.data import pipeline
from tests.corpus import corpora


def test_sparse_files_are_a_prepared_corpus(tmp_path):
  assert corpus_scale.write_corpus(tmp_path, 7, 7 * 50_000) == 350_000
  fields = {'data.source': 'prepared', 'data.path': str(tmp_path), 'data.seq_len': 64}
  config = corpora.config(fields | {'data.mask_documents': True})
  tokenizer = pipeline.open_tokenizer(config.tokenizer, config.data)
  dataset = pipeline.open_dataset(config.data, tokenizer, seed=0, cache_dir='')
  assert dataset.num_tokens == 350_000 and len(dataset) == 349_999 // 64
  (store,) = dataset.stores.values()
  np.testing.assert_array_equal(store.offsets, np.arange(0, 350_001, 1000))
  assert store.document_starts(49_000, 52_001).tolist() == [50_000, 51_000, 52_000]
  for n in range(0, len(dataset), 500):  # every checksum is right
    sample = dataset.sample(n)
    assert not sample['tokens'].any() and sample['segments'].max() <= 2
  found = corpus_scale.measure(tmp_path, 3, False)
  assert found['tokens'] == 350_000 and found['loader_tokens_per_second'] > 0
