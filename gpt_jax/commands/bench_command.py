"""Times a run on the devices that are here: step, decoding, loader, attention kernels.

What is timed is what `train` and `generate` run. Every round measures every case once,
odd rounds in reverse; values are medians over rounds, with the quartiles. Shares are of
a matmul and of a copy through memory timed in the same rounds. Compilation is reported
apart. docs/bench.md explains each line and the JSON.

examples:
  gpt-jax bench --config=configs/tiny.py
  gpt-jax bench --config=configs/gpt2.py:124m --what=step,decode --rounds=9 --json \\
      --config.data.seq_len=256 --config.train.batch_size=2 --config.train.grad_accum=1
  gpt-jax bench --config=configs/gpt2.py:124m --what=step --vs=transformers \\
      --config.data.seq_len=256 --config.train.batch_size=2 --config.train.grad_accum=1
  gpt-jax bench --config=configs/tiny.py --what=peft --methods=full,lora_16,qlora
"""

import contextlib
import functools
import json
import os
import tempfile

from gpt_jax.commands import flags, host
from gpt_jax.core.errors import ConfigError, StorageError

ALL = 'all'
_COLUMNS = (
  'case', 'ms', 'quartiles', 'compile s', 'GiB', 'tokens/s', 'rate', 'of peak'
)  # fmt: skip
_PEFT_COLUMNS = (
  'method', 'trains', 'ms', 'over full', 'quartiles', 'state', 'temporaries',
  'optimizer', 'checkpoint',
)  # fmt: skip


def add_arguments(parser):
  flags.add_config(parser)
  parser.add_argument(
    '--what',
    default=ALL,
    metavar='NAMES',
    help='of step, forward, decode, loader, attention, comma-separated; default: all'
    ' of them; also serving: 64 requests at once; adapters: eight in one batch; peft:'
    ' the step of every way of fine-tuning',
  )
  parser.add_argument(
    '--methods',
    metavar='NAMES',
    help='those of --what=peft, comma-separated, such as full,lora_16; default: all',
  )
  parser.add_argument(
    '--rounds', type=int, default=7, metavar='N', help='default: 7; odd is best'
  )
  parser.add_argument(
    '--figure',
    metavar='FILE.png',
    help='draw shares of the peaks, attention by length, ratios, and memory there',
  )
  parser.add_argument(
    '--vs',
    choices=['transformers'],
    help='time the same GPT-2 in PyTorch in the same rounds (extra `compare`)',
  )
  parser.add_argument(
    '--vs_dtype',
    metavar='DTYPE',
    help='float32 or bfloat16 (autocast) for the peer; default: model.dtype',
  )
  flags.add_json(parser)


def run(args, overrides):
  if args.config is None:
    raise ConfigError('--config is missing; give one, such as configs/tiny.py.')
  if args.rounds < 1:
    raise ConfigError(f'--rounds={args.rounds}: expected at least 1.')
  if args.vs_dtype and not args.vs:
    raise ConfigError('--vs_dtype needs a peer. Add --vs=transformers.')
  if args.vs:
    # Two libraries share one GPU: jax must not take most of it at once.
    os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')
  host.tune_malloc()  # as train does; the peer gains from it too
  from gpt_jax.config.files import load_file
  from gpt_jax.program import setup

  values = load_file(args.config)
  config = setup.resolve(values, overrides)
  setup.check_plan(config)
  entries = _entries(args)
  with tempfile.TemporaryDirectory(prefix='gpt_jax_bench_') as folder:
    report = _measure(config, entries, args, folder)
  _show(report)
  if args.figure:
    from gpt_jax.benchmarks import figure

    try:
      print(f'figure: {figure.save(report, args.figure)}')
    except OSError as error:
      raise StorageError(f'--figure={args.figure}: {error}') from error
  if args.json:
    print(json.dumps(report.to_dict()))


def _entries(args):
  """Returns those of benchmarks.CASES that `--what` names, in their order there."""
  from gpt_jax import benchmarks
  from gpt_jax.core.registry import choose

  asked = _listed(args.what)
  if ALL in asked:
    asked += [name for name in benchmarks.CASES if name not in benchmarks.MINUTES]
  for name in asked:
    if name != ALL:
      choose(benchmarks.CASES, name, '--what')
  entries = {name: make for name, make in benchmarks.CASES.items() if name in asked}
  if 'peft' in entries:
    entries['peft'] = functools.partial(
      entries['peft'],
      labels=_methods(args.methods),
      progress=lambda labels: _progress(labels, 'compiling'),
    )
  elif args.methods:
    raise ConfigError(f'--methods={args.methods} are those of --what=peft; add that.')
  return entries


def _methods(text):
  """Returns which of peft_methods.METHODS `--methods` names, in their order there."""
  from gpt_jax.benchmarks.peft_methods import METHODS
  from gpt_jax.core.registry import choose

  asked = list(METHODS) if text is None else _listed(text)
  for label in asked:
    choose(METHODS, label, '--methods')
  return [label for label in METHODS if label in asked]


def _listed(text):
  return [name.strip() for name in text.split(',')]


def _progress(items, description):
  from gpt_jax.tracking import console

  return console.progress(items, description)


def _measure(config, entries, args, folder):
  from gpt_jax.benchmarks import gpt2_shape, report, session, torch_gpt2
  from gpt_jax.planning import inputs

  vocab = inputs.vocabulary(config)
  with _cold_compilations():
    program = inputs.make_program(config)
    if args.vs:
      torch_gpt2.require_packages()
      gpt2_shape.check(program.config)
    found = session.run(
      program,
      inputs.abstract_batch(program),
      entries,
      num_ids=vocab.size,
      workdir=folder,
      rounds=args.rounds,
      peer_dtype=(args.vs_dtype or config.model.dtype) if args.vs else None,
      progress=lambda cases: _progress(cases, 'measuring'),
    )
    plan = _plan(config) if 'step' in found.cases else None
  if plan and plan.time is not None:
    return report.with_plan(found, plan.topology, plan.time.step_ms_bound)
  return found


