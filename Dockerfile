# docker build -t overtone .
# docker run --rm -v overtone:/data overtone models pull                             # once; needs a network
# docker run --rm -v overtone:/data overtone keys create --user you@example.com      # outside callers need a key
# docker run -v overtone:/data -p 127.0.0.1:8080:8080 --stop-timeout 60 overtone     # add -p 8081:8081 for gRPC
#
# It has the CPU build of PyTorch. For a GPU, start from an image with CUDA and leave out the index. The first start
# compiles the kernels for the processor at hand, which takes a minute, and keeps them in the volume.
FROM python:3.13-slim

# As in `make setup`: PyTorch alone from its own index, everything it depends on from the package index.
RUN pip install --no-cache-dir --no-deps --index-url https://download.pytorch.org/whl/cpu torch==2.13.0
COPY . /src
RUN pip install --no-cache-dir -c /src/constraints.txt "/src[hub,postgres]" && rm -r /src \
    && useradd --uid 1000 --create-home overtone && mkdir --mode 700 /data && chown overtone /data
USER overtone
ENV OVERTONE_DATA=/data OVERTONE_HOST=0.0.0.0 PIP_NO_CACHE_DIR=1
VOLUME /data
EXPOSE 8080 8081
HEALTHCHECK --start-period=5m CMD ["python", "-c", "import json, ssl, urllib.request; \
    url = json.load(open('/data/run/serve.json'))['url']; \
    urllib.request.urlopen(url + '/healthz', timeout=10, context=ssl._create_unverified_context())"]
ENTRYPOINT ["overtone"]
CMD ["serve"]
