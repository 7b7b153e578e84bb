# docker build -t overtone .
# docker run --rm -v overtone:/data overtone keys create --user you@example.com      # beyond loopback it wants a key
# docker run -v overtone:/data -p 127.0.0.1:8080:8080 overtone
#
# The CPU build of PyTorch; for a GPU start from an image with CUDA and leave the index out.
FROM python:3.13-slim

RUN pip install --no-cache-dir --index-url https://download.pytorch.org/whl/cpu torch==2.13.0
COPY . /src
RUN pip install --no-cache-dir -c /src/constraints.txt "/src[hub,postgres]" && rm -r /src \
    && useradd --uid 1000 overtone && mkdir --mode 700 /data && chown overtone /data
USER overtone
ENV OVERTONE_DATA=/data OVERTONE_HOST=0.0.0.0
VOLUME /data
EXPOSE 8080 8081
ENTRYPOINT ["overtone"]
CMD ["serve"]
