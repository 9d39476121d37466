#!/usr/bin/env python3
"""Train a small Mamba-1 language model on one CUDA GPU.

    train.py --data DIR --state STATE.pt --out DIR --total-seconds 1500 --seconds 500

DIR holds uint16 token files train*.bin and valid.bin, as corpus.py writes them. One run may be cut
into several calls: each trains for --seconds, writes STATE.pt (weights, optimizer, progress) and
resumes from it when it exists. The learning rate follows the share of --total-seconds used so far,
so that the schedule ends on time whatever the speed of the GPU. --out receives model.safetensors
(float16), config.json, train_log.jsonl and metrics.json.

Before training, the scan's output and gradients are compared with a float64 reference.
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from model import CONFIG, Mamba
from safetensors.torch import load_file, save_file
from scan import check_scan
from torch import nn

DEVICE = "cuda"


class Windows:
    """Random windows of T+1 tokens; an epoch visits all windows once, from a fresh offset."""

    def __init__(self, files, T, batch):
        tokens = np.concatenate([np.fromfile(f, np.uint16) for f in files])
        self.data = torch.from_numpy(tokens.view(np.int16)).to(DEVICE)
        self.T, self.batch, self.at, self.starts = T, batch, 0, torch.empty(0)
        self.window = torch.arange(T + 1, device=DEVICE)

    def next(self):
        if self.at + self.batch > len(self.starts):
            offset = int(torch.randint(self.T, (1,)))
            count = (len(self.data) - 1 - offset) // self.T
            self.starts = (torch.randperm(count) * self.T + offset).to(DEVICE)
            self.at = 0
        rows = self.starts[self.at : self.at + self.batch, None] + self.window
        self.at += self.batch
        tokens = self.data[rows].long() & 0xFFFF
        return tokens[:, :-1], tokens[:, 1:]


@torch.no_grad()
def evaluate(model, path, T, batch=16):
    """Return the mean loss (nats per token) over the windows of a token file, none overlapping."""
    data = torch.from_numpy(np.fromfile(path, np.uint16).astype(np.int64)).to(DEVICE)
    count = (len(data) - 1) // T // batch * batch
    rows = (torch.arange(count, device=DEVICE) * T)[:, None] + torch.arange(T + 1, device=DEVICE)
    losses = []
    with torch.autocast(DEVICE, torch.bfloat16):
        for i in range(0, count, batch):
            tok = data[rows[i : i + batch]]
            losses.append(model(tok[:, :-1], tok[:, 1:]).item())
    return sum(losses) / len(losses)


def export(model, out):
    """Write float16 weights under transformers' names (the head is tied to the embeddings)."""
    weights = {
        k.replace("_orig_mod.", ""): v.detach().half().cpu().contiguous()
        for k, v in model.state_dict().items()
    }
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    (out / "config.json").write_text(json.dumps(CONFIG, indent=2))


def parse():
    ap = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ap.add_argument("--data", type=Path, required=True)
    ap.add_argument("--state", type=Path, required=True, help="file to resume from and to write")
    ap.add_argument("--out", type=Path, required=True)
    ap.add_argument("--total-seconds", type=float, required=True, help="training time of all calls")
    ap.add_argument("--seconds", type=float, required=True, help="of this call, start-up included")
    ap.add_argument("--batch", type=int, default=64)
    ap.add_argument("--seq", type=int, default=1024)
    ap.add_argument("--lr", type=float, default=3e-3)
    ap.add_argument("--min-lr", type=float, default=2e-5)
    ap.add_argument("--warmup-steps", type=int, default=300)
    ap.add_argument("--weight-decay", type=float, default=0.1)
    ap.add_argument("--eval-seconds", type=float, default=90)
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--init", type=Path, help="exported weights to start from without --state")
    return ap.parse_args()


def build(args):
    """Make the compiled model and its optimizer; vectors, A_log and conv1d are not decayed."""
    model = Mamba(CONFIG).to(DEVICE)
    for layer in model.backbone.layers:
        layer.compile()
    model.head_loss = torch.compile(model.head_loss)
    named = list(model.named_parameters())
    flat = [p for k, p in named if p.ndim < 2 or "A_log" in k or "conv1d" in k]
    wide = [p for k, p in named if not (p.ndim < 2 or "A_log" in k or "conv1d" in k)]
    groups = [
        {"params": wide, "weight_decay": args.weight_decay},
        {"params": flat, "weight_decay": 0.0},
    ]
    return model, torch.optim.AdamW(groups, lr=args.lr, betas=(0.9, 0.95), fused=True)


