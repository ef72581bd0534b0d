# Three images from one file: `web` without torch for the portal and the small programs, `worker`
# with the ensemble, `broker` with a folder that user 10001 may write. All run as that user.
FROM python:3.11.14-slim-bookworm AS base
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONPATH=/app \
    PATH=/opt/venv/bin:$PATH \
    HOME=/tmp
RUN groupadd --gid 10001 dermqueue \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin dermqueue \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/dermqueue /var/lib/dermqueue/blobs \
        /var/lib/dermqueue/ledger /var/lib/dermqueue/backups
WORKDIR /app

FROM base AS web-packages
RUN python -m venv /opt/venv
COPY requirements-web.lock ./
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes --no-deps \
    -r requirements-web.lock

# An index with torch builds for CPUs alone makes this image gigabytes smaller:
# docker compose build --build-arg PIP_EXTRA_INDEX_URL=... worker
FROM web-packages AS worker-packages
ARG PIP_EXTRA_INDEX_URL=""
COPY requirements.lock requirements-torch-cpu.lock requirements-torch.lock ./
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes --no-deps \
    -r requirements.lock
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes --no-deps \
        -r requirements-torch-cpu.lock \
    || pip install --no-cache-dir --disable-pip-version-check --require-hashes --no-deps \
        -r requirements-torch.lock

FROM base AS code
COPY config.py ./
COPY clinic clinic
COPY migrations migrations
COPY worker worker
COPY web web
COPY ml ml
COPY tools/__init__.py tools/secrets_folder.py tools/
COPY deploy/valkey/users.acl.template deploy/valkey/

# The portal reads the model's manifest for its label page; the weights are of no use to it.
FROM code AS code-without-weights
RUN find ml \( -name '*.safetensors' -o -path '*/int8/*' \) -delete

FROM base AS web
COPY --from=web-packages /opt/venv /opt/venv
COPY --from=code-without-weights /app /app
USER 10001:10001
EXPOSE 8000
CMD ["gunicorn", "web.wsgi:app", "--config=python:web.gunicorn_settings", "--bind=0.0.0.0:8000", "--worker-class=gthread", "--threads=16", "--worker-tmp-dir=/dev/shm", "--no-control-socket"]

FROM base AS worker
# torch's processor kernels need the OpenMP runtime.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=worker-packages /opt/venv /opt/venv
COPY --from=code /app /app
USER 10001:10001
CMD ["python", "-m", "worker", "inference"]

FROM valkey/valkey:9.1.2-alpine AS broker
RUN install -d -o 10001 -g 10001 -m 0700 /var/lib/valkey
COPY deploy/valkey/valkey.conf /etc/valkey/valkey.conf
USER 10001:10001
ENTRYPOINT ["valkey-server"]
CMD ["/etc/valkey/valkey.conf", "--dir", "/var/lib/valkey"]
