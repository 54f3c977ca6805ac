"""An emulated bucket for the tests of this folder."""

from tests.storage.buckets import bucket, bucket_server_here  # noqa: F401