def resume(args, model, opt):
    """Load --state, or else --init; returns the progress.

    ``warm_from`` is the step from which the learning rate warms up: where the optimizer's state
    was lost.
    """
    run = {"step": 0, "tokens": 0, "trained_s": 0.0, "calls": 0}
    if args.state.exists():
        saved = torch.load(args.state, map_location=DEVICE, weights_only=True)
        model.load_state_dict(saved["model"])
        if "opt" in saved:
            opt.load_state_dict(saved["opt"])
        run = saved["run"]
        run.setdefault("warm_from", 0)
    else:
        if args.init:
            model.load_state_dict(load_file(args.init))
            progress = args.init.parent / "init.json"  # the metrics.json of those weights
            if progress.exists():
                found = json.loads(progress.read_text())
                run = {k: found.get(k, v) for k, v in run.items()}
        run["warm_from"] = run["step"]
    run["calls"] += 1
    return run


class Log:
    """train_log.jsonl and the terminal."""

    def __init__(self, path, run):
        self.path, self.run = path, run
        path.write_text("")

    def note(self, **fields):
        run = self.run
        start = {"step": run["step"], "tokens": run["tokens"]}
        line = json.dumps({**start, "trained_s": round(run["trained_s"], 1), **fields})
        print(line, flush=True)
        with self.path.open("a") as file:
            file.write(line + "\n")


def learning_rate(args, run):
    share = min(run["trained_s"] / args.total_seconds, 1.0)
    lr = args.min_lr + (args.lr - args.min_lr) * 0.5 * (1 + math.cos(math.pi * share))
    return lr * min(1.0, (run["step"] + 1 - run["warm_from"]) / args.warmup_steps)


def train(args, model, opt, data, run, log, stop_at):
    last, evaluated, losses = time.time(), time.time(), []
    shown, first = (last, run["tokens"]), run["step"]
    while time.time() < stop_at and run["trained_s"] < args.total_seconds:
        lr = learning_rate(args, run)
        for group in opt.param_groups:
            group["lr"] = lr
        with torch.autocast(DEVICE, torch.bfloat16):
            loss = model(*data.next())
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        losses.append(loss.detach())
        run["step"] += 1
        run["tokens"] += args.batch * args.seq
        if run["step"] % 10 == 0:
            torch.cuda.synchronize()
            now = time.time()
            run["trained_s"] += now - last if run["step"] > first + 10 else 0  # these compile
            last = now
        if run["step"] % 100 == 0:
            mean = torch.stack(losses).mean().item()
            losses.clear()
            if not math.isfinite(mean):
                raise SystemExit("the loss is not finite")
            now = time.time()
            speed = round((run["tokens"] - shown[1]) / (now - shown[0]))
            rate, size = round(lr, 7), round(norm.item(), 3)
            log.note(loss=round(mean, 4), lr=rate, grad_norm=size, tok_per_s=speed)
            if now - evaluated > args.eval_seconds:
                log.note(valid_loss=round(evaluate(model, args.data / "valid.bin", args.seq), 4))
                evaluated = time.time()
            last = time.time()
            shown = (last, run["tokens"])


def finish(args, model, data, run, log):
    """Export the weights, measure them as they are and rounded to float16."""
    valid = args.data / "valid.bin"
    loss = evaluate(model, valid, args.seq)
    export(model, args.out)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.half().float())
    metrics = {
        **run,
        "parameters": sum(p.numel() for p in model.parameters()),
        "train_tokens": len(data.data),
        "valid_loss": loss,
        "valid_ppl": math.exp(loss),
        "valid_ppl_float16_weights": math.exp(evaluate(model, valid, args.seq)),
        "batch": args.batch,
        "seq": args.seq,
        "lr": args.lr,
        "gpu": torch.cuda.get_device_name(),
        "peak_GiB": round(torch.cuda.max_memory_allocated() / 2**30, 1),
    }
    info = args.data / "tokens.json"
    sizes = json.loads(info.read_text()) if info.exists() else {}
    if "valid_bytes" in sizes:
        bits = loss / math.log(2) * sizes["valid"] / sizes["valid_bytes"]
        metrics["valid_bits_per_byte"] = bits
    (args.out / "metrics.json").write_text(json.dumps(metrics, indent=1))
    log.note(valid_loss=round(loss, 4), final=metrics)


def main():
    args, begin = parse(), time.time()
    torch.backends.cuda.matmul.allow_tf32 = True
    check_scan(DEVICE)
    torch.manual_seed(args.seed)
    model, opt = build(args)
    run = resume(args, model, opt)
    torch.manual_seed(args.seed + run["step"])
    files = sorted(args.data.glob("train*.bin"))
    data = Windows(files, args.seq, args.batch)
    print(f"{len(data.data)} training tokens in {len(files)} files, from step {run['step']}")
    args.out.mkdir(parents=True, exist_ok=True)
    log = Log(args.out / "train_log.jsonl", run)
    train(args, model, opt, data, run, log, begin + args.seconds - 12)
    state = {"model": model.state_dict(), "opt": opt.state_dict(), "run": run}
    partial = args.state.with_name(args.state.name + ".tmp")
    torch.save(state, partial)
    partial.replace(args.state)
    finish(args, model, data, run, log)


if __name__ == "__main__":
    main()
