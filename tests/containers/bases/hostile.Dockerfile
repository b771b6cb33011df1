# Libraries and Python files that end or mark any process that takes them for the real ones.
FROM debian:bookworm-slim AS build
RUN apt-get -qq update && apt-get -qq install -y --no-install-recommends gcc libc6-dev >/dev/null
RUN mkdir -p /hostile/lib /hostile/python \
 && printf '#include <unistd.h>\n__attribute__((constructor)) static void take_over(void) { _exit(99); }\n' >/takeover.c \
 && gcc -shared -fPIC -o /hostile/takeover.so /takeover.c \
 && for library in libc.so.6 libm.so.6 libz.so.1 libssl.so.3 libcrypto.so.3 libpthread.so.0 libnss_takeover.so.2; do \
      cp /hostile/takeover.so /hostile/lib/$library; done \
 && for name in json boto3 requests ssl encodings site sitecustomize supervisor; do \
      echo 'import os; os._exit(98)' >/hostile/python/$name.py; done \
 && echo /hostile/takeover.so >/hostile/ld.so.preload \
 && echo 'hosts: takeover files dns' >/hostile/nsswitch.conf \
 && printf 'openssl_conf = broken\n[broken]\nproviders = nowhere\n' >/hostile/openssl.cnf
FROM debian:bookworm-slim
COPY --from=build /hostile /hostile
COPY --from=build /hostile/openssl.cnf /usr/lib/ssl/openssl.cnf
COPY --from=build /hostile/nsswitch.conf /etc/nsswitch.conf
COPY --from=build /hostile/ld.so.preload /etc/ld.so.preload
