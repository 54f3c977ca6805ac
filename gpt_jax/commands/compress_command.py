"""Makes a run smaller: a new workdir that train, eval, generate, export, plan take.

--method=NAME, with options as --method=NAME:option=value:option=value; an unknown one
is answered with those that there are. docs/compress.md has what each does, and what it
costs. The table shows bytes, and the held-out loss before and after where the run has
data, or --data=FILE names a text file for calibration and for the loss.

methods:
  bfloat16  all parameters in 16 bits
  int8      weights in 8 bits: scales (channel, tensor), embedding (True)
  int4      in 4 bits by groups: group (32), calibration (gptq, awq, none),
            batches (16), embedding (True: that and the output layer in int8)
  nf4       in QLoRA's 4 bits: embedding (True)
  w8a8      weights and inputs in 8 bits: smoothing (0.5), batches (4), embedding (True)
  llm_int8  the same, large inputs in full: threshold (6), embedding (True)
  magnitude  the smallest weights become zero: sparsity (0.5), pattern (2:4), targets
  wanda      those that matter least on text do: the same, batches (16)
  drop_heads   fewer attention heads in each layer: remove (1), batches (16)
  drop_units   a narrower MLP: fraction (0.25), multiple_of (1), batches (16)
  drop_layers  fewer layers: remove (1), batches (16)

examples:
  gpt-jax compress --workdir=runs/tiny --out=runs/tiny_int8 --method=int8
  gpt-jax compress --workdir=runs/tiny --out=runs/tiny_int4 \\
    --method=int4:group=32:calibration=awq --decode_rounds=5
  gpt-jax compress --workdir=runs/gemma --out=runs/gemma_w8a8 --method=w8a8 \\
    --data=text.txt --config.data.seq_len=256 --config.train.batch_size=4
"""

import json

from gpt_jax.commands import flags


def add_arguments(parser):
  flags.add_workdir(parser)
  parser.add_argument('--out', required=True, metavar='DIR', help='the new workdir')
  parser.add_argument(
    '--method', required=True, metavar='NAME[:OPTION=VALUE]', help='see above'
  )
  parser.add_argument(
    '--step', type=int, metavar='N', help='default: the newest, of a task the best one'
  )
  parser.add_argument(
    '--data',
    type=flags.local_path,
    metavar='FILE',
    help='text in place of the data of the run',
  )
  parser.add_argument(
    '--no_loss', action='store_true', help='leave out the held-out loss'
  )
  parser.add_argument(
    '--decode_rounds',
    type=int,
    default=0,
    metavar='N',
    help='time decoding of one text before and after, in so many rounds; 0: do not',
  )
  flags.add_config_overrides(parser)
  flags.add_json(parser)


def run(args, overrides):
  flags.enable_compilation_cache()
  from gpt_jax.compress import method_flag
  from gpt_jax.tracking import console
  from gpt_jax.train import compress

  name, method, options = method_flag.parse(args.method)
  if args.data is not None:
    overrides = {'data.source': 'text', 'data.path': args.data} | overrides
  made = compress.compress(
    args.workdir, args.out, name, method, options, step=args.step, data=overrides,
    progress=lambda items, label, total: console.progress(items, label, total),
  )  # fmt: skip
  losses: list[float | None] = [None, None]
  for i, folder in enumerate((args.workdir, args.out) if not args.no_loss else ()):
    losses[i], why_none = compress.held_out_loss(folder, made.step, overrides)
    if why_none:
      print(f'no held-out loss: {why_none}')
      break
  speed = _decode_ratio(args, made) if args.decode_rounds else None
  console.table(
    f'{args.out}: {args.method}, step {made.step}',
    ('what', 'before', 'after', 'difference'),
    _rows(made, losses, speed),
  )
  if args.json:
    found = dict(
      out=args.out, method=args.method, step=made.step,
      bytes_before=made.bytes_before, bytes_after=made.bytes_after,
      loss_before=losses[0], loss_after=losses[1], notes=made.notes,
      decode_ratio=None if speed is None else speed.median,
    )  # fmt: skip
    print(json.dumps(found))


def _decode_ratio(args, made):
  """Returns the Spread of how many times as fast the new run decodes."""
  import gpt_jax
  from gpt_jax.benchmarks import compressed

  before, after = (
    gpt_jax.load(path, step=made.step).engine for path in (args.workdir, args.out)
  )
  return compressed.decode_ratio(before, after, args.decode_rounds)


def _rows(made, losses, speed):
  before, after = made.bytes_before, made.bytes_after
  share = f'{after / before:.3f} of it'
  rows = [('bytes of parameters', f'{before:,}', f'{after:,}', share)]
  first, last = losses
  if first is not None and last is not None:
    change = f'{last - first:+.5f}'
    rows.append(('held-out loss, nats', f'{first:.5f}', f'{last:.5f}', change))
  if speed is not None:
    change = f'{speed.median:.2f} times as fast ({speed.low:.2f} to {speed.high:.2f})'
    rows.append(('decoding of one text', '', '', change))
  return rows + [(key, '', str(value), '') for key, value in made.notes.items()]
