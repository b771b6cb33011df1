# DEEPaaS in an environment that is on nobody's PATH, beside a system Python that has none.
FROM debian:bookworm-slim
RUN apt-get -qq update \
 && apt-get -qq install -y --no-install-recommends python3 python3-venv >/dev/null \
 && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv --copies /srv/conda/envs/model \
 && mkdir /srv/conda/envs/model/conda-meta \
 && /srv/conda/envs/model/bin/pip install --quiet --no-cache-dir deepaas==2.6.0 "marshmallow<4"
COPY module /srv/conda/envs/model/lib/python3.11/site-packages
CMD ["/srv/conda/envs/model/bin/deepaas-run", "--listen-ip", "0.0.0.0"]
