# docker build -t imhead . && docker run --rm -v "$PWD:/data" imhead fit scan.ply --out heads
FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY src src
RUN pip install --no-cache-dir build && python -m build --wheel

FROM python:3.12-slim
# the CPU version of torch is a tenth of the size of the one for GPUs
RUN pip install --no-cache-dir torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu
COPY constraints.txt /tmp/
COPY --from=build /source/dist/*.whl /tmp/
RUN pip install --no-cache-dir -c /tmp/constraints.txt /tmp/*.whl && rm /tmp/*.whl /tmp/constraints.txt
RUN useradd --create-home imhead
USER imhead
WORKDIR /data
ENTRYPOINT ["imhead"]
