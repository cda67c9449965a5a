# The page in a container, with one volume for everything that it keeps. The commands are in
# docs/guide/container.md.
#
#   docker build -t rotelab .                                  # CPUs and NVIDIA's cards
#   docker build -t rotelab --build-arg TORCH_INDEX=ADDRESS .  # CPUs alone, gigabytes smaller

ARG BASE=docker.io/library/python:3.12.11-slim-bookworm
FROM ${BASE}

# Where pip finds torch; empty for the Python package index, whose build brings NVIDIA's libraries.
# PyTorch's page “Get started” names the index of its builds for CPUs.
ARG TORCH_INDEX=
WORKDIR /opt/rotelab

# First what changes seldom.
COPY requirements.txt ./
RUN pip install --no-cache-dir ${TORCH_INDEX:+--index-url "${TORCH_INDEX}"} \
        "$(grep '^torch==' requirements.txt)" \
    && pip install --no-cache-dir -r requirements.txt

COPY LICENSE app.py pyproject.toml README.md SECURITY.md CHANGELOG.md ./
COPY assets assets
COPY docs docs
COPY rotelab rotelab

# Nobody needs to be root in here. The volume belongs to this user.
RUN useradd --create-home --uid 10001 rotelab \
    && mkdir /lab \
    && chown rotelab:rotelab /lab
USER rotelab
ENV ROTELAB_HOME=/lab \
    ROTELAB_CACHE=/lab/cache \
    HF_HOME=/lab/huggingface \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
VOLUME /lab

EXPOSE 7860
HEALTHCHECK --start-period=2m --interval=1m \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:7860/', timeout=5)"]

# A container's port is forwarded to its own address, so the page must listen on all of them; it
# refuses to without ROTELAB_PASSWORD.
ENTRYPOINT ["python", "-m", "rotelab"]
CMD ["serve", "--host", "0.0.0.0"]
