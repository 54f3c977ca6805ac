"""How fast a corpus is tokenized once, beside `datasets.map` and nanoGPT's way.

    pip install -e '.[compare]'
    python -m gpt_jax.benchmarks.corpus_speed --gpt2=FOLDER --processes=2 --rounds=3
    python -m gpt_jax.benchmarks.corpus_speed --gpt2=FOLDER --one_line=1024

All tokenize the same lines with GPT-2's tokenizer, each in a process of its own, one
after another in each round, odd rounds in reverse order. The text is that of the Python
packages of this machine, or of `--text`. A run counts from its start to its last byte.
`--one_line=MIB` instead makes one line of that size, and tells the memory of `prepare`.
FOLDER has GPT-2's encoder.json and vocab.bpe; `--python` is an interpreter that has
datasets and tiktoken, where it is not this one.
"""

import argparse
import json
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time

OURS, PEERS = 'gpt-jax prepare', ('datasets', 'nanogpt')
SUFFIXES = ('.py', '.md', '.rst', '.txt')
_MIN_CHARS, _MAX_CHARS = 200, 200_000
_POLL_SECONDS = 0.05


def write_lines(path, folders, limit_mib):
  """Writes the texts below `folders` as JSON lines; returns the bytes of their text."""
  size = 0
  with open(path, 'w', encoding='utf-8') as file:
    for source in _sources(folders):
      try:
        text = source.read_text(encoding='utf-8')
      except (UnicodeDecodeError, OSError):
        continue
      if _MIN_CHARS <= len(text) <= _MAX_CHARS:
        file.write(json.dumps({'text': text}) + '\n')
        size += len(text.encode())
      if size >= limit_mib << 20:
        break
  return size


def _sources(folders):
  for folder in folders:
    for source in sorted(pathlib.Path(folder).rglob('*')):
      if source.suffix in SUFFIXES:
        yield source


def write_one_line(path, text_of, mib):
  """Writes one JSON line with `mib` MiB of the text of the lines in `text_of`."""
  texts = [json.loads(line)['text'] for line in open(text_of, encoding='utf-8')]
  size = 0
  with open(path, 'w', encoding='utf-8') as file:
    file.write('{"text": "')
    while size < mib << 20:
      for text in texts:
        part = json.dumps(text)[1:-1]
        file.write(part)
        size += len(part)
        if size >= mib << 20:
          break
    file.write('"}\n')
  return size


def command_of(name, args, lines, out):
  """Returns the command line that tokenizes `lines` into the folder `out`."""
  if name == OURS:
    fields = {'data.source': 'jsonl', 'data.path': lines, 'tokenizer.name': 'gpt2'}
    fields |= {'tokenizer.path': args.gpt2, 'data.split_by': 'content'}
    return [
      *(sys.executable, '-m', 'gpt_jax', 'prepare', '--config=configs/base.py'),
      *(f'--out={out}', f'--processes={args.processes}', '--json'),
      *(f'--config.{field}={value}' for field, value in fields.items()),
    ]
  script = pathlib.Path(__file__).with_name('corpus_peers.py')
  return [args.python, str(script), name, lines, args.gpt2, out, str(args.processes)]


def time_command(command, folder):
  """Returns (seconds, seconds of processors, peak MiB of all processes, last line)."""
  before, started = _children(), time.monotonic()
  environment = {**os.environ, 'HF_DATASETS_OFFLINE': '1', 'HOME': folder}
  environment |= {'HF_HOME': folder, 'TOKENIZERS_PARALLELISM': 'false'}
  process = subprocess.Popen(
    command,
    stdout=subprocess.PIPE,
    stderr=subprocess.DEVNULL,
    text=True,
    env=environment,
  )
  peak = _Peak(process.pid)
  try:
    shown, _ = process.communicate()
  finally:
    peak_mib = peak.stop()
  seconds = time.monotonic() - started
  if process.returncode:
    raise SystemExit(f'{" ".join(command)}: ended with {process.returncode}')
  return seconds, _children() - before, peak_mib, shown.splitlines()[-1]


def _children():
  used = resource.getrusage(resource.RUSAGE_CHILDREN)
  return used.ru_utime + used.ru_stime


