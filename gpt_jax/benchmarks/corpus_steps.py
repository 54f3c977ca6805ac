"""What quality steps of `gpt-jax prepare` cost: each document, and decisions about all.

    python -m gpt_jax.benchmarks.corpus_steps
    python -m gpt_jax.benchmarks.corpus_steps --text=my_texts --documents=1e7 --json

Each step alone looks at the texts of `--text`, or at the Python packages of this
machine, in one process; megabytes a second are of processor time, the best of
`--rounds`. Then `exact` and `minhash` decide about `--documents` made-up surveys, of
which one in twenty is a duplicate, each in a process that tells its time and memory.
"""

import argparse
import hashlib
import json
import pathlib
import resource
import subprocess
import sys
import sysconfig
import tempfile
import time

import numpy as np

from gpt_jax.benchmarks.corpus_speed import write_lines
from gpt_jax.core.errors import ConfigError
from gpt_jax.corpus import STEPS, decontaminate, exact, minhash
from gpt_jax.corpus.step import Document, GlobalStep, Surveys

BLOCK = 50_000  # documents of a survey
DUPLICATES = 20  # one in so many
GLOBAL = {
  'exact': lambda folder: exact.Exact(_as_they_are(exact), folder),
  'minhash': lambda folder: minhash.NearDuplicates(_as_they_are(minhash), folder),
}
OF_TEXT = [name for name in STEPS if name not in ('epochs', 'weights')]


def _as_they_are(module):
  return module.Options()


def documents_of(folders, mib):
  """Returns Documents of the texts below `folders`, `mib` MiB of them."""
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / 'lines.jsonl'
    write_lines(path, folders, mib)
    texts = [json.loads(line)['text'] for line in path.open(encoding='utf-8')]
  return [_document(text) for text in texts]


def _document(text):
  content = text.encode()
  digest = hashlib.sha256(content).digest()
  return Document('', 'train', '', text, len(content), digest)


def make(name, held_out, folder):
  """Returns the step, its options as they are; `held_out`: evaluation texts."""
  if name == 'decontaminate':
    sets = {'held_out': [document.text for document in held_out]}
    return decontaminate.Decontaminate(_as_they_are(decontaminate), sets)
  if name in GLOBAL:
    return GLOBAL[name](folder)
  return STEPS[name](STEPS[name].options(), None)


def megabytes_per_second(step, documents, rounds):
  """Returns how much text a second of processor time takes the step."""
  look = step.survey if isinstance(step, GlobalStep) else step.keep
  seconds = []
  for _ in range(rounds):
    started = time.process_time()
    for document in documents:
      look(document)
    seconds.append(time.process_time() - started)
  return sum(document.num_bytes for document in documents) / min(seconds) / 1e6


def made_up(step, count):
  """Returns Surveys of `count` documents with one duplicate in twenty."""

  def block(number) -> np.ndarray:
    rng = np.random.default_rng(number)
    rows: np.ndarray = np.zeros(BLOCK, step.dtype)
    for name in step.dtype.names:
      field = rows[name]
      content = np.frombuffer(rng.bytes(field.nbytes), field.dtype)
      rows[name] = True if field.dtype == bool else content.reshape(field.shape)
    return rows

  def read(number):
    rows = block(number)
    if number % 2:
      rows[: 2 * BLOCK // DUPLICATES] = block(number - 1)[: 2 * BLOCK // DUPLICATES]
    return rows

  return Surveys(read, [BLOCK] * (count // BLOCK))


def decide(name, count):
  """Returns {removed, seconds, MiB} of the decisions about made-up surveys."""
  with tempfile.TemporaryDirectory() as folder:
    step = GLOBAL[name](pathlib.Path(folder))
    surveys, started = made_up(step, count), time.monotonic()
    removed = sum(1 for _ in step.decide(surveys))
    seconds = time.monotonic() - started
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
  return {
    'documents': surveys.num_documents,
    'removed': removed,
    'seconds': round(seconds, 1),
    'peak_mib': round(peak),
    'survey_bytes': step.dtype.itemsize,
  }


def main(argv=None):
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--text', action='append', help='a folder; default: packages')
  parser.add_argument('--mib', type=int, default=8)
  parser.add_argument('--rounds', type=int, default=3)
  parser.add_argument('--documents', type=float, default=1e6)
  parser.add_argument('--json', action='store_true')
  parser.add_argument('--decide', help=argparse.SUPPRESS)
  args = parser.parse_args(argv)
  if args.decide:
    print(json.dumps(decide(args.decide, int(args.documents))))
    return
  documents = documents_of(args.text or [sysconfig.get_path('purelib')], args.mib)
  found = {'steps': {}, 'decide': {}}
  print('| step | MB/s of one core |\n|---|---|')
  with tempfile.TemporaryDirectory() as folder:
    for name in OF_TEXT:
      try:
        step = make(name, documents[::10], pathlib.Path(folder))
      except ConfigError as error:
        print(f'{error}', file=sys.stderr)
        continue
      read = [one for i, one in enumerate(documents) if i % 10]
      pace = megabytes_per_second(step, read, args.rounds)
      found['steps'][name] = round(pace, 1)
      print(f'| `{name}` | {pace:.1f} |', flush=True)
  print('\n| decides | documents | left out | s | peak MiB |\n|---|---|---|---|---|')
  for name in GLOBAL:
    command = [sys.executable, '-m', 'gpt_jax.benchmarks.corpus_steps']
    command += [f'--decide={name}', f'--documents={args.documents}']
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    one = found['decide'][name] = json.loads(done.stdout.splitlines()[-1])
    print(
      f'| `{name}` | {one["documents"]:,} | {one["removed"]:,} | {one["seconds"]} |'
      f' {one["peak_mib"]:,} |',
      flush=True,
    )
  if args.json:
    print(json.dumps(found))


if __name__ == '__main__':
  main()
