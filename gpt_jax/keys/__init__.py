"""Keys of the clients of a server: made, checked, limited and counted in a database.

Read `store.py` first: `KeyStore(location)` creates, lists, revokes and authenticates
keys, admits their requests and charges their tokens. `key.py` has what a key is and
the form of its secret, `limits.py` the arithmetic of limits, `statements.py` the table
and its statements, `location.py` where a store lies and who may read it, `expiry.py`
how a user writes a date. SQLAlchemy comes with the extra `[serve]`.
"""
