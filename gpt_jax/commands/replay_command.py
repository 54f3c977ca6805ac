"""Shows the exact batch of a step: its documents, their tokens and their loss.

The batch is rebuilt from the config, the data and the rollbacks in run.json. The loss
of each document is that of the newest checkpoint before the step, if one is kept.
Steps count from 1, as in metrics.jsonl.

examples:
  gpt-jax replay --workdir=runs/tiny --step=120
  gpt-jax replay --workdir=runs/tiny --step=120 --json
"""

import dataclasses
import json

from gpt_jax.commands import flags


def add_arguments(parser):
  flags.add_workdir(parser)
  parser.add_argument('--step', type=int, required=True, metavar='N', help='from 1')
  parser.add_argument(
    '--no_loss', action='store_true', help='read no checkpoint, compile nothing'
  )
  flags.add_json(parser)


def run(args, overrides):
  flags.refuse_overrides(overrides)
  flags.enable_compilation_cache()
  from gpt_jax.tracking import console
  from gpt_jax.train import replay as replays

  found = replays.replay(args.workdir, args.step, with_loss=not args.no_loss)
  if args.json:
    print(json.dumps(dataclasses.asdict(found)))
    return
  title = f'step {found.step}: samples {found.first_sample} to {found.last_sample}'
  if found.parameters_after_step is not None:
    title += f', loss under the parameters of step {found.parameters_after_step}'
  console.table(title, ('row', 'document', 'tokens', 'loss', 'from'), _rows(found))
  for part in found.parts:
    shown = part.text or ' '.join(map(str, part.tokens[:24]))
    print(f'row {part.row}, document {part.document}: {shown}')


def _rows(found):
  return [
    (
      part.row,
      f'{part.member}:{part.document}' if part.member else str(part.document),
      f'{part.first_token} to {part.first_token + len(part.tokens) - 1}',
      '-' if part.loss is None else f'{part.loss:.4f}',
      part.place or '-',
    )
    for part in found.parts
  ]
