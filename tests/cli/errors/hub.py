"""Error lines about models of a hub: HUB stands for https://huggingface.co, CACHE for its cache."""

from __future__ import annotations

from tests.cli.errors.case import Case
from tests.hub import GATED, SILENT
from tvm_c4n.model.families import FAMILIES

HUB = [
    Case(
        "no such model",
        "prune no/model -o out",
        "no/model: no such folder, and no such model at HUB; check the name, or log in with `hf "
        "auth login` if the model is private",
    ),
    Case(
        "no such revision",
        "inspect org/small@v2",
        "org/small@v2: org/small has no such revision; give a branch, a tag or a commit of it",
    ),
    Case(
        "a model that needs permission",
        f"run {GATED} -p a",
        f"{GATED}: given to those who ask: accept its terms at HUB/{GATED}, then log in with `hf "
        "auth login`",
    ),
    Case(
        "no network, and nothing in the cache",
        f"compile {SILENT} -o out",
        f"{SILENT}: no such folder; HUB does not answer, and CACHE has no whole copy of it; with a "
        f"network run `hf download {SILENT} --local-dir DIR`, and give DIR",
    ),
    Case(
        "a family that is not supported",
        "chat org/llama",
        f"org/llama: model_type 'llama' is not supported, only: {', '.join(FAMILIES)}",
    ),
    Case(
        "only pickles",
        "bench org/pickle",
        "org/pickle: has neither model.safetensors nor model.safetensors.index.json; pickles can "
        "run code, so they are not downloaded; look for a repository with safetensors",
    ),
    Case(
        "no config",
        "eval org/gguf",
        "org/gguf: has no config.json, so it is no model as transformers writes them; a GGUF file, "
        "or a model in another format, download yourself, and give the file or folder",
    ),
    Case(
        "a model in its authors' format",
        "serve org/original --port 0",
        "org/original: in the format of its authors; give the repository in transformers' format "
        "(org/original-hf, if there is one), or run `hf download org/original --local-dir DIR` and "
        "`tvm-c4n convert DIR -o OUT`",
    ),
]
