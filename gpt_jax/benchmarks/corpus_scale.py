"""How long a corpus of 10^11 tokens takes to open, in what memory, and how fast it is.

    python -m gpt_jax.benchmarks.corpus_scale
    python -m gpt_jax.benchmarks.corpus_scale --shards=100 --tokens=1e9 --json

Writes the files of a prepared corpus to a temporary folder: those of the tokens are
sparse, so that 200 GB take no space; all else is as `gpt-jax prepare` writes it.
Another process then opens it as a run of `configs/tiny.py` does, reads shuffled batches
from all over it, and says how long that took and the most memory it had. `--demo` also
times the training step of that config: how many tokens a second it consumes.
"""

import argparse
import array
import hashlib
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
import zlib

import numpy as np

from gpt_jax.data import manifest
from gpt_jax.data.checksums import BLOCK_BYTES
from gpt_jax.data.tokenizers import ByteTokenizer

DOCUMENT_TOKENS = 1000
_ZEROS = bytes(1 << 24)


def write_corpus(folder, num_shards, num_tokens):
  """Writes a prepared corpus of zeros in equal shards; returns its tokens."""
  each = int(num_tokens) // num_shards // DOCUMENT_TOKENS * DOCUMENT_TOKENS
  documents = each // DOCUMENT_TOKENS
  offsets = array.array('q', range(0, each + 1, DOCUMENT_TOKENS)).tobytes()
  small = {
    'train.offsets.bin': offsets,
    'train.offsets.checks.bin': _sums(offsets),
    'train.tokens.checks.bin': _sums_of_zeros(2 * each),
  }
  files = {name: _facts(content) for name, content in small.items()}
  files['train.tokens.bin'] = {'bytes': 2 * each, 'sha256': _digest_of_zeros(2 * each)}
  split = manifest.SplitRecord(each, documents, 4 * each, files)
  for number in range(num_shards):
    shard = folder / 'shards' / f'{number:05d}'
    shard.mkdir(parents=True)
    for name, content in small.items():
      if number:  # the same in all shards, and on the disk once
        os.link(folder / 'shards' / '00000' / name, shard / name)
      else:
        (shard / name).write_bytes(content)
    with open(shard / 'train.tokens.bin', 'wb') as file:
      file.truncate(2 * each)
  tokenizer = ByteTokenizer()
  tokenizer.save(folder / 'tokenizer', {'name': 'byte'})
  described = {
    'name': tokenizer.name,
    'vocab_size': tokenizer.vocab_size,
    'fingerprint': tokenizer.fingerprint,
  }
  found = manifest.Manifest(
    dtype='uint16',
    append_eos=True,
    fields={},
    num_labels={'': None},
    tokenizer=described,
    members={'': {}},
    steps=(),
    shards=tuple(
      manifest.ShardRecord(number, '', {'train': split}, {})
      for number in range(num_shards)
    ),
  )
  (folder / manifest.MANIFEST).write_text(manifest.to_json(found))
  return each * num_shards


def _facts(content):
  return {'bytes': len(content), 'sha256': hashlib.sha256(content).hexdigest()}


def _sums(content):
  blocks = range(0, len(content), BLOCK_BYTES)
  sums = [zlib.crc32(content[i : i + BLOCK_BYTES]) for i in blocks]
  return np.array(sums, np.uint32).tobytes()


def _sums_of_zeros(size):
  whole, rest = divmod(size, BLOCK_BYTES)
  sums = [zlib.crc32(bytes(BLOCK_BYTES))] * whole
  sums += [zlib.crc32(bytes(rest))] * bool(rest)
  return np.array(sums, np.uint32).tobytes()


def _digest_of_zeros(size):
  digest = hashlib.sha256()
  for start in range(0, size, len(_ZEROS)):
    digest.update(_ZEROS[: size - start])
  return digest.hexdigest()


def measure(folder, batches, mask_documents):
  """Returns seconds to open the corpus, tokens a second of the loader, and memory."""
  from gpt_jax.config.files import load_file
  from gpt_jax.data import pipeline
  from gpt_jax.data.loader import Loader
  from gpt_jax.program import setup

  overrides = {
    'data.source': 'prepared',
    'data.path': str(folder),
    'data.mask_documents': mask_documents,
    'tokenizer.name': 'byte',
  }
  config = setup.resolve(load_file('configs/tiny.py'), overrides)
  before, started = _peak_mib(), time.monotonic()
  tokenizer = pipeline.open_tokenizer(config.tokenizer, config.data)
  dataset = pipeline.open_dataset(config.data, tokenizer, seed=0, cache_dir='')
  first = dataset.sample(0)
  opened = time.monotonic() - started
  assert first['tokens'].shape == (config.data.seq_len + 1,)
  rows, started = config.train.batch_size, time.monotonic()
  with Loader(dataset).batches(0, [rows] * batches) as read:
    for _ in read:
      pass
  seconds = time.monotonic() - started
  return {
    'tokens': dataset.num_tokens,
    'open_seconds': round(opened, 3),
    'loader_tokens_per_second': round(rows * batches * config.data.seq_len / seconds),
    'mib_before': round(before),
    'peak_mib': round(_peak_mib()),
  }


def _peak_mib():
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _in_a_process(folder, batches, mask_documents):
  command = [sys.executable, '-m', 'gpt_jax.benchmarks.corpus_scale']
  command += [f'--measure={folder}', f'--batches={batches}']
  command += ['--mask_documents'] * mask_documents
  done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
  return json.loads(done.stdout.splitlines()[-1])


def demo_tokens_per_second():
  """Returns how many tokens a second the training step of configs/tiny.py takes."""
  command = [sys.executable, '-m', 'gpt_jax', 'bench', '--config=configs/tiny.py']
  command += ['--what=step', '--json']
  done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
  return json.loads(done.stdout.splitlines()[-1])['cases']['step']['tokens_per_second']


def main(argv=None):
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--shards', type=int, default=1000)
  parser.add_argument('--tokens', type=float, default=1e11)
  parser.add_argument('--batches', type=int, default=2000)
  parser.add_argument('--demo', action='store_true')
  parser.add_argument('--json', action='store_true')
  parser.add_argument('--measure', help=argparse.SUPPRESS)
  parser.add_argument('--mask_documents', action='store_true', help=argparse.SUPPRESS)
  args = parser.parse_args(argv)
  if args.measure:
    print(json.dumps(measure(args.measure, args.batches, args.mask_documents)))
    return
  found = {}
  with tempfile.TemporaryDirectory() as folder:
    started = time.monotonic()
    write_corpus(pathlib.Path(folder), args.shards, args.tokens)
    print(f'written in {time.monotonic() - started:.1f} s', file=sys.stderr)
    for masks in (False, True):
      name = 'masked documents' if masks else 'concatenated'
      found[name] = _in_a_process(folder, args.batches, masks)
  print('| packing | tokens | open s | loader tokens/s | peak MiB (before) |')
  print('|---|---|---|---|---|')
  for name, one in found.items():
    print(
      f'| {name} | {one["tokens"]:,} | {one["open_seconds"]} |'
      f' {one["loader_tokens_per_second"]:,} |'
      f' {one["peak_mib"]} ({one["mib_before"]}) |'
    )
  if args.demo:
    found['demo_tokens_per_second'] = demo_tokens_per_second()
    print(f'the demo trains on {found["demo_tokens_per_second"]:,.0f} tokens/s')
  if args.json:
    print(json.dumps(found))


if __name__ == '__main__':
  main()
