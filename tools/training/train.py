#!/usr/bin/env python3
"""Train a small language model of any supported family on one CUDA GPU.

    train.py CONFIG.json --tokenizer DIR --data A.u16.bz2 --data B.u16 --valid valid.txt \
        --state STATE.pt --out DIR --total-seconds 1500 --seconds 500

One run may be cut into several calls: each trains for --seconds, writes STATE.pt (weights,
optimizer, progress) and resumes from it when it exists. The learning rate follows the share of
--total-seconds used so far, so that the schedule ends on time whatever the speed of the GPU. --out
receives a folder that transformers opens (float16), train_log.jsonl and metrics.json.
"""

import argparse
import json
import math
import shutil
from pathlib import Path
from time import time

import numpy as np
import torch
import torch.nn.functional as F
from grow import grown_tensors
from initial import initial_tensors
from safetensors.numpy import save_file
from torch import nn

from tvm_c4n.checkpoint import open_checkpoint
from tvm_c4n.checkpoint.base import ArrayCheckpoint
from tvm_c4n.checkpoint.whole_tensors import WholeTensors
from tvm_c4n.healing.student import Student
from tvm_c4n.healing.tokens import read_tokens
from tvm_c4n.model.families import describe_model
from tvm_c4n.model.text import load_text_ids
from tvm_c4n.model.tokenizer import load_tokenizer

TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "generation_config.json")


class Windows:
    """Random windows of T+1 tokens; an epoch visits all windows once, from a fresh offset."""

    def __init__(self, tokens, T, batch, device):
        self.data = torch.from_numpy(tokens.view(np.int16)).to(device)
        self.T, self.batch, self.at, self.starts = T, batch, 0, torch.empty(0)
        self.window = torch.arange(T + 1, device=device)

    def next(self):
        if self.at + self.batch > len(self.starts):
            offset = int(torch.randint(self.T, (1,)))
            count = (len(self.data) - 1 - offset) // self.T
            self.starts = (torch.randperm(count) * self.T + offset).to(self.data.device)
            self.at = 0
        rows = self.starts[self.at : self.at + self.batch, None] + self.window
        self.at += self.batch
        tokens = self.data[rows].long() & 0xFFFF
        return tokens[:, :-1], tokens[:, 1:]


def text_loss(output, targets):
    """Cross-entropy in nats per token of what a `Student` says, see `Student.forward`."""
    return F.cross_entropy(F.linear(*output).float().flatten(0, 1), targets.flatten())


