"""The HTTP API that serves the champion and logs every answer before it is sent.

`app.create_app` builds the FastAPI application, `server.serve_champion` runs it and
`served.load_served_model` verifies and loads what it serves. `checks.check_serving` and
`checks.require_passed` prove a real server process, which `process.running_server` starts.
"""
