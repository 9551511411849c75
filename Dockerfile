# The shop as one image: `up` tries it out in one container, `serve CONTEXT` is a service of compose.yaml.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim-bookworm AS build
WORKDIR /build
RUN python -m venv --without-pip /venv
COPY requirements.lock ./
RUN python -m pip --python /venv/bin/python install --no-cache-dir --disable-pip-version-check \
        --require-hashes --no-deps --only-binary :all: -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN python -m pip --python /venv/bin/python install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation . \
    && python -m pip --python /venv/bin/python uninstall --yes --quiet hatchling editables trove-classifiers

FROM python:${PYTHON}-slim-bookworm
RUN python -m pip uninstall --yes --quiet --root-user-action ignore setuptools wheel pip \
    && rm -rf /usr/local/lib/python3*/ensurepip \
    && useradd --uid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin souk \
    && install -d -o 10001 -g 10001 -m 0700 /data
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 SOUK_HOME=/data SOUK_HOST=0.0.0.0
USER 10001:10001
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s CMD ["python", "-m", "souk.health"]
ENTRYPOINT ["souk"]
CMD ["up"]
