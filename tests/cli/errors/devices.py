"""Error lines of what works for or on devices: tune, records, runner, deploy, c4n_run."""

from __future__ import annotations

from tests.cli.errors.case import Case

RECORDS_AGAIN = "'tvm-c4n tune' makes folders of records: give one, or delete it and tune again"
NO_TRACKER = (
    "no tracker answers at 127.0.0.1:1 (Connection refused): start one with "
    "python -m tvm.exec.rpc_tracker --host 127.0.0.1 --port 1 --port-end 2"
)
ADDRESS = "use rpc://HOST:PORT/KEY for a tracker, rpc://HOST:PORT for a server"


def tune(wrong: str, options: str, line: str, code: int = 2) -> Case:
    """Tune ``model`` with more options."""
    return Case(wrong, f"tune model --records r {options}".strip(), line, code)


def deploy(wrong: str, options: str, line: str, code: int = 2) -> Case:
    """Deploy ``model.art`` with more options."""
    return Case(wrong, f"deploy model.art {options}", line, code)


def c4n_run(wrong: str, options: str, line: str, stdin: str = "0") -> Case:
    """Run ``model.art`` without Python."""
    return Case(wrong, f"c4n_run model.art {options}".strip(), line, stdin=stdin)


TUNE = [
    tune(
        "nowhere to measure",
        "",
        "say where to measure: either --local, or --tracker HOST:PORT --key KEY",
    ),
    tune(
        "another machine's target",
        "--local --target arm64-linux",
        "--local measures on this machine, not on arm64-linux: use --tracker",
    ),
    tune(
        "a GPU",
        "--tracker 127.0.0.1:1 --target adreno",
        "only kernels of CPUs are tuned, not those of a target of kind 'opencl': give host, "
        "arm64-android or arm64-linux",
    ),
    tune(
        "no such target",
        "--tracker 127.0.0.1:1 --target vax",
        "unknown target 'vax'; known are host, arm64-linux, arm64-android, arm64-linux-i8mm, "
        "adreno, tags such as c4n/cortex-x4, or pass a tvm.target.Target",
    ),
    tune("devices without a tracker", "--local --devices 2", "--devices needs --tracker"),
    tune(
        "trials of a latency table",
        "--local --latency-table --trials 2",
        "--trials needs a run without --latency-table",
    ),
    tune("no tracker", "--tracker 127.0.0.1:1", NO_TRACKER, 1),
    tune("no address", "--tracker nowhere", f"'rpc://nowhere/phone' is no device: {ADDRESS}"),
    tune(
        "nothing to try",
        "--local --trials 0",
        "trials is 0 and batch 8; both must be 1 or more",
    ),
    tune(
        "more threads than cores",
        "--local -t 4096",
        "threads is 4096; this machine takes 1 to 2",
    ),
    Case(
        "an artifact",
        "tune model.art --records r --local",
        "model.art: a compiled model; give the folder it was compiled from",
    ),
]

RECORDS = [
    Case("no such records", "records none", f"none/manifest.json: missing file; {RECORDS_AGAIN}"),
    Case("a model", "records model", f"model/manifest.json: missing file; {RECORDS_AGAIN}"),
]

RUNNER = [
    Case(
        "no runtime for the target",
        "runner -o r --target arm64-linux",
        "a runner for arm64-linux needs TVM's runtime libraries for it: give their folder with "
        "--runtime; tvm-c4n runner --fetch gets them",
    ),
    Case(
        "nothing to fetch",
        "runner -o r --fetch",
        "--fetch gets the libraries for --target arm64-linux, without --runtime",
    ),
    Case(
        "no such target",
        "runner -o r --target vax",
        "unknown target 'vax'; known are host, arm64-linux, arm64-android",
    ),
    Case(
        "a runtime without the library",
        "runner -o r --target arm64-linux --runtime model",
        "model/libtvm_runtime.so is missing: it is part of TVM's runtime for arm64-linux",
    ),
]

