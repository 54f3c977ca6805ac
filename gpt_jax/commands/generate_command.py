"""Writes text with a run, token by token, as it is decoded (KV cache).

Temperature 0 is greedy. The same seed gives the same text; several texts have the seeds
S, S + 1, .... Settings left out come from the run's config (section `inference`);
docs/decoding.md says in which order they are applied. A model too large for one device
decodes on several: on the mesh it was trained on, or the one that
--config.parallel.mesh gives.

examples:
  gpt-jax generate --workdir=runs/tiny --prompt="The function returns"
  gpt-jax generate --workdir=runs/tiny --num_samples=3 --temperature=1 --top_p=0.95
  gpt-jax generate --workdir=runs/tiny --min_p=0.1 --stop="." --banned=None --banned=if
  gpt-jax generate --workdir=runs/tiny --prompt="The" --beams=4 --length_penalty=0.8
  gpt-jax generate --workdir=runs/tiny --best_of=8 --temperature=1 --logprobs=3
  gpt-jax generate --workdir=runs/tiny --repetition_penalty=1.2 --logit_bias=262:-5,10:1
  gpt-jax generate --workdir=runs/tiny --regex="[0-9]{3}-[0-9]{4}" --temperature=1
  gpt-jax generate --workdir=runs/tiny --json_schema=person.json --max_new_tokens=200
  gpt-jax generate --workdir=runs/tiny --prompt="Good? " --choices=yes --choices=no
  gpt-jax generate --workdir=runs/tiny --prompts_file=prompts.txt --json
  gpt-jax generate --workdir=runs/tiny --prompts_file=in.jsonl --out=out.jsonl
  gpt-jax generate --workdir=runs/tiny --draft=exit:2 --draft_tokens=3
  gpt-jax generate --workdir=runs/tiny --depth=2
  gpt-jax generate --workdir=BASE --adapters=a=runs/lora_a,b=runs/lora_b --adapter=a
  gpt-jax generate --workdir=runs/tiny --config.parallel.mesh.tensor=4
"""

import argparse
import contextlib
import json
import pathlib
import sys

from gpt_jax.commands import flags, layer_flags, text_records
from gpt_jax.core.errors import ConfigError, DataError, StorageError

SETTINGS = (
  'max_new_tokens', 'temperature', 'top_k', 'top_p', 'min_p', 'typical_p',
  'repetition_penalty', 'presence_penalty', 'frequency_penalty', 'logit_bias', 'stop',
  'banned', 'best_of', 'beams', 'length_penalty', 'early_stopping', 'logprobs',
  'regex', 'json_schema', 'choices', 'beyond_positions', 'adapter',
)  # fmt: skip
"""Flags that are options of `Run.complete` as they are, where given."""


def add_arguments(parser):
  flags.add_workdir(parser)
  flags.add_config_overrides(parser)
  parser.add_argument('--prompt', default='', help='text to continue; may be empty')
  parser.add_argument(
    '--prompts_file', type=flags.local_path, metavar='FILE', help='a prompt a line;'
    ' FILE.jsonl: "prompt" of each record, and "adapter" of those that name one',
  )  # fmt: skip
  parser.add_argument(
    '--out', type=flags.local_path, metavar='FILE.jsonl', help='a record for each text,'
    ' in the order of the prompts, instead of showing them',
  )  # fmt: skip
  parser.add_argument(
    '--step', type=int, metavar='N', help='default: the newest, of a task the best one'
  )
  parser.add_argument('--max_new_tokens', type=int, metavar='N')
  parser.add_argument(
    '--adapters',
    metavar='NAME=RUN,...',
    help='LoRA runs over this base, by name',
  )
  parser.add_argument(
    '--adapter', metavar='NAME', help='which of them writes; default: none, the base'
  )
  parser.add_argument('--seed', type=int, default=0, metavar='S')
  parser.add_argument('--echo', action='store_true', help='of --json: with the prompt')
  flags.add_json(parser)
  _add_drawing(parser.add_argument_group('how tokens are drawn'))
  _add_steering(parser.add_argument_group('what is likelier, or cannot be'))
  _add_grammar(parser.add_argument_group('what the whole text is'))
  _add_choosing(parser.add_argument_group('several texts of a prompt'))
  layer_flags.add(parser)