class _Peak:
  """Watches the memory of a process and of those that it has started."""

  def __init__(self, pid):
    self._pid, self._peak, self._stopped = pid, 0, threading.Event()
    self._thread = threading.Thread(target=self._watch, daemon=True)
    self._thread.start()

  def _watch(self):
    while not self._stopped.wait(_POLL_SECONDS):
      self._peak = max(self._peak, sum(map(_memory, _family(self._pid))))

  def stop(self):
    """Returns the peak in MiB; pages that several share count for each."""
    self._stopped.set()
    self._thread.join()
    return self._peak / 2**20


def _family(pid):
  """Returns the process ids of `pid` and all below it."""
  found = [pid]
  for one in found:
    try:
      for task in pathlib.Path(f'/proc/{one}/task').iterdir():
        found += map(int, (task / 'children').read_text().split())
    except OSError:
      continue
  return found


def _memory(pid):
  try:
    pages = int(pathlib.Path(f'/proc/{pid}/statm').read_text().split()[1])
  except (OSError, IndexError):
    return 0
  return pages * os.sysconf('SC_PAGE_SIZE')


def compare(args, lines, size, names):
  """Returns {name: its measurements, one a round}."""
  found = {name: [] for name in names}
  for number in range(args.rounds):
    for name in names[:: 1 if number % 2 == 0 else -1]:
      with tempfile.TemporaryDirectory(dir=args.folder) as out:
        command = command_of(name, args, lines, f'{out}/out')
        os.mkdir(f'{out}/out')
        seconds, used, peak, last = time_command(command, out)
        result = json.loads(last)
        tokens = result.get('tokens') or sum(
          split['tokens'] for split in result['splits'].values()
        )
        one = dict(seconds=seconds, core_seconds=used, peak_mib=peak, tokens=tokens)
        found[name].append(one | {'mb_per_second': size / seconds / 1e6})
        print(name, {k: round(v, 2) for k, v in found[name][-1].items()}, flush=True)
  return found


def show(found, size, processes):
  """Prints medians over rounds, and how many times as fast as the best peer we are."""
  print(f'\n{size / 1e6:.0f} MB of text, {processes} processes')
  print('| | s | MB/s | MB/s a core | processor s | peak MiB | tokens |')
  print('|---|---|---|---|---|---|---|')
  pace = {}
  for name, rounds in found.items():
    median = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
    pace[name] = median['mb_per_second']
    print(
      f'| {name} | {median["seconds"]:.1f} | {pace[name]:.2f} |'
      f' {pace[name] / processes:.2f} | {median["core_seconds"]:.1f} |'
      f' {median["peak_mib"]:.0f} | {median["tokens"]:,.0f} |'
    )
  if others := [value for name, value in pace.items() if name != OURS]:
    print(f'{pace[OURS] / max(others):.2f} times as fast as the better of the others')


def main(argv=None):
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--gpt2', required=True, metavar='FOLDER')
  parser.add_argument('--text', metavar='FOLDER')
  parser.add_argument('--mib', type=int, default=128, help='of text, at most')
  parser.add_argument('--one_line', type=int, default=0, metavar='MIB')
  parser.add_argument('--processes', type=int, default=2)
  parser.add_argument('--rounds', type=int, default=3)
  parser.add_argument('--python', default=sys.executable)
  parser.add_argument('--folder', metavar='DIR', help='for temporary files')
  parser.add_argument('--only', help='one of the three')
  args = parser.parse_args(argv)
  paths = sysconfig.get_paths()
  folders = [args.text] if args.text else [paths['purelib'], paths['stdlib']]
  names = [args.only] if args.only else [OURS, *PEERS]
  folder = tempfile.mkdtemp(dir=args.folder)
  try:
    lines = f'{folder}/lines.jsonl'
    size = write_lines(lines, folders, args.mib)
    if args.one_line:
      size = write_one_line(f'{folder}/one.jsonl', lines, args.one_line)
      lines, names = f'{folder}/one.jsonl', [args.only or OURS]
    show(compare(args, lines, size, names), size, args.processes)
  finally:
    shutil.rmtree(folder)


if __name__ == '__main__':
  main()