DEPLOY = [
    Case(
        "not compiled",
        "deploy model --device adb",
        "model is no compiled model: make one with 'tvm-c4n compile'",
    ),
    deploy(
        "no such kind of device",
        "--device usb",
        "--device 'usb': use adb, adb:SERIAL or rpc://HOST:PORT/KEY",
    ),
    deploy(
        "adb without a runner",
        "--device adb",
        "adb needs a runner: tvm-c4n runner --target arm64-linux --fetch -o runner, "
        "then --runner runner",
    ),
    deploy("no port", "--device rpc://phone", f"'rpc://phone' is no device: {ADDRESS}"),
    deploy("nobody there", "--device rpc://127.0.0.1:1/phone", NO_TRACKER, 1),
    deploy("rounds of a text", "--device adb --reps 2", "--reps needs --bench"),
    deploy(
        "a prompt to measure", "--device adb --bench -p a", "--prompt needs a run without --bench"
    ),
    deploy(
        "nothing to measure",
        "--device rpc://127.0.0.1:1 --bench --reps 0",
        "nothing to measure: --n-prompt or --n-gen, and --reps must be above 0",
    ),
    deploy(
        "threads below 0",
        "--device rpc://127.0.0.1:1 -t -1",
        "--threads -1: use 1 or more, or 0 for the big cores",
    ),
    deploy("a runner over RPC", "--device rpc://a:1/k --runner r", "--runner needs --device adb"),
    deploy("waiting for adb", "--device adb --wait 3", "--wait needs --device rpc://..."),
]

C4N_RUN = [
    c4n_run("a token that is none", "", "token 96 is outside the vocabulary of 96", "0 96"),
    c4n_run("a word", "", "stdin: 'x' is no token id", "0 x"),
    c4n_run("no tokens", "", "no tokens to read: give at least one", ""),
    c4n_run("nothing to generate", "-n 0", "-n takes a number from 1 to 1000000"),
    c4n_run(
        "nothing to measure", "--bench -p 0 -g 0", "nothing to measure: -p or -g must be above 0"
    ),
    c4n_run(
        "no minutes", "--bench --sustained 0", "--sustained takes minutes above 0, at most 1440"
    ),
    c4n_run("minutes of a text", "--sustained 1 -p a", "--sustained needs --bench"),
    c4n_run(
        "rounds of minutes",
        "--bench --sustained 1 -r 2",
        "-r and --sustained exclude each other: give one of them",
    ),
    c4n_run("a word as a token to end at", "--ends 1,x", "--ends takes a number from 0 to 1000000"),
    c4n_run("no token to end at", "--ends ''", "--ends takes token ids with commas between"),
    c4n_run(
        "a stop string for tokens",
        "--stop x",
        "--stop needs a text: give -p or -f, or --ends for tokens",
    ),
    c4n_run(
        "a rendered prompt that is none", "--rendered", "--rendered needs a text: give -p or -f"
    ),
    c4n_run("two prompts", "-p a -f b", "-p and -f both say what to continue: give one of them"),
    c4n_run("no such file", "-f none", "none: cannot be read: No such file or directory"),
    c4n_run("a temperature that is none", "--temp hot", "--temp takes a number"),
    c4n_run("a share above 1", "--top-p 2", "top-p is not in 0 to 1 (all tokens)"),
    c4n_run("an option without its value", "-n", "-n takes something behind it"),
    c4n_run(
        "a tokenizer of another kind",
        "-p w1",
        "model.art/tokenizer.json: model 'WordLevel' is not supported on a device: tokenise on the "
        "host",
    ),
    c4n_run(
        "a state that is none",
        "--load-state text.jsonl",
        "text.jsonl: no safetensors file, or truncated: save it again",
    ),
    c4n_run("no such option", "--colour", "unknown argument --colour"),
]
