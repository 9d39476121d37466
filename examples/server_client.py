"""Ask `tvm-c4n serve` with OpenAI's client: `python examples/server_client.py [URL] [PROMPT]`.

Start the server first: `tvm-c4n serve mamba-19m-n2-int4`. The client: `pip install openai`.
"""

from __future__ import annotations

import sys

import openai


def main(
    url: str = "http://127.0.0.1:8080", prompt: str = "The old bridge", key: str = "none"
) -> None:
    """Continue a prompt with the server's first model, streamed, and say what it took."""
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=key)
    model = next(iter(client.models.list()))
    stream = client.completions.create(
        model=model.id,
        prompt=prompt,
        max_tokens=48,
        temperature=0.8,
        seed=1,
        stream=True,
        stream_options={"include_usage": True},
    )
    print(prompt, end="")
    for event in stream:
        for choice in event.choices:
            print(choice.text, end="", flush=True)
        if event.usage:
            read = event.usage.prompt_tokens - event.usage.prompt_tokens_details.cached_tokens
            print(f"\n{event.usage.completion_tokens} tokens; {read} of the prompt were read")


if __name__ == "__main__":
    main(*sys.argv[1:])
