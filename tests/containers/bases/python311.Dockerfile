# As the newest images are: the distribution's Python 3.11 and DEEPaaS 2.6.0, in /usr/local.
FROM debian:bookworm-slim
RUN apt-get -qq update \
 && apt-get -qq install -y --no-install-recommends python3 python3-pip >/dev/null \
 && rm -rf /var/lib/apt/lists/*
RUN pip install --quiet --no-cache-dir --break-system-packages --root-user-action=ignore deepaas==2.6.0 "marshmallow<4"
COPY module /usr/local/lib/python3.11/dist-packages
CMD ["deepaas-run", "--listen-ip", "0.0.0.0"]
