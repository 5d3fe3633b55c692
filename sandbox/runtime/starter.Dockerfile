# The starter image for machines where pairlock cannot make it from what the machine has (any host that is
# not Linux). Needs a registry in reach. Build it with:
#     docker build -t pairlock/starter:latest - < starter.Dockerfile
FROM python:3.12-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends bash diffutils findutils gawk git grep gzip make patch sed tar \
    && rm -rf /var/lib/apt/lists/* \
    && pip install --no-cache-dir pytest ruff \
    && git config --system safe.directory '*' \
    && git config --system init.defaultBranch main \
    && groupadd --gid 65532 agent \
    && useradd --uid 65532 --gid 65532 --home-dir /tmp --no-create-home agent \
    && find / -xdev -perm /6000 -type f -exec chmod a-s {} + \
    && mkdir -p /rt /workspace
