# One image that runs the runbook on a schedule and serves the champion.
#
#   docker build -t driftbook .
#   docker run --rm -v driftbook-artifacts:/home/driftbook/project/artifacts driftbook run
#   docker run -p 8000:8000 -e DRIFTBOOK_API_TOKEN=... \
#     -v driftbook-artifacts:/home/driftbook/project/artifacts driftbook
#
# The project inside is an example. Yours, as `driftbook new` lays it out, is mounted in its place:
#   docker run --rm -v "$PWD/churn:/home/driftbook/project" --user "$(id -u)" driftbook run

FROM python:3.11-slim AS build
WORKDIR /build
COPY scripts/bootstrap.py scripts/bootstrap.py
COPY pyproject.toml requirements.lock ./
# The installer itself at the version and with the hashes of the lock; it then holds all others to it.
RUN python -c "from scripts.bootstrap import locked; print(locked('uv'))" > uv.txt \
    && python -m pip install --no-cache-dir --no-deps --require-hashes --requirement uv.txt \
    && python -m venv --without-pip /opt/driftbook
RUN uv pip install --python /opt/driftbook/bin/python --no-cache --compile-bytecode --verify-hashes \
    --requirements pyproject.toml --extra alerts --extra postgres \
    --constraint requirements.lock --build-constraint requirements.lock
COPY setup.py MANIFEST.in README.md _quarto.yml runbook.yaml ./
COPY notebooks notebooks
COPY reports reports
COPY src src
RUN uv pip install --python /opt/driftbook/bin/python --no-cache --compile-bytecode --no-deps \
    --build-constraint requirements.lock .

FROM python:3.11-slim
RUN useradd --create-home --uid 10001 driftbook
COPY --from=build /opt/driftbook /opt/driftbook
ENV PATH=/opt/driftbook/bin:$PATH LC_ALL=C.UTF-8 MPLCONFIGDIR=/tmp/matplotlib IPYTHONDIR=/tmp/ipython
USER driftbook
RUN driftbook new /home/driftbook/project --quiet \
    && mkdir /home/driftbook/project/artifacts
WORKDIR /home/driftbook/project
# What runs leave: models, ledger, past runs, and the log of predictions.
VOLUME /home/driftbook/project/artifacts
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=3)"]
ENTRYPOINT ["driftbook"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
