"""One file per subcommand: `add_arguments(parser)` and `run(args, overrides)`.

The module docstring is the command's help. Heavy imports stand inside `run`, so that
`--help` is quick.
"""

COMMANDS = {
  'train': 'pretrain or fine-tune; goes on by itself where a run left off',
  'eval': 'held-out loss, perplexity and bits per byte of a run',
  'plan': 'before launch: does a run fit on devices elsewhere, and how fast is it?',
  'bench': 'how fast is a run on this device, and beside PyTorch?',
  'checkpoint': 'list, verify or look into the saved steps of a run',
  'replay': 'the exact batch of a step: documents, tokens, loss of each',
  'doctor': 'is this machine, this installation, this run in order?',
  'launch': 'start a run as several processes, and again when one dies',
  'generate': 'write text with a run, streamed to the terminal',
}
"""name -> one line of help. The module is called `{name}_command`."""