@torch.no_grad()
def evaluate(model, tokens, T, batch):
    """Return the mean loss (nats per token) over windows of the text, none overlapping."""
    device = next(model.parameters()).device
    count = max(1, (len(tokens) - 1) // T // batch) * batch
    rows = (torch.arange(count)[:, None] * T) + torch.arange(T + 1)
    data = torch.from_numpy(tokens.astype(np.int64))[rows.clamp(max=len(tokens) - 1)]
    losses = []
    for i in range(0, count, batch):
        windows = data[i : i + batch].to(device)
        losses.append(text_loss(model(windows[:, :-1]), windows[:, 1:]).item())
    return sum(losses) / len(losses)


def export(model, hf, out, tokenizer):
    """Write float16 weights under transformers' names."""
    found = {name: m() for name, m in model.stored().items()} | model.vectors()
    arrays = {name: t.detach().float().cpu().numpy() for name, t in found.items()}
    whole = WholeTensors(ArrayCheckpoint(hf, arrays))
    tensors = {name: whole.dense(name).astype(np.float16) for name in whole.names()}
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    (out / "config.json").write_text(json.dumps(hf, indent=2) + "\n")
    for name in TOKENIZER:
        if (tokenizer / name).exists():
            shutil.copy(tokenizer / name, out / name)


def parse():
    ap = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    ap.add_argument("config", type=Path, help="config.json of the model")
    ap.add_argument("--grow", type=Path, metavar="MODEL", help="start as this Mamba-1 does")
    ap.add_argument("--tokenizer", type=Path, required=True, help="folder of a model that has it")
    ap.add_argument("--data", type=Path, required=True, action="append", help="tokens or text")
    ap.add_argument("--valid", type=Path, required=True, help="text to measure on")
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
    ap.add_argument("--device", default="cuda", help="cpu: to try it with a tiny model")
    return ap.parse_args()


def build(args, hf):
    """Make the model and its optimizer; only matrices of projections are decayed."""
    config = describe_model(hf)
    tensors = (
        grown_tensors(open_checkpoint(args.grow), config, args.seed)
        if args.grow
        else initial_tensors(config, hf, args.seed)
    )
    model = Student(ArrayCheckpoint(hf, tensors), config, torch.device(args.device))
    model.compile_layers()
    decayed = {id(m.weight) for m in model.stored().values()}
    groups = [
        {"params": [p for p in model.parameters() if id(p) in decayed],
         "weight_decay": args.weight_decay},
        {"params": [p for p in model.parameters() if id(p) not in decayed], "weight_decay": 0.0},
    ]  # fmt: skip
    fused = args.device != "cpu"
    return model, torch.optim.AdamW(groups, lr=args.lr, betas=(0.9, 0.95), fused=fused)


def resume(args, model, opt):
    """Load --state if there is one; returns the progress."""
    run = {"step": 0, "tokens": 0, "trained_s": 0.0, "calls": 0}
    if args.state.exists():
        saved = torch.load(args.state, map_location=args.device, weights_only=True)
        model.load_state_dict(saved["model"])
        opt.load_state_dict(saved["opt"])
        run = saved["run"]
    run["calls"] += 1
    return run


class Log:
    """train_log.jsonl and the terminal."""

    def __init__(self, path, run):
        self.path, self.run = path, run

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
    return lr * min(1.0, (run["step"] + 1) / args.warmup_steps)


def train(args, model, opt, data, valid, run, log, stop_at):
    loss_of = torch.compile(text_loss) if args.device != "cpu" else text_loss
    last, evaluated, losses = time(), time(), []
    shown, first = (last, run["tokens"]), run["step"]
    while time() < stop_at and run["trained_s"] < args.total_seconds:
        lr = learning_rate(args, run)
        for group in opt.param_groups:
            group["lr"] = lr
        tokens, targets = data.next()
        loss = loss_of(model(tokens), targets)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        losses.append(loss.detach())
        run["step"] += 1
        run["tokens"] += args.batch * args.seq
        if run["step"] % 10 == 0:
            torch.stack(losses[-10:]).mean().item()  # waits for the device
            now = time()
            run["trained_s"] += now - last if run["step"] > first + 10 else 0  # these compile
            last = now
        if run["step"] % 100 == 0:
            mean = torch.stack(losses).mean().item()
            losses.clear()
            if not math.isfinite(mean):
                raise SystemExit("the loss is not finite")
            now = time()
            speed = round((run["tokens"] - shown[1]) / (now - shown[0]))
            rate, size = round(lr, 7), round(norm.item(), 3)
            log.note(loss=round(mean, 4), lr=rate, grad_norm=size, tok_per_s=speed)
            if now - evaluated > args.eval_seconds:
                log.note(valid_loss=round(evaluate(model, valid, args.seq, args.batch), 4))
                evaluated = time()
            last = time()
            shown = (last, run["tokens"])


def finish(args, hf, model, data, valid, run, log):
    """Export the weights, measure them as they are and rounded to float16."""
    loss = evaluate(model, valid, args.seq, args.batch)
    export(model, hf, args.out, args.tokenizer)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.half().float())
    metrics = {
        **run,
        "parameters": sum(p.numel() for p in model.parameters()),
        "train_tokens": len(data.data),
        "valid_loss": loss,
        "valid_ppl": math.exp(loss),
        "valid_ppl_float16_weights": math.exp(evaluate(model, valid, args.seq, args.batch)),
        "batch": args.batch,
        "seq": args.seq,
        "lr": args.lr,
        "device": args.device if args.device == "cpu" else torch.cuda.get_device_name(),
    }
    (args.out / "metrics.json").write_text(json.dumps(metrics, indent=1))
    log.note(valid_loss=round(loss, 4), final=metrics)


def main():
    args, begin = parse(), time()
    torch.set_float32_matmul_precision("high")
    hf = json.loads(args.config.read_text())
    model, opt = build(args, hf)
    run = resume(args, model, opt)
    torch.manual_seed(args.seed + run["step"])
    tokenizer = load_tokenizer(args.tokenizer)
    data = Windows(read_tokens(args.data, tokenizer), args.seq, args.batch, args.device)
    valid = load_text_ids(args.valid, tokenizer).astype(np.uint16)
    print(f"{len(data.data)} training tokens, from step {run['step']}", flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    log = Log(args.out / "train_log.jsonl", run)
    train(args, model, opt, data, valid, run, log, begin + args.seconds - 12)
    state = {"model": model.state_dict(), "opt": opt.state_dict(), "run": run}
    partial = args.state.with_name(args.state.name + ".tmp")
    torch.save(state, partial)
    partial.replace(args.state)
    finish(args, hf, model, data, valid, run, log)


if __name__ == "__main__":
    main()
