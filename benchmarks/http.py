"""How well the HTTP teacher fills a link: images a second beside a plain load generator, same server, same batch.

`python -m benchmarks.http --teacher DIR [--batch 64] [--concurrency 4] [--json FILE]`

A local teacher's network is exported to ONNX and served by MLServer on this machine (`benchmarks.serving`). Both sides
keep as many requests in flight. The generator sends one prepared body again and again and throws the answers away, so
it has nothing to do but wait; the adapter makes every body from images, and reads and checks every answer. They take
turns; medians are compared.
"""

import argparse
import http.client
import json
import os
import statistics
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import torch

from benchmarks.serving import served
from db3.files import write_json
from db3.students.export import export_onnx
from db3.teachers.adapters.foreign_model import ModelDescription, StoredModel
from db3.teachers.adapters.http import fetch_http, open_http
from db3.teachers.adapters.http_settings import Link
from db3.teachers.adapters.inference_protocol import Interface, build_request
from db3.teachers.base import TeacherSpec
from db3.teachers.folder import open_network, read_spec


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.http", description=__doc__)
    parser.add_argument("--teacher", type=Path, required=True, help="folder with teacher.json and its weights")
    parser.add_argument("--batch", type=int, default=64, help="images a request")
    parser.add_argument("--concurrency", type=int, default=4, help="requests in flight")
    parser.add_argument("--requests", type=int, default=256, help="of a turn")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    os.environ["NO_PROXY"] = "127.0.0.1"
    spec = read_spec(options.teacher)
    network = open_network(options.teacher)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.onnx"
        model.write_bytes(export_onnx(network, spec.input_shape))
        with served(model) as url:
            rates = measure(url, spec.input_shape, spec.classes, options)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    share = medians["adapter"] / medians["generator"]
    for name, values in rates.items():
        spread = f"{min(values):,.0f} to {max(values):,.0f}"
        print(f"{name:10} {medians[name]:9,.0f} images/s (median of {len(values)} turns, {spread})")
    print(f"adapter / generator: {share:.3f} at {options.batch} images a request, {options.concurrency} in flight")
    if options.json:
        setting = {"batch": options.batch, "concurrency": options.concurrency, "requests": options.requests}
        write_json(options.json, {**setting, "images_per_second": rates, "share": share})


def measure(url: str, shape: tuple[int, int, int], classes: int, options: argparse.Namespace) -> dict[str, list[float]]:
    """Images a second of each turn."""
    count = options.requests * options.batch
    images = torch.rand(count, *shape, generator=torch.Generator().manual_seed(0))
    link = Link(concurrency=options.concurrency)
    names = tuple(map(str, range(classes)))
    description = ModelDescription("http", shape, classes, names, options.batch, http={"url": url, "model": "lenet"})
    fetched = fetch_http(description, Path(), link)
    card = {"model": {**fetched.model, "preprocessing": {}, "labels": list(names)}, "access": fetched.access}
    interface = Interface(**fetched.model["interface"])
    body, headers = build_request(images[: options.batch].numpy(), interface, "prepared", binary=False)
    spec = TeacherSpec(shape, (0.0, 1.0), classes, options.batch, "served")
    teacher = open_http(StoredModel(card, Path(), spec, link=link))
    rates: dict[str, list[float]] = {"generator": [], "adapter": []}
    teacher.decide(images[: 8 * options.batch])
    for _ in range(options.turns):
        begun = time.perf_counter()
        generate(url, body, headers, options.requests, options.concurrency)
        rates["generator"].append(count / (time.perf_counter() - begun))
        begun = time.perf_counter()
        # As a search asks: several calls, each of what fills the link some times over.
        for part in images.split(16 * teacher.spec.max_batch):
            teacher.decide(part)
        rates["adapter"].append(count / (time.perf_counter() - begun))
    return rates


def generate(url: str, body: bytes, headers: dict[str, str], requests: int, concurrency: int) -> None:
    """Send a body so many times over so many connections; every answer is read, none is looked at."""
    host, left = urlsplit(url).netloc, iter(range(requests))
    lock = threading.Lock()

    def work() -> None:
        connection = http.client.HTTPConnection(host)
        while True:
            with lock:
                if next(left, None) is None:
                    break
            connection.request("POST", "/v2/models/lenet/infer", body, headers)
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != 200:
                raise RuntimeError(json.loads(content))
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