def _add_drawing(group):
  group.add_argument('--temperature', type=float, metavar='X', help='0: greedy')
  group.add_argument('--top_k', type=int, metavar='K', help='0: off')
  group.add_argument('--top_p', type=float, metavar='P', help='1: off')
  group.add_argument(
    '--min_p', type=float, metavar='P', help='least share of the likeliest; 0: off'
  )
  group.add_argument('--typical_p', type=float, metavar='P', help='1: off')
  group.add_argument(
    '--beyond_positions', choices=('error', 'slide'), help='texts that outgrow learned'
    ' positions: refused, or on from their last part',
  )  # fmt: skip


def _add_steering(group):
  group.add_argument(
    '--repetition_penalty', type=float, metavar='X', help='above 1: less; 1: off'
  )
  group.add_argument(
    '--presence_penalty', type=float, metavar='X', help='for each id written; 0: off'
  )
  group.add_argument(
    '--frequency_penalty', type=float, metavar='X', help='each time it was; 0: off'
  )
  group.add_argument(
    '--logit_bias', type=_bias, metavar='ID:X,...', help='added to the logits of ids'
  )
  group.add_argument(
    '--stop', action='append', metavar='TEXT', help='ends the text, unshown; repeatable'
  )
  group.add_argument(
    '--banned', action='append', metavar='TEXT', help='never comes about; repeatable'
  )


def _add_grammar(group):
  group.add_argument(
    '--regex',
    metavar='EXPRESSION',
    help='it matches; no look-around, no backreferences',
  )
  group.add_argument(
    '--json_schema',
    type=flags.local_path,
    metavar='FILE',
    help='it is JSON of this schema',
  )
  group.add_argument(
    '--choices', action='append', metavar='TEXT', help='it is one of these; repeatable'
  )


def _add_choosing(group):
  group.add_argument(
    '--num_samples', '--n', type=int, default=1, metavar='N', help='texts of a prompt'
  )
  group.add_argument(
    '--best_of', type=int, metavar='N', help='writes N, shows the likeliest per token'
  )
  group.add_argument('--beams', type=int, metavar='N', help='beam search; 1: off')
  group.add_argument(
    '--length_penalty', type=float, metavar='X', help='of beams: above 0 for longer'
  )
  group.add_argument(
    '--early_stopping', type=_early, metavar='HOW', help='of beams: true, false, never'
  )
  group.add_argument(
    '--logprobs', type=int, metavar='K', help='shows those of written and K likeliest'
  )


def _bias(text):
  try:
    pairs = (part.rsplit(':', 1) for part in text.split(','))
    return {int(token_id): float(bias) for token_id, bias in pairs}
  except ValueError:
    raise argparse.ArgumentTypeError(
      f'{text!r}: expected such as 262:-5,10:-1'
    ) from None


def _early(text):
  found = {'true': True, 'false': False, 'never': 'never'}.get(text.lower())
  if found is None:
    raise argparse.ArgumentTypeError(f'{text!r}: expected true, false or never')
  return found


def run(args, overrides):
  if args.num_samples < 1:
    raise ConfigError(f'--num_samples={args.num_samples}: expected at least 1.')
  settings = {name: getattr(args, name) for name in SETTINGS}
  settings = {name: value for name, value in settings.items() if value is not None}
  if args.json_schema is not None:
    settings['json_schema'] = _text_of('--json_schema', args.json_schema)
  prompts, asked = _prompts(args)
  if any(asked):
    settings['adapter'] = asked
  _check(settings, args)
  flags.enable_compilation_cache()
  import gpt_jax
  from gpt_jax.program import adapters

  of_runs = None if args.adapters is None else adapters.parse(args.adapters)
  overrides = overrides | layer_flags.overrides(args)
  trained = gpt_jax.load(
    args.workdir, step=args.step, overrides=overrides, adapters=of_runs
  )
  if trained.rules is not None:
    print(trained.placement(), file=sys.stderr)
  is_streamed = not (
    args.json or args.prompts_file or args.out
    or settings.keys() & {'best_of', 'beams', 'logprobs'}
  )  # fmt: skip
  if is_streamed:
    _stream(trained, args, settings)
    _show_passes(trained)
    return
  settings |= dict(n=args.num_samples, seed=args.seed, echo=args.echo)
  with contextlib.ExitStack() as opened:
    if args.out:
      file = opened.enter_context(text_records.TextRecords(args.out, prompts))
      settings['on_prompt'] = file.write
    total = len(prompts) * max(args.num_samples, args.best_of or 1)
    advance = opened.enter_context(_counted(total))
    found = trained.complete(prompts, advance, **settings)
  if args.json:
    completions = [
      record
      for prompt, group in zip(prompts, found, strict=True)
      for record in text_records.records(prompt, group)
    ]
    result = {'step': trained.step, 'completions': completions} | trained.passes()
    print(json.dumps(result))
    return
  if not args.out:
    for prompt, group in zip(prompts, found, strict=True):
      for i, each in enumerate(group):
        _show(prompt, each, f'{i + 1} of {len(group)}' if len(group) > 1 else '')
  _show_passes(trained)


