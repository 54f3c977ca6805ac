"""Makes a vector of each text with a run: how alike are they, or a file of vectors.

The texts are those of --text, or the lines of FILE (- for standard input; of .jsonl the
field --text_field). Shown is the cosine of each two; of many, the pairs that are most
alike. --out keeps the vectors: .npy [N, D] float32, or .jsonl with text and vector.
Encoders (BERT) and decoders alike: the mean of the stream over all tokens of a text.

examples:
  gpt-jax embed --workdir=runs/minilm --text="A cat sits." --text="A dog runs."
  gpt-jax embed --workdir=runs/minilm sentences.txt --out=sentences.npy
  gpt-jax embed --workdir=runs/minilm questions.jsonl --text_field=question --json
"""

import json
import pathlib
import sys

import numpy as np

from gpt_jax.commands import flags
from gpt_jax.core.errors import ConfigError, DataError, StorageError

MOST_IN_TABLE = 10  # texts
MOST_PAIRS = 10
MOST_COMPARED = 5000  # texts: all pairs of them take 200 MB
SHOWN_CHARS = 60


def add_arguments(parser):
  flags.add_workdir(parser)
  flags.add_config_overrides(parser)
  parser.add_argument('file', nargs='?', metavar='FILE', help='a text a line')
  parser.add_argument(
    '--text', action='append', default=[], metavar='TEXT', help='one; may be repeated'
  )
  parser.add_argument(
    '--text_field', default='text', metavar='NAME', help='of .jsonl; default: text'
  )
  parser.add_argument(
    '--step', type=int, metavar='N', help='default: the newest, of a task the best one'
  )
  parser.add_argument(
    '--pooling',
    default='mean',
    metavar='NAME',
    help='mean, first, last or pooler (of models that have one); default: mean',
  )
  parser.add_argument(
    '--raw', action='store_true', help='keep lengths; default: vectors of length 1'
  )
  parser.add_argument(
    '--max_tokens', type=int, metavar='N', help='that are read of a text, at most'
  )
  parser.add_argument(
    '--out', type=flags.local_path, metavar='FILE', help='FILE.npy or FILE.jsonl'
  )
  flags.add_json(parser)


def run(args, overrides):
  suffix = pathlib.Path(args.out).suffix if args.out else '.npy'
  if suffix not in ('.npy', '.jsonl'):
    raise ConfigError(f'--out={args.out}: expected a name in .npy or .jsonl.')
  if bool(args.file) == bool(args.text):
    raise ConfigError('the texts: give FILE, or --text=..., and not both.')
  texts = args.text or _read(args.file, args.text_field)
  flags.enable_compilation_cache()
  import gpt_jax
  from gpt_jax.tracking import console

  trained = gpt_jax.load(args.workdir, step=args.step, overrides=overrides)
  vectors_ND = trained.embed(
    texts,
    pooling=args.pooling,
    normalize=not args.raw,
    max_tokens=args.max_tokens,
    progress=lambda items, total: console.progress(items, 'embedding', total),
  )
  if args.out:
    _write(args.out, suffix, texts, vectors_ND)
    print(f'wrote {len(texts):,} vectors of {vectors_ND.shape[1]} to {args.out}')
  else:
    _show(texts, _cosines(vectors_ND[:MOST_COMPARED]), console)
  if args.json:
    print(json.dumps({'texts': texts, 'vectors': vectors_ND.tolist()}))


def _read(file, field):
  """Returns the texts of a file, empty lines left out."""
  try:
    content = (
      sys.stdin.buffer.read() if file == '-' else pathlib.Path(file).read_bytes()
    )
    lines = content.decode('utf-8').splitlines()
  except (OSError, UnicodeDecodeError) as error:
    raise DataError(f'{file}: cannot be read: {error}') from error
  numbered = [(i, line) for i, line in enumerate(lines, start=1) if line.strip()]
  if not numbered:
    raise DataError(f'{file}: has no texts.')
  if not file.endswith('.jsonl'):
    return [line for _, line in numbered]
  return [_field(f'{file}:{i}', line, field) for i, line in numbered]


def _field(place, line, field):
  try:
    text = json.loads(line)[field]
  except (ValueError, KeyError, TypeError, RecursionError) as error:
    raise DataError(
      f'{place}: expected a JSON object with the field {field!r} (--text_field), not'
      f' {line[:60]!r}.'
    ) from error
  if not isinstance(text, str):
    raise DataError(f'{place}: field {field!r} is {text!r}; expected a text.')
  return text


def _write(path, suffix, texts, vectors_ND):
  try:
    if suffix == '.npy':
      np.save(path, vectors_ND)
      return
    with open(path, 'w', encoding='utf-8') as file:
      for text, vector_D in zip(texts, vectors_ND.tolist(), strict=True):
        line = json.dumps({'text': text, 'vector': vector_D}, ensure_ascii=False)
        file.write(line + '\n')
  except OSError as error:
    raise StorageError(f'--out={path}: {error}') from error


def _cosines(vectors_ND):
  # In float32 texts that are almost alike may come before equal ones.
  vectors_ND = vectors_ND.astype(np.float64)
  norms_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
  unit_ND = vectors_ND / np.maximum(norms_N1, 1e-12)
  return unit_ND @ unit_ND.T


def _show(texts, cosines_NN, console):
  if len(texts) <= MOST_IN_TABLE:
    columns = ('', 'text', *(str(i + 1) for i in range(len(texts))))
    rows = [
      (i + 1, _short(text), *(f'{value:.3f}' for value in cosines_NN[i]))
      for i, text in enumerate(texts)
    ]
    console.table('cosines of texts', columns, rows)
    return
  first, second = np.triu_indices(len(cosines_NN), 1)
  values = cosines_NN[first, second]
  best = np.argsort(-values)[:MOST_PAIRS]
  rows = [
    (f'{values[i]:.3f}', _short(texts[first[i]]), _short(texts[second[i]]))
    for i in best
  ]
  of = f'{len(texts):,} texts'
  if len(texts) > len(cosines_NN):
    of = f'the first {len(cosines_NN):,} of {of}'
  console.table(f'most alike of {of}', ('cosine', 'text', 'text'), rows)


def _short(text):
  text = ' '.join(text.split())
  return text if len(text) <= SHOWN_CHARS else f'{text[: SHOWN_CHARS - 1]}…'
