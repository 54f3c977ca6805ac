"""gpt_jax: a functional Flax GPT, driven by one config and compiled by XLA once."""

__version__ = '0.1.0'


def load(path, step=None, overrides=None, adapters=None):
  """Returns the `api.Run` of a workdir, at checkpoint `step` or the newest one.

  `overrides`: `{dotted field: value}` of the config's sections parallel and inference.
  `adapters`: `{name: run}`, trained over `path`, of which each request may name one.
  """
  from gpt_jax.commands import host

  host.skip_absent_tpu()
  from gpt_jax import api  # here: importing the package alone must not start jax

  return api.load(path, step, overrides, adapters)
