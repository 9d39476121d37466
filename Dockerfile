# A server with OpenAI's API, which needs a key: docs/guides/serve.md.
FROM python:3.13-slim

RUN useradd --create-home --uid 1000 c4n
COPY dist/tvm_c4n-0.1.0-py3-none-any.whl /tmp/
# ziglang is a linker, which a slim image lacks and compiled models need.
RUN pip install --no-cache-dir "/tmp/tvm_c4n-0.1.0-py3-none-any.whl[serve,link]" \
    && rm /tmp/tvm_c4n-0.1.0-py3-none-any.whl \
    && install -d -o c4n /cache

USER c4n
# Compiled models: a volume keeps them from one container to the next.
ENV XDG_CACHE_HOME=/cache
VOLUME /cache
EXPOSE 8080
# Another address than the container's own is refused without TVM_C4N_API_KEY or --api-key-file.
ENTRYPOINT ["tvm-c4n", "serve", "--host", "0.0.0.0"]
CMD ["mamba-19m-n2-int4"]
