# syntax=docker/dockerfile:1
# Two targets from the same steps: `docker build --target cpu .` and `docker build --target gpu .`
# Everything that must survive is in the one volume, /data.

# A build that must be repeatable names the image by its digest, as `docker buildx imagetools inspect
# python:3.11-slim-bookworm` prints it: --build-arg BASE_IMAGE=python@sha256:...
ARG BASE_IMAGE=python:3.11-slim-bookworm
FROM ${BASE_IMAGE} AS base
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends libnuma1 \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home --uid 10001 understudy \
    && mkdir /data /app /opt/venv && chown understudy /data
WORKDIR /app
# Code and packages belong to root: the user that runs them cannot change them.
COPY . .
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HF_HOME=/data/models \
    UNDERSTUDY_BOT_HOST=0.0.0.0
VOLUME /data
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=5m --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/health', timeout=4)"]
# The first start writes settings and store into the volume; after that they are yours to edit.
CMD ["sh", "-c", "[ -f /data/understudy.toml ] || understudy init /data; exec understudy --config /data/understudy.toml up"]

FROM base AS gpu
RUN --mount=type=cache,target=/root/.cache/pip sh requirements/install-gpu.sh /opt/venv
USER understudy

FROM base AS cpu
RUN --mount=type=cache,target=/root/.cache/pip sh requirements/install-cpu.sh /opt/venv
USER understudy
