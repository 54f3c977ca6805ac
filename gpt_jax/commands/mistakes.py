"""What is wrong with a command line, with the nearest thing that would be right."""

import difflib
import os
import shlex

from gpt_jax.config import files, values

OVERRIDES = '--config.SECTION.FIELD=VALUE'  # stands in the help of what takes a config


def find(argv, main, commands):
  """Returns `(parser that complains, text)` of the first mistake in `argv`, or None.

  Found are unknown commands and flags, and files or folders without a flag. Args:
    main: the parser of the command line, `commands` those of the subcommands.
  """
  name = argv[0] if argv and not argv[0].startswith('-') else None
  if name not in (None, *commands):
    if files.is_config(name):
      hint = f'; did you mean train --config={name}?'
    else:
      hint = _hint(name, commands)
    return main, f'unknown command {name!r}{hint}'
  parser = commands[name] if name else main
  text = _unknown_flag(argv, name, parser, commands) or _stray_word(argv, name, parser)
  return text and (parser, text)


def flags_of(parser):
  """Returns all flags of an argparse parser."""
  return [flag for action in parser._actions for flag in action.option_strings]


def _unknown_flag(argv, name, parser, commands):
  for word in argv:
    flag, equals, value = word.partition('=')
    if not flag.startswith('--') or flag in flags_of(parser):
      continue
    hint = ''
    if OVERRIDES in flags_of(parser):
      fields = values.fields_named(flag.removeprefix('--').replace('-', '_'))
      meant = [
        f'--config.{field}{equals}{value and shlex.quote(value)}' for field in fields
      ]
      hint = f'; did you mean {" or ".join(meant)}?' if meant else ''
    owners = [other for other in commands if flag in flags_of(commands[other])]
    if owners and not hint:
      hint = f' of {name}; it belongs to {", ".join(owners)}'
    hint = hint or _hint(flag.replace('-', '_').replace('__', '--'), flags_of(parser))
    return f'unknown flag {flag}{hint}'
  return None


def _stray_word(argv, name, parser):
  """Returns what to write for a config or a folder that stands without its flag."""
  takes_word = any(not action.option_strings for action in parser._actions)
  if name is None or takes_word:
    return None
  takes_value = {
    flag
    for action in parser._actions
    if action.nargs != 0
    for flag in action.option_strings
  }
  for before, word in zip(argv, argv[1:], strict=False):
    if word.startswith('-') or before in takes_value:
      continue
    flags = flags_of(parser)
    if '--config' in flags and files.is_config(word):
      flag = '--config'
    elif '--workdir' in flags and (os.path.isdir(word) or os.sep in word):
      flag = '--workdir'
    elif '--prompt' in flags:
      flag = '--prompt'
    else:
      continue
    meant = f'{flag}={shlex.quote(word)}'
    return f'{word!r} stands without a flag; did you mean {meant}?'
  return None


def _hint(typed, known):
  found = difflib.get_close_matches(typed, known, n=1, cutoff=0.7)
  return f'; did you mean {found[0]}?' if found else ''
