FROM busybox
ONBUILD ARG a=1
ONBUILD RUN echo $a > /triggered
ONBUILD COPY --from=busybox /etc/group /copied
ONBUILD COPY file /file
ONBUILD ENV b=$a
