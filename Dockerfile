# The images of docker-compose.yml, one target each. Needs BuildKit, the default since Docker 23.
#
#   redis        the queue, with a user per role and their passwords from secrets
#   contextvqa   producer, refiner, dashboard and the command; no torch
#   worker-cpu   the worker for a machine without a GPU
#   worker-gpu   the worker on vLLM's own image

ARG PYTHON_IMAGE=python:3.12-slim-bookworm
ARG REDIS_IMAGE=redis:7.4-bookworm
ARG VLLM_IMAGE=vllm/vllm-openai:v0.32.0


FROM ${REDIS_IMAGE} AS redis
COPY --chmod=755 docker/redis/ /usr/local/bin/
COPY --chmod=755 contextvqa/queueing/users.acl /usr/local/share/contextvqa/
# A new volume gets this mode, so that whoever compose lets it run as can write there.
RUN mkdir -m 1777 /store
USER 1000:1000
ENTRYPOINT ["redis-start"]


FROM ${PYTHON_IMAGE} AS python
# Each image is one environment: its own Python is the place to install into.
ENV PIP_BREAK_SYSTEM_PACKAGES=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONUNBUFFERED=1


# What must be installed, apart from the code and from what developers use: where those change, the
# layers stay as they are.
FROM python AS requirements
WORKDIR /requirements
COPY pyproject.toml ./
RUN python3 -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
[print(*project['dependencies'], *project['optional-dependencies'][name], sep='\n', \
file=open(f'{name}.txt', 'w')) for name in ('dashboard', 'cpu', 'gpu')]" \
    && rm pyproject.toml


FROM python AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY contextvqa contextvqa
COPY producer producer
COPY refiner refiner
COPY worker worker
RUN --mount=type=bind,source=docker/pip,target=/pip \
    PIP_CONFIG_FILE=/pip/pip.conf python3 -m pip wheel --quiet --no-deps --wheel-dir /wheel .


FROM python AS contextvqa
RUN --mount=type=bind,source=docker/pip,target=/pip \
    --mount=type=bind,from=requirements,source=/requirements,target=/requirements \
    PIP_CONFIG_FILE=/pip/pip.conf python3 -m pip install --quiet -r /requirements/dashboard.txt
RUN --mount=type=bind,from=wheel,source=/wheel,target=/wheel \
    python3 -m pip install --quiet --no-deps --no-index /wheel/*.whl
USER 1000:1000
ENTRYPOINT ["contextvqa"]


FROM python AS worker-cpu
# vLLM's CPU build links to it.
RUN apt-get update -qq \
    && apt-get install -qq -y --no-install-recommends libnuma1 \
    && rm -rf /var/lib/apt/lists/*
# The only place that has CPU builds of PyTorch.
ARG PYTORCH_CPU=https://download.pytorch.org/whl/cpu
RUN --mount=type=bind,source=docker/pip,target=/pip \
    --mount=type=bind,from=requirements,source=/requirements,target=/requirements \
    PIP_CONFIG_FILE=/pip/pip.conf python3 -m pip install --quiet \
    --extra-index-url "$PYTORCH_CPU" -r /requirements/cpu.txt
RUN --mount=type=bind,from=wheel,source=/wheel,target=/wheel \
    python3 -m pip install --quiet --no-deps --no-index /wheel/*.whl
# Whatever wants a home, compilers and the model hub among them, finds it in the cache volume.
# Who has no name in this image's list of users is given one here.
RUN mkdir -m 1777 /cache
ENV HOME=/cache USER=contextvqa
USER 1000:1000
ENTRYPOINT ["contextvqa"]


FROM ${VLLM_IMAGE} AS worker-gpu
ENV PIP_BREAK_SYSTEM_PACKAGES=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONUNBUFFERED=1
# The image's vLLM is kept, if it is of the versions that the project is made for.
RUN --mount=type=bind,source=docker/pip,target=/pip \
    --mount=type=bind,from=requirements,source=/requirements,target=/requirements \
    PIP_CONFIG_FILE=/pip/pip.conf python3 -m pip install --quiet -r /requirements/gpu.txt
RUN --mount=type=bind,from=wheel,source=/wheel,target=/wheel \
    python3 -m pip install --quiet --no-deps --no-index /wheel/*.whl
RUN mkdir -m 1777 /cache
ENV HOME=/cache USER=contextvqa
USER 1000:1000
ENTRYPOINT ["contextvqa"]
