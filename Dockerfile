# mrsynth on a CPU: docker build -t mrsynth . && docker run --rm -v "$PWD:/data" mrsynth demo --out demo
FROM python:3.11-slim-bookworm AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11-slim-bookworm
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=dicom,serve,onnx
COPY constraints.txt /tmp/constraints.txt
RUN pip install --no-cache-dir -c /tmp/constraints.txt --extra-index-url "$TORCH_INDEX" torch
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir -c /tmp/constraints.txt --extra-index-url "$TORCH_INDEX" \
        "$(echo /wheels/mrsynth-*.whl)[$EXTRAS]" \
    && rm -r /wheels /tmp/constraints.txt \
    && useradd --create-home --uid 1000 mrsynth
USER mrsynth
WORKDIR /data
ENTRYPOINT ["mrsynth"]
CMD ["--help"]
