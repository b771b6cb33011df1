# As the images on TensorFlow 1.14 are: Python 3.6, DEEPaaS 1.3.0, and an LD_LIBRARY_PATH without which nothing starts.
FROM debian:bookworm-slim
RUN apt-get -qq update \
 && apt-get -qq install -y --no-install-recommends libbz2-1.0 libexpat1 libffi8 liblzma5 libsqlite3-0 libssl3 >/dev/null \
 && rm -rf /var/lib/apt/lists/*
COPY python3.6 /opt/python3.6
ENV PATH=/opt/python3.6/bin:$PATH LD_LIBRARY_PATH=/opt/python3.6/lib
RUN python3.6 -m ensurepip >/dev/null 2>&1 \
 && python3.6 -m pip install --quiet --upgrade "pip<22" \
 && python3.6 -m pip install --quiet --no-cache-dir deepaas==1.3.0
COPY module /opt/python3.6/lib/python3.6/site-packages
CMD ["deepaas-run", "--listen-ip", "0.0.0.0"]
