"""How others tokenize a corpus once: run by `corpus_speed.py`, in their own Python.

    python corpus_peers.py datasets|nanogpt LINES.jsonl GPT2_FOLDER OUT PROCESSES

`datasets`: `datasets.map` in batches with the tokenizer of the `tokenizers` library, as
Hugging Face's examples do. `nanogpt`: the way of nanoGPT's data/openwebtext/prepare.py,
`datasets.map` with tiktoken text by text, then one file of uint16. It needs nothing of
gpt_jax, as the interpreter may be another one.
"""

import json
import os
import sys

import numpy as np

_WRITES = 1024  # nanoGPT writes its file in so many parts
_END = 50256


def _lines(path, out):
  import datasets

  found = datasets.load_dataset(
    'json', data_files=path, split='train', cache_dir=os.path.join(out, 'cache')
  )
  return found


def run_datasets(path, gpt2, out, processes):
  """Returns how many ids the Arrow files of `datasets.map` have."""
  import tokenizers

  bpe = tokenizers.models.BPE.from_file(f'{gpt2}/encoder.json', f'{gpt2}/vocab.bpe')
  tokenizer = tokenizers.Tokenizer(bpe)
  tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)

  def encode(batch):
    encoded = tokenizer.encode_batch_fast(batch['text'], add_special_tokens=False)
    return {'ids': [[*one.ids, _END] for one in encoded]}

  found = _lines(path, out).map(
    encode, batched=True, remove_columns=['text'], num_proc=processes
  )
  return sum(len(ids) for batch in found.iter(1000) for ids in batch['ids'])


def run_nanogpt(path, gpt2, out, processes):
  """Returns how many ids nanoGPT's train.bin has."""
  import tiktoken

  encoder = _tiktoken(tiktoken, gpt2)

  def process(example):
    ids = encoder.encode_ordinary(example['text'])
    ids.append(_END)
    return {'ids': ids, 'len': len(ids)}

  found = _lines(path, out).map(
    process, remove_columns=['text'], desc='tokenizing', num_proc=processes
  )
  total = int(np.sum(found['len'], dtype=np.uint64))
  values = np.memmap(os.path.join(out, 'train.bin'), np.uint16, 'w+', shape=(total,))
  index, parts = 0, min(_WRITES, len(found))
  for i in range(parts):
    batch = found.shard(num_shards=parts, index=i, contiguous=True)
    joined = np.concatenate(batch.with_format('numpy')['ids'])
    values[index : index + len(joined)] = joined
    index += len(joined)
  values.flush()
  return total


def _tiktoken(tiktoken, gpt2):
  """Returns GPT-2's encoding from its files, without a download."""
  from tiktoken.load import data_gym_to_mergeable_bpe_ranks

  ranks = data_gym_to_mergeable_bpe_ranks(f'{gpt2}/vocab.bpe', f'{gpt2}/encoder.json')
  pattern = (
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
  )
  special = {'<|endoftext|>': _END}
  return tiktoken.Encoding(
    'gpt2', pat_str=pattern, mergeable_ranks=ranks, special_tokens=special
  )


if __name__ == '__main__':
  name, path, gpt2, out, processes = sys.argv[1:]
  run = {'datasets': run_datasets, 'nanogpt': run_nanogpt}[name]
  print(json.dumps({'tokens': run(path, gpt2, out, int(processes))}))