def _show_passes(trained):
  for name, numbers in trained.passes().items():
    shown = ', '.join(f'{key} {number:.4g}' for key, number in numbers.items())
    print(f'{name}: {shown}', file=sys.stderr)


@contextlib.contextmanager
def _counted(total):
  """Yields `advance(count)` of a progress bar of texts."""
  import rich.progress

  from gpt_jax.tracking import console

  screen = console.make_console(stderr=True)
  hidden = total < 2 or not screen.is_terminal
  with rich.progress.Progress(console=screen, transient=True, disable=hidden) as bar:
    task = bar.add_task('texts', total=total)
    yield lambda count: bar.advance(task, count)


def _check(settings, args):
  """Raises ConfigError for options that cannot be, before anything is loaded."""
  from gpt_jax.inference.text_options import TextOptions

  TextOptions.of(settings | dict(n=args.num_samples))
  if args.out and not pathlib.Path(args.out).absolute().parent.is_dir():
    raise StorageError(f'--out={args.out}: no such folder; make it first.')


def _prompts(args):
  """Returns the prompts, and what a record says of adapters, or --adapter, of each."""
  if args.prompts_file is None:
    return [args.prompt], []
  if args.prompt:
    raise ConfigError('--prompt and --prompts_file: expected one of them.')
  path = pathlib.Path(args.prompts_file)
  lines, adapters = _text_of('--prompts_file', path).splitlines(), []
  if path.suffix == '.jsonl':
    found = [_record(path, i, line) for i, line in enumerate(lines) if line.strip()]
    lines = [record['prompt'] for record in found]
    adapters = [record.get('adapter') or args.adapter for record in found]
  if not lines:
    raise DataError(f'--prompts_file={path}: no line; expected a prompt a line.')
  return lines, adapters


def _text_of(flag, path):
  try:
    return pathlib.Path(path).read_text(encoding='utf-8')
  except (OSError, ValueError) as error:
    raise DataError(f'{flag}={path}: cannot be read: {error}') from error


def _record(path, i, line):
  try:
    found = json.loads(line)
  except (ValueError, RecursionError):
    found = None
  if not (isinstance(found, dict) and isinstance(found.get('prompt'), str)):
    raise DataError(
      f'--prompts_file={path}: line {i + 1}: expected a record with the text "prompt".'
    )
  return found


def _stream(trained, args, settings):
  for sample in range(args.num_samples):
    if args.num_samples > 1:
      print(f'--- sample {sample + 1} of {args.num_samples}, seed {args.seed + sample}')
    # Before the prompt is shown: a setting that cannot be stops the command here.
    pieces = trained.stream(args.prompt, seed=args.seed + sample, **settings)
    sys.stdout.write(args.prompt)
    for piece in pieces:
      sys.stdout.write(piece)
      sys.stdout.flush()
    sys.stdout.write('\n')


def _show(prompt, found, place):
  score = '' if found.score is None else f', score {found.score:.4f}'
  if place or score:
    print(f'--- text {place or "1 of 1"}, seed {found.seed}{score}')
  print(prompt + found.text)
  for token in found.log_probs or ():
    top = '  '.join(f'{each.text!r} {each.log_prob:.3f}' for each in token.top)
    print(f'{token.id:>8} {token.text!r:<16} {token.log_prob:8.3f}  {top}'.rstrip())
