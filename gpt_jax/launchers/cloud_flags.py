"""Flags that the places of Google Cloud share."""


def add_arguments(group):
  """Adds those that no place before has added to the same parser."""
  known = group._option_string_actions  # of the whole parser
  for flag, settings in FLAGS.items():
    if flag not in known:
      group.add_argument(flag, **settings)


FLAGS = {
  '--spot': dict(
    action='store_true',
    help='cheaper machines that may be taken away; the run starts again on others',
  ),
  '--service_account': dict(
    default='',
    metavar='NAME',
    help='whose rights the run has on buckets: an e-mail address (tpu_vm) or one of'
    ' Kubernetes (gke); default: that of the project or namespace',
  ),
}
