"""Trains the model of a config, in a workdir of its own.

A workdir that holds checkpoints is resumed from the newest one; --config may be omitted
then. The workdir gets config.json, run.json (versions, machine, data), metrics.jsonl,
tensorboard/, checkpoints/, samples.md, eval.json and figures/loss.png; of a task
predictions/ and report.html, too. With --config.init_from a pretrained model is
trained further, with --config.peft.name=lora and others few parameters of it
(docs/peft.md).

examples:
  gpt-jax train --config=configs/tiny.py --workdir=runs/tiny
  gpt-jax train --config=configs/shakespeare_char.py:cpu --workdir=runs/shakespeare \\
      --config.data.data_dir=TFDS_FOLDER --config.train.steps=500
  gpt-jax train --config=configs/tiny.py --workdir=runs/more \\
      --config.init_from=runs/tiny
  gpt-jax train --config=configs/finetune.py:sst2 --config.init_from=models/minilm \\
      --config.peft.name=lora --workdir=runs/lora
"""

import contextlib
import os
import shlex
import signal
import threading

from gpt_jax.commands import flags, host
from gpt_jax.core.errors import ConfigError, Interrupted
from gpt_jax.workdir import files


def add_arguments(parser):
  flags.add_config(parser)
  flags.add_workdir(
    parser, help='a folder, made if it is not there, or gs://BUCKET/RUN'
  )
  parser.add_argument(
    '--allow_changes',
    action='store_true',
    help='resume although the config or the data differ from the checkpoint',
  )
  flags.add_processes(parser)


def run(args, overrides):
  host.tune_malloc()
  with exit_on_signals():
    _train(args, overrides)


@contextlib.contextmanager
def exit_on_signals():
  """SIGTERM and Ctrl-C end the process with 75 while there is nothing to save."""
  # That is while jax is imported and processes join; after that `loop.train` and, in a
  # run of several, jax have handlers of their own. Not an exception: some imports catch
  # them and continue.
  former = {}
  if threading.current_thread() is threading.main_thread():
    for number in (signal.SIGTERM, signal.SIGINT):
      former[number] = signal.signal(number, _exit_at_once)
  try:
    yield
  finally:
    for number, handler in former.items():
      signal.signal(number, handler)


def _exit_at_once(number, frame):
  name = signal.Signals(number).name
  text = 'stopped outside the steps; nothing is lost, the same command resumes.'
  os.write(2, f'\ngpt-jax: {name}: {text}\n'.encode())  # print is not reentrant
  os._exit(Interrupted.exit_code)


def _train(args, overrides):
  # Before devices are initialized, which takes seconds: an unwritable folder and
  # mistakes in the config show at once.
  files.check_writable_early(args.workdir)
  from gpt_jax.config.files import load_file
  from gpt_jax.workdir.paths import Workdir

  flags.enable_compilation_cache()
  workdir = Workdir(args.workdir)
  workdir.require_run_or_empty()
  saved = workdir.read_config()
  if args.config is None and saved is None:
    raise ConfigError(
      f'--config is missing and {args.workdir} holds no run yet; give one, such as'
      ' --config=configs/tiny.py.'
    )
  values = load_file(args.config) if args.config else saved
  from gpt_jax.program import setup
  from gpt_jax.train import loop, resume

  resume.refuse_imported(workdir)
  config = setup.resolve(values, overrides, saved=saved)
  setup.check_plan(config)
  from gpt_jax.parallel import multihost

  multihost.initialize(
    args.coordinator,
    args.num_processes,
    args.process_id,
    timeout_seconds=args.join_seconds,
  )
  loop.train(config, args.workdir, allow_changes=args.allow_changes)
  if multihost.is_primary():
    figures = ' and figures/loss.png' if config.logging.figures else ''
    print(f'done: {args.workdir} holds checkpoints, metrics{figures}')
    if config.task.name:
      _write_report(args.workdir)
    from gpt_jax.train import score_run

    print(
      f'next: gpt-jax eval --workdir={shlex.quote(args.workdir)}'
      + (' --baselines' if score_run.has_baselines(config) else '')
    )


def _write_report(workdir):
  """Writes the page of a fine-tuned run; a failure is said, and loses nothing."""
  try:
    from gpt_jax.reports import task_page

    print(f'report: {task_page.write(workdir)}')
  except Exception as error:  # the run is worth more than a page about it
    print(
      f'report.html could not be written ({type(error).__name__}: {error}); the run is'
      f' whole. Try again: gpt-jax report --workdir={shlex.quote(str(workdir))}'
    )
