# rlottery on CPUs, for commands in a folder of yours:
#     docker build --tag rlottery .
#     docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/work" rlottery run config.yaml
# With extras: docker build --build-arg EXTRAS=metaworld,film --tag rlottery .

FROM python:3.12-slim-bookworm AS build
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /source
COPY pyproject.toml hatch_build.py hatch_metadata.py README.md LICENSE ./
COPY rlottery rlottery
ARG EXTRAS=""
# The versions are those that pyproject.toml pins.
RUN uv venv /opt/rlottery \
    && uv pip install --no-cache --python /opt/rlottery ".${EXTRAS:+[$EXTRAS]}"

FROM python:3.12-slim-bookworm
COPY --from=build /opt/rlottery /opt/rlottery
# Any user of the host may run it (--user), and needs a home for the cache and for the key that signs studies.
RUN useradd --create-home --uid 1000 rlottery && chmod 0777 /home/rlottery && install --directory --mode 0777 /work
ENV PATH=/opt/rlottery/bin:$PATH HOME=/home/rlottery
USER 1000
WORKDIR /work
VOLUME ["/work", "/home/rlottery"]
ENTRYPOINT ["rlottery"]
CMD ["--help"]
