"""A server with OpenAI's API over the engine's continuous batching: `gpt-jax serve`.

`app.py` is the one to read first: which path is answered by what. A request passes
`pipeline.py` (host, key, limits, deadline; what is told of it at the end), then the
module of its route: `completions.py`, `chat.py` (with `tools.py`), `embeddings.py`,
`classify.py`. `fields.py` has the tables of what each route takes, from which bodies
are checked (`schema.py`) and the OpenAPI page is made (`openapi.py`). `models.py` has
the models by name, `texts.py` the texts of one model on the event loop, `server.py`
start, drain and end. What others add (keys, policy, metrics, log, audit, traces) are
the protocols of `hooks.py`. A new route is a module with a table of fields, and a line
of ROUTES.
"""
