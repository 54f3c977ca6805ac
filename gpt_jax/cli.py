"""The command line: finds the subcommand, parses flags, turns errors into exit codes.

Exit codes: 0 done, 2 bad input or config, 3 bad data, 4 bad checkpoint, 5 storage,
6 diverged, 7 not reproduced, 75 stopped by a signal and saved, 130 interrupted, 141
nobody reads the output, 1 a bug of ours.
"""

import argparse
import importlib
import os
import signal
import sys
from typing import Any

from gpt_jax import __version__
from gpt_jax.commands import COMMANDS, host, mistakes
from gpt_jax.core import pipes, process_end
from gpt_jax.core.errors import AbortedStart, Interrupted, UserError

INTERRUPTED = 130  # what a shell reports for Ctrl-C
UNREAD = 141  # ... and for SIGPIPE


def main(argv=None):
  """Returns the exit code of the command line `argv` (default: the process's own)."""
  try:
    if argv is not None:
      return _run(list(argv))
    code = _run(sys.argv[1:], is_process=True)
    if _is_one_of_several():
      process_end.end_at_once(code)
    return code
  finally:
    process_end.flush_output()


def _is_one_of_several():
  jax = sys.modules.get('jax')  # of commands that have no need of it: not imported
  return jax is not None and jax.distributed.is_initialized()


def _ignore_signals():
  # Only the message is left to print: a signal must not change the exit code.
  for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)


def _run(argv, is_process=False):
  try:
    try:
      return _command(argv)
    finally:
      if is_process:
        _ignore_signals()
  except UserError as error:
    if '--debug' in argv:
      raise
    lines = [f'\ngpt-jax: error: {error}', *getattr(error, '__notes__', [])]
    print('\n'.join(lines), file=sys.stderr)
    return error.exit_code
  except Interrupted as stop:
    print(f'\ngpt-jax: {stop}', file=sys.stderr)
    if is_process and isinstance(stop, AbortedStart):
      # Threads of XLA and TensorStore may be at work still: one start in twelve would
      # crash (SIGSEGV) while the interpreter shuts down, and lose the exit code.
      process_end.flush_output()
      os._exit(stop.exit_code)
    return stop.exit_code
  except (MemoryError, RuntimeError) as error:  # JaxRuntimeError is one
    if '--debug' in argv or not (shortage := _shortage(error)):
      raise
    print(f'\ngpt-jax: error: {shortage}', file=sys.stderr)
    return shortage.exit_code
  except BrokenPipeError:
    if not pipes.mute_closed():
      raise
    return UNREAD
  except KeyboardInterrupt as stop:
    what = str(stop) or 'interrupted; the last saved step is kept.'
    print(f'\ngpt-jax: {what}', file=sys.stderr)
    return INTERRUPTED


def _shortage(error):
  """Returns a lack of memory that nothing has explained as a UserError, else None."""
  from gpt_jax.parallel import free_memory

  if not free_memory.lacks_memory(error):
    return None
  return free_memory.shortage(
    'this command',
    free_memory.asked_bytes(error),
    free_memory.host_bytes(),
    'Use a smaller model or batch, or a larger machine; --debug shows where it was.',
  )


def _command(argv):
  argv, command_line = split_command(argv)
  argv, overrides = split_overrides(argv)
  parser, args = parse(argv)
  if command_line and args.command != 'launch':
    parser.error(f'-- {command_line[0]}: only launch takes a command after --')
  args.command_line = command_line
  _quiet_libraries()
  # For plug-ins, "my_pkg.my_file:make": python -m finds them here, a console script
  # does not.
  if os.getcwd() not in sys.path and '' not in sys.path:
    sys.path.insert(0, os.getcwd())
  return _module(args.command).run(args, overrides) or 0


def parse(argv):
  """Returns (parser, parsed flags) of words without overrides; UserError for typos."""
  parser = _parser()
  parser.refuse_typos(argv)
  return parser, parser.parse_args(argv)


def split_command(argv):
  """Returns the words of `argv` before and after the first `--`."""
  cut = argv.index('--') if '--' in argv else len(argv)
  return argv[:cut], argv[cut + 1 :]


def split_overrides(argv):
  """Returns `(argv without them, {dotted field: text})` of `--config.a.b=value` flags.

  `--config.a.b value` is accepted too. Raises UserError for one without a value.
  """
  rest, overrides = [], {}
  words = iter(argv)
  for word in words:
    if not word.startswith('--config.'):
      rest.append(word)
      continue
    field, equals, value = word.removeprefix('--config.').partition('=')
    if not equals:
      value = next(words, None)
      if value is None or value.startswith('--'):
        raise UserError(f'{word}: expected a value, as in {word}=VALUE.')
    overrides[field] = value
  return rest, overrides


class _Parser(argparse.ArgumentParser):
  """argparse with our exit code, and the nearest name for a misspelt one."""

  def error(self, message):
    raise UserError(f'{message}\nSee {self.prog} --help.')

  def refuse_typos(self, argv):
    """Raises UserError for the first unknown command or flag, naming the nearest one.

    Call it before `parse_args`, which would complain of what the typo left out.
    """
    (found,) = (a.choices for a in self._actions if a.dest == 'command')
    commands: dict[str, Any] = dict(found or {})  # type checkers know no mapping there
    if mistake := mistakes.find(argv, self, commands):
      parser, text = mistake
      parser.error(text)


def _parser():
  parser = _Parser(
    prog='gpt-jax',
    description='GPT-style Transformers in JAX, driven by one config.',
    epilog='First steps: gpt-jax train --config=configs/tiny.py --workdir=runs/tiny',
    allow_abbrev=False,
  )
  parser.add_argument('--version', action='version', version=f'gpt_jax {__version__}')
  commands = parser.add_subparsers(
    dest='command', required=True, metavar='COMMAND', parser_class=_Parser
  )
  for name, line in COMMANDS.items():
    command = commands.add_parser(
      name,
      help=line,
      allow_abbrev=False,
      formatter_class=argparse.RawDescriptionHelpFormatter,
      description=_module(name).__doc__,
    )
    _module(name).add_arguments(command)
    command.add_argument(
      '--debug', action='store_true', help='show the traceback of an error'
    )
  return parser


def _module(name):
  return importlib.import_module(f'gpt_jax.commands.{name}_command')


def _quiet_libraries():
  # The start-up messages of XLA and absl.
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
  os.environ.setdefault('ABSL_MIN_LOG_LEVEL', '2')
  host.skip_absent_tpu()
