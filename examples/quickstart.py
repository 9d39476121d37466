"""Text from a bundled model: `python examples/quickstart.py [MODEL] [PROMPT]`.

Shows `tvm_c4n.Model`: text at once and piece by piece, texts that share their beginning, and how
likely a text is. The model is compiled when it is first used (5 s), and kept in ~/.cache/tvm-c4n.
"""

from __future__ import annotations

import asyncio
import sys

import tvm_c4n


async def stop_after(model: tvm_c4n.Model, prompt: str, pieces: int) -> str:
    """Stream in an event loop and leave: decoding stops there."""
    text = ""
    async for piece in model.astream(prompt, max_tokens=1000):
        text += piece
        pieces -= 1
        if not pieces:
            break
    return text


def main(
    name: str = "mamba-19m-n2-int4", prompt: str = "The old bridge over the river was"
) -> None:
    """Continue a prompt in several ways."""
    with tvm_c4n.Model(name, notify=print) as model:
        print(model)
        print("greedy: ", prompt + model.generate(prompt, max_tokens=24))

        print("drawn:  ", prompt, end="")
        for piece in model.stream(prompt, max_tokens=24, temperature=0.8, top_p=0.95, seed=1):
            print(piece, end="", flush=True)
        print(f"\n{model.stats}")

        print("stopped:", prompt + asyncio.run(stop_after(model, prompt, 8)))

        # The prompt is read once, and followed twice.
        model.set_state(model.state(prompt))
        for more in (" old", " new"):
            print(f"forked:  {prompt}{more}{model.generate(more, max_tokens=8)}")
        model.set_state(None)

        score = model.score(prompt)
        print(f"{len(score.tokens)} tokens, log-probability {score.logprob:.2f}, ", end="")
        print(f"perplexity {score.perplexity:.2f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
