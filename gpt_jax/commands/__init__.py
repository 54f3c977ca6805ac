"""The subcommands, one file each: `add_arguments(parser)` and `run(args, overrides)`.

A module's docstring is the help of its command; heavy imports stand inside `run`, so
that `--help` is quick. `train_command.py` is the one to read first. A new command is a
file `NAME_command.py` and a line in COMMANDS.
"""

COMMANDS = {
  'import': 'make a run of a pretrained model of others, as Hugging Face keeps them',
  'export': "write a run as a folder that Hugging Face's libraries read",
  'prepare': 'tokenize a corpus once, in shards, before any run starts',
  'train': 'train the model of a config; resumes from the last checkpoint',
  'eval': 'held-out loss, perplexity and bits per byte of a run',
  'plan': 'before launch: does a run fit on devices elsewhere, and how fast is it?',
  'bench': 'how fast is a run on this device, and beside PyTorch?',
  'checkpoint': 'list, verify or inspect the saved steps of a run',
  'compress': 'make a run smaller: fewer bits for its parameters',
  'replay': 'the exact batch of a step: its documents, tokens and losses',
  'doctor': 'check this machine, this installation and a run',
  'launch': 'start a run as several processes, and again when one dies',
  'diff': 'in what do two runs differ, and where do their metrics part?',
  'repro': 'train the first steps of a run again: are they those of its log?',
  'sweep': 'run the points of an experiment file that are missing',
  'status': 'how far the points of an experiment are, and why some failed',
  'report': 'table and verdicts of an experiment file, from its finished runs',
  'generate': 'write text with a run, streamed to the terminal',
  'predict': 'what a fine-tuned run says of new examples',
  'tasks': 'list the tasks of fine-tuning, and shipped recipes',
  'embed': 'vectors of texts by a run: how alike are they?',
  'support': 'answer questions from a folder of documents, with citations',
  'monitor': 'topic and sentiment of a stream of texts: trends, alerts, a report',
  'recommend': 'which items will a user like? train, evaluate, ask',
  'augment': 'more training examples, by translating their texts there and back',
  'serve': "serve runs over HTTP, to OpenAI's clients",
  'redact': 'replace e-mail addresses, telephone and other numbers of people in files',
  'audit': 'verify a log of what was refused: nothing changed, removed or moved',
  'keys': "make, list and revoke keys of a server's clients",
  'templates': 'list the templates of prompts and chats, or show one',
}
"""name -> one line of help. The module is called `{name}_command`."""
