"""Counts come out in Prometheus' text, by names that do not grow with what is asked for."""

from tvm_c4n.server.metrics import Metrics


def test_paths_of_strangers_share_a_label():
    metrics = Metrics()
    for number in range(50):
        metrics.answered(f"/{number}", 404)
    metrics.answered("/v1/models", 200)
    metrics.gauge("c4n_things", "Things.", lambda: 3)
    lines = metrics.text().decode().splitlines()
    counted = [line for line in lines if line.startswith("c4n_requests_total")]
    assert counted == [
        'c4n_requests_total{path="other",status="404"} 50.0',
        'c4n_requests_total{path="/v1/models",status="200"} 1.0',
    ]
    assert "c4n_things 3.0" in lines
    assert not [line for line in lines if "_created" in line]


def test_two_servers_count_for_themselves():
    first, second = Metrics(), Metrics()
    first.generated(5)
    assert "c4n_generated_tokens_total 0.0" in second.text().decode()
