"""The source as it is: what a translation or summary is worth that changes nothing."""


def copy_source(sources):
  """Returns the texts of `sources`, without white space around them."""
  return [source.strip() for source in sources]