@contextlib.contextmanager
def _cold_compilations():
  """Turns the compilation cache off, whose hits would pass for compile times."""
  import jax
  from jax.experimental.compilation_cache import compilation_cache

  enabled = jax.config.values['jax_enable_compilation_cache']
  jax.config.update('jax_enable_compilation_cache', False)
  # jax asks only once in a process whether the cache is on, and then remembers.
  compilation_cache.reset_cache()
  try:
    yield
  finally:
    jax.config.update('jax_enable_compilation_cache', enabled)
    compilation_cache.reset_cache()


def _plan(config):
  """Returns the Plan for the CPUs of this machine, None on other devices."""
  import jax

  from gpt_jax import planning
  from gpt_jax.planning import topologies

  if jax.default_backend() != 'cpu':  # plan would compile for CPUs
    return None
  topology = topologies.parse(f'cpu:{jax.device_count()}')
  return planning.make_plan(config, topology)


def _show(report):
  from gpt_jax.tracking import console

  run, device = report.run, report.device
  console.table(
    f'{device["count"]} {device["kind"]}, {device["cores"]} cores of the host',
    ('run', ''),
    [
      ('parameters', f'{run["parameters"]:,}'),
      ('batch', f'{run["batch_size"]} x {run["seq_len"]} tokens'),
      ('rows in a microbatch', f'{run["batch_size"] // run["grad_accum"]}'),
      ('dtype', run['dtype']),
      ('attention kernel', run['attention_kernel']),
      ('loss', run['loss']),
      ('mesh', ' '.join(f'{a}={n}' for a, n in run['mesh'].items()) or 'one device'),
    ],
  )
  attention = {n for n in report.cases if n.startswith('attention/')}
  peft = {f'peft/{label}' for label in report.peft}
  for title, cases in (
    (f'medians of {report.rounds} rounds', report.cases.keys() - attention - peft),
    ('attention, causal', attention),
  ):
    rows = [
      _row(name, case, console) for name, case in report.cases.items() if name in cases
    ]
    if rows:
      console.table(title, _COLUMNS, rows)
  _show_peft(report, console)
  _show_ratios(report, console)
  for name, reason in report.skipped.items():
    print(f'skipped: {name}: {reason}')
  if device['load'] > device['cores'] / 4:
    print(
      f'warning: {device["load"]:.1f} other processes kept the {device["cores"]} cores'
      ' busy at the start: times are too long, and ratios of unlike programs are wrong'
    )


def _row(name, case, console):
  def shown(value, form):
    return '' if value is None else form(value)

  rate = shown(case.tflops, lambda x: f'{x:.3g} TFLOP/s')
  rate = rate or shown(case.gb_per_second, lambda x: f'{x:.3g} GB/s')
  share = case.mfu if case.mfu is not None else case.bandwidth_share
  return (
    name,
    _ms(case.median_ms),
    f'{_ms(case.low_ms)} - {_ms(case.high_ms)}',
    shown(case.compile_s, lambda x: f'{x:.1f}'),
    shown(case.memory_gib, lambda x: f'{x:.3f}'),
    shown(case.tokens_per_second, console.si),
    rate,
    shown(share, lambda x: f'{x:.1%}'),
  )


def _show_peft(report, console):
  def mib(size):
    return f'{size / 2**20:,.3g}'

  rows = []
  for label, costs in report.peft.items():
    case, ratio = report.cases[f'peft/{label}'], costs['step_ratio']
    rows.append(
      (
        label,
        f'{costs["trained"]:,}',
        _ms(case.median_ms),
        f'{ratio["median"]:.2f}' if ratio else '',
        f'{ratio["low"]:.2f} - {ratio["high"]:.2f}' if ratio else '',
        mib(2**30 * costs['state_gib']),
        mib(2**30 * costs['temporaries_gib']),
        mib(costs['optimizer_bytes']),
        mib(costs['checkpoint_bytes']),
      )
    )
  if rows:
    title = f'ways of fine-tuning, medians of {report.rounds} rounds; memory in MiB'
    console.table(title, _PEFT_COLUMNS, rows)


def _ms(value):
  return f'{value:,.0f}' if value >= 100 else f'{value:.3g}'


def _show_ratios(report, console):
  if report.ratios:
    console.table(
      f'time over that of transformers in {report.peer["dtype"]}, paired by round',
      ('case', 'ratio', 'quartiles'),
      [
        (name, f'{r["median"]:.3f}', f'{r["low"]:.3f} - {r["high"]:.3f}')
        for name, r in report.ratios.items()
      ],
    )
  if report.first_loss:
    losses = [f'{side} {loss:.4f}' for side, loss in report.first_loss.items()]
    print('loss of the first step: ' + ', '.join(losses))
  if report.plan:
    print(
      f'step over the bound of `gpt-jax plan --topology={report.plan["topology"]}`:'
      f' {report.plan["ratio"]:.2f} (bound {report.plan["step_ms_bound"]:.1f} ms)'
    )
  if report.peak_memory_gib is not None:
    source = {
      'memory_stats': 'the most that the device held',
      'memory_analysis': 'the largest program, by XLA',
    }[report.peak_memory_from]
    print(f'peak memory: {report.peak_memory_gib:.3f} GiB ({source})')
