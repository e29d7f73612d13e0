FROM busybox
RUN --mount=type=cache,id=shared,target=/c echo kept > /c/file
