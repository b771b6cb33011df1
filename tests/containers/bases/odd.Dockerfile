# All that an image can set for itself and that would get in a supervisor's way.
ARG PARENT
FROM ${PARENT}
RUN mkdir -p /srv/app && echo "relative to the working directory" >/srv/app/labels.txt && chmod 755 /srv/app
WORKDIR /srv/app
VOLUME ["/srv/app", "/tmp"]
USER 4321:4321
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=1s --retries=1 CMD ["/bin/false"]
SHELL ["/bin/false"]
ENTRYPOINT ["/bin/false"]
CMD ["--listen-ip", "0.0.0.0"]
