# The CPU image: every step but training, and the code server, webserver, daemon, migrations and MLflow server.
# It has no torch. Build from the top of the repository: docker build -f k8s/images/cpu.Dockerfile .

# CI gives the tag with the digest that it stands for, see k8s/images/README.md.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS base
# Bytecode lies in a folder of its own, so that Python's own modules have theirs too: the official image comes without,
# and nothing can be written to a read-only root.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONPYCACHEPREFIX=/opt/pycache \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

FROM base AS dependencies
WORKDIR /opt
ENV UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
COPY k8s/images/requirements-uv.lock ./
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv uv && uv/bin/pip install --require-hashes -r requirements-uv.lock
COPY k8s/images/requirements-cpu.lock ./
RUN --mount=type=cache,target=/root/.cache/uv \
    uv/bin/uv venv --python "$(command -v python)" venv && \
    uv/bin/uv pip sync --python venv/bin/python --require-hashes --no-build requirements-cpu.lock
# Nearly 500 MB that nothing here loads: tests of packages, their headers, C sources, stubs and source maps, the async
# Kubernetes client, Arrow's Flight and copies of one of its libraries, the ONNX Runtime for programs in C++ and its
# tools, AWS services but S3 and its logins, what MLflow has for scikit-learn and Databricks, Great Expectations' pages
# and editors' schemas, and what OpenVINO has for other processors, other languages and other formats than ONNX. Its
# telemetry goes too: without that, OpenVINO has nothing to send with.
RUN find venv/lib -depth \( \
      -type d \( -name tests -o -path '*/kubernetes/aio' -o -name openvino_telemetry -o -path '*/openvino/cmake' \
        -o -path '*/openvino/frontend/jax' -o -path '*/openvino/frontend/paddle' \
        -o -path '*/openvino/frontend/pytorch' -o -path '*/openvino/frontend/tensorflow' \
        -o -path '*/site-packages/sklearn' -o -path '*/site-packages/skops' -o -path '*/databricks/sdk' \
        -o -path '*/sqlalchemy/testing' -o -path '*/great_expectations/datasource/fluent/schemas' \
        -o -path '*/great_expectations/render/view/static' \
        -o -path '*/onnxruntime/transformers' -o -path '*/onnxruntime/quantization' -o -path '*/onnxruntime/tools' \
        -o -path '*/botocore/data/*' ! -path '*/botocore/data/s3*' ! -path '*/botocore/data/ss*' \
           ! -path '*/botocore/data/st*' \) -o \
      -type f \( -name '*.map' -o -name '*.h' -o -name '*.hpp' -o -name '*.pxd' -o -name '*.pyx' -o -name '*.a' \
        -o -name '*.c' -o -name '*.pyi' -o -name 'libarrow_flight.so.*' -o -name 'libarrow_python_flight.so*' \
        -o -name '_flight.*.so' \
        -o -name 'libarrow_python.so' -o -name 'libarrow_python.so.*.*.*' -o -name '_pyarrow_cpp_tests.*' \
        -o -name 'libonnxruntime.so.*' \
        -o -name 'libopenvino_intel_[gn]pu_plugin.so' -o -path '*/openvino/libs/cache.json' \
        -o -name 'libopenvino_auto*_plugin.so' -o -name 'libopenvino_hetero_plugin.so' -o -name 'libopenvino_c.so.*' \
        -o -name 'libopenvino_jax_*' -o -name 'libopenvino_paddle_*' -o -name 'libopenvino_pytorch_*' \
        -o -name 'libopenvino_tensorflow_*' -o -name 'libopenvino_gguf_*' \) \
    \) -exec rm -rf '{}' +
# The image never changes, so bytecode need not be held against its source.
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash venv/lib && \
    python -m compileall -q -j 0 --invalidation-mode unchecked-hash \
      -x '/(tests?|idlelib|lib2to3|turtledemo|ensurepip|site-packages|dist-packages)/' \
      "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"

FROM base AS app
WORKDIR /app
COPY LICENSE pyproject.toml workspace.yaml definitions.py ./
COPY k8s/images/requirements-cpu.lock k8s/images/requirements-gpu.lock k8s/images/
COPY mlops_assets mlops_assets/
COPY resources resources/
COPY sensors sensors/
COPY use_cases use_cases/
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash .
# The code location loads, or there is no image; what it computes of its own source, the assets' code versions, is kept.
RUN --mount=type=bind,from=dependencies,source=/opt,target=/opt \
    MLOPS_PROFILE=k8s PYTHONDONTWRITEBYTECODE='' python -c 'import definitions'

FROM base AS runtime
COPY --from=dependencies /opt/venv /opt/venv
COPY --from=dependencies /opt/pycache /opt/pycache
COPY --from=app /opt/pycache /opt/pycache
COPY --from=app /app /app
# dagster.yaml is mounted into this folder.
WORKDIR /opt/dagster/dagster_home
WORKDIR /app
# LOGNAME: the user is a number without a name, which getpass cannot look up. /tmp and /scratch are mounted.
ENV HOME=/tmp \
    LOGNAME=catalog \
    DAGSTER_HOME=/opt/dagster/dagster_home \
    DAGSTER_DISABLE_TELEMETRY=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    MPLCONFIGDIR=/tmp/matplotlib \
    YOLO_CONFIG_DIR=/tmp/ultralytics \
    MLOPS_PROFILE=k8s \
    MLOPS_HOME=/tmp/home \
    MLOPS_SCRATCH=/scratch
USER 10001:10001
EXPOSE 4000
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ["dagster", "api", "grpc-health-check", "-p", "4000"]
CMD ["dagster", "code-server", "start", "-h", "0.0.0.0", "-p", "4000", "-m", "definitions", "-a", "defs"]

# Last, since they differ with every commit.
ARG VERSION=0.0.0+unknown
ARG REVISION=unknown
ARG SOURCE=unknown
ARG BASE_IMAGE
LABEL org.opencontainers.image.title="enclosure-catalog-cpu" \
      org.opencontainers.image.description="Steps on a CPU and the servers of the equipment catalogue; no torch" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}" \
      org.opencontainers.image.licenses="AGPL-3.0-or-later"
