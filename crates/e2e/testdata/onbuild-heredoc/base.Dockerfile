FROM busybox
ONBUILD COPY <<EOF /file
of the trigger $x
EOF
ONBUILD RUN <<EOF
cat /file > /other
EOF
