"""One file per subcommand: `add_arguments(parser)` and `run(args, overrides)`.

`HELP` is the line that `gpt-jax --help` shows; the module docstring is the command's own
help. Modules are imported when their command is called, so that `--help` is quick.
"""

COMMANDS = {
  'train': 'pretrain or fine-tune; goes on by itself where a run left off',
  'eval': 'held-out loss, perplexity and bits per byte of a run',
  'generate': 'write text with a run, streamed to the terminal',
}
"""name -> one line of help; the module has the same name, with _command appended."""
