# tmrepro with all it needs, CUDA included: `docker/build` builds it, docs/how-to/container.md tells how to run it.
#
# Stages: packages (the lock, some 5 GB), code (tmrepro itself), final (what is published), test (final and the tests).
# A change of code leaves the stage of packages, and its layer, as they are. Two builds of one commit give the same image:
# nothing here depends on the time, on a random hash seed or on which package was compiled first.

ARG BASE=docker.io/library/python:3.13-slim-trixie@sha256:9d2e5553305c7c7b0097999bb17187c69b921ccd6bc9d40e4bb5ebe652c00285

# hadolint ignore=DL3006
FROM ${BASE} AS packages
ENV PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1
WORKDIR /build
# pip lives in a venv of its own, so that none is in the one that is published.
RUN python3 -m venv /tools && python3 -m venv --without-pip /opt/tmrepro
COPY docker/install docker/cpu_lock.py requirements.lock ./
# An index that has torch's CPU builds, for an image without CUDA. Empty: CUDA, from torch's own wheels.
ARG TORCH_CPU_INDEX=""
RUN ./install requirements.lock

FROM packages AS code
COPY pyproject.toml hatch_build.py CITATION.cff README.md LICENSE ./
COPY spec spec
COPY paper/reference paper/reference
COPY paper/claims.yaml paper/power.json paper/
COPY tmrepro tmrepro
RUN ./install --code /build

# hadolint ignore=DL3006
FROM ${BASE} AS final
# The base's pip goes; its library gets bytecode, which a read-only image could never write.
RUN rm -rf /usr/local/lib/python3*/site-packages/pip* /usr/local/bin/pip* /usr/local/lib/python3*/ensurepip \
      /usr/lib/python3*/ensurepip /usr/share/python-wheels \
    && PYTHONHASHSEED=0 python3 -m compileall -q --invalidation-mode unchecked-hash \
      "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
    && mkdir -m 1777 /out && mkdir /data
COPY --from=packages /opt/tmrepro /opt/tmrepro
COPY --from=code /code /opt/tmrepro

# Settings of the numerical libraries as tmrepro/numerics/determinism.py has them (a test compares), for other programs in here too:
# tmrepro sets them itself. Threads are not among them: they are the spec's.
ENV PATH=/opt/tmrepro/bin:$PATH \
    ATEN_CPU_CAPABILITY=avx2 \
    ONEDNN_MAX_CPU_ISA=AVX2 \
    MKL_CBWR=COMPATIBLE \
    OMP_DYNAMIC=FALSE \
    MKL_DYNAMIC=FALSE \
    GOMP_SPINCOUNT=5000 \
    CUBLAS_WORKSPACE_CONFIG=:4096:8 \
    NUMBA_CPU_NAME=x86-64-v3 \
    NUMBA_CPU_FEATURES=+avx,+avx2,+bmi,+bmi2,+f16c,+fma,+lzcnt,+movbe,+popcnt,+sse3,+sse4.1,+sse4.2,+ssse3 \
    NPY_DISABLE_CPU_FEATURES="X86_V3 X86_V4 AVX512_ICL AVX512_SPR" \
    OPENBLAS_CORETYPE=Haswell \
    OPENBLAS_NUM_THREADS=1 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
# Whoever runs this may have no name and no home here: all that is written for a while goes to /tmp.
ENV HOME=/tmp
ENV USER=tmrepro \
    MPLCONFIGDIR=$HOME/matplotlib \
    NUMBA_CACHE_DIR=$HOME/numba \
    TORCHINDUCTOR_CACHE_DIR=$HOME/torchinductor \
    XDG_CACHE_HOME=$HOME/cache \
    PYTHONDONTWRITEBYTECODE=1 \
    TMREPRO_DATA=/data \
    TMREPRO_OUT=/out

ARG VERSION="" REVISION="" SOURCE=""
# In a file too: buildah's cache asks what a RUN is given, but takes an ENV or a LABEL for the same whatever its argument.
RUN printf 'tmrepro %s\ncommit %s\n%s\n' "$VERSION" "$REVISION" "$SOURCE" > /opt/tmrepro/origin.txt
ENV TMREPRO_REVISION=$REVISION
LABEL org.opencontainers.image.title="tmrepro" \
      org.opencontainers.image.description="Loss landscapes around true minima: run them, and prove what you got" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$REVISION \
      org.opencontainers.image.source=$SOURCE

# Volumes stay writable under --read-only.
VOLUME ["/tmp", "/out"]
WORKDIR /out
USER 10001:10001
ENTRYPOINT ["tmrepro"]
CMD ["reproduce"]

# The tests on top of what is published; never published itself.
FROM final AS test
USER 0
WORKDIR /src
COPY --from=packages /tools /tools
COPY docker/install docker/cpu_lock.py requirements.lock requirements-dev.lock ./
ARG TORCH_CPU_INDEX=""
RUN ./install requirements-dev.lock
COPY pyproject.toml ./
COPY spec spec
COPY tests tests
ENV HYPOTHESIS_STORAGE_DIRECTORY=$HOME/hypothesis
USER 10001:10001
ENTRYPOINT ["python", "-m", "pytest", "-p", "no:cacheprovider"]
CMD ["-m", "not slow and not soak"]

# The last stage is what a build without --target gives.
FROM final
