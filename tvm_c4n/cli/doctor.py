"""`tvm-c4n doctor`."""

from __future__ import annotations

import typer


def doctor() -> None:
    """Show what this machine can do, and what to install for the rest."""
    from tvm_c4n.doctor import examine

    for finding in examine():
        typer.echo(f"{finding.what + ':':22} {finding.found}")
        if finding.advice:
            typer.echo(f"{'':22} -> {finding.advice}")
