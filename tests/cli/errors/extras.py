"""Error lines where an extra is not installed."""

from __future__ import annotations

from tests.cli.errors.case import Case


def extra(command: str, what: str, module: str, name: str) -> Case:
    """Run a command without a module of an extra."""
    line = f"{what} needs {module}: pip install 'tvm-c4n[{name}]'"
    return Case(f"no {module}", command, line, missing=module)


HEAL = "heal pruned -o out --teacher model --data text.jsonl"
HUB = (
    "org/small: no such folder; a model of that name at huggingface.co needs huggingface_hub: "
    "pip install 'tvm-c4n[hub]'"
)
EXTRAS = [
    Case("no huggingface_hub", "run org/small -p a", HUB, missing="huggingface_hub"),
    extra("prune model -o out", "pruning", "torch", "prune"),
    extra("prune model -o out", "pruning", "scipy", "prune"),
    extra(HEAL, "healing", "torch", "prune"),
    extra("eval model --backend torch", "--backend torch", "torch", "prune"),
    extra("serve model", "serve", "starlette", "serve"),
    extra("serve model", "serve", "uvicorn", "serve"),
    extra("serve model", "serve", "prometheus_client", "serve"),
    extra("serve model", "serve", "h11", "serve"),
    extra("tune model --records r --local", "tuning", "xgboost", "tune"),
    extra("tune model --records r --local", "tuning", "psutil", "tune"),
]
